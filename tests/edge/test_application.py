"""What an application may hold, and how each refusal names the place."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from devices.errors import ApplicationError, InputError, TextError
from edge.application import MAX_PURPOSE, Submission, from_parts, parse_application, read_directory

VALID: dict[str, Any] = {
    "application_id": "T-1",
    "applicant": {"name": "测试甲", "id_number": "999999199003070012", "declared_monthly_income": 12000},
    "loan": {"amount": 50000, "term_months": 12, "purpose": "装修"},
    "documents": [{"kind": "id_card", "file": "id.jpg"}],
    "transactions": [
        {
            "time": "2026-01-03T09:12:00+08:00",
            "amount": -120.5 - day,
            "balance": 3000,
            "channel": "pos",
            "counterparty": "测试店",
        }
        for day in range(4)
    ],
}


def changed(path: str, value: object) -> bytes:
    """The valid application as JSON with one place set, or removed where the value is ``...``."""
    document = copy.deepcopy(VALID)
    *steps, last = [int(step) if step.isdigit() else step for step in path.split(".")]
    holder: Any = document
    for step in steps:
        holder = holder[step]
    if value is ...:
        del holder[last]
    else:
        holder[last] = value
    return json.dumps(document).encode()


def problem(data: bytes) -> str:
    with pytest.raises(InputError) as caught:
        parse_application(data)
    return caught.value.problem


def test_a_valid_application_keeps_its_values() -> None:
    application = parse_application(json.dumps(VALID).encode())
    assert application.loan.amount == 50000
    assert application.transactions[3].amount == -123.5
    assert application.transactions[0].time.isoformat() == "2026-01-03T09:12:00+08:00"


def test_documents_and_transactions_may_be_empty() -> None:
    data = json.dumps(VALID | {"documents": [], "transactions": []}).encode()
    assert parse_application(data).documents == []


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        ("transactions.3.amount", float("nan"), "transactions[3].amount is NaN; expected a finite number"),
        ("transactions.0.balance", float("-inf"), "transactions[0].balance is -Infinity; expected a finite number"),
        ("loan.amount", 10**400, "loan.amount is a whole number with very many digits"),
        ("loan.amount", "50000", 'loan.amount is "50000"; expected a number'),
        ("loan.amount", True, "loan.amount is true; expected a number"),
        ("loan.amount", 0, "loan.amount is 0; expected a number greater than 0"),
        ("loan.term_months", 12.5, "loan.term_months is 12.5; expected a whole number"),
        ("loan.term_months", 0, "loan.term_months is 0; expected a number of at least 1"),
        ("loan.term_months", ..., "loan.term_months is missing"),
        ("applicant", ..., "applicant is missing"),
        ("documents.0.kind", "passport", "is \"passport\"; expected one of 'id_card', 'income_proof' or"),
        ("documents", {}, "documents is an object; expected a list"),
        ("transactions.1.time", "2026-01-03T09:12:00", "transactions[1].time"),
        ("transactions.1.time", "yesterday", "expected a time in ISO 8601 with zone"),
        ("transactions.1.time", 1767402720, "expected a time in ISO 8601 with zone"),
        ("transactions.1.time", "0001-01-01T00:00:00+14:00", "between the years 1900 and 2200"),
        ("applicant.name", "\ud800", "half of a surrogate pair"),
        ("applicant.name", "a\0b", "without control characters"),
        ("application_id", "  ", "expected a text that is not empty"),
        ("application_id", "A-1\nA-2", "expected a text of one line"),
        ("application_id", "A-1\u2028", "expected a text of one line"),
        ("loan.amount", 2e12, "expected a number of at most 1,000,000,000,000"),
        ("applicant.name", "甲" * 101, "applicant.name has 101 characters; at most 100 are read"),
    ],
)
def test_a_value_that_does_not_fit_is_refused_with_its_place(path: str, value: object, said: str) -> None:
    text = problem(changed(path, value))
    assert said in text
    assert path.split(".")[-1] in text


def test_a_key_that_the_contract_does_not_know_is_left_unread() -> None:
    application = parse_application(changed("applicant.phone", "13900000000"))
    assert "13900000000" not in application.model_dump_json()


def test_a_misspelt_key_is_missed() -> None:
    assert "loan.amount is missing" in problem(changed("loan.amount", ...))


def test_a_list_where_a_number_belongs_is_named_but_not_repeated() -> None:
    text = problem(changed("loan.amount", ["张某某的手机号"]))
    assert "loan.amount is a list of 1; expected a number" in text
    assert "手机号" not in text


def test_further_errors_are_counted_and_located() -> None:
    data = json.dumps({"application_id": "T-1"}).encode()
    assert "There are 3 more errors, at loan, documents, transactions" in problem(data)


@pytest.mark.parametrize("purpose", ["", " \n", "长" * (MAX_PURPOSE + 1), "长" * 100_000])
def test_an_empty_or_overlong_purpose_is_a_text_error(purpose: str) -> None:
    with pytest.raises(TextError) as caught:
        parse_application(changed("loan.purpose", purpose))
    assert "loan.purpose" in caught.value.problem
    assert len(caught.value.problem) < 200


def test_the_longest_purpose_is_read() -> None:
    assert parse_application(changed("loan.purpose", "长" * MAX_PURPOSE)).loan.purpose[-1] == "长"


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b'{"application_id": "T-1",\n "loan": }', "line 2, column 10"),
        (b"", "line 1, column 1"),
        (b'{"a": 1, "a": 2}', 'the key "a" twice'),
        (b"[" * 100_000, "nested too deeply"),
        (b'{"a": ' + b"9" * 5000 + b"}", "thousands of digits"),
        ('{"name": "甲"}'.encode("gb18030"), "not UTF-8"),
        (b"[]", "the document is a list of 0; expected an object"),
    ],
)
def test_what_is_not_json_is_refused_with_its_place(data: bytes, said: str) -> None:
    assert said in problem(data)


@pytest.mark.parametrize(
    "name",
    ["../id.jpg", "/etc/hostname", "a/../../id.jpg", "", "id\0.jpg", "..", "a\\..\\b", "C:x", "./id.jpg", "长" * 90],
)
def test_a_file_name_that_could_leave_the_directory_is_refused(name: str) -> None:
    assert "documents[0].file" in problem(changed("documents.0.file", name))


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    path = tmp_path / "application"
    path.mkdir()
    (path / "application.json").write_text(json.dumps(VALID), encoding="utf-8")
    (path / "id.jpg").write_bytes(b"picture")
    return path


def test_a_directory_is_read_with_its_files(directory: Path) -> None:
    submission = read_directory(directory)
    assert isinstance(submission, Submission)
    assert submission.files == {"id.jpg": b"picture"}


def test_a_symbolic_link_that_points_out_is_refused(directory: Path) -> None:
    secret = directory.parent / "secret"
    secret.write_bytes(b"secret")
    (directory / "id.jpg").unlink()
    (directory / "id.jpg").symlink_to(secret)
    with pytest.raises(ApplicationError, match="leads outside") as caught:
        read_directory(directory)
    assert "documents[0].file names 'id.jpg'" in caught.value.problem


def test_a_symbolic_link_inside_the_directory_is_followed(directory: Path) -> None:
    (directory / "id.jpg").rename(directory / "real.jpg")
    (directory / "id.jpg").symlink_to("real.jpg")
    assert read_directory(directory).files["id.jpg"] == b"picture"


def test_a_missing_file_a_folder_and_a_missing_json_are_named(directory: Path) -> None:
    (directory / "id.jpg").unlink()
    with pytest.raises(ApplicationError, match=r"'id\.jpg', which is missing"):
        read_directory(directory)
    (directory / "id.jpg").mkdir()
    with pytest.raises(ApplicationError, match="not a plain file"):
        read_directory(directory)
    (directory / "application.json").unlink()
    with pytest.raises(ApplicationError, match=r"application\.json is missing"):
        read_directory(directory)


def test_parts_must_be_exactly_the_named_files() -> None:
    data = json.dumps(VALID).encode()
    assert from_parts(data, {"id.jpg": b"picture"}).files["id.jpg"] == b"picture"
    with pytest.raises(ApplicationError, match=r"'id\.jpg', which was not sent"):
        from_parts(data, {})
    with pytest.raises(ApplicationError, match=r'"other\.jpg" was sent'):
        from_parts(data, {"id.jpg": b"", "other.jpg": b""})


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


@settings(max_examples=150, deadline=None)
@given(
    path=st.sampled_from(
        ["application_id", "applicant", "applicant.name", "loan.amount", "documents.0", "transactions.2.time"]
    ),
    value=JSON_VALUES,
)
def test_any_json_value_anywhere_is_read_or_refused_cleanly(path: str, value: object) -> None:
    try:
        said = parse_application(changed(path, value)).application_id
    except InputError as error:
        said = error.problem
    assert 0 < len(said) < 400


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=60))
def test_any_bytes_are_refused_cleanly(data: bytes) -> None:
    with pytest.raises(InputError):
        parse_application(data)
