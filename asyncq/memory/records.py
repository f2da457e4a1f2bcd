"""The records: what is remembered of calls, and who is told of them."""

from asyncq.memory.home import Mailbox
from asyncq.memory.ranking import Ranking
from asyncq.store import Address, Notice
from asyncq.transport import Outcome

WATCH_MS = 600_000
"""How long a watcher is remembered that does not look again."""


class Records:
    """Results, progress and watchers of one namespace. Its caller holds the state's lock and says what time it is.

    Progress and watchers are kept for calls that have not ended only, so they need no sweeping of their own.
    """

    def __init__(self) -> None:
        self._records: dict[str, tuple[str, bytes]] = {}
        self._ends = Ranking[str]()
        self._kept = 0
        self._progress: dict[str, tuple[bytes, int]] = {}
        self._watchers: dict[str, dict[Address, int]] = {}
        self._mailboxes: dict[Address, Mailbox] = {}

    def end(self, id: str, queue: str, outcome: Outcome, now_ms: int) -> None:
        """Keep the outcome of a call, and tell who waits for it."""
        self._forget_expired(now_ms)
        self._progress.pop(id, None)
        if outcome.record is not None and outcome.ttl_ms > 0:
            self._kept += 1
            self._records[id] = (queue, outcome.record)
            self._ends.add(id, now_ms + outcome.ttl_ms, self._kept)
        self._tell(Notice(id, record=outcome.record, is_over=True), outcome.reply, now_ms)
        self._watchers.pop(id, None)

    def record(self, id: str, now_ms: int) -> tuple[str, bytes] | None:
        """Return the queue and the record of a call that has ended, None where none is kept."""
        self._forget_expired(now_ms)
        return self._records.get(id)

    def forget(self, id: str) -> None:
        """Keep nothing of a call that has ended."""
        self._records.pop(id, None)
        self._ends.discard(id)

    def report(self, id: str, progress: bytes, reply: Address, ttl_ms: int, now_ms: int) -> None:
        """Keep the progress of a call that has not ended, and tell it."""
        self._progress[id] = (progress, now_ms + ttl_ms)
        self._tell(Notice(id, progress=progress), reply, now_ms)

    def progress(self, id: str, now_ms: int) -> bytes | None:
        """Return what a call has reported, None where nothing is kept."""
        progress, end_ms = self._progress.get(id, (None, 0))
        return progress if now_ms < end_ms else None

    def watch(self, id: str, watcher: Address, now_ms: int) -> None:
        """Tell this address, too, of what becomes of a call that has not ended."""
        self._watchers.setdefault(id, {})[watcher] = now_ms + WATCH_MS

    def unwatch(self, id: str, watcher: Address) -> None:
        """Forget that the address watches the call."""
        watchers = self._watchers.get(id, {})
        watchers.pop(watcher, None)
        if not watchers:
            self._watchers.pop(id, None)

    def connect(self, address: Address, mailbox: Mailbox) -> None:
        """Deliver to this mailbox what is told to the address."""
        self._mailboxes[address] = mailbox

    def disconnect(self, address: Address) -> None:
        """Deliver nothing more to the address."""
        if (mailbox := self._mailboxes.pop(address, None)) is not None:
            mailbox.close()

    def _tell(self, notice: Notice, reply: Address, now_ms: int) -> None:
        addresses = {reply}
        if watchers := self._watchers.get(notice.id):
            addresses.update(address for address, end_ms in watchers.items() if now_ms < end_ms)
        for address in addresses:
            if (mailbox := self._mailboxes.get(address)) is not None:
                mailbox.post(notice)

    def _forget_expired(self, now_ms: int) -> None:
        for id in self._ends.pop_through(now_ms):
            del self._records[id]
