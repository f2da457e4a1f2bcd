"""What tests of programs that use asyncq, and of transports for it, are written with."""

from asyncq.testing.clock import MovableClock

__all__ = ["MovableClock"]
