"""The executor: runs deliveries, each as an asyncio task of its own, and passes on what follows from it."""

import asyncio
import logging
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import Any

from asyncq.broker import Broker
from asyncq.context import Context, current_loan, enter_context, log_facts
from asyncq.errors import DecodeError, MessageError
from asyncq.message import Message, decode_message
from asyncq.result import text_of
from asyncq.tasks import Task
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

    Attributes:
        suspects: how many of the deliveries here are suspects.

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
        self._held: dict[str, Delivery] = {}
        self._severed: set[str] = set()
        self._runs: dict[asyncio.Task[None], Delivery] = {}
        self.suspects = 0
        self._turns: dict[str, asyncio.Semaphore] = {}
        self._is_stopping = False
        self._finished = asyncio.Event()

    @property
    def running(self) -> int:
        """How many runs have not ended, those that wait for another task included."""
        return len(self._runs)

    @property
    def held(self) -> Sequence[Delivery]:
        """What was started and is not handed to be settled yet."""
        return list(self._held.values())

    def start(self, delivery: Delivery) -> None:
        """Run a delivery, as soon as there is a slot."""
        self._held[delivery.token] = delivery
        if delivery.crashes >= SUSPECT_CRASHES:
            self.suspects += 1
        self._slots.enter(delivery.queue, partial(self._begin, delivery))

    def sever(self, ids: Sequence[str]) -> None:
        """Cancel what runs of calls that were withdrawn: nobody wants their ends any more.

        It may name one that was published anew meanwhile. So what is cancelled is handed back all the same: of a call
        that was withdrawn that takes no effect, and the new one runs again.
        """
        wanted = set(ids)
        self._severed |= {token for token, delivery in self._held.items() if delivery.id in wanted}
        for run, delivery in self._runs.items():
            if delivery.token in self._severed and run.cancelling() == 0:
                run.cancel("the call was cancelled")

    def forget_severed(self, delivery: Delivery) -> bool:
        """Tell whether a delivery was severed, once: its settlement has taken no effect, and should not have."""
        is_severed = delivery.token in self._severed
        self._severed.discard(delivery.token)
        return is_severed

    async def wait_finished(self) -> None:
        """Wait until another run has ended, or none is running."""
        self._finished.clear()
        if self._runs:
            await self._finished.wait()

    async def wait_idle(self) -> None:
        """Wait until no run is left."""
        while self._runs:
            await self.wait_finished()

    def close(self) -> None:
        """Start nothing more; from now on, a cancellation is the worker's and hands the run back."""
        self._is_stopping = True
        self._caller.close()

    def cancel(self) -> None:
        """Cancel what runs and hand it back. May be called again for those that did not listen."""
        self.close()
        for run in self._runs:
            run.cancel("the worker is stopping")

    def _begin(self, delivery: Delivery) -> None:
        if self._is_stopping or delivery.token in self._severed:
            self._hand_back(delivery)
            return
        run = self._group.create_task(self._run(delivery), name=delivery.id)
        self._runs[run] = delivery
        run.add_done_callback(self._ended)

    def _ended(self, run: asyncio.Task[None]) -> None:
        delivery = self._runs.pop(run)
        if run.cancelled():  # before its first step: later on it catches that itself
            self._hand_back(delivery)
        self._finished.set()

    def _hand_back(self, delivery: Delivery) -> None:
        """Return what has a slot and has not begun."""
        self._let_go(delivery)
        self._slots.leave(delivery.queue)
        self._settle(Return(delivery))

    def _let_go(self, delivery: Delivery) -> None:
        del self._held[delivery.token]
        if delivery.crashes >= SUSPECT_CRASHES:
            self.suspects -= 1

    async def _run(self, delivery: Delivery) -> None:
        loan = SlotLoan(self._slots, delivery.queue)
        try:
            settlement = await self._settlement(delivery, loan)
        except asyncio.CancelledError:
            settlement = Return(delivery)  # only our own cancellation comes this far
        except BaseException as fault:  # what users give is in every step: converters, texts, comparisons
            settlement = self._conclusions.inconclusive(delivery, fault)
        self._let_go(delivery)
        loan.end()
        self._settle(settlement)

    async def _settlement(self, delivery: Delivery, loan: SlotLoan) -> Settlement:
        message: Message | None = None
        try:
            message = decode_message(delivery.body)
            run = self._conclusions.run_of(delivery, message)
            self._name(message)
            if self._conclusions.is_expired(run):
                return self._conclusions.expired(run)
            if delivery.crashes and run.is_poison:
                return self._conclusions.poisonous(run)
            args, kwargs = run.task.arguments.decode(message.args, message.kwargs)
        except MessageError as error:
            return self._conclusions.undeliverable(delivery, message, error)
        except Exception as error:  # a converter of the user's own types, say
            text = f"{type(error).__name__}: {text_of(error)}"
            return self._conclusions.undeliverable(delivery, message, DecodeError(text))
        context = Context(message, self._broker, self._reporter.report)
        for name in run.task.injected:
            kwargs[name] = context
        enter_context(context)
        current_loan.set(loan)
        if run.task.declared.local_concurrency is not None:
            await loan.take_turn(self._turn(run.task))
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

    def _name(self, message: Message) -> None:
        """Name the asyncio task after the call: the heartbeat says by this name what blocks the loop."""
        own = asyncio.current_task()
        if own is not None:
            own.set_name(f"{message.task} {message.id}")

    def _turn(self, task: Task[..., Any]) -> asyncio.Semaphore:
        limit = task.declared.local_concurrency or self._slots.total
        return self._turns.setdefault(task.name, asyncio.Semaphore(limit))
