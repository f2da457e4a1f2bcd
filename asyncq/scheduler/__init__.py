"""The scheduler: publishes what schedules say, beside any number of others, or in a worker."""

from asyncq.scheduler.scheduler import Scheduler

__all__ = ["Scheduler"]
