"""The executor: runs deliveries, each as an asyncio task of its own, and passes on what follows from it."""

import asyncio
import logging
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import Any

import msgspec

from asyncq.broker import Broker
from asyncq.context import Context, current_loan, enter_context, log_facts
from asyncq.errors import DecodeError, MessageError
from asyncq.failure import text_of
from asyncq.message import Message, decode_message
from asyncq.transport import SUSPECT_CRASHES, Delivery, Return, Settlement
from asyncq.worker.calling import Caller, ProcessDied
from asyncq.worker.conclusion import Conclusions
from asyncq.worker.progress import ProgressReporter
from asyncq.worker.raised import signal_in
from asyncq.worker.run import Run
from asyncq.worker.slots import SlotLoan, Slots

logger = logging.getLogger("asyncq.worker")


class Executor:
    """Runs what is delivered. Nothing that user code raises leaves it; a failing task disturbs no other.

    Args:
        broker: whose tasks they are.
        slots: what bounds them.
        conclusions: what follows from a run.
        caller: calls their functions.
        settle: takes the settlement of each.
        reporter: takes their progress.
        group: owns the asyncio tasks.
    """

    def __init__(
        self,
        broker: Broker,
        slots: Slots,
        conclusions: Conclusions,
        caller: Caller,
        settle: Callable[[Settlement], None],
        reporter: ProgressReporter,
        group: asyncio.TaskGroup,
    ) -> None:
        self._broker = broker
        self._slots = slots
        self._settle = settle
        self._reporter = reporter
        self._conclusions = conclusions
        self._caller = caller
        self._group = group
        self._lined: dict[str, Delivery] = {}
        self._severed: set[str] = set()
        self._runs: dict[asyncio.Task[None], Delivery] = {}
        self._suspects: dict[str, SlotLoan | None] = {}  # None: it stands in line
        self._is_stopping = False

    @property
    def running(self) -> int:
        """How many runs have not ended, those that wait for another task included."""
        return len(self._runs)

    @property
    def held(self) -> Sequence[Delivery]:
        """What was started and is not handed to be settled yet."""
        return [*self._runs.values(), *self._lined.values()]

    @property
    def has_suspect(self) -> bool:
        """Whether a suspect is here that gives way to no other; also one of whom a thread is left that was given up."""
        if not self._suspects:
            return False
        self._suspects = {token: loan for token, loan in self._suspects.items() if loan is None or not loan.has_ended}
        return any(loan is None or not loan.gives_way for loan in self._suspects.values())

    def name_of(self, run: "asyncio.Task[Any]") -> str | None:
        """Return name and id of the call that an asyncio task runs, None where it runs none. From any thread."""
        delivery = self._runs.get(run)
        if delivery is None:
            return None
        try:
            return f"{decode_message(delivery.body).task} {delivery.id}"
        except DecodeError:
            return delivery.id

    def start(self, delivery: Delivery) -> None:
        """Run a delivery, as soon as there is a slot."""
        if delivery.crashes >= SUSPECT_CRASHES:
            self._suspects[delivery.token] = None
        if not self._slots.enter(delivery.queue, partial(self._begin, delivery)):
            self._lined[delivery.token] = delivery

    def sever(self, tokens: Sequence[str]) -> None:
        """Cancel the runs of deliveries whose calls were withdrawn, each once: nobody wants their ends any more."""
        severed = ({delivery.token for delivery in self.held} & set(tokens)) - self._severed
        self._severed |= severed
        for run, delivery in self._runs.items():
            if delivery.token in severed and not self._is_stopping:  # then it is cancelled anyway, and may clean up
                run.cancel("the call was cancelled")

    async def wait_idle(self) -> None:
        """Wait until no run is left."""
        while self._runs:
            await self._slots.wait_freed()

    def close(self) -> None:
        """Start nothing more; from now on, a cancellation is the worker's and hands the run back."""
        self._is_stopping = True
        self._slots.forget_line()
        self._caller.close()

    def cancel(self) -> None:
        """Cancel what runs and hand it back. May be called again for those that did not listen."""
        self.close()
        for run in self._runs:
            run.cancel("the worker is stopping")

    def _begin(self, delivery: Delivery) -> None:
        if self._lined:
            self._lined.pop(delivery.token, None)
        if self._is_stopping or delivery.token in self._severed:
            self._forgo(delivery)
            return
        run = self._group.create_task(self._run(delivery), name=delivery.id)
        self._runs[run] = delivery
        run.add_done_callback(self._ended)

    def _ended(self, run: asyncio.Task[None]) -> None:
        delivery = self._runs.pop(run)
        if run.cancelled():  # before its first step
            self._forgo(delivery)
        if self._severed:
            self._severed.discard(delivery.token)  # in the moment of its end
        self._slots.tell()

    def _forgo(self, delivery: Delivery) -> None:
        """Hand back what was given a slot and has not begun."""
        self._suspects.pop(delivery.token, None)
        self._is_wanted(delivery)
        self._slots.leave(delivery.queue)
        self._settle(Return(delivery))

    def _is_wanted(self, delivery: Delivery) -> bool:
        """Tell whether the end of a delivery is wanted still, and forget it if not."""
        if delivery.token not in self._severed:
            return True
        self._severed.remove(delivery.token)
        logger.info("%s was cancelled.", delivery.id, extra={"task_id": delivery.id, "queue": delivery.queue})
        return False

    async def _run(self, delivery: Delivery) -> None:
        loan = SlotLoan(self._slots, delivery.queue)
        if delivery.crashes >= SUSPECT_CRASHES:
            self._suspects[delivery.token] = loan
        try:
            settlement = await self._settlement(delivery, loan)
        except asyncio.CancelledError:
            settlement = Return(delivery)  # only our own cancellation comes this far
        except BaseException as fault:  # what users give is in every step: converters, texts, comparisons
            settlement = self._conclusions.inconclusive(delivery, fault)
        if self._severed and not self._is_wanted(delivery):
            settlement = Return(delivery)  # takes no effect, unless a failover has undone the withdrawal: it runs again
        loan.end()
        self._settle(settlement)

    async def _settlement(self, delivery: Delivery, loan: SlotLoan) -> Settlement:
        message: Message | None = None
        run: Run | None = None
        try:
            message = decode_message(delivery.body)
            run = self._conclusions.run_of(delivery, message)
            if run.is_expired:
                return self._conclusions.expired(run)
            if delivery.crashes and run.is_poison:
                return self._conclusions.poisonous(run)
            if delivery.crashes and self._conclusions.must_rest(run):
                return self._conclusions.resting(run)
            args, kwargs = run.task.arguments.decode(message.args, message.kwargs)
            if run.task.terms.is_limited and not delivery.has_terms:  # from a producer that knows of no limit
                terms = run.task.terms.completed(message.terms, args, kwargs)
                return Return(delivery, terms=msgspec.structs.replace(terms, expires_ms=run.expires_ms))
        except MessageError as error:
            return self._conclusions.undeliverable(delivery, message, run, error)
        except Exception as error:  # a converter of the user's own types, say
            text = f"{type(error).__name__}: {text_of(error)}"
            return self._conclusions.undeliverable(delivery, message, run, DecodeError(text))
        context = Context(message, self._broker, self._reporter.report)
        for name in run.task.injected:
            kwargs[name] = context
        enter_context(context)
        current_loan.set(loan)
        if run.task.declared.local_concurrency is not None:
            await loan.take_turn(self._slots.turns(run.task.name, run.task.declared.local_concurrency))
        settlement = await self._attempt(run, context, loan, args, kwargs)
        if context.has_reported:
            # The run has ended: a worker that stops just now loses the last progress, not the result.
            with suppress(asyncio.CancelledError):
                await self._reporter.flush(context)
        return settlement

    async def _attempt(self, run: Run, context: Context, loan: SlotLoan, args: Any, kwargs: Any) -> Settlement:
        """Call the function and conclude from what it does. Everything it can raise is caught here."""
        try:
            value = await self._caller.call(run, context, loan, args, kwargs)
        except asyncio.CancelledError as error:
            if self._is_stopping or run.delivery.token in self._severed:
                raise
            # The task's own doing. If it cancelled itself, what follows here must not be cancelled with it.
            own = asyncio.current_task()
            while own is not None and own.cancelling():
                own.uncancel()
            return self._conclusions.failed(run, error)
        except ProcessDied as death:
            logger.error(  # noqa: TRY400 - of the process, nothing of ours is to be shown
                "%s %s: the process that ran it %s.",
                run.task.name,
                run.message.id,
                death,
                extra=log_facts(run.message),
            )
            return Return(run.delivery, is_crash=True)
        except BaseException as error:
            if run.delivery.token in self._severed or (self._is_cancelled() and signal_in(error) is None):
                return Return(run.delivery)  # an error on the way out, which says nothing about the call
            return self._conclusions.failed(run, error)
        return self._conclusions.succeeded(run, value)

    def _is_cancelled(self) -> bool:
        own = asyncio.current_task()
        return self._is_stopping and own is not None and own.cancelling() > 0
