"""What the demo shows: lines, and a bar that moves on a terminal and is a line for every tenth elsewhere."""

import sys
from collections.abc import Sequence
from typing import TextIO

_WIDTH = 40
_STEPS = 10


class Screen:
    """Where the demo writes to."""

    def __init__(self, out: TextIO = sys.stdout) -> None:
        self._out = out
        self._is_terminal = out.isatty()
        self._is_in_bar = False
        self._last_step = -1

    def title(self, text: str) -> None:
        """Begin a chapter."""
        self._write(f"\n{text}\n")

    def line(self, text: str) -> None:
        """Write a line, below a bar if one is being shown."""
        self._write(f"  {text}\n")

    def table(self, head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """Write a table."""
        widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
        for row in (head, *rows):
            self.line("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())

    def bar(self, done: float, total: float, note: str) -> None:
        """Show how far something is. `total` may be 0: then nothing is known yet."""
        part = done / total if total else 0.0
        text = f"{_drawn(part)} {part:4.0%}  {done:,.0f} of {total:,.0f} {note}"
        if self._is_terminal:
            self._out.write(f"\r  {text}\x1b[K")
            self._out.flush()
            self._is_in_bar = True
        elif int(part * _STEPS) > self._last_step:
            self._last_step = int(part * _STEPS)
            self._write(f"  {text}\n")

    def end_bar(self) -> None:
        """Leave the bar as it is and go on below."""
        self._write("")
        self._last_step = -1

    def _write(self, text: str) -> None:
        if self._is_in_bar:
            self._out.write("\n")
            self._is_in_bar = False
        self._out.write(text)
        self._out.flush()


def _drawn(part: float) -> str:
    full = round(part * _WIDTH)
    return f"[{'#' * full}{'.' * (_WIDTH - full)}]"
