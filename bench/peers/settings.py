"""What the driver tells a client or worker process, by environment variables: each worker has its own command line."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self


@dataclass(frozen=True, slots=True)
class Settings:
    """One sample's settings.

    Attributes:
        url: the Redis server, `redis://host:port/0`, the RabbitMQ server, `amqp://user:password@host:port/`, or the
            path of a SQLite file.
        results_url: the Redis server for the results of queues that are in RabbitMQ.
        concurrency: tasks that the worker runs at once.
        keeps_results: whether results are stored.
        expected: how many counted tasks make a tally.
        tally: the file in which a worker reports that it has run them; None: there is nothing to count.
    """

    url: str
    results_url: str = ""
    concurrency: int = 100
    keeps_results: bool = True
    expected: int = 0
    tally: Path | None = None

    @classmethod
    def from_environment(cls) -> Self:
        tally = os.environ.get("BENCH_TALLY")
        return cls(
            url=os.environ["BENCH_URL"],
            results_url=os.environ["BENCH_RESULTS_URL"],
            concurrency=int(os.environ["BENCH_CONCURRENCY"]),
            keeps_results=os.environ["BENCH_KEEPS_RESULTS"] == "1",
            expected=int(os.environ["BENCH_EXPECTED"]),
            tally=Path(tally) if tally else None,
        )

    def to_environment(self) -> Mapping[str, str]:
        return {
            "BENCH_URL": self.url,
            "BENCH_RESULTS_URL": self.results_url,
            "BENCH_CONCURRENCY": str(self.concurrency),
            "BENCH_KEEPS_RESULTS": str(int(self.keeps_results)),
            "BENCH_EXPECTED": str(self.expected),
            "BENCH_TALLY": str(self.tally or ""),
        }
