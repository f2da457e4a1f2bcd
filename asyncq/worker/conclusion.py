"""The conclusion of a run: which settlement follows from what a task returned or raised. No I/O here."""

import logging
from collections.abc import Callable, Sequence
from random import Random
from typing import Any

from asyncq.backoff import Backoff
from asyncq.broker import Broker
from asyncq.context import log_facts
from asyncq.errors import (
    AsyncqError,
    DecodeError,
    Reject,
    Snooze,
    TaskExpired,
    UnknownTask,
)
from asyncq.failure import Failure, failure_of, text_of
from asyncq.message import MAX_SECONDS, Message, PastAttempt, amended, decode_message
from asyncq.result import Status, encode_record, record_of
from asyncq.transport import SUSPECT_CRASHES, Again, Dead, Delivery, Done, Envelope, Outcome, Settlement
from asyncq.worker.aftermath import follow_ups
from asyncq.worker.answers import Encoded
from asyncq.worker.raised import RemoteError, is_allowed, is_never, kind_of, recorded, signal_in, type_name
from asyncq.worker.run import Run, check_size, keeps_result, policy_of, ttl_ms

logger = logging.getLogger("asyncq.worker")

MAX_DOUBT = 30.0
"""Longest time that those who were taken for dead have to say that they are not, before a call is put aside."""

_AFTER_CRASHES = Backoff(delay=1.0, max_delay=60.0)

MAX_HISTORY = 20
"""Past attempts that a message carries along: the latest."""

MAX_HISTORY_TEXT = 500
"""Characters of a past attempt's error that are kept."""


class Conclusions:
    """Draws conclusions for one worker.

    Args:
        broker: whose tasks and limits hold.
        worker: the name that results carry.
        now_ms: the time by the server's clock.
        lease: seconds after which a silent worker is taken for dead.

    Attributes:
        dead: how many went to the dead letters.
    """

    def __init__(self, broker: Broker, worker: str, now_ms: Callable[[], int], *, lease: float) -> None:
        self._broker = broker
        self._worker = worker
        self._now_ms = now_ms
        self._lease = lease
        self._random = Random()
        self.dead = 0

    def run_of(self, delivery: Delivery, message: Message) -> Run:
        """Return the run that this delivery asks for. Raises UnknownTask and DecodeError."""
        task = self._broker.tasks.find(message.task)
        return Run(delivery, message, task, policy_of(task, message), self._now_ms())

    def succeeded(self, run: Run, value: object) -> Settlement:
        """Conclude from what the task returned; a value that cannot travel is a failure that no retry mends."""
        if not keeps_result(run.task, run.message):
            return Done(run.delivery, Outcome(None, reply=run.message.reply))
        try:
            sent = value.json() if isinstance(value, Encoded) else run.task.returned.encode(value)
            record = self._record(run, Status.SUCCEEDED, value=sent)
            check_size(run.task, len(record), self._broker.max_result_size)
        except (TypeError, ValueError, RemoteError) as error:
            return self._dead(run, error, "its result cannot be kept")
        return Done(run.delivery, Outcome(record, ttl_ms(run), run.message.reply))

    def failed(self, run: Run, error: BaseException) -> Settlement:
        """Conclude from what the task raised: a signal, a retry, or the end."""
        attempts = run.attempts
        signal = signal_in(error)
        if is_never(error, run.policy):
            return self._dead(run, error, f"{kind_of(error)} is never tried again")
        if isinstance(signal, Reject):
            reason = text_of(signal.reason)
            rejection = error if isinstance(error, RemoteError) else signal
            return self._dead(run, rejection, f"rejected: {reason}" if reason else "rejected")
        if isinstance(signal, Snooze):
            return Again(run.delivery, self._started(run), self._after(signal.delay))
        if run.policy is None:
            return self._dead(run, error, "it failed, and has no retries")
        if signal is None and not is_allowed(error, run.policy):
            return self._dead(run, error, f"{kind_of(error)} is not tried again")
        if attempts >= run.policy.max_attempts:
            return self._dead(run, error, f"attempt {attempts} of {run.policy.max_attempts} failed")
        delay = signal.delay if signal is not None else None
        return self._again(run, error, run.policy.seconds_after(attempts, self._random) if delay is None else delay)

    def poisonous(self, run: Run) -> Settlement:
        """Conclude that nobody is to run the call any more, because whoever does dies of it.

        Not at once: whose lease has run out may be cut off and alive, and will say so when it is back.
        """
        crashes = run.delivery.crashes
        if run.delivery.is_doubtful and run.message.condemned != crashes:
            seconds = min(2 * self._lease, MAX_DOUBT)
            return self._put_off(run, seconds, f"may be poison, and is put aside if none is back within {seconds:g} s")
        text = f"{crashes} processes have died while they ran it (max_crashes)."
        return self._buried(run, Failure("asyncq.errors:TaskFailed", text, ["Poison", text]), f"poison: {text}")

    def must_rest(self, run: Run) -> bool:
        """Tell whether the call, which may crash as often as it likes, has to wait before it is run again."""
        return run.delivery.crashes > SUSPECT_CRASHES and run.message.condemned < run.delivery.crashes

    def resting(self, run: Run) -> Settlement:
        """Conclude that the call waits, longer after each crash: else it would do nothing but start processes."""
        seconds = _AFTER_CRASHES.seconds(run.delivery.crashes - SUSPECT_CRASHES, self._random)
        return self._put_off(run, seconds, f"runs again in {seconds:.3g} s, as its max_crashes says")

    def expired(self, run: Run) -> Settlement:
        """Conclude that the call came too late."""
        text = f"{run.task.name!r} was not started before it expired."
        failure = Failure(f"{TaskExpired.__module__}:TaskExpired", text, ["TaskExpired", text])
        record = record_of(run.message, Status.EXPIRED, error=failure, finished_ms=run.started_ms, worker=self._worker)
        return Done(run.delivery, self._outcome(run, encode_record(record)))

    def undeliverable(
        self, delivery: Delivery, message: Message | None, run: Run | None, error: AsyncqError
    ) -> Settlement:
        """Conclude that a message cannot be run here at all: to the dead letters, with the reason.

        Args:
            delivery: what was delivered.
            message: what it says; None where it cannot be read.
            run: what it asks for; None where that is not known.
            error: what is wrong with it.
        """
        about = message or Message(v=1, id=delivery.id, task="", queue=delivery.queue)
        kind = "unknown task" if isinstance(error, UnknownTask) else "cannot be decoded"
        logger.error(
            "%s %s goes to the dead letters: %s", about.task or "A message", delivery.id, error, extra=log_facts(about)
        )
        failure, reason = failure_of(error), f"{kind}: {text_of(error)}"
        attempts, now_ms = about.attempt, self._now_ms()
        record = encode_record(
            record_of(about, Status.FAILED, error=failure, attempts=attempts, finished_ms=now_ms, worker=self._worker)
        )
        is_kept = self._broker.keeps_result(about)
        outcome = Outcome(record if is_kept else None, self._broker.result_ttl_ms(about), about.reply)
        then = follow_ups(run, failure, reason, attempts=attempts, worker=self._worker, now_ms=now_ms) if run else ()
        return self._letter(delivery, outcome, reason, record, then)

    def inconclusive(self, delivery: Delivery, fault: BaseException) -> Settlement:
        """Conclude that no conclusion can be drawn, because what the message or the user's code gave broke its making.

        A worker does not die of a message: with nothing of that, not even its labels, it goes to the dead letters.
        """
        about = Message(v=1, id=delivery.id, task="", queue=delivery.queue)
        text = f"asyncq could not conclude from its run: {type(fault).__name__}: {text_of(fault)}"
        logger.critical("%s goes to the dead letters: %s", delivery.id, text, extra=log_facts(about), exc_info=fault)
        failure = Failure("asyncq.errors:DecodeError", text, [text])
        record = encode_record(record_of(about, Status.FAILED, error=failure, worker=self._worker))
        outcome = Outcome(record, self._broker.result_ttl_ms(about), _reply_in(delivery))
        return self._letter(delivery, outcome, text, record)

    def _again(self, run: Run, error: BaseException, delay: float) -> Settlement:
        logger.warning(
            "%s %s failed (attempt %d); again in %.3g s: %s: %s",
            run.task.name,
            run.message.id,
            run.message.attempt + 1,
            delay,
            kind_of(error),
            text_of(error),
            extra=log_facts(run.message),
        )
        attempt = run.message.attempt + 1
        due_ms = self._after(delay)
        body = amended(run.delivery.body, attempt=attempt, due_ms=due_ms, history=self._history(run, error))
        return Again(run.delivery, body, due_ms)

    def _put_off(self, run: Run, seconds: float, why: str) -> Settlement:
        """Let a call that has crashed wait, once for each number of crashes."""
        crashes = run.delivery.crashes
        logger.warning(
            "%s %s, of which %d processes have died, %s.",
            run.task.name,
            run.message.id,
            crashes,
            why,
            extra=log_facts(run.message),
        )
        return Again(run.delivery, amended(run.delivery.body, condemned=crashes), self._after(seconds))

    def _history(self, run: Run, error: BaseException) -> list[PastAttempt]:
        latest = PastAttempt(
            number=run.message.attempt + 1,
            error=type_name(error),
            message=text_of(error)[:MAX_HISTORY_TEXT],
            started_ms=run.started_ms,
            finished_ms=self._now_ms(),
            worker=self._worker,
        )
        return [*run.message.history, latest][-MAX_HISTORY:]

    def _started(self, run: Run) -> bytes:
        """Return the body for a run that uses no attempt: its call has started, and so it cannot expire any more."""
        return amended(run.delivery.body, expires_ms=0) if run.message.expires_ms else run.delivery.body

    def _after(self, delay: float) -> int:
        return self._now_ms() + round(min(delay, MAX_SECONDS) * 1000)

    def _dead(self, run: Run, error: BaseException, reason: str) -> Settlement:
        return self._buried(run, recorded(error), reason, error)

    def _buried(self, run: Run, failure: Failure, reason: str, error: BaseException | None = None) -> Settlement:
        logger.error(
            "%s %s failed for good: %s",
            run.task.name,
            run.message.id,
            reason,
            extra=log_facts(run.message),
            exc_info=None if error is None else (type(error), error, error.__traceback__),
        )
        record = self._record(run, Status.FAILED, error=failure)
        then = follow_ups(run, failure, reason, attempts=run.attempts, worker=self._worker, now_ms=self._now_ms())
        return self._letter(run.delivery, self._outcome(run, record), reason, record, then)

    def _letter(
        self, delivery: Delivery, outcome: Outcome, reason: str, record: bytes, then: Sequence[Envelope] = ()
    ) -> Dead:
        self.dead += 1
        return Dead(delivery, outcome, reason, self._broker.dead_letter_ttl_ms, then, record)

    def _record(self, run: Run, status: Status, *, value: Any = None, error: Failure | None = None) -> bytes:
        return encode_record(
            record_of(
                run.message,
                status,
                value=value,
                error=error,
                attempts=run.attempts,
                started_ms=run.started_ms,
                finished_ms=self._now_ms(),
                worker=self._worker,
            )
        )

    def _outcome(self, run: Run, record: bytes) -> Outcome:
        if not keeps_result(run.task, run.message):
            return Outcome(None, reply=run.message.reply)
        return Outcome(record, ttl_ms(run), run.message.reply)


def _reply_in(delivery: Delivery) -> str:
    try:
        return decode_message(delivery.body).reply
    except DecodeError:
        return ""
