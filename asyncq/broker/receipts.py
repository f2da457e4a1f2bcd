"""Receipts: what they say of a message that was to be published."""

from asyncq.errors import DecodeError, DuplicateId
from asyncq.message import Message, decode_message
from asyncq.result import decode_record
from asyncq.store import CallKey
from asyncq.transport import Owned, Receipt, Taken


def existing(message: Message, receipt: Receipt) -> CallKey | None:
    """Return the call that is there already, by the message's id or unique key; None: the message was published.

    Raises:
        DuplicateId: another call has the id, or has the unique key where that is to be raised.
        PublishRefused: the server would not have it.
    """
    if receipt is None:
        return None
    if isinstance(receipt, Exception):
        raise receipt
    if isinstance(receipt, Owned):
        if message.unique is not None and message.unique.on_duplicate == "raise":
            raise DuplicateId(f"Unique key {message.unique.key!r} is taken by call {receipt.id!r}.")
        return CallKey(receipt.id, receipt.queue)
    if not _is_same(message, receipt):
        raise DuplicateId(f"Id {message.id!r} is taken by another call, or by one with other arguments.")
    return CallKey(message.id, message.queue)


def _is_same(message: Message, taken: Taken) -> bool:
    try:
        if taken.body is not None:
            other = decode_message(taken.body)
            is_call = (other.args, other.kwargs) == (list(message.args), dict(message.kwargs))
            # Published again under an id of ours, after a later call of its unique key has replaced its arguments.
            is_call = is_call or (message.unique is not None and not message.digest)
            return other.task == message.task and is_call
        record = decode_record(taken.record or b"")
    except DecodeError:  # bytes that are none of ours have the id
        return False
    # Where asyncq made the id there is no fingerprint, and nobody else can have chosen it.
    return record.task == message.task and record.digest in ("", message.digest or record.digest)
