"""An open pull on the lanes of one actor: each is a consumer of its own on the server."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Mapping

from .lanes import Turns
from .pulls import TICK_S, OpenPull, Resolve
from .streams import Consumer
from .wire import (
    DESCRIPTION,
    PENDING,
    STANDING_S,
    STATUS,
    TOO_LARGE,
    Connection,
    Message,
    Receipt,
    at_once_request,
    knock_request,
    standing_request,
)

#: A request that is this much older than it may become was forgotten by the server.
_LATE_S = 3.0


class _Lane:
    """What is known of one lane, and what it was asked."""

    def __init__(self, consumer: Consumer) -> None:
        self.next = f"$JS.API.CONSUMER.MSG.NEXT.{consumer.stream}.{consumer.name}"
        #: Messages known to wait, besides those asked for.
        self.waiting = 0
        #: What each request still open may bring, the oldest first, and all of them together.
        self.open: deque[int] = deque()
        self.credit = 0
        #: Whether they are asked for until they come; if not, the server says at once what there is.
        self.stands = False
        self.asked_at = 0.0
        #: When a knock was sent that nobody has answered; 0: there is none.
        self.knocked_at = 0.0

    def asked(self, batch: int) -> None:
        """A request was sent."""
        self.open.append(batch)
        self.credit += batch

    def took(self, count: int) -> None:
        """So many messages came, or will not come."""
        # A request that was given up for lost may still be served: never below zero.
        while self.open and count:
            taken = min(self.open[0], count)
            self.open[0] -= taken
            self.credit -= taken
            count -= taken
            if not self.open[0]:
                self.open.popleft()

    def forget(self) -> None:
        """The server knows of no request any more."""
        self.open.clear()
        self.credit, self.knocked_at = 0, 0.0


class LanesPull(OpenPull):
    """Asks the lanes by turns while messages wait, and is told at once while none do. It never asks for too many.

    A lane is in one of three states:

    - *ready*: messages wait. When its turn comes, as many are asked for as there is room, at once or not at all.
    - *standing*: a request waits at the server, and a message comes without being asked for. The lanes that were used
      of late share the room.
    - *knocking*: a request that may bring one byte waits there. It can bring no message, and the server says so when
      there is one ("409 Message Size Exceeds MaxBytes"): the lane is ready, and nobody holds its message meanwhile.

    Standing requests leave half the room free, so that whoever knocks can come in, and are taken back when the other
    half does not suffice. The server serves knocks last: a message that another replica stands for wakes nobody else.
    """

    _within = ".*"

    def __init__(self, connection: Connection, consumer: Consumer, resolve: Resolve) -> None:
        super().__init__(connection, resolve)
        self._stands_s = consumer.asks_for_s(STANDING_S)
        lanes = consumer.each()
        self._lanes = [_Lane(lane) for lane in lanes]
        self._places = {lane.name: place for place, lane in enumerate(lanes)}
        self._turns = Turns()
        #: When each lane delivered last, the newest at the end.
        self._used: dict[int, float] = {}
        self._withdrawn_at = 0.0

    # ── Asking ───────────────────────────────────────────────────────────────────────────────────────────────────────

    def _asked(self) -> int:
        return sum(lane.credit for lane in self._lanes)

    async def _ask(self, room: int) -> None:
        held = self._asked() + len(self._arrived)
        free = room - held
        free -= await self._ask_ready(free, held <= room // 2)
        if free <= 0 and self._kept_from_work():
            await self._withdraw(room)
            free = room - len(self._arrived)
            free -= await self._ask_ready(free, True)
        await self._stand(room, free)
        for place, lane in enumerate(self._lanes):
            if not (lane.waiting or lane.credit or lane.knocked_at):
                lane.knocked_at = self._loop.time()
                await self._connection.publish(lane.next, knock_request(), f"{self._inbox}.k{place}")

    async def _ask_ready(self, free: int, more: bool) -> int:
        """Asks for what is known to wait, lane by lane, and returns for how much; with `more`, where it has asked, too.

        Half a room at a time: a request for every message would cost as much as the message.
        """
        lanes = enumerate(self._lanes)
        waiting = {place: lane.waiting for place, lane in lanes if lane.waiting and (more or not lane.credit)}
        batches: Counter[int] = Counter()
        while waiting and batches.total() < free:
            place = self._turns.next(waiting)
            batches[place] += 1
            waiting[place] -= 1
            if not waiting[place]:
                del waiting[place]
        for place, batch in batches.items():
            self._lanes[place].waiting -= batch
            await self._request(place, batch, stands=False)
        return batches.total()

    def _kept_from_work(self) -> bool:
        """Whether something waits in a lane while other lanes' standing requests, idle, have the room for it."""
        now = self._loop.time()
        if now < self._withdrawn_at + TICK_S or not any(lane.waiting for lane in self._lanes):
            return False
        idle = any(lane.stands and lane.credit and not lane.waiting for lane in self._lanes)
        self._withdrawn_at = now if idle else self._withdrawn_at
        return idle

    async def _stand(self, room: int, free: int) -> None:
        """Shares half the room between standing requests of the lanes that were used of late."""
        since = self._loop.time() - STANDING_S
        recent = [place for place in reversed(self._used) if self._used[place] > since]
        wanted = max(1, room // 2 // max(1, len(recent)))
        free = min(free, room // 2 - sum(lane.credit for lane in self._lanes if lane.stands))
        for place in recent:
            lane = self._lanes[place]
            if not lane.waiting and lane.credit <= wanted // 2 and (lane.stands or not lane.credit):
                batch = min(wanted - lane.credit, free)
                if batch <= 0:
                    return
                free -= batch
                await self._request(place, batch, stands=True)

    async def _request(self, place: int, batch: int, *, stands: bool) -> None:
        lane = self._lanes[place]
        lane.asked(batch)
        lane.stands = stands
        lane.asked_at = self._loop.time()
        request = standing_request(batch, self._stands_s) if stands else at_once_request(batch)
        await self._connection.publish(lane.next, request, f"{self._inbox}.{place}")

    def _forget(self) -> None:
        for lane in self._lanes:
            lane.forget()

    # ── Hearing ──────────────────────────────────────────────────────────────────────────────────────────────────────

    async def _on_message(self, message: Message) -> None:
        if message.reply:
            await self._on_delivery(message)
        else:
            token = message.subject.rpartition(".")[2]
            if token[0] == "k":
                self._on_knock(self._lanes[int(token[1:])], message.headers or {})
            else:
                self._on_end(self._lanes[int(token)], message.headers or {})
        self._wake()

    async def _on_delivery(self, message: Message) -> None:
        name, pending = Receipt.consumer_and_pending(message.reply)
        place = self._places[name]
        lane = self._lanes[place]
        lane.took(1)
        lane.waiting = max(0, pending - lane.credit)
        self._used.pop(place, None)
        self._used[place] = self._loop.time()
        await self._take(message)

    def _on_knock(self, lane: _Lane, headers: Mapping[str, str]) -> None:
        """409 and too large: a message waits. 408: none came. Anything else: the lane is not there now."""
        lane.knocked_at = 0.0
        if headers.get(DESCRIPTION) == TOO_LARGE:
            lane.waiting = max(lane.waiting, 1)
        elif headers.get(STATUS) != "408":
            self._pause(lane.next, headers)

    def _on_end(self, lane: _Lane, headers: Mapping[str, str]) -> None:
        """404 and 408: a request ended. Anything else: it was refused or broken off."""
        pending = headers.get(PENDING)
        lane.took(int(pending) if pending else lane.open[0] if lane.open else 0)
        if headers.get(STATUS) == "404":
            lane.waiting = 0  # another replica was first
        elif headers.get(STATUS) != "408":
            self._pause(lane.next, headers)

    def _look(self, now: float, *, busy: bool) -> None:
        if busy:
            return
        for lane in self._lanes:
            if lane.credit and now - lane.asked_at > _LATE_S + (self._stands_s if lane.stands else 0):
                lane.took(lane.credit)
            if lane.knocked_at and now - lane.knocked_at > STANDING_S + _LATE_S:
                lane.knocked_at = 0.0
