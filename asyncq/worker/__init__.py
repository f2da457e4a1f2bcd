"""The worker: receiver, executor, settler and heartbeat, wired to run the tasks of a broker."""

from asyncq.worker.worker import Worker

__all__ = ["Worker"]
