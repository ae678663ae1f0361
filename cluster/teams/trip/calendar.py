"""A calendar in one .ics file (RFC 5545), which other programs may read and write too."""

from __future__ import annotations

import asyncio
import datetime as dt
import fcntl
import hashlib
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from zoneinfo import ZoneInfo

import icalendar
import msgspec

from metier.actors.tools.base import Request
from metier.topics.errors import ToolFailed

from .provider import clock, date_text

TOOL = "calendar"
MODE = 0o600


class Event(msgspec.Struct, frozen=True, kw_only=True, tag="event"):
    """Something with a time."""

    #: UID in the file: the same for every delivery of the same request.
    id: str
    title: str
    starts: dt.datetime
    ends: dt.datetime
    place: str | None = None

    @classmethod
    def planned(
        cls, title: str, day: dt.date, start: dt.time, duration: dt.timedelta, place: str | None, request: Request
    ) -> Event:
        """The event a request asks for. Raises ToolFailed for a time its time zone skips that day."""
        zone = ZoneInfo(request.context.time_zone)
        starts = dt.datetime.combine(day, start, zone)
        ends = (starts.astimezone(dt.UTC) + duration).astimezone(zone)
        if starts.astimezone(dt.UTC).astimezone(zone).replace(tzinfo=None) != starts.replace(tzinfo=None):
            raise ToolFailed(
                tool=TOOL,
                reason=f"{clock(start)} does not exist on {date_text(day)} in {zone}: the clocks go forward",
            )
        title = title[:1].upper() + title[1:]
        uid = request.id or hashlib.sha256(f"{title}|{starts}|{ends}|{place}".encode()).hexdigest()[:32]
        return cls(id=f"{uid}@metier", title=title, starts=starts, ends=ends, place=place)

    def __str__(self) -> str:
        later = (self.ends.date() - self.starts.date()).days
        times = f"{clock(self.starts)}-{clock(self.ends)}" + (f"+{later}" if later else "")
        place = f", {self.place}" if self.place else ""
        return f"In the calendar: {self.title}, {date_text(self.starts.date())}, {times}{place}"


class Calendar:
    """The events of one file. Safe for several processes: a lock beside it, and a new file put in its place."""

    def __init__(self, path: str) -> None:
        self.path = Path(path)

    async def add(self, event: Event) -> Event:
        """Writes an event once; one with the same id that is there already stays as it is, and is returned.

        Raises ToolFailed if the file cannot be read or written.
        """
        try:
            return await asyncio.to_thread(self._add, event)
        except (OSError, ValueError) as error:
            raise ToolFailed(tool=TOOL, reason=f"{self.path} cannot be read or written: {error}") from error

    async def events(self) -> list[Event]:
        """Every timed event of the file, earliest first. Raises ToolFailed if it cannot be read."""
        try:
            known = await asyncio.to_thread(self._read)
        except (OSError, ValueError) as error:
            raise ToolFailed(tool=TOOL, reason=f"{self.path} cannot be read: {error}") from error
        timed = [_event(found) for found in known.events if isinstance(found.DTSTART, dt.datetime)]
        return sorted(timed, key=lambda event: event.starts.astimezone(dt.UTC))

    def _add(self, event: Event) -> Event:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self._locked():
            known = self._read()
            for found in known.events:
                if found.uid == event.id:
                    return _event(found)
            known.add_component(
                icalendar.Event.new(
                    uid=event.id,
                    summary=event.title,
                    start=event.starts,
                    end=event.ends,
                    location=event.place,
                    stamp=dt.datetime.now(dt.UTC),
                )
            )
            known.add_missing_timezones()
            self._write(known.to_ical())
        return event

    def _read(self) -> icalendar.Calendar:
        try:
            content = self.path.read_bytes()
        except FileNotFoundError:
            return icalendar.Calendar.new(prodid="-//Metier//trip team//EN")
        return icalendar.Calendar.from_ical(content)

    def _write(self, content: bytes) -> None:
        mode = self.path.stat().st_mode & 0o777 if self.path.exists() else MODE
        handle, name = tempfile.mkstemp(dir=self.path.parent, prefix=f".{self.path.name}.")
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            Path(name).chmod(mode)
            Path(name).replace(self.path)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise

    @contextmanager
    def _locked(self) -> Iterator[None]:
        with self.path.with_name(f"{self.path.name}.lock").open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield


def _event(found: icalendar.Event) -> Event:
    place = found.get("LOCATION")
    starts, ends = found.start, found.end
    if not isinstance(starts, dt.datetime) or not isinstance(ends, dt.datetime):
        raise ValueError(f"event {found.uid} has a day and no time")
    return Event(
        id=str(found.uid),
        title=str(found.get("SUMMARY", "")),
        starts=starts,
        ends=ends,
        place=str(place) if place else None,
    )
