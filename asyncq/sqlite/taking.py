"""Taking: what a transaction does to give a holder the copies that it may run."""

from collections.abc import Mapping, Sequence
from typing import Final

from asyncq.ledger import Copy, Held, Lent, Suspect, Verdict, next_life
from asyncq.sqlite.bundle import as_json
from asyncq.sqlite.lanes import unfiled
from asyncq.sqlite.lives import Known, Lending, become, begin, last_generations
from asyncq.sqlite.parking import Parking
from asyncq.sqlite.schema import ENDED, LINED, READY, RUNNING
from asyncq.sqlite.settling import token_of
from asyncq.sqlite.transaction import Transaction
from asyncq.sqlite.uniques import ARE_CLAIMED, END_AT_START, confirm_keys, give_back
from asyncq.terms import Terms
from asyncq.transport import SUSPECT_CRASHES

# And whether calls have unique keys that change hands when they are lent.
_MEMBER: Final = f"SELECT lease_end_ms, {END_AT_START}, {ARE_CLAIMED} FROM consumers WHERE id = ?1"
_KNOWN: Final = f"""
SELECT calls.id, seq, generation, crashes, blamed > ' ', lease_end_ms, terms, lane,
    CASE state WHEN {LINED} THEN line END, iif(is_changed, body, NULL)
FROM json_each(?2) AS ids CROSS JOIN calls ON calls.id = ids.value AND calls.space = ?1 AND state <> {ENDED}
LEFT JOIN consumers ON state = {RUNNING} AND consumers.id = holder
"""

_LEND: Final = f"""
UPDATE calls SET state = {RUNNING}, holder = ?1, fetch = ?2, orphaned_ms = NULL, is_reopened = 0, is_changed = 0
WHERE seq IN (SELECT value FROM json_each(?3))
"""
_LEAVE: Final = f"UPDATE calls SET state = {READY}, orphaned_ms = NULL WHERE seq = ?1"
_FORGET_CLAIMS: Final = "DELETE FROM claims WHERE space = ?1 AND id IN (SELECT value FROM json_each(?2))"


def take(
    transaction: Transaction,
    space: int,
    lending: Lending,
    copies: Sequence[Copy],
    now_ms: int,
    *,
    suspects: int = 0,
    is_put_off: bool = False,
) -> list[Verdict] | None:
    """Lend a holder those copies that are wanted. Returns None where it is no member any more.

    Args:
        transaction: the transaction.
        space: the namespace's number.
        lending: the holder, and which of its takes this is.
        copies: what has come, in order.
        now_ms: the time.
        suspects: how many of those that are lent may be suspects.
        is_put_off: none is lent: they wait in the lines of their queues.
    """
    member = transaction.rows(_MEMBER, (lending.holder,))
    if not member:
        return None
    known = _known(transaction, space, copies)
    unknown = {copy.id for copy in copies} - known.keys()
    last = last_generations(transaction, space, unknown, now_ms) if unknown else {}
    taken: dict[int, tuple[Copy, Known]] = {}
    verdicts: list[Verdict] = [None] * len(copies)
    parking = Parking(transaction, space, now_ms, have_groups=_have_groups(copies))
    granted: dict[int, bool] = {}
    for index, copy in enumerate(copies):
        call = known.get(copy.id)
        if _is_over(copy, call, last):
            continue
        call = call or Known(0, copy.generation, 0, False, None, None, None, None)
        if call.lease_end_ms is not None:
            verdicts[index] = Held(now_ms if copy.generation > call.generation else call.lease_end_ms)
            continue
        terms = _needs(copy, call)
        if terms is not None or is_put_off:
            terms = terms or Terms()
            call, parked = parking.ask(copy, call, terms, is_put_off=is_put_off)
            if parked is not None:
                known[copy.id], verdicts[index] = call, parked
                continue
            granted[index] = terms.needs_grant
        is_suspect = call.crashes >= SUSPECT_CRASHES
        if is_suspect and suspects <= 0:
            known[copy.id], verdicts[index] = _left(transaction, copy, call), Suspect(call.crashes)
            continue
        suspects -= is_suspect
        taken[index] = copy, call
        known[copy.id] = call._replace(generation=copy.generation, lease_end_ms=member[0][0])
    seqs = _lend(transaction, space, lending, list(taken.values()), now_ms)
    parking.write()
    _, ends_at_start, are_claimed = member[0]
    if ends_at_start or are_claimed:
        begun = [*seqs, *parking.begun] if are_claimed else []
        _pass_on_keys(transaction, space, begun, list(taken.values()), now_ms)
    for index, (copy, call) in taken.items():
        token = token_of(call.seq or seqs[copy.id], lending.fetch)
        verdicts[index] = Lent(token, call.crashes, call.is_doubtful, granted.get(index, False))
    return verdicts


def _is_over(copy: Copy, call: Known | None, last: Mapping[str, int]) -> bool:
    """Tell whether a copy is not wanted any more."""
    if call is None:
        return copy.generation < next_life(last.get(copy.id))
    return copy.generation < call.generation or call.is_other_than(copy)


def _have_groups(copies: Sequence[Copy]) -> bool:
    return any(copy.terms is not None and copy.terms.group for copy in copies)


def _needs(copy: Copy, call: Known) -> Terms | None:
    """Return what a call needs: what was heard of it, unless its copy is newer and says otherwise."""
    if (call.terms is None and call.lane is None) or (copy.terms is not None and copy.generation > call.generation):
        return copy.terms
    return unfiled(call.terms, call.lane)


def _known(transaction: Transaction, space: int, copies: Sequence[Copy]) -> dict[str, Known]:
    ids = as_json(list({copy.id for copy in copies}))
    return {
        id: Known(seq, generation, crashes, bool(is_doubtful), lease_end_ms, terms, lane, line, body)
        for id, seq, generation, crashes, is_doubtful, lease_end_ms, terms, lane, line, body in transaction.rows(
            _KNOWN, (space, ids)
        )
    }


def _left(transaction: Transaction, copy: Copy, call: Known) -> Known:
    """Let a suspect wait whose copy has come; return it as it is now."""
    if copy.generation > call.generation:
        become(transaction, [(call.seq, copy.priority, copy.generation, copy.body)])
        call = call._replace(generation=copy.generation, changed_to=None)
    transaction.change(_LEAVE, (call.seq,))
    return call


def _pass_on_keys(
    transaction: Transaction, space: int, begun: Sequence[str], taken: Sequence[tuple[Copy, Known]], now_ms: int
) -> None:
    """Let calls that begin keep the keys that were claimed with their ids, and those that start give theirs back."""
    if begun:
        confirm_keys(transaction, space, begun, now_ms)
    if taken:
        give_back(transaction, space, [copy.id for copy, _ in taken], at_start=True)


def _lend(
    transaction: Transaction, space: int, lending: Lending, taken: Sequence[tuple[Copy, Known]], now_ms: int
) -> dict[str, int]:
    """Lend calls; return the rows of those that begin."""
    seqs: dict[str, int] = {}
    if begun := [copy for copy, call in taken if not call.seq]:
        seqs = begin(transaction, space, begun, RUNNING, now_ms, lending)
        transaction.change(_FORGET_CLAIMS, (space, as_json(list(seqs))))
    if newer := [
        (call.seq, copy.priority, copy.generation, copy.body)
        for copy, call in taken
        if call.seq and copy.generation > call.generation
    ]:
        become(transaction, newer)
    if noted := [call.seq for _, call in taken if call.seq]:
        transaction.change(_LEND, (*lending, as_json(noted)))
    return seqs
