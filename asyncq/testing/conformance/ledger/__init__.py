"""The ledger's conformance suite: what a memory for a transport that only moves messages must do.

    class TestOurLedger(LedgerSuite):
        @pytest.fixture
        def backend(self) -> LedgerBackend:
            return OurBackend(...)

The backend gives pairs of a ledger and its store (`LedgerBackend.make_ledger_pair`), and lets days pass (`age`).
There is no transport: the tests say what is published and what is delivered.
"""

from asyncq.testing.conformance.ledger.claiming import ClaimingSuite
from asyncq.testing.conformance.ledger.keying import KeyingSuite
from asyncq.testing.conformance.ledger.leasing import LeasingSuite
from asyncq.testing.conformance.ledger.noting import NotingSuite
from asyncq.testing.conformance.ledger.orphaning import OrphaningSuite
from asyncq.testing.conformance.ledger.parking import ParkingSuite
from asyncq.testing.conformance.ledger.rejoining import RejoiningSuite
from asyncq.testing.conformance.ledger.remembering import RememberingSuite
from asyncq.testing.conformance.ledger.reopening import ReopeningSuite
from asyncq.testing.conformance.ledger.replacing import ReplacingSuite
from asyncq.testing.conformance.ledger.rescheduling import ReschedulingSuite
from asyncq.testing.conformance.ledger.settling import SettlingSuite
from asyncq.testing.conformance.ledger.sharing import SharingSuite
from asyncq.testing.conformance.ledger.suspecting import SuspectingSuite
from asyncq.testing.conformance.ledger.taking import TakingSuite
from asyncq.testing.conformance.ledger.turning import TurningSuite
from asyncq.testing.conformance.ledger.withdrawing import WithdrawingSuite

__all__ = ["LedgerSuite"]


class LedgerSuite(
    NotingSuite,
    ClaimingSuite,
    KeyingSuite,
    ReplacingSuite,
    TakingSuite,
    SuspectingSuite,
    SettlingSuite,
    LeasingSuite,
    OrphaningSuite,
    WithdrawingSuite,
    ReopeningSuite,
    ReschedulingSuite,
    ParkingSuite,
    TurningSuite,
    SharingSuite,
    RejoiningSuite,
    RememberingSuite,
):
    """All that is promised of a ledger beside its store."""
