"""What a device may decide: by time, by sum, and whatever its clock says."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.offline.lease import Standing, lease
from edge.offline.policy import FullPolicy, OfflinePolicy, ReducedPolicy

BEGIN = datetime(2026, 11, 23, 8, tzinfo=UTC)
POLICY = OfflinePolicy(
    online_minutes=60,
    full=FullPolicy(hours=24, passed=1000),
    reduced=ReducedPolicy(hours=72, passed=1500, limit=100),
    review_only_hours=240,
)
ORDER = ("full", "reduced", "review_only", "stopped")


def at(hours: float, standing: Standing = Standing(BEGIN, ever=True), amount: float = 0) -> str:  # noqa: B008
    return lease(standing, BEGIN + timedelta(hours=hours), POLICY, amount).authority


@pytest.mark.parametrize(
    ("hours", "authority"),
    [
        (0, "full"), (24, "full"), (24.01, "reduced"), (72, "reduced"),
        (72.01, "review_only"), (240, "review_only"), (240.01, "stopped"), (1e6, "stopped"),
    ],
)  # fmt: skip
def test_authority_shrinks_by_the_time_since_the_last_contact(hours: float, authority: str) -> None:
    assert at(hours) == authority


@pytest.mark.parametrize(
    ("passed", "amount", "authority"),
    [
        (1000, 0, "full"), (1000, 1, "reduced"), (0, 1001, "reduced"),
        (1500, 0, "reduced"), (1490, 11, "review_only"), (1e12, 0, "review_only"),
    ],
)  # fmt: skip
def test_authority_shrinks_by_the_sum_that_passed_the_one_at_hand_included(
    passed: float, amount: float, authority: str
) -> None:
    assert at(1, Standing(BEGIN, ever=True, passed=passed), amount) == authority


def test_the_stricter_of_time_and_sum_holds() -> None:
    assert at(100, Standing(BEGIN, passed=1200)) == "review_only"
    assert at(1, Standing(BEGIN, passed=1600)) == "review_only"
    assert at(300, Standing(BEGIN, passed=1600)) == "stopped"


def test_under_reduced_authority_an_application_passes_up_to_the_limit() -> None:
    reduced = lease(Standing(BEGIN), BEGIN + timedelta(hours=30), POLICY)
    assert (reduced.lets_pass(100), reduced.lets_pass(100.01)) == (True, False)
    assert lease(Standing(BEGIN), BEGIN, POLICY).lets_pass(1e9)
    assert not lease(Standing(BEGIN), BEGIN + timedelta(hours=100), POLICY).lets_pass(0.01)


def test_a_recent_contact_counts_as_a_line_and_a_beginning_does_not() -> None:
    later = BEGIN + timedelta(minutes=60)
    assert lease(Standing(BEGIN, ever=True), later, POLICY).since is None
    assert lease(Standing(BEGIN, ever=True), later + timedelta(seconds=1), POLICY).since == BEGIN
    assert lease(Standing(BEGIN), later, POLICY).since == BEGIN


def test_a_contact_begins_the_count_anew_and_only_passes_count() -> None:
    standing = Standing(BEGIN)
    for kind, body in (
        ("decision", {"decision": "pass", "amount": 700}),
        ("decision", {"decision": "review", "amount": 5000}),
        ("review", {"verdict": "approve"}),
        ("decision", {"decision": "pass", "amount": 50}),
    ):
        standing = standing.after(kind, BEGIN + timedelta(hours=1), body)
    assert standing == Standing(BEGIN, passed=750)
    met = BEGIN + timedelta(hours=5)
    assert standing.after("contact", met, {}) == Standing(met, ever=True)


def test_what_headquarters_withdrew_stays_withdrawn_until_it_says_otherwise() -> None:
    standing = Standing(BEGIN).after("revocation", BEGIN, {"authority": "stopped"}).after("contact", BEGIN, {})
    assert at(0, standing) == "stopped"
    assert at(0, standing.after("revocation", BEGIN, {"authority": "review_only"})) == "review_only"
    assert at(0, standing.after("revocation", BEGIN, {"authority": "full"})) == "full"
    assert at(100, standing.after("revocation", BEGIN, {"authority": "full"})) == "review_only"  # its own lease holds


def test_a_clock_set_back_leaves_no_time_that_does_not_count() -> None:
    ahead = Standing(BEGIN).after("contact", BEGIN + timedelta(days=26_000), {})
    assert lease(ahead, BEGIN, POLICY).cut_off == timedelta(0)  # at most until the next entry
    righted = ahead.after("decision", BEGIN, {"decision": "pass", "amount": 1})
    assert lease(righted, BEGIN + timedelta(hours=25), POLICY).authority == "reduced"


def test_a_clock_in_2099_stops_the_device_only_while_it_says_so() -> None:
    standing = Standing(BEGIN, ever=True)
    assert lease(standing, datetime(2099, 1, 1, tzinfo=UTC), POLICY).authority == "stopped"
    standing = standing.after("review", datetime(2099, 1, 1, tzinfo=UTC), {})
    assert lease(standing, BEGIN + timedelta(hours=2), POLICY).authority == "full"


def test_the_reason_names_what_led_to_it() -> None:
    by_time = lease(Standing(BEGIN), BEGIN + timedelta(hours=36), POLICY, amount=101)
    assert by_time.why("zh") == "已 1.5 天未联系总行，且金额超过 100 元"
    assert by_time.why("en") == "no contact with headquarters for 1.5 days, and the amount is over 100 yuan"
    by_sum = lease(Standing(BEGIN, passed=1600), BEGIN, POLICY)
    assert by_sum.why("zh") == "自上次联系总行以来已通过 1,600 元"
    revoked = lease(Standing(BEGIN).after("revocation", BEGIN, {"authority": "review_only"}), BEGIN, POLICY)
    assert revoked.why("zh") == "总行已收回本机的审批权限"
    assert by_sum.why("en") == "1,600 yuan passed since the last contact with headquarters"


hours = st.floats(0, 10_000)
yuan = st.floats(0, 1e7)


@given(hours, hours, yuan, yuan, yuan)
def test_more_time_or_more_money_never_widens_authority(
    one: float, more: float, passed: float, further: float, amount: float
) -> None:
    before = ORDER.index(at(one, Standing(BEGIN, passed=passed), amount))
    after = ORDER.index(at(one + more, Standing(BEGIN, passed=passed + further), amount))
    assert after >= before


@given(st.lists(st.tuples(st.sampled_from(["decision", "review", "clock"]), st.integers(-10_000, 10_000))))
def test_no_entry_but_a_contact_widens_authority_whatever_its_time(entries: list[tuple[str, int]]) -> None:
    standing = Standing(BEGIN)
    for kind, hours_off in entries:
        later = standing.after(kind, BEGIN + timedelta(hours=hours_off), {"decision": "pass", "amount": 10})
        assert later.contact <= standing.contact
        assert later.passed >= standing.passed
        standing = later


def test_after_a_salvage_of_the_journal_a_person_decides_until_the_next_contact() -> None:
    salvaged = Standing(BEGIN, ever=True).after("salvage", BEGIN, {"lost": [[2, 3]], "lost_records": []})
    assert at(1, salvaged) == "review_only"
    assert "salvaged" in lease(salvaged, BEGIN, POLICY).why("en")
    assert at(300, salvaged) == "stopped"
    assert at(1, salvaged.after("contact", BEGIN, {})) == "full"
