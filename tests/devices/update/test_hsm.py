"""Keys in a hardware security module sign updates: a real PKCS#11 token, SoftHSM's."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from devices.errors import SigningError
from devices.update.roles import Roles
from devices.update.signers import PIN_VARIABLE, Keyring
from tests.devices.update.bank import CLASS, REGION, START, Bank, Branch

MODULES = [Path(f"/usr/lib/{place}/libsofthsm2.so") for place in ("softhsm", "x86_64-linux-gnu/softhsm")]
PIN, LABEL = "648219", "edgekit-updates"


@dataclass(frozen=True)
class Token:
    """A SoftHSM token with an EC key under each of three ids."""

    module: Path
    pin_file: Path

    def uri(self, key_id: int, *, token: str = LABEL, source: bool = True) -> str:
        pin = f"&pin-source={self.pin_file}" if source else ""
        return f"pkcs11:token={token};id=%{key_id:02x}?module-path={self.module}{pin}"


@pytest.fixture(scope="module")
def token(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Token]:
    pkcs11 = pytest.importorskip("pkcs11", reason="python-pkcs11 is not installed")
    module = next((path for path in MODULES if path.exists()), None)
    if module is None:
        pytest.skip("SoftHSM is not installed: './build.sh system' installs it")
    from pkcs11.util.ec import encode_named_curve_parameters

    place = tmp_path_factory.mktemp("hsm")
    (place / "tokens").mkdir()
    (place / "softhsm2.conf").write_text(f"directories.tokendir = {place / 'tokens'}\nobjectstore.backend = file\n")
    (place / "pin").write_text(f"{PIN}\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SOFTHSM2_CONF", str(place / "softhsm2.conf"))
        initialise = ["softhsm2-util", "--init-token", "--free", "--label", LABEL, "--pin", PIN, "--so-pin", "993311"]
        subprocess.run(initialise, check=True, capture_output=True)
        patch.setenv("PYKCS11LIB", str(module))  # what a key's URI sets must not outlive these tests
        with pkcs11.lib(str(module)).get_token(token_label=LABEL).open(rw=True, user_pin=PIN) as session:
            curve = {pkcs11.Attribute.EC_PARAMS: encode_named_curve_parameters("secp256r1")}
            parameters = session.create_domain_parameters(pkcs11.KeyType.EC, curve, local=True)
            for key_id in (1, 2, 3):
                parameters.generate_keypair(store=True, id=bytes([key_id]), label=f"key {key_id}")
        yield Token(module, place / "pin")


def test_a_device_takes_a_release_whose_keys_never_left_the_hsm(token: Token, tmp_path: Path) -> None:
    bank = Bank(tmp_path / "bank")
    hsm = {"root": [token.uri(1)], "targets": [token.uri(2)]}
    Roles.create(bank.repo, bank.keyring, hsm=hsm, now=START).delegate(REGION, hsm=[token.uri(3)])
    bank.release(model_onnx=b"signed in hardware")
    keys = sorted((bank.place / "keys").iterdir())
    assert [path.name.split("-")[0] for path in keys if path.suffix == ".pem"] == ["snapshot", "timestamp"]
    assert [path.name.split("-")[0] for path in keys if path.suffix == ".json"] == ["north", "root", "targets"]
    assert not any(PIN in path.read_text() for path in keys)
    root = json.loads((bank.repo / "root.json").read_bytes())["signed"]
    (root_key,) = root["roles"]["root"]["keyids"]
    assert root["keys"][root_key]["scheme"] == "ecdsa-sha2-nistp256"
    branch = Branch(tmp_path / "branch", (bank.repo / "root.json").read_bytes())
    assert branch.update(bank.repo).sequence == 1


def test_a_role_moves_from_a_file_into_the_hsm(token: Token, tmp_path: Path) -> None:
    bank = Bank(tmp_path / "bank").found()
    bank.release(model_onnx=b"one")
    branch = Branch(tmp_path / "branch", (bank.repo / "root.json").read_bytes())
    branch.update(bank.repo)
    assert bank.roles.rotate("targets", hsm=[token.uri(2)]) is None
    for path in (bank.place / "keys").glob("targets-*.pem"):
        path.unlink()
    bank.release(model_onnx=b"two")
    assert branch.update(bank.repo).sequence == 2
    assert branch.client(bank.repo).check(REGION, CLASS).release.path == "releases/branch-loans-2.json"


def test_the_pin_may_come_from_the_environment(token: Token, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(PIN_VARIABLE, raising=False)
    bank = Bank(tmp_path / "bank")
    Roles.create(bank.repo, bank.keyring, hsm={"targets": [token.uri(2)]}, now=START)
    kept = next((bank.place / "keys").glob("targets-*.hsm.json"))
    kept.write_text(kept.read_text().replace(f"&pin-source={token.pin_file}", ""))
    before = (bank.repo / "metadata" / "timestamp.json").read_bytes()
    with pytest.raises(SigningError, match=f"PIN of the token '{LABEL}' is not known"):
        bank.roles.renew("targets")
    assert (bank.repo / "metadata" / "timestamp.json").read_bytes() == before
    monkeypatch.setenv(PIN_VARIABLE, PIN)
    bank.roles.renew("targets")
    assert (bank.repo / "metadata" / "timestamp.json").read_bytes() != before


def test_a_wrong_pin_leaves_the_repository_as_it_was(
    token: Token, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bank = Bank(tmp_path / "bank")
    Roles.create(bank.repo, bank.keyring, hsm={"targets": [token.uri(2)]}, now=START)
    before = {path: path.read_bytes() for path in bank.repo.rglob("*.json")}
    (tmp_path / "wrong").write_text("000000")
    kept = next((bank.place / "keys").glob("targets-*.hsm.json"))
    kept.write_text(kept.read_text().replace(str(token.pin_file), str(tmp_path / "wrong")))
    with pytest.raises(SigningError, match="PinIncorrect"):
        bank.roles.renew("targets")
    assert {path: path.read_bytes() for path in bank.repo.rglob("*.json")} == before


@pytest.mark.parametrize(
    ("changed", "match"),
    [
        (lambda token: token.uri(9), "could not find ECDSA key"),
        (lambda token: token.uri(1, token="another"), "No PKCS#11 token found"),
        (lambda token: f"{token.uri(1)}&pin-value=1234", "holds its PIN"),
        (lambda token: "pkcs11:token=bank", "does not name a key in an HSM"),
        (lambda token: "file:key.pem", "does not name a key in an HSM"),
        (lambda token: token.uri(1).replace(str(token.module), "/nowhere/lib.so"), "/nowhere/lib.so"),
    ],
    ids=["no such key", "no such token", "pin in the uri", "no id", "not pkcs11", "no library"],
)
def test_an_hsm_that_does_not_give_the_key_is_said_to(
    token: Token, tmp_path: Path, changed: object, match: str
) -> None:
    assert callable(changed)
    with pytest.raises(SigningError, match=match):
        Keyring([tmp_path]).add_hsm("targets", changed(token))
    assert not list(tmp_path.iterdir())
    assert os.environ["SOFTHSM2_CONF"]
