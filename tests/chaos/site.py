"""The site: where the messages are, and what may befall that place."""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Mapping

from asyncq import Broker, broker_from_url
from tests.chaos.faults import Fault

NAMESPACE = "chaos"


class Site(ABC):
    """A place for messages, under fire.

    Attributes:
        url: the way there that no fault touches.
    """

    url: str

    def broker(self) -> Broker:
        """Return a broker there that no fault touches."""
        return broker_from_url(self.url, namespace=NAMESPACE)

    async def prepare(self) -> None:
        """Have there what has to be there before the first fault."""
        return

    def variables_of(self, crew: int) -> Mapping[str, str]:
        """Return what tells a member of the crew its way."""
        return {"CHAOS_URL": self.url_of(crew), "CHAOS_NAMESPACE": NAMESPACE}

    @abstractmethod
    def url_of(self, crew: int) -> str:
        """Return the way that a member of the crew takes."""

    @abstractmethod
    def is_hit(self, fault: Fault, crew: int) -> bool:
        """Tell whether a member of the crew suffers from a fault."""

    @abstractmethod
    def turn_of(self, fault: Fault) -> asyncio.Lock:
        """Return what is held while a fault lasts, by those that cannot happen at the same time."""

    @abstractmethod
    async def suffer(self, fault: Fault) -> None:
        """Have a fault, from its begin to its end."""

    @abstractmethod
    async def consumers(self) -> int:
        """Return how many workers are members."""

    async def is_drained(self) -> bool:
        """Tell whether no message is there any more but dead letters, also none of a call that has ended."""
        return True

    @abstractmethod
    async def left_behind(self) -> str:
        """Return what is there but results, dead letters and what is documented to stay; empty: nothing."""
