"""The refusals: settlements that took no effect, because their deliveries were no longer ours."""

import logging

from asyncq.transport import Return, Settlement

logger = logging.getLogger("asyncq.worker")


def log_refusal(settlement: Settlement, is_news: bool) -> None:
    """Log one that took no effect; `is_news` is as `Settler` has it."""
    delivery = settlement.delivery
    if is_news and not isinstance(settlement, Return):  # who hands back has lost nothing
        facts = {"task_id": delivery.id, "queue": delivery.queue}
        logger.warning("The end of %s took no effect: it was no longer ours.", delivery.id, extra=facts)
