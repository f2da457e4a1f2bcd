"""The last resort of a process that must end: whatever still runs in it, a thread or a blocked loop."""

import logging
import os
import sys
from threading import Timer

EXIT_BLOCKED = 70
"""Exit code of a process that ends because nothing goes on in it any more (EX_SOFTWARE)."""

logger = logging.getLogger("asyncq.worker")


def end_within(seconds: float, exit_code: int) -> None:
    """End this process after so many seconds, unless it has ended by itself by then."""
    timer = Timer(seconds, _end, [exit_code])
    timer.name = "asyncq-end"
    timer.daemon = True
    timer.start()


def end_blocked() -> None:
    """End this process at once, with `EXIT_BLOCKED`: what blocks it would not let it end otherwise."""
    logging.shutdown()
    os._exit(EXIT_BLOCKED)


def _end(exit_code: int) -> None:
    logger.warning("Ending the process, with what still runs in its threads.")
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    os._exit(exit_code)
