"""How much memory a process uses."""

import os
import resource
import sys
from pathlib import Path


def resident_bytes(pid: int | None = None) -> int:
    """Return what a process has in memory now (RSS), in bytes; by default this one.

    Where there is no /proc: of this process its peak, of others 0.
    """
    try:
        pages = int(Path(f"/proc/{pid or 'self'}/statm").read_text().split()[1])
    except (OSError, IndexError, ValueError):
        return _peak_bytes() if pid in (None, os.getpid()) else 0
    return pages * os.sysconf("SC_PAGE_SIZE")


def _peak_bytes() -> int:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
