"""Which devices headquarters lets in: by their key, and the certificate that speaks for it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_pem_private_key
from cryptography.x509.oid import ExtendedKeyUsageOID

from devices.clock import Clock
from devices.errors import AcknowledgementError, CollectorError, SyncSettingsError, SyncUnregisteredError
from edge.collector import register
from edge.collector.report import make_devices
from edge.collector.store import Store
from edge.offline.sync_credentials import Credentials
from edge.offline.sync_message import pack_message
from edge.offline.sync_voucher import Voucher, speaks_for, vouch
from tests.edge.authority import NOW, Authority, common_name
from tests.edge.branches import Branch, Headquarters, Time


@pytest.fixture
def time() -> Time:
    return Time(NOW)  # certificates are of today


@pytest.fixture(scope="module")
def bank(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("bank") / "ca")


@pytest.fixture
def guarded(headquarters: Headquarters, bank: Authority) -> Callable[..., Headquarters]:
    """Headquarters that knows the authority of devices."""

    def opened(**rules: Any) -> Headquarters:
        headquarters.store.close()
        authorities = x509.load_pem_x509_certificates(bank.path.read_bytes())
        headquarters.store = Store(headquarters.folder, now=headquarters.time, authorities=authorities, **rules)
        return headquarters

    return opened


def shows(branch: Branch, certificate: tuple[Path, Path]) -> None:
    voucher = partial(vouch, Credentials(None, *certificate), branch.keys.public_bytes)
    branch.line.pack = partial(pack_message, branch.keys, "branch-7", vouch=voucher)


def states(headquarters: Headquarters) -> list[tuple[str, str, str | None]]:
    return [(each["device"], each["state"], each["subject"]) for each in make_devices(headquarters.store)]


def another(branch: Branch, folder: Path) -> Branch:
    made = Branch(folder, branch.headquarters, branch.time)
    made.clock = Clock(None, built=NOW, wall=branch.time, boot=lambda: ("boot", branch.time.now.timestamp()))
    return made


def test_the_first_certificate_binds_a_device_and_a_renewed_one_is_the_same(
    branch: Branch, guarded: Callable[..., Headquarters], bank: Authority
) -> None:
    headquarters = guarded()
    shows(branch, bank.issue("branch-7"))
    branch.session().run()
    (first,) = make_devices(headquarters.store)
    assert (first["state"], first["subject"]) == ("registered", "CN=branch-7")
    shows(branch, bank.issue("branch-7"))
    assert branch.session().run().refused == {}
    (second,) = make_devices(headquarters.store)
    assert second["fingerprint"] not in (None, first["fingerprint"])


def test_another_certificate_is_refused_until_headquarters_says_so(
    branch: Branch, guarded: Callable[..., Headquarters], bank: Authority
) -> None:
    headquarters = guarded()
    shows(branch, bank.issue("branch-7"))
    branch.session().run()
    branch.decide(1)
    shows(branch, bank.issue("branch-8"))
    contacts = [entry.kind for entry in branch.journal.entries()].count("contact")
    with pytest.raises(
        SyncUnregisteredError, match="COLLECTOR-003: .* with the certificate CN=branch-7, and shows CN=b.*8"
    ):
        branch.session().run()
    assert branch.journal.backlog() == 1
    assert [entry.kind for entry in branch.journal.entries()].count("contact") == contacts  # it prolongs no lease
    assert headquarters.store.rows("SELECT device, kind FROM alarms") == [(branch.device, "refused")]
    headquarters.store.add_device(branch.device, "CN=branch-8")
    branch.session().run()
    assert branch.journal.backlog() == 0


def test_a_certificate_speaks_for_one_device_until_that_one_is_retired(
    branch: Branch, guarded: Callable[..., Headquarters], bank: Authority, tmp_path: Path
) -> None:
    headquarters, certificate = guarded(), bank.issue("branch-7")
    shows(branch, certificate)
    branch.session().run()
    new = another(branch, tmp_path / "new")
    with closing(new.journal):
        shows(new, certificate)
        with pytest.raises(SyncUnregisteredError, match=f"CN=branch-7, which is that of device {branch.device}"):
            new.session().run()
        with pytest.raises(CollectorError, match="is that of device"):
            headquarters.store.add_device(new.device, "CN=branch-7")
        headquarters.store.retire_device(branch.device, "the box was replaced")
        new.session().run()
        assert new.journal.backlog() == 0
    with pytest.raises(SyncUnregisteredError, match=r"was retired on .* \(the box was replaced\)"):
        branch.session().run()
    assert set(states(headquarters)) == {
        (branch.device, "retired", "CN=branch-7"),
        (new.device, "registered", "CN=branch-7"),
    }


def test_where_only_registered_devices_may_come_a_stranger_is_listed_and_can_be_added(
    branch: Branch, guarded: Callable[..., Headquarters], bank: Authority
) -> None:
    headquarters = guarded(only_registered=True)
    shows(branch, bank.issue("branch-7"))
    branch.decide(1)
    for _ in range(2):
        with pytest.raises(SyncUnregisteredError, match=f"Device {branch.device} is not in the register"):
            branch.session().run()
    assert headquarters.entries(branch.device) == []
    assert states(headquarters) == [(branch.device, "unknown", "CN=branch-7")]
    assert make_devices(headquarters.store)[0]["name"] == "branch-7"  # for who is asked whether it is one
    headquarters.store.add_device(branch.device, None)
    branch.session().run()
    assert branch.journal.backlog() == 0


def test_strangers_without_end_do_not_fill_the_list(
    branch: Branch, guarded: Callable[..., Headquarters], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(register, "_UNKNOWN_MOST", 0)
    headquarters = guarded(only_registered=True)
    headquarters.store._intake.register._authorities = ()
    with pytest.raises(SyncUnregisteredError, match="too many others"):
        branch.session().run()
    assert make_devices(headquarters.store) == []


def test_a_device_may_be_added_before_it_calls_and_then_shows_the_certificate_that_was_said(
    branch: Branch, guarded: Callable[..., Headquarters], bank: Authority
) -> None:
    headquarters = guarded(only_registered=True)
    headquarters.store.add_device(branch.device, "CN=branch-9")
    shows(branch, bank.issue("branch-7"))
    with pytest.raises(SyncUnregisteredError, match="with the certificate CN=branch-9"):
        branch.session().run()
    shows(branch, bank.issue("branch-9"))
    assert branch.session().run().sent > 0


@pytest.mark.parametrize(
    "wrong", ["none", "ended", "another bank's", "for another journal", "no certificate", "a server's"]
)
def test_a_certificate_that_does_not_speak_for_the_device_lets_nobody_in(
    branch: Branch, guarded: Callable[..., Headquarters], bank: Authority, tmp_path: Path, wrong: str
) -> None:
    headquarters = guarded()
    good = vouch(Credentials(None, *bank.issue("branch-7")), branch.keys.public_bytes)
    assert good is not None
    ended = Credentials(None, *bank.issue("old", until=NOW - timedelta(days=1)))
    foreign = Credentials(None, *Authority(tmp_path / "other").issue("branch-7"))
    server = Credentials(None, *bank.issue("server", usage=ExtendedKeyUsageOID.SERVER_AUTH))
    vouchers = {
        "none": None,
        "ended": vouch(ended, branch.keys.public_bytes),
        "another bank's": vouch(foreign, branch.keys.public_bytes),
        "for another journal": vouch(Credentials(None, *bank.issue("branch-7")), bytes(32)),
        "no certificate": replace(good, chain="-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"),
        "a server's": vouch(server, branch.keys.public_bytes),
    }
    branch.line.pack = partial(pack_message, branch.keys, "branch-7", vouch=lambda: vouchers[wrong])
    with pytest.raises(SyncUnregisteredError, match="certificate"):
        branch.session().run()
    assert headquarters.entries(branch.device) == []
    branch.line.pack = partial(pack_message, branch.keys, "branch-7", vouch=lambda: good)
    assert branch.session().run().sent > 0


def test_a_devices_certificate_makes_no_others(
    branch: Branch, guarded: Callable[..., Headquarters], bank: Authority, tmp_path: Path
) -> None:
    headquarters = guarded()
    own = bank.issue("branch-7", constraints=x509.BasicConstraints(ca=False, path_length=None))
    thief = Authority(tmp_path / "thief")
    thief.key, thief.name = load_pem_private_key(own[1].read_bytes(), None), common_name("branch-7")  # type: ignore[assignment]
    made, key = thief.issue("branch-8")
    made.write_bytes(made.read_bytes() + own[0].read_bytes())
    shows(branch, (made, key))
    with pytest.raises(SyncUnregisteredError, match="a certificate that is not good"):
        branch.session().run()
    assert headquarters.entries(branch.device) == []


def test_keys_of_each_kind_vouch_and_what_is_no_key_is_said(bank: Authority, tmp_path: Path) -> None:
    certificate, _ = bank.issue("branch-7")
    for key in (rsa.generate_private_key(65537, 2048), ed25519.Ed25519PrivateKey.generate()):
        path = tmp_path / "key.pem"
        path.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        voucher = vouch(Credentials(None, certificate, path), bytes(32))
        assert isinstance(voucher, Voucher)
        assert speaks_for(key.public_key(), bytes.fromhex(voucher.signature), bytes(32))
        assert not speaks_for(key.public_key(), bytes.fromhex(voucher.signature), bytes([1] * 32))
    path.write_text("nothing")
    with pytest.raises(SyncSettingsError, match="cannot be used"):
        vouch(Credentials(None, certificate, path), bytes(32))
    assert vouch(Credentials(), bytes(32)) is None


def test_an_old_refusal_again_turns_nobody_away(branch: Branch, headquarters: Headquarters) -> None:
    headquarters.store.add_device(branch.device, None)
    headquarters.store.retire_device(branch.device, "stolen")
    refusals: list[bytes] = []

    def keep(data: bytes, answer: Callable[[bytes], bytes]) -> bytes:
        refusals.append(answer(data))
        return refusals[-1]

    branch.line.fault = keep
    with pytest.raises(SyncUnregisteredError, match="stolen"):
        branch.session().run()
    branch.line.fault = lambda data, answer: refusals[0]
    with pytest.raises(AcknowledgementError, match="another call"):
        branch.session().run()
