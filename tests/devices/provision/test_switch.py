"""The record of the slots: every allowed move, and what is refused."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from devices.errors import SwitchError
from devices.provision import switch as moves
from devices.provision.switch import HISTORY_LENGTH, Slot, Switch, read_record


def first() -> Switch:
    """Release 1 serves from slot a and is good."""
    ready = moves.complete(moves.begin(Switch(), "small-1", 1))
    return moves.mark_good(moves.activate(ready, "a"))


def tried() -> Switch:
    """Release 2 in slot b is in trial beside it."""
    return moves.activate(moves.complete(moves.begin(moves.vacate(first()), "small-2", 2)), "b", crashes=2)


def test_the_first_release_is_marked_good_and_not_watched_since_there_is_nothing_to_go_back_to() -> None:
    assert first().active == "a"
    assert first().serving == Slot("good", "small-1", 1)
    assert first().watch is None


def test_a_trial_that_passes_is_watched_against_the_release_before() -> None:
    switch = moves.mark_good(moves.attempt(tried()))
    assert switch.serving == Slot("good", "small-2", 2, crashes=2)
    assert switch.watch == moves.Watch("b", "small-1")
    assert moves.settle(switch, "enough").watch is None


def test_attempts_of_a_trial_are_counted_and_end() -> None:
    once = moves.attempt(tried())
    assert not moves.attempts_are_over(once)
    assert moves.attempts_are_over(moves.attempt(once))
    assert moves.attempt(first()) == first()  # what is good is started as often as need be


def test_crashes_of_a_watched_release_are_counted_and_end() -> None:
    watched = moves.count_crash(moves.mark_good(tried()))
    assert not moves.crashes_are_over(watched)
    assert moves.crashes_are_over(moves.count_crash(watched))
    assert moves.count_crash(first()) == first()


def test_going_back_says_why_and_a_bad_release_can_be_tried_again() -> None:
    back = moves.roll_back(tried(), "It broke.")
    assert back.active == "a"
    assert back.slots["b"] == Slot("bad", "small-2", 2, crashes=2, why="It broke.")
    assert back.history[-1].event == "rolled back"
    assert back.history[-1].why == "It broke."
    again = moves.activate(back, "b")
    assert again.serving == Slot("trial", "small-2", 2)


def test_nothing_goes_back_to_a_slot_that_is_not_good() -> None:
    with pytest.raises(SwitchError, match="slot b is empty"):
        moves.roll_back(first(), "why")
    with pytest.raises(SwitchError, match="slot b is bad"):
        moves.roll_back(moves.roll_back(tried(), "why"), "why")


def test_the_slot_that_a_trial_may_go_back_to_is_not_built_upon() -> None:
    with pytest.raises(SwitchError, match=r"small-2 in slot b is still in trial.*slot a is what"):
        moves.vacate(tried())
    assert moves.vacate(moves.mark_good(tried())).slots["a"] == Slot()


def test_a_new_installation_ends_the_watch() -> None:
    vacated = moves.vacate(moves.mark_good(tried()))
    assert vacated.watch is None
    assert vacated.history[-1].event == "settled"


def test_a_person_who_activates_the_release_before_ends_the_watch() -> None:
    watched = moves.mark_good(tried())
    back = moves.activate(watched, "a")
    assert (back.active, back.serving.state, back.watch) == ("a", "trial", None)


@pytest.mark.parametrize("state", ["empty", "building"])
def test_a_slot_without_a_whole_release_is_not_activated(state: moves.State) -> None:
    switch = first()
    switch = replace(switch, slots={**switch.slots, "b": Slot(state, "small-2", 2)})
    with pytest.raises(SwitchError, match=f"Slot b is {state}"):
        moves.activate(switch, "b")


def test_only_what_is_being_built_becomes_ready_and_only_an_empty_slot_is_built() -> None:
    with pytest.raises(SwitchError, match="Slot b is empty, not being built"):
        moves.complete(first())
    with pytest.raises(SwitchError, match="Slot a is good, not empty"):
        moves.begin(moves.mark_good(tried()), "small-3", 3)


def test_activating_the_active_slot_changes_nothing() -> None:
    assert moves.activate(first(), "a") == first()


def test_a_damaged_active_slot_gives_way_to_one_that_was_given_up() -> None:
    switch = moves.give_up_damaged(moves.roll_back(tried(), "It drifted."), "A file is gone.")
    assert (switch.active, switch.serving.state) == ("b", "trial")
    assert switch.slots["a"].state == "bad"
    assert switch.slots["a"].why == "A file is gone."


def test_salvage_tries_the_newest_whole_slot_and_keeps_the_other_as_its_fallback() -> None:
    both = moves.salvaged({"a": ("small-3", 3), "b": ("small-2", 2)}, "lost")
    assert (both.active, both.serving.state, both.fallback) == ("a", "trial", "b")
    one = moves.salvaged({"b": ("small-2", 2)}, "lost")
    assert (one.active, one.serving.state, one.fallback) == ("b", "good", None)
    with pytest.raises(SwitchError, match="No slot holds a whole release"):
        moves.salvaged({}, "The record is damaged.")


def test_the_history_keeps_the_latest_events() -> None:
    switch = tried()
    for number in range(HISTORY_LENGTH):
        switch = moves.activate(moves.roll_back(switch, f"reason {number}"), "b")
    assert len(switch.history) == HISTORY_LENGTH
    assert switch.history[-2].why == f"reason {HISTORY_LENGTH - 1}"


@pytest.mark.parametrize(
    "switch", [Switch(), first(), tried(), moves.mark_good(tried()), moves.roll_back(tried(), "银")]
)
def test_a_record_is_read_as_it_was_written(switch: Switch) -> None:
    assert read_record(switch.to_bytes()) == switch


@settings(deadline=None)
@given(st.data())
def test_a_damaged_record_is_refused_or_names_a_slot_that_can_be_checked(data: st.DataObject) -> None:
    whole = tried().to_bytes()
    at = data.draw(st.integers(0, len(whole) - 1))
    damaged = data.draw(
        st.sampled_from(
            [whole[:at], whole[:at] + bytes([whole[at] ^ data.draw(st.integers(1, 255))]) + whole[at + 1 :]]
        )
    )
    try:
        switch = read_record(damaged)
    except SwitchError as error:
        assert error.problem.startswith("The record of the slots, switch.json, is damaged")  # noqa: PT017
    else:
        assert switch.active in (None, "a", "b")
        assert switch.watch is None or switch.watch.slot in ("a", "b")
        assert set(switch.slots) == {"a", "b"}


@settings(deadline=None)
@given(
    st.lists(st.sampled_from(["vacate", "begin", "complete", "a", "b", "attempt", "good", "crash", "settle", "back"]))
)
def test_whatever_is_asked_the_active_slot_is_complete_and_a_trial_keeps_what_it_goes_back_to(steps: list[str]) -> None:
    switch = first()
    for number, step in enumerate(steps):
        before = switch
        try:
            switch = {
                "vacate": lambda s: moves.vacate(s),
                "begin": lambda s, n=number: moves.begin(s, f"small-{n}", n),
                "complete": moves.complete,
                "a": lambda s: moves.activate(s, "a"),
                "b": lambda s: moves.activate(s, "b"),
                "attempt": moves.attempt,
                "good": moves.mark_good,
                "crash": moves.count_crash,
                "settle": lambda s: moves.settle(s, "why"),
                "back": lambda s: moves.roll_back(s, "why"),
            }[step](switch)
        except SwitchError:
            continue
        assert switch.serving.state in {"trial", "good"}
        if before.serving.state == "trial" and before.fallback and before.active == switch.active:
            assert switch.fallback == before.fallback
        if switch.watch:
            assert switch.watch.slot == switch.active
            assert switch.fallback
        assert read_record(switch.to_bytes()) == switch
