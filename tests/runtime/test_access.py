"""Who may call: host names, origins and tokens as rules and over the app; and where the server may listen at all."""

from __future__ import annotations

import json
import ssl
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient

from devices.errors import AccessError, ExposureError, HostError, OriginError, RoleError, TokenError
from devices.state import state_dir
from edge.cli import main
from runtime.access import Access, check_exposure, is_loopback
from runtime.app import Services, create_app
from runtime.tls import Certificate
from runtime.tokens import TokenFile

CERTIFICATE = Certificate(
    ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), frozenset({"branch-7.bank.example", "*.kiosk.example"})
)


def check(access: Access, method: str = "POST", **changes: Any) -> None:
    request = {"host": "localhost:8808", "origin": None, "authorization": None, "open_to_all": False} | changes
    access.check(method, **request)


@pytest.mark.parametrize(
    "host",
    ["localhost", "LOCALHOST:8808", "127.0.0.1", "127.0.0.1:8808", "127.8.9.10:1", "[::1]", "[::1]:8808"],
)
def test_a_loopback_name_is_ours(host: str) -> None:
    check(Access(), host=host)


@pytest.mark.parametrize(
    "host",
    [None, "", "evil.example", "evil.example:8808", "127.0.0.1.evil.example", "localhost.evil.example", "0.0.0.0:8808"]
    + ["127.1", "2130706433", "192.168.1.5", "[::2]", "::1", "localhost@evil.example", "localhost, evil.example"]
    + ["localhost:8808:1", "localhost:", "local host", "branch-7.bank.example"],
)
def test_any_other_host_is_refused_for_reading_as_well(host: str | None) -> None:
    for method in ("GET", "POST"):
        with pytest.raises(HostError) as caught:
            check(Access(), method, host=host)
        assert "127.0.0.1" in caught.value.remedy


def test_beyond_loopback_the_names_of_the_certificate_are_ours() -> None:
    access = Access("https", CERTIFICATE.names)
    check(access, host="Branch-7.bank.example:8808")
    check(access, host="a.kiosk.example")
    check(access, host="127.0.0.1:8808")
    for host in ("branch-8.bank.example", "kiosk.example", "a.b.kiosk.example", "192.168.1.5"):
        with pytest.raises(HostError, match=host):
            check(access, host=host)


@pytest.mark.parametrize(
    "origin",
    ["http://evil.example", "null", "https://localhost:8808", "http://localhost", "http://localhost:3000", ""]
    + ["http://127.0.0.1:8808"],
)
def test_a_page_of_another_site_may_not_change_anything(origin: str) -> None:
    with pytest.raises(OriginError):
        check(Access(), origin=origin)
    check(Access(), "GET", origin=origin)


def test_our_own_page_and_programs_may() -> None:
    check(Access(), origin="http://localhost:8808")
    check(Access(), origin="http://LOCALHOST:8808")
    check(Access("https"), origin="https://localhost:8808")
    check(Access(), origin=None)


def test_a_token_is_asked_for_where_others_can_call_and_only_there() -> None:
    tokens = TokenFile()
    first, second = tokens.add("teller"), tokens.add("back-office")
    assert len({first, second}) == 2
    access = Access(tokens=tokens)
    for token in (first, second):
        check(access, authorization=f"Bearer {token}")
        check(access, authorization=f"bearer  {token} ")
    wrong = [None, "", "Bearer", "Bearer ", "Bearer " + first[:-1], "Bearer " + first.upper(), f"Basic {first}", first]
    for header in [*wrong, "Bearer \ud800"]:
        with pytest.raises(TokenError):
            check(access, authorization=header)
        check(access, authorization=header, open_to_all=True)
        check(Access(), authorization=header)


def test_a_removed_token_stops_working_and_a_new_one_works_without_a_restart() -> None:
    serving, command = TokenFile(), TokenFile()
    old = command.add("teller")
    assert serving.find(old)
    command.remove("teller")
    assert not serving.find(old)
    new = command.add("teller")
    assert serving.find(new)
    assert not serving.find(old)


def test_the_file_holds_hashes_only_and_is_for_its_owner_alone(own_state: Path) -> None:
    token = TokenFile().add("teller")
    path = own_state / "tokens.json"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    text = path.read_text()
    assert token not in text
    assert bytes.fromhex(token).hex() == token
    assert len(bytes.fromhex(token)) * 8 == 256
    assert [each.name for each in own_state.iterdir()] == ["tokens.json"]


def test_tokens_added_at_once_are_all_kept() -> None:
    with ThreadPoolExecutor(8) as pool:
        tokens = list(pool.map(lambda number: TokenFile().add(f"t{number}"), range(16)))
    file = TokenFile()
    assert len(file.entries()) == 16
    assert all(file.find(token) for token in tokens)


@pytest.mark.parametrize("name", ["", "-x", "a b", "a/b", "n" * 65, "姓名", "headquarters"])
def test_what_is_no_name_is_refused(name: str, own_state: Path) -> None:
    with pytest.raises(AccessError, match="not a name"):
        TokenFile().add(name)
    assert not list(own_state.iterdir())


@pytest.mark.parametrize(
    "content", ["", "{}", "[]", '{"tokens": {"a": {}}}', '{"tokens": {"a": {"sha256": "zz", "created": ""}}}']
)
def test_a_damaged_file_opens_nothing_and_is_not_overwritten(content: str, own_state: Path) -> None:
    path = own_state / "tokens.json"
    path.write_text(content)
    for act in (TokenFile().entries, lambda: TokenFile().add("a"), lambda: TokenFile().find("x")):
        with pytest.raises(AccessError, match="damaged"):
            act()
    assert path.read_text() == content


@pytest.mark.parametrize(
    ("host", "local"),
    [("127.0.0.1", True), ("localhost", True), ("::1", True), ("127.3.2.1", True)]
    + [("0.0.0.0", False), ("::", False), ("", False), ("192.168.1.5", False), ("branch-7.bank.example", False)],
)
def test_loopback_is_told_without_looking_anything_up(host: str, *, local: bool) -> None:
    assert is_loopback(host) is local


def test_loopback_needs_nothing_and_any_other_address_token_and_tls() -> None:
    tokens = TokenFile()
    assert check_exposure("127.0.0.1", tokens, None) == Access("http")
    with pytest.raises(ExposureError, match="no token and no TLS"):
        check_exposure("0.0.0.0", tokens, None)
    with pytest.raises(ExposureError, match=r"no token\."):
        check_exposure("0.0.0.0", tokens, CERTIFICATE)
    tokens.add("teller")
    with pytest.raises(ExposureError, match=r"has no TLS certificate\."):
        check_exposure("0.0.0.0", tokens, None)
    assert check_exposure("0.0.0.0", tokens, CERTIFICATE) == Access("https", CERTIFICATE.names, tokens)
    assert check_exposure("127.0.0.1", tokens, CERTIFICATE) == Access("https", CERTIFICATE.names)


def app_client(access: Access) -> FlaskClient:
    nothing: Any = None
    return create_app(Services("1", {}, nothing, nothing, nothing, lambda: {"device_id": "d"}), access).test_client()


def test_over_http_refusals_are_problems_with_their_status() -> None:
    tokens = TokenFile()
    client = app_client(Access("http", frozenset(), tokens))
    answers = {
        401: client.get("/v1/status"),
        403: client.post("/v1/ocr", headers={"Origin": "http://evil.example"}),
        421: client.get("/v1/status", headers={"Host": "evil.example"}),
    }
    for status, answer in answers.items():
        assert answer.status_code == status
        assert answer.content_type == "application/problem+json"
        assert json.loads(answer.data)["code"].startswith("ACCESS-")
    assert answers[401].headers["WWW-Authenticate"].startswith("Bearer")
    token = {"Authorization": f"Bearer {tokens.add('teller')}"}
    assert client.get("/v1/status", headers=token).json == {"device_id": "d"}
    assert client.get("/no/such/path").status_code == 401
    for path in ("/v2/health/live", "/v2/health/ready"):
        assert client.get(path).status_code == 200
        assert client.get(path, headers={"Host": "evil.example"}).status_code == 421


def test_no_answer_ever_allows_another_site_to_read_it() -> None:
    client = app_client(Access())
    asked = {"Origin": "http://evil.example", "Access-Control-Request-Method": "POST"}
    for answer in (client.get("/v1/status", headers=asked), client.options("/v1/ocr", headers=asked)):
        assert not [name for name, _ in answer.headers if name.lower().startswith("access-control")]


def test_a_token_is_on_one_line_in_the_narrowest_terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "20")
    assert main(["token", "add", "teller"]) == 0
    assert TokenFile().find(capsys.readouterr().out.splitlines()[0])


def test_the_command_shows_a_token_once_lists_names_and_removes(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["token", "add", "teller", "--json"]) == 0
    token = json.loads(capsys.readouterr().out)["token"]
    assert TokenFile().find(token)
    assert main(["token", "add", "teller"]) == AccessError.exit_code
    assert main(["token", "list", "--json"]) == 0
    listed = capsys.readouterr().out
    assert [each["name"] for each in json.loads(listed)["tokens"]] == ["teller"]
    assert token not in listed
    assert main(["token", "list"]) == 0
    assert main(["token", "remove", "teller"]) == 0
    assert not TokenFile().find(token)
    assert main(["token", "remove", "teller"]) == AccessError.exit_code
    assert "There is no token 'teller'; known: none." in capsys.readouterr().err


def test_a_role_decides_who_reviews_and_older_tokens_are_callers(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["token", "add", "an", "--role", "reviewer", "--json"]) == 0
    reviewer = json.loads(capsys.readouterr().out)["token"]
    caller = TokenFile().add("teller")
    assert Access().reviewer(f"bearer {reviewer}") == "an"
    with pytest.raises(RoleError, match="'teller' is that of a caller"):
        Access().reviewer(f"Bearer {caller}")
    for header in (None, "", "Basic x", "Bearer ", "Bearer none"):
        with pytest.raises(TokenError) as caught:
            Access().reviewer(header)
        assert "--role reviewer" in caught.value.remedy
    path = state_dir() / "tokens.json"
    document = json.loads(path.read_bytes())
    for entry in document["tokens"].values():
        del entry["role"]  # as an earlier kit wrote it
    path.write_text(json.dumps(document))
    assert TokenFile().find(reviewer) == ("an", "caller")
    document["tokens"]["an"]["role"] = "owner"
    path.write_text(json.dumps(document))
    with pytest.raises(AccessError, match="is damaged"):
        TokenFile().find(reviewer)
