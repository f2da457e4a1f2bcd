"""How long to wait before the next try: exponential growth, a ceiling, and jitter."""

from dataclasses import dataclass
from random import Random


@dataclass(frozen=True, slots=True)
class Backoff:
    """Delays in seconds: `delay`, `delay * factor`, `delay * factor**2`, ... up to `max_delay`.

    With `jitter` a delay is drawn evenly from its upper half, so that callers who failed together do not come back
    together, and yet nobody comes back at once ("equal jitter", AWS Architecture Blog, 2015).
    """

    delay: float = 1.0
    factor: float = 2.0
    max_delay: float = 600.0
    jitter: bool = True

    def seconds(self, failures: int, random: Random) -> float:
        """Return the delay after this many failures in a row (1 or more)."""
        if self.delay == 0:
            return 0.0
        try:
            delay = min(self.max_delay, self.delay * self.factor ** (failures - 1))
        except OverflowError:
            delay = self.max_delay
        return random.uniform(delay / 2, delay) if self.jitter else delay
