"""A clock that cannot be set back: what expires on a device without a network expires, whatever its wall clock says.

The promises:
 - ``now`` never goes below the floor: the highest of the kit's build date, the times in metadata whose signature was
   verified, and every plausible wall clock seen, a power cut's last hour excepted.
 - The floor rises while the machine runs, by the time since boot, even where the wall clock stands at 1970 or is set
   back again and again. Only time spent switched off is lost then.
 - A wall clock implausibly far ahead counts now, so that nothing is trusted for longer than it should be, but is not
   remembered: setting it right makes everything right.
 - A difference is said in a sentence, never hidden; that the wall clock was moved is noted, for the journal.

The floor is kept in one small file, replaced whole and synced. A damaged or missing file starts over from the build
date and says so; whoever can remove it owns the machine anyway.
"""

from __future__ import annotations

import json
import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Literal

from devices.durable import locked, make_directory, write_durably

log = logging.getLogger(__name__)

CLOCK_NAME = "clock.json"

_TOLERANCE = timedelta(days=1)  # a hardware clock in local time is up to 14 hours off until the network corrects it
_PLAUSIBLE = timedelta(days=400)  # longer than a box waits in a store room; a dead battery jumps by decades
_MOVED = timedelta(minutes=5)  # smaller corrections are a network's daily work
_MOVES = 16  # that nobody has asked for yet
_KEEP_EVERY = timedelta(hours=1)  # flash memory wears out; a power cut costs the floor at most this much
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")

ClockState = Literal["ok", "behind", "ahead"]


def build_date(package: Path) -> datetime:
    """When the kit in ``package`` was built: what its wheel says, and in a checkout when this file was written."""
    try:
        return datetime.fromisoformat((package / "built.txt").read_text(encoding="ascii").strip())
    except FileNotFoundError:
        return datetime.fromtimestamp((package / "clock.py").stat().st_mtime, UTC)


BUILT = build_date(Path(__file__).parent)


@dataclass(frozen=True)
class Reading:
    """What the clock says and how far the wall clock agrees.

    Attributes:
        time: To be used for everything that expires.
        wall: What the machine's own clock says.
        floor: The latest time that is known to have passed.
        state: ``behind`` if the wall clock is more than a day below the floor, ``ahead`` if more than 400 days above.
    """

    time: datetime
    wall: datetime
    floor: datetime
    state: ClockState

    @property
    def sentence(self) -> str:
        """For a person, in one sentence or two."""
        wall, floor = (each.strftime("%Y-%m-%d %H:%M UTC") for each in (self.wall, self.floor))
        if self.state == "behind":
            return (
                f"This machine's clock says {wall}, but {floor} has passed already. Until the clock is set, the device "
                f"counts on from there."
            )
        if self.state == "ahead":
            return (
                f"This machine's clock says {wall}, more than {_PLAUSIBLE.days} days after {floor}, the last time that "
                "was seen. If that is wrong, set the clock; until then signed files may count as expired."
            )
        return f"This machine's clock says {wall}, which fits what was seen before."


@dataclass(frozen=True)
class Move:
    """The wall clock was set: it does not say what was seen before and the time since.

    Attributes:
        expected: What it would say otherwise.
        wall: What it says.
    """

    expected: datetime
    wall: datetime


@dataclass(frozen=True)
class Mark:
    """A floor and when it was taken: on which start of the machine, and how many seconds after it."""

    time: datetime
    boot_id: str
    boot_s: float


def floor_from_mark(mark: Mark, boot_id: str, boot_s: float) -> datetime:
    """The floor now. On the same start the seconds since ``mark`` passed, on a later one those since that start."""
    passed_s = boot_s - mark.boot_s if boot_id == mark.boot_id else boot_s
    return mark.time + timedelta(seconds=max(0.0, passed_s))


def judge(wall: datetime, floor: datetime) -> Reading:
    """Compare a wall clock with the floor."""
    if wall < floor:
        return Reading(floor, wall, floor, "behind" if floor - wall > _TOLERANCE else "ok")
    return Reading(wall, wall, floor, "ahead" if wall - floor > _PLAUSIBLE else "ok")


def wall_clock() -> datetime:
    """The machine's own clock, which anybody may have set to anything."""
    return datetime.now(UTC)


def since_boot() -> tuple[str, float]:
    """The id of this start of the machine and the seconds since, sleep included; nobody can set these."""
    try:
        boot_id = _BOOT_ID.read_text(encoding="ascii").strip()
    except OSError:
        boot_id = ""
    return boot_id, time.clock_gettime(time.CLOCK_BOOTTIME)


class Clock:
    """The device's clock, its floor kept in ``path`` (``STATE/clock.json``). Threads share one.

    Args:
        path: Where the floor is kept; None keeps it in memory only.
        built: Build date of the kit.
        wall: The wall clock.
        boot: Id of this start of the machine, and seconds since.
    """

    def __init__(
        self,
        path: Path | None,
        *,
        built: datetime = BUILT,
        wall: Callable[[], datetime] = wall_clock,
        boot: Callable[[], tuple[str, float]] = since_boot,
    ) -> None:
        self._path = path
        self._built = built
        self._wall = wall
        self._boot = boot
        self._lock = threading.RLock()  # or a reading that began before ``saw`` would put the floor back
        self._kept = self._load()
        self._mark = self._kept or Mark(built, *boot())
        self._comparable = self._kept is not None  # whether a wall clock was seen before
        self._off = timedelta(0)  # how far the wall clock is known to be from the floor
        self._moves: deque[Move] = deque(maxlen=_MOVES)

    def now(self) -> datetime:
        """The time to be used for everything that expires; never below the floor."""
        return self.read().time

    def read(self) -> Reading:
        """The time, and how far the wall clock agrees. Keeps the floor once it rose by an hour."""
        with self._lock:
            boot_id, boot_s = self._boot()
            floor = floor_from_mark(self._mark, boot_id, boot_s)
            reading = judge(self._wall(), floor)
            self._watch(reading, ran_through=self._comparable and self._mark.boot_id == boot_id)
            self._raise_to(floor if reading.state == "ahead" else reading.time)
        return reading

    def peek(self) -> Reading:
        """The same as ``read``, for who only looks: nothing is kept."""
        return judge(self._wall(), floor_from_mark(self._mark, *self._boot()))

    def moves(self) -> list[Move]:
        """Each time since the last call that ``read`` found the wall clock moved by more than five minutes."""
        with self._lock:
            found, self._moves = self._moves, deque(maxlen=_MOVES)
        return list(found)

    def saw(self, moment: datetime) -> None:
        """Remember a time out of metadata whose signature was verified: it has passed. Durable on return.

        One that is implausibly far ahead is not believed: the clock of the machine that signed it was wrong. A failure
        to keep it is logged; this process remembers it anyway.
        """
        with self._lock:
            reading = self.read()
            if moment - reading.time > _PLAUSIBLE:
                log.warning("The signed time %s is not believed: it is far after %s.", moment, reading.time)
            elif moment > reading.floor:
                self._raise_to(max(moment, self._mark.time), at_once=True)

    def _watch(self, reading: Reading, *, ran_through: bool) -> None:
        """Note that the wall clock was moved; how long a machine was switched off nobody knows."""
        off = reading.wall - reading.floor
        lasts = off < timedelta(0) or reading.state == "ahead"  # a floor follows what is plausible
        if not (lasts or ran_through):
            off = timedelta(0)
        if abs(off - self._off) > _MOVED:
            self._moves.append(Move(reading.wall - (off - self._off), reading.wall))
        self._off = off if lasts else timedelta(0)
        self._comparable = True

    def _raise_to(self, moment: datetime, *, at_once: bool = False) -> None:
        boot_id, boot_s = self._boot()
        self._mark = Mark(moment, boot_id, boot_s)
        kept = self._kept
        if at_once or kept is None or kept.boot_id != boot_id or moment - kept.time >= _KEEP_EVERY:
            self._keep()

    def _keep(self) -> None:
        if self._path is None:
            return
        self._kept = self._mark  # also when it cannot be written: the next try is in an hour, not at the next request
        try:
            make_directory(self._path.parent)
            with locked(self._path.parent):
                self._take_over(self._load())
                document = {**vars(self._mark), "time": self._mark.time.isoformat()}
                write_durably(self._path, json.dumps(document).encode() + b"\n")
        except OSError as error:
            log.warning("The time cannot be kept in %s: %s.", self._path, error.strerror)

    def _take_over(self, other: Mark | None) -> None:
        """Another process may have seen more."""
        boot_id, boot_s = self._boot()
        if other is not None and (floor := floor_from_mark(other, boot_id, boot_s)) > self._mark.time:
            self._mark = self._kept = Mark(floor, boot_id, boot_s)

    def _load(self) -> Mark | None:
        if self._path is None:
            return None
        try:
            document = json.loads(self._path.read_bytes())
            kept = datetime.fromisoformat(document["time"])
            mark = Mark(kept.astimezone(UTC), str(document["boot_id"]), float(document["boot_s"]))
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError) as error:
            log.warning("%s is damaged (%s): time is counted from the kit's build date again.", self._path, error)
            return None
        return mark if mark.time >= self._built else None
