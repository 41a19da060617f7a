"""What a person does with decisions, over a real journal."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from devices.errors import DecisionNotFoundError, JournalError, RecordErasedError, RequestError, ReviewError
from edge.application import from_parts
from edge.decide import Desk
from edge.replay import stored
from edge.review import Reviews
from tests.edge.desks import POLICY, Scores, Wall, application, hesitating, open_desk, picture, submission

APPROVE = {"verdict": "approve", "reason": "流水与收入相符", "reviewer": "示例复核员甲"}
DECLINE = {"verdict": "decline", "reason": "材料不一致"}


@pytest.fixture
def scores() -> Scores:
    return Scores(60)


@pytest.fixture
def desk(scores: Scores) -> Iterator[Desk]:
    made = open_desk(Wall(), scores)
    yield made
    made.journal.close()


@pytest.fixture
def reviews(desk: Desk) -> Reviews:
    return Reviews(desk, POLICY.review)


@pytest.fixture
def case(desk: Desk) -> str:
    """A case of 1,000 yuan that waits."""
    return decided(desk)


def decided(desk: Desk, number: str = "T-1", amount: float = 1000) -> str:
    return str(desk.decide(submission(number, amount)).receipt.decision_id)


def listed(reviews: Reviews, **arguments: str) -> list[int]:
    return [each["score"] for each in reviews.queue(arguments)["decisions"]]


def test_the_queue_holds_what_waits_the_riskiest_first(desk: Desk, reviews: Reviews, scores: Scores) -> None:
    for scores.next in (30, 90, 5, 60, 90):
        decided(desk)
    assert listed(reviews) == [90, 90, 60, 30]
    assert listed(reviews, level="medium") == [30]
    first, second = reviews.queue({})["decisions"][:2]
    assert first["time"] <= second["time"]


def test_pages_of_the_queue_fit_together_whatever_was_decided_meanwhile(
    desk: Desk, reviews: Reviews, scores: Scores
) -> None:
    for scores.next in range(20, 90, 10):
        decided(desk)
    page = reviews.queue({"limit": "3"})
    assert (page["total"], [each["score"] for each in page["decisions"]]) == (7, [80, 70, 60])
    reviews.review(page["next"], APPROVE, "an")  # the last one seen no longer waits
    page = reviews.queue({"limit": "3", "after": page["next"]})
    assert [each["score"] for each in page["decisions"]] == [50, 40, 30]
    page = reviews.queue({"limit": "3", "after": page["next"]})
    assert ([each["score"] for each in page["decisions"]], page["next"]) == ([20], None)


def test_what_was_decided_is_listed_the_latest_first_and_its_pages_fit_together(
    desk: Desk, reviews: Reviews, scores: Scores
) -> None:
    for scores.next in (5, 90, 6, 30, 7, 60):
        decided(desk)
    reviews.review(reviews.queue({})["decisions"][0]["decision_id"], APPROVE, "an")  # the one of 90
    assert listed(reviews, state="all") == [60, 7, 30, 6, 90, 5]
    assert listed(reviews, state="closed") == [7, 6, 90, 5]
    assert listed(reviews, state="closed", level="high") == [90]
    page = reviews.queue({"state": "closed", "limit": "3"})
    assert (page["total"], [each["score"] for each in page["decisions"]]) == (4, [7, 6, 90])
    decided(desk)  # a later one is on no later page
    page = reviews.queue({"state": "closed", "limit": "3", "after": page["next"]})
    assert ([each["score"] for each in page["decisions"]], page["next"]) == ([5], None)
    assert [reviews.queue({"state": state})["total"] for state in ("open", "closed", "all")] == [3, 4, 7]
    assert reviews.queue({"state": "all", "level": "high"})["total"] is None


def test_a_listing_looks_at_so_many_decisions_and_says_where_to_go_on(
    desk: Desk, reviews: Reviews, scores: Scores, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edge.review._AT_ONCE", 4)
    for scores.next in (90, 5, 5, 5, 5, 5):
        decided(desk)
    first = reviews.queue({"state": "all", "level": "high", "limit": "2"})
    assert (first["decisions"], first["next"]) == (
        [],
        reviews.queue({"state": "all", "limit": "4"})["decisions"][3]["decision_id"],
    )
    second = reviews.queue({"state": "all", "level": "high", "limit": "2", "after": first["next"]})
    assert [each["score"] for each in second["decisions"]] == [90]


@pytest.mark.parametrize(
    "arguments",
    [{"state": "x"}, {"level": "x"}, {"limit": "0"}, {"limit": "201"}, {"limit": "-1"}, {"limit": "٣"}, {"limit": ""}],
)
def test_a_wrong_argument_is_refused(reviews: Reviews, arguments: dict[str, str]) -> None:
    with pytest.raises(RequestError, match=next(iter(arguments))):
        reviews.queue(arguments)


def test_a_verdict_closes_the_case_and_its_words_are_encrypted(desk: Desk, reviews: Reviews, case: str) -> None:
    summary = reviews.review(case, APPROVE, "an")
    assert (summary["state"], summary["verdict"]) == ("closed", "approve")
    assert listed(reviews) == []
    shown = reviews.show(case)
    (review,) = shown["reviews"]
    assert review.items() >= {
        "verdict": "approve", "login": "an", "final": True, "reason": "流水与收入相符", "reviewer": "示例复核员甲"
    }.items()  # fmt: skip
    (entry,) = desk.journal.entries(kinds=["review"])
    assert "流水" not in entry.raw.decode()
    assert "示例" not in entry.raw.decode()


def test_a_closed_case_takes_no_verdict(desk: Desk, reviews: Reviews, scores: Scores, case: str) -> None:
    reviews.review(case, APPROVE, "an")
    with pytest.raises(ReviewError, match="closed"):
        reviews.review(case, DECLINE, "bo")
    scores.next = 5
    with pytest.raises(ReviewError, match="closed"):
        reviews.review(decided(desk), DECLINE, "bo")
    assert len(list(desk.journal.entries(kinds=["review"]))) == 1


def test_a_large_amount_takes_two_persons_who_agree(desk: Desk, reviews: Reviews) -> None:
    case = decided(desk, amount=200_000)
    first = reviews.review(case, APPROVE, "an")
    assert (first["state"], first["verdict"], first["needs_two"]) == ("open", None, True)
    with pytest.raises(ReviewError, match="another person"):
        reviews.review(case, APPROVE, "an")
    assert reviews.review(case, DECLINE, "bo")["state"] == "open"  # they differ: a third one decides
    assert reviews.review(case, DECLINE, "cy")["verdict"] == "decline"
    assert reviews.show(case)["state"] == "closed"
    assert decided(desk, amount=199_999) not in {case}
    assert reviews.review(decided(desk, amount=199_999), APPROVE, "an")["state"] == "closed"


def test_one_person_cannot_be_two_at_the_same_moment(desk: Desk, reviews: Reviews) -> None:
    case = decided(desk, amount=500_000)
    hesitating(desk)

    def review(_: int) -> str:
        try:
            return str(reviews.review(case, APPROVE, "an")["state"])
        except ReviewError:
            return "refused"

    with ThreadPoolExecutor(8) as pool:
        assert sorted(pool.map(review, range(8))) == ["open"] + ["refused"] * 7


def test_a_request_for_a_human_decision_opens_a_case_anew(desk: Desk, reviews: Reviews, scores: Scores) -> None:
    scores.next = 5
    case = decided(desk)
    asked = reviews.ask(case, {"kind": "human_decision"}, "an")
    assert (asked["state"], asked["opened_by"], asked["text"]) == ("open", ["human_decision"], None)
    assert listed(reviews) == [5]
    reviews.review(case, DECLINE, "an")
    reviews.ask(case, {"kind": "human_decision"}, "bo")
    assert reviews.show(case)["state"] == "open"
    with pytest.raises(ReviewError, match="bo has opened"):  # or one could overturn another by a request of nobody's
        reviews.review(case, APPROVE, "bo")
    assert reviews.review(case, APPROVE, "an")["verdict"] == "approve"  # the votes of before do not count
    assert [each["kind"] for each in reviews.show(case)["requests"]] == ["human_decision", "human_decision"]


def test_a_verdict_is_opened_again_by_a_second_person_with_a_reason_and_decided_by_another(
    desk: Desk, reviews: Reviews, case: str
) -> None:
    why = {"reason": "示例乙带来了新的收入证明"}
    with pytest.raises(ReviewError, match="waits for a person already"):
        reviews.reopen(case, why, "bo")
    reviews.review(case, DECLINE, "an")
    with pytest.raises(ReviewError, match="is one of an"):
        reviews.reopen(case, why, "an")
    with pytest.raises(RequestError, match="reason"):
        reviews.reopen(case, {}, "bo")
    opened = reviews.reopen(case, why, "bo")
    assert (opened["state"], opened["opened_by"], opened["votes"]) == ("open", ["reopening"], [])
    with pytest.raises(ReviewError, match="bo has opened"):
        reviews.review(case, APPROVE, "bo")
    assert reviews.review(case, APPROVE, "cy")["verdict"] == "approve"
    (said,) = reviews.show(case)["reopenings"]
    assert (said["login"], said["reason"], said["reviewer"]) == ("bo", why["reason"], "bo")
    (entry,) = desk.journal.entries(kinds=["reopening"])
    assert "示例乙" not in entry.raw.decode()
    said = {"decision_id": case, "note": 1, "score": 9, "level": "low", "decision": "pass", "model": "ernie-3.0"}
    desk.journal.append("disagreement", said)
    assert reviews.review(case, DECLINE, "bo")["state"] == "closed"  # bo opened what is decided since


def test_a_case_that_is_opened_again_while_it_is_open_keeps_who_may_not_decide_it(reviews: Reviews, case: str) -> None:
    reviews.review(case, DECLINE, "an")
    reviews.reopen(case, {"reason": "x"}, "bo")
    reviews.ask(case, {"kind": "human_decision"}, "cy")
    with pytest.raises(ReviewError, match="bo has opened"):
        reviews.review(case, APPROVE, "bo")
    assert reviews.review(case, APPROVE, "cy")["state"] == "closed"


def test_what_headquarters_decided_no_reviewer_opens_again(desk: Desk, reviews: Reviews, case: str) -> None:
    desk.journal.append("review", {"decision_id": case, "verdict": "decline", "login": "headquarters", "final": True})
    with pytest.raises(ReviewError, match="Headquarters has decided"):
        reviews.reopen(case, {"reason": "x"}, "bo")
    assert reviews.show(case)["state"] == "closed"


def test_what_the_device_let_pass_a_reviewer_may_look_at_again(desk: Desk, reviews: Reviews, scores: Scores) -> None:
    scores.next = 5
    case = decided(desk)
    assert reviews.reopen(case, {"reason": "x"}, "an")["state"] == "open"
    assert reviews.review(case, DECLINE, "an")["verdict"] == "decline"  # no person's verdict is overturned


def test_a_request_takes_no_vote_from_a_case_that_is_open(desk: Desk, reviews: Reviews) -> None:
    case = decided(desk, amount=500_000)
    reviews.review(case, DECLINE, "bo")
    reviews.ask(case, {"kind": "human_decision"}, "an")
    assert reviews.review(case, APPROVE, "an")["votes"] == [
        {"login": "bo", "verdict": "decline"},
        {"login": "an", "verdict": "approve"},
    ]
    with pytest.raises(ReviewError, match="another person"):
        reviews.review(case, APPROVE, "an")


def test_what_headquarters_says_is_in_the_case(desk: Desk, reviews: Reviews, case: str) -> None:
    reviews.review(case, APPROVE, "an")
    said = {"decision_id": case, "note": 1, "score": 88, "level": "high", "decision": "review", "model": "ernie-3.0"}
    record = {"disagreement": json.dumps({"reason": "收入证明可疑", "reviewer": "总行"}).encode()}
    desk.journal.append("disagreement", said, records=record)
    shown = reviews.show(case)
    assert (shown["state"], shown["opened_by"]) == ("open", ["disagreement"])
    assert shown["disagreements"][0]["score"] == 88
    assert shown["disagreements"][0]["reason"] == "收入证明可疑"
    desk.journal.append("review", {"decision_id": case, "verdict": "decline", "login": "headquarters", "final": True})
    assert reviews.show(case)["state"] == "closed"
    assert reviews.show(case)["reviews"][1]["reason"] is None


def test_an_explanation_is_in_plain_words_and_journaled(desk: Desk, reviews: Reviews, case: str) -> None:
    text = reviews.ask(case, {"kind": "explanation"}, "an")["text"]
    assert "编号 T-1" in text
    assert "贷款用途" in text
    assert "60" not in text
    assert "有权要求由工作人员重新作出决定" in text
    reviews.review(case, APPROVE, "an")
    english = reviews.ask(case, {"kind": "explanation", "language": "en"}, "an")["text"]
    assert "purpose of the loan" in english
    assert "approved" in english
    first, _ = desk.journal.entries(kinds=["request"])
    assert desk.journal.record(first, "explanation").decode() == text
    assert "T-1" not in first.raw.decode()
    assert reviews.show(case)["state"] == "closed"  # an explanation opens nothing


def test_a_file_that_several_documents_name_is_kept_once_and_shown_for_each(desk: Desk, reviews: Reviews) -> None:
    named = [{"kind": "id_card", "file": name} for name in ("id.png", "id.png", "b.png", "id.png")]
    papers = {"id.png": picture(), "b.png": picture((50, 30))}
    decision = desk.decide(from_parts(json.dumps(application(documents=named)).encode(), papers))
    assert [each.name for each in decision.entry.records] == ["application", "document/0", "document/2", "receipt"]
    case = str(decision.receipt.decision_id)
    assert [reviews.file(case, index) for index in range(4)] == [papers[each["file"]] for each in named]
    assert stored(desk.journal, case).submission.files == papers
    with pytest.raises(DecisionNotFoundError):
        reviews.file(case, 4)


def test_a_case_shows_its_receipt_application_and_papers(desk: Desk, reviews: Reviews, case: str) -> None:
    shown = reviews.show(case)
    assert shown["receipt"]["decision_id"] == case
    assert shown["receipt"]["offline"]["journal"] == shown["code"]
    assert shown["application"]["applicant"]["name"] == "示例甲"
    assert reviews.file(case, 0) == submission().files["id.png"]
    with pytest.raises(DecisionNotFoundError):
        reviews.file(case, 1)


def test_after_an_erasure_the_case_stands_without_the_person(desk: Desk, reviews: Reviews, case: str) -> None:
    reviews.review(case, APPROVE, "an")
    desk.journal.erase(case, why="the customer asked for it")
    shown = reviews.show(case)
    assert shown["records_erased"]
    assert (shown["receipt"], shown["application"]) == (None, None)
    assert (shown["verdict"], shown["reviews"][0]["reason"]) == ("approve", None)
    for act in (lambda: reviews.file(case, 0), lambda: reviews.ask(case, {"kind": "explanation"}, "an")):
        with pytest.raises(RecordErasedError):
            act()


@pytest.mark.parametrize(
    "document",
    [
        {}, {"verdict": "approve"}, {"verdict": "maybe", "reason": "x"}, {"verdict": "approve", "reason": " "},
        {"verdict": "approve", "reason": "x" * 2001}, {"verdict": "approve", "reason": 1}, [], "approve",
        {"verdict": "approve", "reason": "x", "reviewer": ""},
    ],
)  # fmt: skip
def test_a_verdict_of_another_form_is_refused_and_changes_nothing(reviews: Reviews, case: str, document: Any) -> None:
    with pytest.raises(RequestError):
        reviews.review(case, document, "an")
    assert reviews.show(case)["reviews"] == []


def test_an_unknown_decision_is_said(reviews: Reviews) -> None:
    acts = (
        lambda: reviews.show("none"),
        lambda: reviews.file("none", 0),
        lambda: reviews.review("none", APPROVE, "an"),
        lambda: reviews.ask("none", {"kind": "explanation"}, "an"),
        lambda: reviews.reopen("none", {"reason": "x"}, "an"),
        lambda: reviews.queue({"after": "none"}),
    )
    for act in acts:
        with pytest.raises(DecisionNotFoundError, match="none"):
            act()


def test_a_verdict_on_a_decision_that_was_lost_keeps_nobody_from_deciding(desk: Desk, case: str) -> None:
    desk.journal.append("review", {"decision_id": "lost", "verdict": "approve", "login": "an", "final": True})
    again = open_desk(Wall(), Scores(60))
    assert [each.decision_id for each in again.ledger.open_cases()] == [case]
    assert [each.decision_id for each in again.ledger.latest(limit=9)] == [case]
    again.journal.close()


def test_a_case_is_in_the_queue_though_the_journal_could_not_be_read_for_a_moment(
    desk: Desk, scores: Scores, monkeypatch: pytest.MonkeyPatch
) -> None:
    scores.next = 5
    case = decided(desk)
    passed = desk.ledger.standing().passed
    assert desk.ledger.open_cases() == []
    desk.journal.append("request", {"decision_id": case, "request": "human_decision", "language": "zh", "login": "an"})
    with monkeypatch.context() as patched:
        patched.setattr(desk.journal, "about", lambda _: (_ for _ in ()).throw(JournalError("The disk is away.")))
        with pytest.raises(JournalError):
            desk.ledger.standing()
    assert [each.decision_id for each in desk.ledger.open_cases()] == [case]
    assert desk.ledger.standing().passed == passed


def test_another_process_and_a_new_start_see_the_same_queue(desk: Desk, reviews: Reviews, case: str) -> None:
    other = open_desk(Wall(), Scores())
    assert [each.decision_id for each in other.ledger.open_cases()] == [case]
    Reviews(other, POLICY.review).review(case, APPROVE, "bo")
    assert listed(reviews) == []
    assert open_desk(Wall()).ledger.open_cases() == []
    other.journal.close()
