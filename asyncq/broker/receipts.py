"""Receipts: what they say of a message that was to be published."""

from asyncq.errors import DecodeError, DuplicateId
from asyncq.message import Message, decode_message
from asyncq.result import decode_record
from asyncq.transport import Receipt, Taken


def is_new(message: Message, receipt: Receipt) -> bool:
    """Tell whether the message was published; False when the same call had its id already.

    Raises:
        DuplicateId: another call has the id.
        PublishRefused: the server would not have it.
    """
    if receipt is None:
        return True
    if isinstance(receipt, Exception):
        raise receipt
    if not _is_same(message, receipt):
        raise DuplicateId(f"Id {message.id!r} is taken by another call, or by one with other arguments.")
    return False


def _is_same(message: Message, taken: Taken) -> bool:
    try:
        if taken.body is not None:
            other = decode_message(taken.body)
            is_call = (other.args, other.kwargs) == (list(message.args), dict(message.kwargs))
            return other.task == message.task and is_call
        record = decode_record(taken.record or b"")
    except DecodeError:  # bytes that are none of ours have the id
        return False
    # Where asyncq made the id there is no fingerprint, and nobody else can have chosen it.
    return record.task == message.task and record.digest in ("", message.digest or record.digest)
