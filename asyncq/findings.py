"""The findings: what a check of a server, and of the settings that lead there, has to say."""

from dataclasses import dataclass
from enum import StrEnum


class Severity(StrEnum):
    """How bad it is. OK: as it should be. NOTE: worth knowing. WARNING: harms one day. ERROR: does not work."""

    OK = "ok"
    NOTE = "note"
    WARNING = "warning"
    ERROR = "error"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        severity: how bad it is.
        about: what was looked at, in a word.
        text: what was found, and what to do about it.
        details: what `text` speaks of, one by one.
    """

    severity: Severity
    about: str
    text: str
    details: tuple[str, ...] = ()

    @property
    def is_fine(self) -> bool:
        """Whether nobody has to do anything."""
        return self.severity in (Severity.OK, Severity.NOTE)
