"""What a release in trial has to show, and by whose keys and profile a slot is served."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from devices.errors import ApplicationError, BundleSignatureError, HealthError, SlotError
from devices.provision import switch as moves
from devices.provision.notify import DRIFTED, SETTLED, Notifier
from devices.provision.slots import Layout, change
from edge.bundle.keys import signing_key
from edge.bundle.manifest import FileEntry, Manifest, sha256_hex
from edge.bundle.verify import VerifiedBundle, signature_bytes
from edge.slot import ServedSlot, check_health
from tests.devices.provision.small_release import device, install

APPLICATION = {
    "application_id": "A-1",
    "applicant": {"name": "甲", "id_number": "110101199003070000", "declared_monthly_income": 12000},
    "loan": {"amount": 50000, "term_months": 12, "purpose": "装修"},
    "documents": [],
    "transactions": [],
}


@dataclass
class Scorer:
    """Notes what it is asked to score, and refuses if it is told to."""

    refuses: bool = False
    asked: int = 0

    def score(self, _: Any) -> None:
        self.asked += 1
        if self.refuses:
            raise ApplicationError("The sample is not one.")


def healthy(scorer: Scorer, memory_limit_mb: int = 1 << 20, **files: bytes) -> None:
    serve = SimpleNamespace(memory_limit_mb=memory_limit_mb, gpu_memory_limit_mb=None)
    profile = SimpleNamespace(name="small", serve=serve)
    bundle = VerifiedBundle(SimpleNamespace(), "0" * 64, "key", {f"sample/{k}.json": v for k, v in files.items()})  # type: ignore[arg-type]
    check_health(SimpleNamespace(scorer=scorer, profile=profile), bundle)  # type: ignore[arg-type]


def test_a_sample_is_scored_where_there_is_one() -> None:
    scorer = Scorer()
    healthy(scorer)
    assert scorer.asked == 0
    healthy(scorer, application=json.dumps(APPLICATION).encode())
    assert scorer.asked == 1


def test_a_sample_that_cannot_be_scored_is_said() -> None:
    with pytest.raises(
        HealthError, match=r"The sample application cannot be scored: The sample is not one\. \(APP-001\)"
    ):
        healthy(Scorer(refuses=True), application=json.dumps(APPLICATION).encode())
    with pytest.raises(HealthError, match="cannot be scored"):
        healthy(Scorer(), application=b"{}")


def test_more_memory_than_the_profile_allows_is_said_with_both_numbers() -> None:
    with pytest.raises(HealthError, match=r"takes \d+ MB of memory; the profile small allows 1 MB"):
        healthy(Scorer(), memory_limit_mb=1)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A device whose slot a holds a signed bundle of one profile."""
    made = device(tmp_path / "root")
    layout = Layout(made)
    bundle = layout.bundle("a")
    for path in bundle.iterdir():
        path.unlink()
    (bundle / "profile.toml").write_bytes(b"of the bundle")
    files = {"profile.toml": FileEntry(sha256=sha256_hex(b"of the bundle"), size=len(b"of the bundle"))}
    manifest = Manifest.model_validate(
        {
            "name": "small",
            "version": "1",
            "created": "2026-11-23T00:00:00Z",
            "profile": "cpu-generic",
            "artifacts": [],
            "files": files,
        }  # fmt: skip
    ).to_bytes()
    key = signing_key()
    (bundle / "manifest.json").write_bytes(manifest)
    pem = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
    from edge.bundle.keys import key_id

    (bundle / "manifest.sig").write_bytes(signature_bytes(key_id(key.public_key()), key.sign(manifest)))
    layout.release("a").write_text(json.dumps({"name": "small", "sequence": 1, "bundle": {"keys": [pem]}}))
    return made


def test_a_bundle_is_trusted_by_the_keys_of_its_release_and_by_no_others(
    root: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    slot = ServedSlot(root, "a")
    assert slot.bundle().files["profile.toml"] == b"of the bundle"
    monkeypatch.setenv("EDGEKIT_STATE_DIR", str(tmp_path / "another"))
    other = signing_key().public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
    Layout(root).release("a").write_text(json.dumps({"bundle": {"keys": [other]}}))
    with pytest.raises(BundleSignatureError, match="does not trust"):
        slot.bundle()
    Layout(root).release("a").write_text(json.dumps({"bundle": {}}))
    with pytest.raises(SlotError, match="names no keys"):
        slot.bundle()


def test_the_banks_own_profile_takes_the_place_of_the_bundles(root: Path) -> None:
    Layout(root).profile.write_bytes(b"of the bank")
    assert ServedSlot(root, "a").bundle().files["profile.toml"] == b"of the bank"


def test_the_status_says_whether_the_release_is_in_trial_or_watched(root: Path) -> None:
    assert ServedSlot(root, "a").status() == {
        "slot": "a", "release": "small-1", "sequence": 1, "state": "good", "watched": False
    }  # fmt: skip
    install(root, 2)
    change(root, lambda switch: moves.activate(switch, "b"))
    assert ServedSlot(root, "b").in_trial
    assert not ServedSlot(root, "a").in_trial
    change(root, moves.mark_good)
    assert ServedSlot(root, "b").status()["watched"]
    Layout(root).switch.write_text("{")
    assert ServedSlot(root, "b").status()["error"]["code"] == "PROVISION-002"


@dataclass(frozen=True)
class Offered:
    """The services that a slot adds to; every application scores ``points``."""

    score: Any
    status: Any


@dataclass(frozen=True)
class Loaded:
    """``edge.service.Device`` as far as a slot looks at it."""

    services: Offered
    scorer: Scorer
    profile: Any


def loaded(points: int = 70, memory_limit_mb: int = 1 << 20) -> Any:
    serve = SimpleNamespace(memory_limit_mb=memory_limit_mb, gpu_memory_limit_mb=None)
    offered = Offered(lambda sent, budget: {"score": points}, lambda: {"profile": "small"})
    return Loaded(offered, Scorer(), SimpleNamespace(name="small", serve=serve))


POLICY = (Path(__file__).parents[2] / "examples" / "policy.toml").read_bytes()
BUNDLE = VerifiedBundle(SimpleNamespace(), "0" * 64, "key", {"policy.toml": POLICY})  # type: ignore[arg-type]


def test_a_release_in_trial_shows_its_health_before_it_serves_and_one_that_is_good_need_not(root: Path) -> None:
    greedy = loaded(memory_limit_mb=1)
    ServedSlot(root, "a").watched(greedy, BUNDLE)
    install(root, 2)
    change(root, lambda switch: moves.activate(switch, "b"))
    with pytest.raises(HealthError):
        ServedSlot(root, "b").watched(greedy, BUNDLE)


@pytest.mark.parametrize(("points", "word"), [(70, DRIFTED), (20, SETTLED)])
@pytest.mark.parametrize("began_again", [False, True])
def test_the_scores_of_a_new_release_are_compared_and_the_launcher_is_told(
    root: Path, monkeypatch: pytest.MonkeyPatch, points: int, word: str, began_again: bool
) -> None:
    """Also by a server that took over from the one which the trial began with."""
    told: list[str] = []
    monkeypatch.setattr(Notifier, "send", lambda self, **words: told.extend(words))
    (Layout(root).state / "scores.json").write_text(json.dumps({"releases": {"small-1": [20] * 20}}))
    install(root, 2)
    change(root, lambda switch: moves.activate(switch, "b"))
    slot = ServedSlot(root, "b")
    device = slot.watched(loaded(points), BUNDLE)
    assert device.services.status() == {"profile": "small", "slot": slot.status()}
    for number in range(20):
        if began_again and number == 7:
            change(root, moves.mark_good)
            device = slot.watched(loaded(points), BUNDLE)
        assert told == []
        assert device.services.score(None, None) == {"score": points}
    assert told == [word]
