"""The order to stop a worker."""

import asyncio


class Stopping:
    """The order to stop: when all tasks have ended, or within the time for it, or at once.

    Attributes:
        gracefully: nothing new is to be started.
        in_time: what runs has a limited time to finish.
        at_once: it has none.
    """

    def __init__(self) -> None:
        self.gracefully = asyncio.Event()
        self.in_time = asyncio.Event()
        self.at_once = asyncio.Event()

    def order(self) -> None:
        """Give the order; a second time: at once."""
        (self.at_once if self.in_time.is_set() else self.in_time).set()
        self.gracefully.set()

    def retire(self) -> None:
        """Give the order to start nothing more, without a limit for what runs."""
        self.gracefully.set()
