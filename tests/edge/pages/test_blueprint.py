"""The pages as files: what the server says of them, and that nothing in them reaches outside."""

from __future__ import annotations

import base64
import io
import re
from pathlib import Path

import pytest
from flask.testing import FlaskClient
from PIL import Image

from devices import errors
from devices.errors import EdgeKitError
from edge.documents.extraction import FIELD_NAMES, KIND_NAMES, PROBLEM_CODES
from edge.pages import blueprint
from edge.pages.blueprint import PICTURES_AT_ONCE, create_blueprint
from edge.policy import PartsPolicy
from runtime.access import Access
from runtime.app import Services, create_app
from runtime.tokens import TokenFile

SAID_TO_CLERKS = (
    *(errors.ImageError, errors.PdfError, errors.TextError, errors.ApplicationError, errors.RequestError),
    *(errors.ServeError, errors.OverloadedError, errors.DeadlineError, errors.StoppedError, errors.BackendError),
    *(errors.JournalError, errors.JournalDamagedError, errors.JournalFullError, errors.DeviceKeyError),
    *(errors.DecisionNotFoundError, errors.RecordErasedError, errors.ReviewError, errors.TokenError, errors.RoleError),
)
STATIC = Path(blueprint.__file__).parent / "static"
FILES = sorted(STATIC.iterdir())
ROOT = Path(__file__).parents[3]


def app_client(access: Access = Access()) -> FlaskClient:  # noqa: B008  # it is frozen
    nothing = None
    services = Services("1", {}, nothing, nothing, nothing, dict)  # type: ignore[arg-type]
    return create_app(services, access, pages=create_blueprint()).test_client()


@pytest.fixture(scope="module")
def client() -> FlaskClient:
    return app_client()


def keys(language: str) -> set[str]:
    text = (STATIC / f"words-{language}.js").read_text(encoding="utf-8")
    return set(re.findall(r'^  "?([\w.-]+)"?:\s', text, re.MULTILINE))


def pdf(pages: int) -> bytes:
    data = io.BytesIO()
    first, *more = (Image.new("RGB", (60 + index, 80), "white") for index in range(pages))
    first.save(data, "PDF", save_all=True, append_images=more)
    return data.getvalue()


@pytest.mark.parametrize("path", ["/", "/review", "/status", "/pages/style.css", "/pages/kiosk.js", "/pages/icon.svg"])
def test_every_page_comes_with_a_policy_that_lets_nothing_in(client: FlaskClient, path: str) -> None:
    response = client.get(path)
    assert response.status_code == 200
    policy = response.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "http" not in policy
    assert "*" not in policy
    assert response.headers["X-Content-Type-Options"] == "nosniff"


def test_only_the_package_s_own_files_are_served(client: FlaskClient) -> None:
    for name in ("nothing.js", "..%2fblueprint.py", "../blueprint.py", "%2e%2e/%2e%2e/policy.py"):
        assert client.get(f"/pages/{name}").status_code == 404


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_no_file_names_another_host_or_brings_markup_of_its_own(path: Path) -> None:
    text = path.read_text(encoding="utf-8").replace("http://www.w3.org/2000/svg", "")
    assert not re.search(r"https?:|//[a-z0-9]+\.|@import|url\(", text)
    assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\b|new Function", text)
    if path.suffix == ".html":
        assert not re.search(r"<style|\sstyle=|\son\w+=|<script(?![^>]*\ssrc=)", text)


def test_every_file_that_a_file_names_is_there() -> None:
    named = {name for path in FILES for name in re.findall(r'"/pages/([\w.-]+)"', path.read_text(encoding="utf-8"))}
    assert {"style.css", "kiosk.js", "words-zh.js"} <= named
    assert named <= {path.name for path in FILES}


def test_both_languages_say_everything_and_only_what_is_used() -> None:
    chinese, english = keys("zh"), keys("en")
    # of an error or a paper's problem the device itself speaks the other language
    assert {key for key in english - chinese if not key.startswith("paper.")} == set()
    assert {key for key in chinese - english if not key.startswith("problem.")} == set()
    text = "".join(path.read_text(encoding="utf-8") for path in FILES if not path.name.startswith("words-"))
    asked = set(re.findall(r'\bt\("([\w.-]+)"', text)) | set(re.findall(r'data-t[\w-]*="([\w.-]+)"', text))
    assert asked
    assert asked <= english
    assert asked <= chinese


def test_kinds_fields_problems_and_missing_parts_have_words() -> None:
    assert {f"kind.{part}" for part in PartsPolicy.model_fields} <= keys("zh")
    fields = {name for names in FIELD_NAMES.values() for name in names}
    assert {f"kind.{kind}" for kind in KIND_NAMES} | {f"field.{name}" for name in fields} <= keys("zh")
    assert {f"paper.{code}" for code in PROBLEM_CODES} <= keys("en")


@pytest.mark.parametrize("error", SAID_TO_CLERKS, ids=lambda error: error.code)
def test_what_goes_wrong_at_a_counter_is_said_in_chinese(error: type[EdgeKitError]) -> None:
    assert f"problem.{error.code}" in keys("zh")


def test_pages_of_a_pdf_come_a_few_at_a_time(client: FlaskClient) -> None:
    document = pdf(PICTURES_AT_ONCE + 1)
    answer = client.post("/pages/pictures", data=document).get_json()
    assert len(answer["pages"]) == PICTURES_AT_ONCE
    assert answer["more"]
    rest = client.post(f"/pages/pictures?first={PICTURES_AT_ONCE}", data=document).get_json()
    assert len(rest["pages"]) == 1
    assert not rest["more"]
    drawn = Image.open(io.BytesIO(base64.b64decode(rest["pages"][0]["jpeg"])))
    assert drawn.format == "JPEG"
    assert drawn.size == (rest["pages"][0]["width"], rest["pages"][0]["height"])


@pytest.mark.parametrize(
    ("query", "data", "code"),
    [("", b"", "INPUT-001"), ("", b"no picture", "IMAGE-001"), ("", b"%PDF-1.7 broken", "PDF-001")]
    + [(f"?first={first}", b"x", "REQ-001") for first in ("-1", "x", "99999", "")],
)  # fmt: skip
def test_what_cannot_be_drawn_is_refused_with_a_code(client: FlaskClient, query: str, data: bytes, code: str) -> None:
    response = client.post(f"/pages/pictures{query}", data=data)
    assert response.status_code == 400
    assert response.get_json()["code"] == code


def test_a_browser_gets_the_pages_without_a_token_but_draws_nothing() -> None:
    guarded = app_client(Access(tokens=TokenFile()))
    assert guarded.get("/").status_code == 200
    assert guarded.get("/pages/kiosk.js").status_code == 200
    assert guarded.post("/pages/pictures", data=pdf(1)).status_code == 401
    assert guarded.get("/v1/status").status_code == 401


def test_the_pages_are_for_those_who_call_the_server_by_its_name() -> None:
    assert app_client().get("/", headers={"Host": "elsewhere.example"}).status_code == 421


def test_wheels_carry_the_files() -> None:
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    assert '"edge.pages"' in text.partition("packages = [")[2].partition("]")[0]
    assert '"edge.pages" = ["static/*"]' in text
