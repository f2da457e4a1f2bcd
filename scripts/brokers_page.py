"""`python -m scripts.brokers_page`: write the table of docs/brokers.md, from what the code says of itself.

What a broker can do is in its `Capabilities`; what needs which of them, in the conformance tests that show it. So a
tick means that those tests run on that broker.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from asyncq import Broker, MemoryBroker, RabbitMQBroker, RedisBroker, SQLiteBroker
from asyncq.broker.kinds import KINDS
from asyncq.testing.conformance import StoreSuite, TransportSuite
from asyncq.transport import Capabilities

PAGE = Path(__file__).parents[1] / "docs" / "brokers.md"
BEGIN = "<!-- Written by `make docs`, from the code. -->\n"
END = "<!-- The end of what is written. -->\n"
YES, NO = "✓", "-"


class Row(NamedTuple):
    """What a user asks of a broker.

    Attributes:
        asked: the question.
        needs: the capabilities that it takes.
        otherwise: what is to be said of a broker that lacks one.
    """

    asked: str
    needs: Mapping[str, bool]
    otherwise: str = NO

    def cell(self, able: Capabilities) -> str:
        """Return what is to be said of a broker."""
        return YES if all(getattr(able, name) == value for name, value in self.needs.items()) else self.otherwise


def shown_by(*tests: Callable[..., Any]) -> Mapping[str, bool]:
    """Return what all of these conformance tests need."""
    return {name: value for test in tests for name, value in getattr(test, "needed", {}).items()}


ROWS = [
    Row("Workers in other processes", {"is_shared": True}),
    Row("Workers on other machines", {"spans_machines": True}),
    Row(
        "Delays and retries, kept by the broker",
        shown_by(
            TransportSuite.test_a_delayed_message_is_fetched_when_it_is_due,
            TransportSuite.test_again_schedules_the_next_attempt,
        ),
    ),
    Row(
        "[Dead letters](dead-letters.md) with their error: look, drop, run again",
        shown_by(
            TransportSuite.test_a_dead_message_is_kept_with_its_reason_and_record,
            TransportSuite.test_letters_are_found_by_id,
            TransportSuite.test_letters_are_dropped,
            TransportSuite.test_a_letter_is_revived_once,
        ),
    ),
    Row(
        "A queue with a `max_length` refuses what is too much",
        shown_by(TransportSuite.test_what_runs_does_not_fill_a_queue),
    ),
    Row("Results are pushed to the process that made the call", shown_by(StoreSuite.test_the_publisher_is_told)),
    Row(
        "Results for any process, by the id of the call",
        shown_by(StoreSuite.test_a_watcher_is_told, StoreSuite.test_a_record_is_kept_for_its_time),
    ),
    Row("`status()` of any call", shown_by(StoreSuite.test_a_call_is_seen_where_it_stands)),
    Row(
        "`progress()` and `events()`",
        shown_by(StoreSuite.test_the_latest_progress_is_seen, StoreSuite.test_progress_is_told),
    ),
    Row(
        "[Schedules](schedules.md), each tick once, by any number of schedulers",
        shown_by(TransportSuite.test_a_tick_publishes, TransportSuite.test_one_of_many_wins),
    ),
    Row(
        "`cancel()`, whatever the call is doing",
        shown_by(
            TransportSuite.test_a_waiting_message_can_be_withdrawn, TransportSuite.test_a_running_call_ends_at_once
        ),
    ),
    Row(
        "Ids of your own; publishing again finds the call", shown_by(TransportSuite.test_publishing_twice_finds_itself)
    ),
    Row("[Unique calls](unique.md)", shown_by(TransportSuite.test_the_second_is_told_of_the_first)),
    Row("`handle.reschedule()`", shown_by(TransportSuite.test_later)),
    Row("A worker that was taken for dead ends nothing any more", shown_by(TransportSuite.test_the_fence)),
    Row(
        "Priorities 0 to 9",
        shown_by(TransportSuite.test_larger_priorities_are_fetched_first),
        otherwise="in a `Queue(max_priority=)`",
    ),
    Row(
        "What a worker hands back keeps its place in the queue",
        shown_by(TransportSuite.test_a_returned_message_keeps_its_place),
    ),
    Row(
        "[Rate limits](rate-limits.md) over all processes",
        shown_by(TransportSuite.test_no_more_than_the_limit_is_lent, TransportSuite.test_no_window_has_more),
    ),
    Row(
        "[Concurrency limits](concurrency-limits.md) over all processes",
        shown_by(TransportSuite.test_no_more_than_the_limit_run_at_once, TransportSuite.test_every_end_frees_the_slot),
    ),
    Row(
        "[Groups](fairness.md) take turns in a queue, and in the line of a limit",
        shown_by(TransportSuite.test_groups_take_turns, TransportSuite.test_the_line_of_a_limit_has_lanes),
    ),
    Row("`asyncq queues` tells what is scheduled and running", {"counts_running": True}),
    Row("... and how long the oldest has waited", shown_by(TransportSuite.test_what_became_due_is_in_line)),
    Row("... and of what is ready, no copies and nothing cancelled", {"counts_calls": True}),
    Row("`asyncq workers`", shown_by(TransportSuite.test_members_are_seen_with_what_they_tell)),
]

COLUMNS: Mapping[str, Mapping[str, Broker]] = {
    "Memory": {"": MemoryBroker()},
    "SQLite": {"": SQLiteBroker()},
    "Redis": {"": RedisBroker()},
    "RabbitMQ": {"": RabbitMQBroker()},
    "RabbitMQ with a store": {
        "Redis": RabbitMQBroker(store="redis://localhost"),
        "SQLite": RabbitMQBroker(store="sqlite:///asyncq.db"),
    },
}
"""The brokers of each column; where it has several, by what they differ in."""


def table() -> str:
    """Return the table."""
    lines = [("", *COLUMNS), ("---", *[":---:"] * len(COLUMNS)), *_rows()]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)


def _rows() -> Iterator[Sequence[str]]:
    for row in ROWS:
        yield (
            row.asked,
            *(
                _together({name: row.cell(each.capabilities) for name, each in brokers.items()})
                for brokers in COLUMNS.values()
            ),
        )
    yield (
        "Installed by",
        *(_together({name: _extras(each) for name, each in brokers.items()}) for brokers in COLUMNS.values()),
    )


def _together(cells: Mapping[str, str]) -> str:
    """Return what is said of several brokers: the same of all, or a tick with the names of those that have it."""
    if len({*cells.values()}) == 1:
        return next(iter(cells.values()))
    return ", ".join(f"{cell} with {name}" for name, cell in cells.items() if cell != NO)


def _extras(broker: Broker) -> str:
    store = broker.store if isinstance(broker, RabbitMQBroker) else None
    kinds = [KINDS[type(each).__name__] for each in (broker, store) if each is not None]
    extras = ",".join(kind.extra for kind in kinds if kind.extra)
    return f"`asyncq[{extras}]`" if extras else "`asyncq`"


def written(page: str) -> str:
    """Return the page with the table that is true now."""
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n{table()}\n{END}{after}"


if __name__ == "__main__":
    PAGE.write_text(written(PAGE.read_text()))
