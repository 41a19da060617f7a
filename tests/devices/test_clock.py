"""Time on a device never goes backwards, and a clock that is wrong is said to be."""

from __future__ import annotations

import os
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from devices.clock import BUILT, Clock, Mark, build_date, floor_from_mark, since_boot

NOBODY = 65534
DAY = timedelta(days=1)
BUILD = datetime(2026, 1, 1, tzinfo=UTC)


class Box:
    """A machine whose clock, uptime and starts the test decides."""

    def __init__(self, path: Path | None) -> None:
        self.path = path
        self.wall = BUILD + 30 * DAY
        self.boot_id = "first"
        self.boot_s = 100.0

    def clock(self) -> Clock:
        return Clock(self.path, built=BUILD, wall=lambda: self.wall, boot=lambda: (self.boot_id, self.boot_s))

    def restart(self, boot_id: str) -> None:
        self.boot_id, self.boot_s = boot_id, 0.0


@pytest.fixture
def box(tmp_path: Path) -> Box:
    return Box(tmp_path / "state" / "clock.json")


def test_a_right_clock_is_taken_as_it_is(box: Box) -> None:
    reading = box.clock().read()
    assert (reading.time, reading.state) == (box.wall, "ok")


def test_a_clock_at_1970_reads_the_build_date_and_says_so(box: Box) -> None:
    box.wall = datetime(1970, 1, 1, tzinfo=UTC)
    reading = box.clock().read()
    assert (reading.time, reading.state) == (BUILD, "behind")
    assert "1970-01-01" in reading.sentence
    assert "2026-01-01" in reading.sentence


def test_a_clock_that_is_set_back_does_not_take_time_back_even_over_a_restart(box: Box) -> None:
    seen = box.clock().now()
    box.wall -= 20 * DAY
    assert box.clock().now() == seen
    box.restart("second")
    reading = box.clock().read()
    assert (reading.time, reading.state) == (seen, "behind")


def test_time_passes_while_the_machine_runs_though_its_clock_is_held_at_1970(box: Box) -> None:
    seen = box.clock().now()
    box.wall = datetime(1970, 1, 1, tzinfo=UTC)
    clock = box.clock()
    for _ in range(10):
        box.boot_s += DAY.total_seconds()
        clock.now()
    assert clock.now() == seen + 10 * DAY
    box.restart("second")
    box.boot_s = 2 * DAY.total_seconds()
    assert box.clock().now() == seen + 12 * DAY


def test_signed_metadata_moves_the_floor_and_older_metadata_does_not(box: Box) -> None:
    box.wall = datetime(1970, 1, 1, tzinfo=UTC)
    box.clock().saw(BUILD + 90 * DAY)
    assert box.clock().now() == BUILD + 90 * DAY
    box.clock().saw(BUILD + 5 * DAY)
    assert box.clock().now() == BUILD + 90 * DAY


def test_signed_metadata_from_before_what_this_machine_saw_take_no_time_back(box: Box) -> None:
    clock = box.clock()
    clock.now()
    box.wall += DAY / 48  # less than makes it write
    seen = box.wall
    clock.saw(seen - DAY / 96)
    box.wall -= DAY
    assert clock.now() == seen
    assert box.clock().now() == seen


def test_a_signer_whose_clock_is_decades_ahead_does_not_spoil_the_devices(box: Box) -> None:
    box.clock().saw(datetime(2099, 1, 1, tzinfo=UTC))
    assert box.clock().now() == box.wall


def test_a_clock_far_ahead_counts_but_is_forgotten_when_it_is_set_right(box: Box) -> None:
    right = box.wall
    box.clock().now()
    box.wall = datetime(2099, 1, 1, tzinfo=UTC)
    reading = box.clock().read()
    assert (reading.time, reading.state) == (box.wall, "ahead")
    box.wall = right + DAY
    reading = box.clock().read()
    assert (reading.time, reading.state) == (right + DAY, "ok")


def test_a_time_zone_mistake_is_no_alarm(box: Box) -> None:
    box.clock().now()
    box.wall -= timedelta(hours=8)
    assert box.clock().read().state == "ok"


def test_a_damaged_file_starts_over_from_the_build_date(box: Box, caplog: pytest.LogCaptureFixture) -> None:
    assert box.path is not None
    box.clock().now()
    box.path.write_bytes(b'{"time": "20')
    box.wall = datetime(1970, 1, 1, tzinfo=UTC)
    assert box.clock().now() == BUILD
    assert "is damaged" in caplog.text


def test_a_file_from_before_the_build_date_does_not_lower_the_floor(box: Box) -> None:
    assert box.path is not None
    box.path.parent.mkdir()
    box.path.write_text('{"time": "1999-01-01T00:00:00+00:00", "boot_id": "first", "boot_s": 0}')
    box.wall = datetime(1970, 1, 1, tzinfo=UTC)
    assert box.clock().now() == BUILD


def test_two_processes_remember_the_later_time(box: Box) -> None:
    server, updater = box.clock(), box.clock()
    server.now()
    updater.saw(box.wall + 50 * DAY)
    box.boot_s += DAY.total_seconds()
    server.now()  # keeps its own, a day later, and must not write over the updater's
    assert box.clock().now() == box.wall + 51 * DAY


def test_processes_that_write_at_once_leave_the_latest_time_whole(box: Box) -> None:
    box.clock().now()
    box.boot_id = "another start"  # so that every clock writes at its first reading
    box.wall = datetime(1970, 1, 1, tzinfo=UTC)
    clocks = [box.clock() for _ in range(8)]
    moments = [BUILD + (40 + number) * DAY for number in range(8)]
    threads = [threading.Thread(target=clock.saw, args=[when]) for clock, when in zip(clocks, moments, strict=True)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert box.clock().now() == moments[-1]


def test_the_file_is_not_written_at_every_reading(box: Box) -> None:
    assert box.path is not None
    clock = box.clock()
    clock.now()
    before = box.path.stat().st_ino
    for _ in range(59):
        box.boot_s += 60
        box.wall += timedelta(minutes=1)
        clock.now()
    assert box.path.stat().st_ino == before
    box.boot_s += 60
    box.wall += timedelta(minutes=1)
    clock.now()
    assert box.path.stat().st_ino != before


def moved(clock: Clock) -> list[timedelta]:
    clock.read()
    return [move.wall - move.expected for move in clock.moves()]


def test_a_wall_clock_that_is_set_is_noted_once_and_when_it_is_set_right(box: Box) -> None:
    clock = box.clock()
    assert moved(clock) == []  # how long the kit lay in a store room nobody knows
    for step, noted in (
        (-3, [-3 * DAY]),
        (0, []),
        (-2, [-2 * DAY]),
        (5, [5 * DAY]),
        (7, [7 * DAY]),
        (1000, [1000 * DAY]),
    ):
        box.wall += step * DAY
        assert moved(clock) == noted
        box.wall, box.boot_s = box.wall + DAY / 2, box.boot_s + 43_200
        assert moved(clock) == []
    box.wall -= 1000 * DAY
    assert moved(clock) == [-1000 * DAY]
    box.wall += timedelta(minutes=4)
    assert moved(clock) == []


def test_a_clock_that_was_set_while_nothing_ran_is_noted_if_the_machine_ran_through(box: Box) -> None:
    box.clock().read()
    box.wall, box.boot_s = box.wall + 2 * DAY, box.boot_s + 3600
    assert moved(box.clock()) == [2 * DAY - timedelta(hours=1)]
    box.restart("second")
    box.wall += 30 * DAY
    assert moved(box.clock()) == []  # it was switched off
    box.restart("third")
    box.wall -= 2 * DAY
    assert moved(box.clock()) == [-2 * DAY]
    box.restart("fourth")
    box.wall += 9000 * DAY
    assert moved(box.clock()) == [8998 * DAY]


def test_what_one_thread_learns_while_another_reads_is_not_lost(box: Box) -> None:
    signed, learned = box.wall + 2 * DAY, threading.Event()
    asked: list[threading.Thread] = []

    def learn() -> None:
        clock.saw(signed)
        learned.set()

    def wall() -> datetime:  # in the midst of a reading
        if not asked:
            asked.append(threading.Thread(target=learn))
            asked[0].start()
            learned.wait(0.2)
        return box.wall

    clock = Clock(box.path, built=BUILD, wall=wall, boot=lambda: (box.boot_id, box.boot_s))
    clock.read()
    asked[0].join()
    assert clock.now() == signed


@pytest.mark.skipif(os.geteuid() != 0, reason="only root makes what belongs to others")
def test_a_state_directory_that_root_makes_for_the_clock_is_the_services(box: Box) -> None:
    assert box.path is not None
    os.chown(box.path.parents[1], NOBODY, NOBODY)
    box.clock().read()
    assert {path.stat().st_uid for path in (box.path.parent, box.path)} == {NOBODY}


def test_where_nothing_can_be_kept_time_still_does_not_go_back(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("not a directory")
    box = Box(tmp_path / "file" / "clock.json")
    clock = box.clock()
    seen = clock.now()
    box.wall -= 3 * DAY
    assert clock.now() == seen
    assert "cannot be kept" in caplog.text


@settings(deadline=None, max_examples=60)
@given(steps=st.lists(st.tuples(st.floats(-900, 300), st.floats(0, 30), st.booleans()), max_size=12))
def test_whatever_happens_to_the_wall_clock_time_never_falls_unless_it_was_implausible(
    steps: list[tuple[float, float, bool]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    box = Box(tmp_path_factory.mktemp("box") / "clock.json")
    clock, last = box.clock(), BUILD
    for number, (jump_days, up_days, restart) in enumerate(steps):
        box.wall += jump_days * DAY
        if restart:
            box.restart(f"start {number}")
            clock = box.clock()
            last -= timedelta(hours=1)  # what was not kept yet
        box.boot_s += up_days * DAY.total_seconds()
        reading = clock.read()
        assert reading.time >= reading.floor >= last
        last = reading.floor


def test_this_machine_tells_its_uptime_and_was_not_built_in_the_future() -> None:
    boot_id, seconds = since_boot()
    assert seconds > 0
    assert boot_id == since_boot()[0]
    assert datetime(2026, 11, 1, tzinfo=UTC) <= BUILT


def test_a_wheel_says_when_it_was_built_and_a_checkout_when_it_was_written(tmp_path: Path) -> None:
    (tmp_path / "clock.py").touch()
    os.utime(tmp_path / "clock.py", (1_700_000_000, 1_700_000_000))
    assert build_date(tmp_path) == datetime(2023, 11, 14, 22, 13, 20, tzinfo=UTC)
    (tmp_path / "built.txt").write_text("2026-05-04T03:02:01+00:00\n")
    assert build_date(tmp_path) == datetime(2026, 5, 4, 3, 2, 1, tzinfo=UTC)


def test_a_mark_from_later_in_this_very_start_does_not_lower_the_floor() -> None:
    """Damage in the file: the seconds since boot cannot have fallen."""
    mark = Mark(datetime(2026, 12, 1, tzinfo=UTC), "this start", 9_000_000.0)
    assert floor_from_mark(mark, "this start", 10.0) == mark.time
