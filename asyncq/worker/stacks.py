"""Where the threads of this process are just now."""

import sys
import traceback
from types import FrameType


def frame_of(thread: int) -> FrameType | None:
    """Return the innermost frame of a thread, by its identifier; None when it has ended."""
    # Documented in `sys` for this very purpose; the underscore says that it is for CPython.
    return sys._current_frames().get(thread)  # pyright: ignore[reportPrivateUsage]


def stack_of(thread: int) -> str:
    """Return a thread's stack as a traceback shows it; empty when it has ended."""
    frame = frame_of(thread)
    return "".join(traceback.format_stack(frame)) if frame else ""
