"""A run's own slots: what it holds it must not wait for."""

from asyncq.context import current_context
from asyncq.errors import ConfigurationError
from asyncq.tasks.calls import Waiting


def refuse_own_slots(waiting: Waiting) -> None:
    """Refuse to wait, inside a run, for a call that needs a slot which the run holds until it ends.

    However many there are: as many runs as the limit allows would hold them all, and wait for their children for ever.

    Raises:
        ConfigurationError: it names the limit, and what to do.
    """
    try:
        message = current_context().message
    except ConfigurationError:  # outside of a run
        return
    held = message.terms.slots if message.terms is not None else ()
    for slot in waiting.slots:
        if slot in held:
            key = f" (key {slot.key!r})" if slot.key else ""
            raise ConfigurationError(
                f"Task {message.task!r} holds a slot of concurrency limit {slot.name!r}{key} and would wait for call "
                f"{waiting.id!r}, which needs one itself: enough such runs would wait for each other for ever. "
                "Give one of the two another limit or key, or don't await it."
            )
