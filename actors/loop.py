"""The one loop that runs every actor: pull, handle, publish, settle."""

from __future__ import annotations

import asyncio
import datetime as dt
import logging
import time
from collections import OrderedDict
from collections.abc import Sequence
from enum import Enum
from typing import Any

from opentelemetry import trace
from opentelemetry.trace import SpanKind

from metier.topics import tracing
from metier.topics.bus import REPLY_TO, Bus, Delivery
from metier.topics.codec import decode, decode_any, encode
from metier.topics.errors import InvalidMessage
from metier.topics.messages import Control, Dead, Event, State
from metier.topics.outbox import Outbox, Output
from metier.topics.subjects import Subjects

from .actor import Actor
from .record import Record

log = logging.getLogger("metier.loop")

#: Tenant and task id.
Key = tuple[str, str]

#: Cancelled tasks an actor remembers, so that their later deliveries are not worked on.
CANCELLED_KEPT = 4096


class Settlement(Enum):
    """How a delivery ends."""

    ACK = "ack"
    NAK = "nak"
    TERM = "term"


class Loop:
    """Runs one actor on one bus. Every delivery is settled exactly once, in `_settle`.

    | Outcome                      | Published                        | Settled                 |
    |------------------------------|----------------------------------|-------------------------|
    | handled                      | what the handler returned        | ack                     |
    | bytes not understood         | `Dead`                           | term                    |
    | error                        | nothing                          | nak, later each time    |
    | error at the last attempt    | `Dead` and what `give_up` says   | term                    |
    | past its deadline, cancelled | what `give_up` says              | ack; no model is run    |
    | slow                         |                                  | in progress, repeatedly |
    | shutdown                     |                                  | nak, at once            |
    """

    def __init__(self, actor: Actor, bus: Bus, subjects: Subjects) -> None:
        self.actor = actor
        self.record = Record(actor.name)
        #: Set once the actor is open and pulls.
        self.working = asyncio.Event()
        self._bus = bus
        self._subjects = subjects
        self._outbox = Outbox(bus, subjects)
        self._running: dict[asyncio.Task[None], Delivery] = {}
        self._works_on: dict[asyncio.Task[None], Key] = {}
        self._cancelled: OrderedDict[Key, None] = OrderedDict()
        self._stopping = False
        self._pulling: asyncio.Task[None] | None = None
        self._room = asyncio.Event()
        template = actor.consumer.subject.removeprefix(f"{subjects.root}.")
        self._span = f"process {template}"
        self._attributes = {
            tracing.SYSTEM: "nats",
            tracing.OPERATION: "process",
            tracing.OPERATION_TYPE: "process",
            tracing.DESTINATION: template,
            tracing.CONSUMER: actor.name,
        }

    # ── A loop's life ────────────────────────────────────────────────────────────────────────────────────────────────

    async def run(self) -> None:
        """Opens the actor and works until `stop`. An error here is the loop's own and ends it."""
        await self.actor.open()
        try:
            async with asyncio.TaskGroup() as group:
                sides = [group.create_task(self._listen()), group.create_task(self._beat())]
                self._pulling = group.create_task(self._pull())
                await asyncio.wait((self._pulling,))
                while self._running:
                    await asyncio.wait(self._running)
                for side in sides:
                    side.cancel()
        finally:
            await self.actor.close()

    async def stop(self, grace_s: float) -> None:
        """Stops pulling, waits for running work as long as the grace, hands the rest back."""
        self._stopping = True
        if self._pulling:
            self._pulling.cancel()
        if self._running:
            await asyncio.wait(self._running, timeout=grace_s)
        for task in list(self._running):
            task.cancel()
        while self._running:
            await asyncio.wait(self._running)

    async def _pull(self) -> None:
        async with self._bus.pull(self.actor.consumer) as pull:
            self.working.set()
            while not self._stopping:
                room = self.actor.concurrency - len(self._running)
                if room <= 0:
                    self._room.clear()
                    await self._room.wait()
                    continue
                for delivery in await pull.fetch(room):
                    self._start(delivery)

    def _start(self, delivery: Delivery) -> None:
        task = asyncio.create_task(self._settle(delivery))
        self._running[task] = delivery
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._running.pop(task, None)
        self._works_on.pop(task, None)
        self._room.set()
        if not task.cancelled() and (error := task.exception()):
            log.error("settling failed; the message comes again", extra={"action": "settle_error"}, exc_info=error)

    # ── One delivery ─────────────────────────────────────────────────────────────────────────────────────────────────

    async def _settle(self, delivery: Delivery) -> None:
        began = time.perf_counter()
        settlement = Settlement.NAK
        try:
            with tracing.tracer.start_as_current_span(
                self._span,
                context=tracing.extract(delivery.headers),
                kind=SpanKind.CONSUMER,
                attributes=self._attributes,
            ):
                settlement = await self._work(delivery)
        finally:
            self.record.took(time.perf_counter() - began, settlement is Settlement.ACK)
            match settlement:
                case Settlement.ACK:
                    await delivery.ack()
                case Settlement.TERM:
                    await delivery.term()
                case Settlement.NAK:
                    await delivery.nak(0 if self._stopping else pause_s(delivery.attempt))

    async def _work(self, delivery: Delivery) -> Settlement:
        try:
            message = decode_any(delivery.payload, self.actor.accepts, delivery.headers)
        except InvalidMessage as error:
            log.warning("buried: %s", error, extra={"action": "bury"})
            await self._outbox.send([self._dead(delivery, str(error))])
            return Settlement.TERM
        if delivery.attempt > self.actor.consumer.max_attempts:
            return await self._bury(message, delivery, "every attempt ended without a word: its process died each time")
        try:
            outputs = await self._outputs(message, delivery)
            await self._outbox.send(outputs)
            self.record.used(outputs)
        except Exception as error:  # noqa: BLE001 - whatever it is, it is told, tried again and buried at last
            log.warning("attempt %d failed: %s", delivery.attempt, error, extra={"action": "attempt_error"})
            _blame(error)
            if delivery.attempt < self.actor.consumer.max_attempts:
                return Settlement.NAK
            return await self._bury(message, delivery, f"{type(error).__name__}: {error}")
        return Settlement.ACK

    async def _outputs(self, message: Any, delivery: Delivery) -> Sequence[Output]:
        """What a message leads to, within its deadline and unless it is cancelled."""
        key, this = (message.tenant, message.task_id), asyncio.current_task()
        if key in self._cancelled:
            return self.actor.give_up(message, delivery, State.CANCELLED, "cancelled")
        deadline = self.actor.deadline(message, delivery)
        left_s = (deadline - dt.datetime.now(dt.UTC)).total_seconds() if deadline else None
        if left_s is not None and left_s <= 0:
            return self.actor.give_up(message, delivery, State.EXPIRED, "its deadline passed before work began")
        if this:
            self._works_on[this] = key
        try:
            if left_s is None:
                return await self.actor.handle(message, delivery, self._tell)
            async with asyncio.timeout(left_s):
                return await self.actor.handle(message, delivery, self._tell)
        except TimeoutError:
            if left_s is None or (deadline and dt.datetime.now(dt.UTC) < deadline):
                raise
            return self.actor.give_up(message, delivery, State.EXPIRED, "its deadline passed")
        except asyncio.CancelledError:
            if key not in self._cancelled or not this:
                raise
            this.uncancel()
            return self.actor.give_up(message, delivery, State.CANCELLED, "cancelled")

    async def _bury(self, message: Any, delivery: Delivery, reason: str) -> Settlement:
        dead = self._dead(delivery, reason)
        await self._outbox.send([dead, *self.actor.give_up(message, delivery, State.FAILED, reason)])
        return Settlement.TERM

    def _dead(self, delivery: Delivery, reason: str) -> Dead:
        return Dead(
            actor=self.actor.name,
            reason=reason,
            subject=self._subjects.published(delivery.subject),
            payload=delivery.payload,
            headers=dict(delivery.headers),
            attempts=delivery.attempt,
        )

    async def _tell(self, event: Event) -> None:
        await self._outbox.emit(event)

    # ── Beside the deliveries ────────────────────────────────────────────────────────────────────────────────────────

    async def _beat(self) -> None:
        """Says of every running delivery that it is in progress, every third of the ack wait."""
        while True:
            await asyncio.sleep(self.actor.consumer.ack_wait_s / 3)
            for delivery in list(self._running.values()):
                await delivery.in_progress()

    async def _listen(self) -> None:
        """Hears what is said to all actors."""
        async with self._bus.subscribe(self._subjects.everything("control")) as words:
            async for word in words:
                try:
                    control = decode(word.payload, Control, word.headers)
                except InvalidMessage as error:
                    log.warning("not understood: %s", error, extra={"action": "control_error"})
                    continue
                if control.verb == "cancel":
                    await self._cancel(control)
                elif reply_to := word.headers.get(REPLY_TO):
                    presence = self.record.presence(self.actor, len(self._running))
                    await self._bus.emit(reply_to, encode(presence))

    async def _cancel(self, control: Control) -> None:
        key = (control.tenant, control.task_id)
        self._cancelled[key] = None
        if len(self._cancelled) > CANCELLED_KEPT:
            self._cancelled.popitem(last=False)
        for task, works_on in list(self._works_on.items()):
            if works_on == key:
                task.cancel()
        await self._outbox.send(await self.actor.cancel(control))


def pause_s(attempt: int) -> float:
    """How long a message rests after its n-th failed attempt, in seconds: 0.25, 0.5, 1 … at most 15."""
    return float(min(0.25 * 2 ** (attempt - 1), 15.0))


def _blame(error: Exception) -> None:
    span = trace.get_current_span()
    span.record_exception(error)
    span.set_status(trace.StatusCode.ERROR, str(error))
