"""Where headquarters is: said by the signed policy, remembered for commands, never led astray."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from pydantic import ValidationError

from devices.errors import SyncSettingsError
from edge.offline.sync_https import HttpsUplink
from edge.offline.sync_message import Call, unpack_message
from edge.offline.sync_nats import NatsUplink
from edge.offline.sync_policy import SyncPolicy
from edge.offline.sync_settings import open_session, remember_policy, remembered_policy
from edge.offline.sync_voucher import speaks_for
from tests.edge.authority import Authority
from tests.edge.branches import Branch

KEY = "ab" * 32


@pytest.mark.parametrize(
    "url", ["http://bank.example", "nats://10.0.0.1", "ftp://bank.example", "bank.example", "https://", "file:///etc"]
)
def test_a_way_that_others_could_listen_on_is_no_policy(url: str) -> None:
    with pytest.raises(ValidationError):
        SyncPolicy(url=url, acknowledged_by=KEY)


@pytest.mark.parametrize(
    "url", ["https://bank.example:8443", "tls://bank.example", "http://127.0.0.1:1", "nats://[::1]"]
)
def test_ways_that_a_policy_may_name(url: str) -> None:
    assert SyncPolicy(url=url, acknowledged_by=KEY).url == url


def test_a_url_without_the_key_that_acknowledges_is_refused() -> None:
    with pytest.raises(ValidationError, match="acknowledged_by"):
        SyncPolicy(url="https://bank.example")


def test_the_policy_of_the_bundle_that_served_last_is_remembered(own_state: Path) -> None:
    with pytest.raises(SyncSettingsError, match="No bundle has served"):
        remembered_policy()
    policy = SyncPolicy(url="https://bank.example", acknowledged_by=KEY, papers="all")
    remember_policy(policy)
    assert remembered_policy() == policy
    assert (own_state / "sync.json").stat().st_mode & 0o777 == 0o600
    (own_state / "sync.json").write_text('{"url": "http://elsewhere.example"}')
    with pytest.raises(SyncSettingsError, match="damaged"):
        remembered_policy()


def test_no_url_is_said(branch: Branch) -> None:
    with pytest.raises(SyncSettingsError, match="names no headquarters"):
        open_session(branch.journal, SyncPolicy())


def test_a_device_may_go_another_way_to_the_same_headquarters(branch: Branch, own_state: Path) -> None:
    policy = SyncPolicy(url="https://bank.example", acknowledged_by=KEY)
    assert isinstance(open_session(branch.journal, policy)._uplink, HttpsUplink)
    folder = own_state / "keys" / "sync"
    folder.mkdir(parents=True)
    (folder / "url").write_text("tls://region.example\n")
    assert isinstance(open_session(branch.journal, policy)._uplink, NatsUplink)
    (folder / "url").write_text("http://region.example\n")
    with pytest.raises(SyncSettingsError, match="without TLS"):
        open_session(branch.journal, policy)


def test_the_certificate_of_the_device_speaks_for_its_journal_in_each_call(
    branch: Branch, own_state: Path, tmp_path: Path
) -> None:
    session = open_session(branch.journal, SyncPolicy(url="https://bank.example", acknowledged_by=KEY))
    call = Call.make(branch.time(), (1, KEY), 0, [], X25519PrivateKey.generate().public_key())
    assert isinstance(session._uplink, HttpsUplink)
    assert unpack_message(session._uplink._pack([], call)).voucher is None
    certificate, key = Authority(tmp_path / "bank").issue("branch-7")
    (own_state / "keys" / "sync").mkdir(parents=True)
    shutil.copy(certificate, own_state / "keys" / "sync" / "device.pem")
    shutil.copy(key, own_state / "keys" / "sync" / "device-key.pem")
    voucher = unpack_message(session._uplink._pack([], call)).voucher  # it came while the device served
    assert voucher is not None
    own = x509.load_pem_x509_certificate(voucher.chain.encode()).public_key()
    assert speaks_for(own, bytes.fromhex(voucher.signature), branch.keys.public_bytes)
    assert unpack_message(session._uplink._pack([], None)).voucher is None  # pieces go without it
