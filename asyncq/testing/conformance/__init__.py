"""The conformance suites: what a transport and a store must do, as tests that a third party subclasses.

    class TestOurTransport(TransportSuite):
        @pytest.fixture
        def backend(self) -> Backend:
            return OurBackend(...)

A transport and the store that shares its server are tested as a pair; `Backend.make_pair` makes as many pairs on the
same server as a test wants processes. So are a ledger and its store (`LedgerBackend`). What needs a
capability that `Backend.capabilities` lacks is skipped, and says so. The tests need pytest and pytest-asyncio, and
clear nothing but what they started: give them a server, or a file, that is thrown away.

Each suite is made of smaller ones, a module for each kind of promise. Inherit from these by themselves for a variant of
yours that concerns some promises only, such as another kind of queue:

    class TestOurQueuesWithPriorities(FetchingSuite, SettlingSuite): ...
"""

from asyncq.testing.conformance.absolving import AbsolvingSuite
from asyncq.testing.conformance.adjusting import AdjustingSuite
from asyncq.testing.conformance.awaiting import AwaitingSuite
from asyncq.testing.conformance.backend import Backend, LedgerBackend
from asyncq.testing.conformance.burying import BuryingSuite
from asyncq.testing.conformance.delaying import DelayingSuite
from asyncq.testing.conformance.expiring import ExpiringSuite
from asyncq.testing.conformance.fetching import FetchingSuite
from asyncq.testing.conformance.forgetting import ForgettingSuite, RepliesSuite
from asyncq.testing.conformance.granting import GrantingSuite
from asyncq.testing.conformance.holding import HoldingSuite
from asyncq.testing.conformance.leasing import LeasingSuite
from asyncq.testing.conformance.ledger import LedgerSuite
from asyncq.testing.conformance.limitsharing import LimitSharingSuite
from asyncq.testing.conformance.looking import LookingSuite
from asyncq.testing.conformance.managing import ManagingSuite
from asyncq.testing.conformance.publishing import PublishingSuite
from asyncq.testing.conformance.rejoining import RejoiningSuite
from asyncq.testing.conformance.remembering import RememberingSuite
from asyncq.testing.conformance.replacing import ReplacingSuite
from asyncq.testing.conformance.rescheduling import ReschedulingSuite
from asyncq.testing.conformance.reviving import RevivingSuite
from asyncq.testing.conformance.settling import SettlingSuite
from asyncq.testing.conformance.severing import FollowingSuite, SeveringSuite
from asyncq.testing.conformance.sharing import SharingSuite
from asyncq.testing.conformance.suite import needs
from asyncq.testing.conformance.suspecting import SuspectingSuite
from asyncq.testing.conformance.telling import TellingSuite
from asyncq.testing.conformance.ticking import TickingSuite, UntickingSuite
from asyncq.testing.conformance.uniqueness import UniquenessSuite
from asyncq.testing.conformance.waking import WakingSuite

__all__ = ["Backend", "LedgerBackend", "LedgerSuite", "StoreSuite", "TransportSuite", "needs"]


class TransportSuite(
    PublishingSuite,
    FetchingSuite,
    AwaitingSuite,
    DelayingSuite,
    SettlingSuite,
    FollowingSuite,
    BuryingSuite,
    RevivingSuite,
    LeasingSuite,
    SuspectingSuite,
    AbsolvingSuite,
    ManagingSuite,
    SeveringSuite,
    LookingSuite,
    GrantingSuite,
    ExpiringSuite,
    AdjustingSuite,
    HoldingSuite,
    RejoiningSuite,
    LimitSharingSuite,
    SharingSuite,
    WakingSuite,
    ForgettingSuite,
    UniquenessSuite,
    ReplacingSuite,
    ReschedulingSuite,
    TickingSuite,
    UntickingSuite,
):
    """All that is promised of a transport; what its capabilities say that it cannot do is skipped."""


class StoreSuite(RememberingSuite, TellingSuite, RepliesSuite):
    """All that is promised of a store beside its transport."""
