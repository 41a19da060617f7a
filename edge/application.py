"""One loan application: ``application.json`` and the files that it names, checked before anything is read or scored.

An application comes from a directory (``read_directory``) or from the parts of an HTTP request (``from_parts``); both
end in the same ``Submission``. Nothing is repaired or guessed: what does not fit the contract is refused with the
place, the value seen (shortened) and what was expected. Every key of the contract
is required, so a misspelt one is missed; a key beyond the contract is left unread and goes nowhere.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from pydantic_core import ErrorDetails

from devices.errors import ApplicationError, InputError, TextError

APPLICATION_NAME = "application.json"
MAX_APPLICATION_BYTES = 8 << 20  # about 40,000 transactions; a year of an ordinary account has a few thousand
MAX_FILE_BYTES = 64 << 20
MAX_PURPOSE = 20_000  # characters
MAX_DOCUMENTS = 20

DocumentKind = Literal["id_card", "income_proof", "bank_statement"]
DOCUMENT_KINDS: tuple[DocumentKind, ...] = get_args(DocumentKind)

_SHOWN = 40  # characters of a refused value that a message repeats


def _printable(text: str) -> str:
    """Refuse what no form field holds: an unpaired surrogate cannot be written as UTF-8, a NUL ends file names."""
    if any(ord(character) < 32 and character not in "\t\n\r" for character in text):
        raise ValueError("text without control characters")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ValueError("valid Unicode text (it holds half of a surrogate pair)") from None
    return text


def _one_line(text: str) -> str:
    if len(f"{text}.".splitlines()) > 1:
        raise ValueError("a text of one line")
    return text


def _not_blank(text: str) -> str:
    if not text.strip():
        raise ValueError("a text that is not empty")
    return text


def _zoned(value: object) -> datetime:
    if not isinstance(value, str):
        raise ValueError("a time in ISO 8601 with zone, like 2026-01-03T09:12:00+08:00")
    try:
        time = datetime.fromisoformat(value)
    except ValueError:
        raise ValueError("a time in ISO 8601 with zone, like 2026-01-03T09:12:00+08:00") from None
    if time.tzinfo is None:
        raise ValueError("a time with its zone, like 2026-01-03T09:12:00+08:00")
    if not 1900 <= time.year <= 2200:  # also keeps a change of zone from leaving what datetime can hold
        raise ValueError("a time between the years 1900 and 2200")
    return time


def _inside(name: str) -> str:
    """Refuse names that could leave the application's directory, on this system or on Windows."""
    parts = name.split("/")
    if "\\" in name or ":" in name or any(part in ("", ".", "..") for part in parts):
        raise ValueError("the name of a file beside application.json, without '..', ':', '\\' or a leading '/'")
    if any(len(part.encode()) > 255 for part in parts):
        raise ValueError("a file name of at most 255 bytes")
    return name


Text = Annotated[str, AfterValidator(_printable), AfterValidator(_not_blank)]
Amount = Annotated[float, Field(allow_inf_nan=False, ge=-1e12, le=1e12)]  # yuan
ZonedTime = Annotated[datetime, BeforeValidator(_zoned)]


class _Schema(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True, strict=True)


class Applicant(_Schema):
    """Who applies. ``declared_monthly_income`` in yuan."""

    name: Annotated[Text, Field(max_length=100)]
    id_number: Annotated[Text, Field(max_length=40)]
    declared_monthly_income: Annotated[Amount, Field(ge=0)]


class Loan(_Schema):
    """What is asked for. ``amount`` in yuan."""

    amount: Annotated[Amount, Field(gt=0)]
    term_months: Annotated[int, Field(ge=1, le=600)]
    purpose: Annotated[Text, Field(max_length=MAX_PURPOSE)]


class Document(_Schema):
    """One paper: its kind and the name of its file."""

    kind: DocumentKind
    file: Annotated[Text, Field(max_length=200), AfterValidator(_inside)]


class Transaction(_Schema):
    """One movement of the applicant's account; yuan, money out negative, ``balance`` after it.

    ``currency`` is not in the contract. Where a bank's export has it, another one than yuan must not count as yuan.
    """

    time: ZonedTime
    amount: Amount
    balance: Amount
    channel: Annotated[str, Field(max_length=100), AfterValidator(_printable)]
    counterparty: Annotated[str, Field(max_length=200), AfterValidator(_printable)]
    currency: Annotated[str, Field(max_length=20), AfterValidator(_printable)] | None = None


class Application(_Schema):
    """The whole of ``application.json``.

    ``score_inputs`` is not in the contract: what further models are fed, by the policy's names and the models' inputs,
    computed by the bank's core system. Names that the policy lacks are left unread.
    """

    application_id: Annotated[Text, AfterValidator(_one_line), Field(max_length=100)]
    applicant: Applicant
    loan: Loan
    documents: Annotated[list[Document], Field(max_length=MAX_DOCUMENTS)]
    transactions: list[Transaction]
    score_inputs: dict[str, dict[str, Any]] = Field(default_factory=dict)


@dataclass(frozen=True)
class Submission:
    """An application, the bytes of every file that it names, and those of ``application.json`` as it came."""

    application: Application
    files: Mapping[str, bytes]
    raw: bytes


def read_directory(path: Path) -> Submission:
    """Read an application directory.

    Raises:
        ApplicationError: ``application.json`` is missing or malformed, or a file that it names is missing, too large,
            not a plain file, or outside the directory (a symbolic link that points out counts as outside).
        TextError: The purpose is empty or too long.
    """
    source = path / APPLICATION_NAME
    if not source.is_file():
        raise ApplicationError(f"{path} is not an application directory: {APPLICATION_NAME} is missing.")
    raw = _read(source, MAX_APPLICATION_BYTES, APPLICATION_NAME)
    application = parse_application(raw)
    root = path.resolve()
    files: dict[str, bytes] = {}
    for index, document in enumerate(application.documents):
        place = f"documents[{index}].file names {document.file!r}"
        target = root / document.file
        real = Path(os.path.realpath(target))
        if not real.is_relative_to(root):
            raise ApplicationError(f"{place}, which leads outside the application's directory.")
        if not real.exists():
            raise ApplicationError(f"{place}, which is missing beside {APPLICATION_NAME}.")
        if not real.is_file():
            raise ApplicationError(f"{place}, which is not a plain file.")
        files[document.file] = _read(real, MAX_FILE_BYTES, place)
    return Submission(application, files, raw)


def from_parts(application: bytes, files: Mapping[str, bytes]) -> Submission:
    """Put an application together from the parts of an HTTP request.

    Args:
        application: The bytes of ``application.json``.
        files: Name and bytes of every other part.

    Raises:
        ApplicationError: As in ``read_directory``; also a file that no document names.
        TextError: The purpose is empty or too long.
    """
    parsed = parse_application(application)
    named = [document.file for document in parsed.documents]
    for index, name in enumerate(named):
        if name not in files:
            raise ApplicationError(f"documents[{index}].file names {name!r}, which was not sent.")
        if len(files[name]) > MAX_FILE_BYTES:
            raise _too_large(f"The file {name!r}", len(files[name]), MAX_FILE_BYTES)
    if extra := sorted(set(files) - set(named)):
        raise ApplicationError(f"The file {_shown(extra[0])} was sent, but no entry of documents names it.")
    return Submission(parsed, dict(files), application)


def papers_of(application: Application) -> dict[str, int]:
    """Every file that ``application`` names, once, and the place of the document that names it first."""
    names = [document.file for document in application.documents]
    return {name: names.index(name) for name in names}


def parse_application(data: bytes) -> Application:
    """Check the bytes of ``application.json``.

    Raises:
        ApplicationError: Not JSON, or not the contract's form; the message names line and column, or the field.
        TextError: The purpose is empty or too long.
    """
    if len(data) > MAX_APPLICATION_BYTES:
        raise _too_large(APPLICATION_NAME, len(data), MAX_APPLICATION_BYTES)
    try:
        # NaN and Infinity are let through here, since the model below can say at which field they stand
        value = json.loads(data.decode("utf-8-sig"), object_pairs_hook=_once)
    except UnicodeDecodeError as error:
        raise ApplicationError(f"{APPLICATION_NAME} is not UTF-8: byte {error.start} does not fit.") from error
    except json.JSONDecodeError as error:
        raise ApplicationError(
            f"{APPLICATION_NAME} is not JSON: line {error.lineno}, column {error.colno}: {error.msg}."
        ) from error
    except RecursionError as error:
        raise ApplicationError(f"{APPLICATION_NAME} is nested too deeply.") from error
    except ValueError as error:  # Python refuses integers of more than 4,300 digits
        raise ApplicationError(f"{APPLICATION_NAME} holds a number with thousands of digits.") from error
    try:
        return Application.model_validate(value)
    except ValidationError as error:
        raise _translated(error) from error


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Build one JSON object; a key that stands there twice would silently hide a value."""
    result = dict(pairs)
    if len(result) < len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise ApplicationError(f"{APPLICATION_NAME} holds the key {_shown(twice)} twice in one object.")
    return result


def _read(path: Path, limit: int, what: str) -> bytes:
    try:
        size = path.stat().st_size
        if size > limit:
            raise _too_large(what, size, limit)
        return path.read_bytes()
    except OSError as error:
        raise ApplicationError(f"{what} cannot be read: {error.strerror}.") from error


def _too_large(what: str, size: int, limit: int) -> ApplicationError:
    return ApplicationError(f"{what} has {size:,} bytes; at most {limit:,} are read.")


def _translated(error: ValidationError) -> InputError:
    """Turn pydantic's list of errors into one refusal that names the first place and counts the rest."""
    errors = error.errors(include_url=False)
    first = errors[0]
    place = _place(first["loc"])
    problem = f"{APPLICATION_NAME}: {place} {_expectation(first)}"
    if len(errors) > 1:
        places = ", ".join(_place(other["loc"]) for other in errors[1:4])
        problem += f" There are {len(errors) - 1} more errors, at {places}{' and others' if len(errors) > 4 else ''}."
    if place == "loan.purpose" and isinstance(first["input"], str):
        return TextError(problem)
    return ApplicationError(problem)


def _place(location: tuple[int | str, ...]) -> str:
    place = ""
    for part in location:
        place += f"[{part}]" if isinstance(part, int) else f".{_cut(part)}"
    return place.lstrip(".") or "the document"


def _expectation(error: ErrorDetails) -> str:
    """Say what was seen and expected, as the second half of a sentence."""
    kind, context, value = error["type"], error.get("ctx", {}), error["input"]
    if kind == "missing":
        return "is missing."
    # pydantic's word for a text depends on whether a validator of ours stands before the length check
    if kind == "string_too_long" or (kind == "too_long" and isinstance(value, str)):
        return f"has {len(value):,} characters; at most {context['max_length']:,} are read."
    if kind == "value_error":
        return f"is {_shown(value)}; expected {context['error']}."
    expected = {
        "literal_error": f"one of {context.get('expected')}",
        "finite_number": "a finite number",
        "float_type": "a number",
        "int_type": "a whole number",
        "string_type": "a text",
        "list_type": "a list",
        "dict_type": "an object",
        "model_type": "an object",
        "greater_than": f"a number greater than {context.get('gt', 0):,.0f}",
        "greater_than_equal": f"a number of at least {context.get('ge', 0):,.0f}",
        "less_than_equal": f"a number of at most {context.get('le', 0):,.0f}",
        "too_long": f"at most {context.get('max_length')} entries",
    }.get(kind, error["msg"])
    return f"is {_shown(value)}; expected {expected}."


def _shown(value: object) -> str:
    """Repeat a refused value, shortened; of a list or an object only what it is, since it may hold personal data."""
    if isinstance(value, dict):
        return "an object"
    if isinstance(value, list):
        return f"a list of {len(value)}"
    if isinstance(value, int) and not isinstance(value, bool) and value.bit_length() > 200:
        return "a whole number with very many digits"
    return "null" if value is None else _cut(json.dumps(value, ensure_ascii=False))


def _cut(text: str) -> str:
    safe = text.encode(errors="backslashreplace").decode()
    return safe if len(safe) <= _SHOWN else safe[: _SHOWN - 3] + "..."
