"""The networks: ways to one server, of which a part of the crew takes each, so that a fault cuts off that part."""

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Self

from tests.chaos.faults import Fault, FaultKind
from tests.chaos.proxy import Proxy

K = FaultKind

CUT = {K.CUT, K.CUT_NODE}
REFUSE = {K.REFUSE, K.REFUSE_NODE}
DELAY = {K.DELAY, K.DELAY_NODE}
HALF_CLOSE = {K.HALF_CLOSE, K.HALF_CLOSE_NODE}
BLACKHOLE = {K.BLACKHOLE, K.BLACKHOLE_NODE}
FAULTS = CUT | REFUSE | DELAY | HALF_CLOSE | BLACKHOLE


class Networks:
    """Two ways to a server.

    Args:
        proxies: which.
    """

    def __init__(self, proxies: Sequence[Proxy]) -> None:
        self._proxies = proxies
        self._turns = [asyncio.Lock() for _ in proxies]

    @classmethod
    @contextmanager
    def to(cls, port: int) -> Iterator[Self]:
        """Lead to a port of this machine until the block ends."""
        with ExitStack() as stack:
            yield cls([stack.enter_context(Proxy(port)) for _ in range(2)])

    def of(self, crew: int) -> Proxy:
        """Return the way that a member of the crew takes."""
        return self._proxies[crew % len(self._proxies)]

    def is_hit(self, fault: Fault, crew: int) -> bool:
        """Tell whether it is the way of that member of the crew."""
        return (crew - fault.target) % len(self._proxies) == 0

    def turn_of(self, fault: Fault) -> asyncio.Lock:
        """Return what lets one fault of a way happen at a time."""
        return self._turns[fault.target % len(self._turns)]

    async def suffer(self, fault: Fault) -> None:
        """Have a fault, and heal it."""
        await disturb(self.of(fault.target), fault)


async def disturb(network: Proxy, fault: Fault) -> None:
    """Have a fault of the network, and heal it."""
    if fault.kind in CUT | REFUSE:
        if fault.kind in REFUSE:
            network.refuse()
        network.cut(reset=fault.is_rough)
    elif fault.kind in DELAY:
        network.delay(fault.delay, *fault.directions)
    elif fault.kind in BLACKHOLE:
        network.blackhole(*fault.directions)
    elif fault.kind in HALF_CLOSE:
        for direction in fault.directions[:1]:
            network.half_close(direction)
    else:
        raise ValueError(fault)
    await asyncio.sleep(fault.seconds)  # the fault itself
    network.heal()
