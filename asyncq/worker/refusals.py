"""The refusals: settlements that took no effect, because their deliveries were no longer ours."""

import logging
from collections import deque
from collections.abc import Sequence

from asyncq.transport import Delivery, Return, Settlement

logger = logging.getLogger("asyncq.worker")

MAX_REFUSALS = 5_000
"""Deliveries that are remembered, without their messages, of those whose settlement was refused."""


class Refusals:
    """Logs and remembers what was refused: it may be the first that a worker hears of the loss of its lease."""

    def __init__(self) -> None:
        self._deliveries: deque[Delivery] = deque(maxlen=MAX_REFUSALS)

    @property
    def deliveries(self) -> Sequence[Delivery]:
        """The latest whose settlement was refused, without their messages."""
        return tuple(self._deliveries)

    def take(self, settlement: Settlement, is_news: bool) -> None:
        """Take one that took no effect; `is_news` is as `Settler` has it."""
        delivery = settlement.delivery
        self._deliveries.append(delivery._replace(body=b""))
        if is_news and not isinstance(settlement, Return):  # who hands back has lost nothing
            facts = {"task_id": delivery.id, "queue": delivery.queue}
            logger.warning("The end of %s took no effect: it was no longer ours.", delivery.id, extra=facts)
