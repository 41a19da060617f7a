"""How other people's tools are run, without installing one."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import get_args

import numpy as np
import pytest

from benchmarks import peers
from benchmarks.feeds_file import read_feeds, write_feeds
from benchmarks.harness import ROOT
from benchmarks.networks import random_weights
from benchmarks.peers import QUANTIZERS, Environment, peer_answers, peers_python, quantize_by, run_peer
from compress.ernie.checkpoint import ErnieConfig
from compress.ernie.export import export_paddle
from compress.ernie.model import build_model
from compress.export import to_onnx
from devices.errors import EdgeKitError
from runtime.artifact import Artifact, ModelEntry, TextSettings
from runtime.text import VOCAB_NAME, load_text_classifier
from runtime.tokenizer import SPECIAL_TOKENS

SCRIPT = """
import sys
import numpy as np
table = np.load(sys.argv[1])
print("on the way", file=sys.stderr)
if table["x"][0] < 0:
    raise SystemExit("less than nothing")
np.savez(sys.argv[2], twice=2 * table["x"])
"""


@pytest.fixture
def script(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A peer that doubles what it is given, in this environment."""
    monkeypatch.setattr(peers, "peers_python", lambda environment: Path(sys.executable))
    monkeypatch.setattr(peers, "_HERE", tmp_path)
    (tmp_path / "double.py").write_text(SCRIPT, encoding="utf-8")
    return "double.py"


def test_environments_of_older_requirements_go_when_one_is_installed(
    own_state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, now = own_state / "cache" / "bench", time.time()
    used = {"peers-old": now - 86_500, "peers-other-checkout": now - 86_300, "peers-half": now - 86_500}
    for name, at in used.items():
        (folder / name / "lib").mkdir(parents=True)
        if name != "peers-half":
            (folder / name / ".installed").touch()
            os.utime(folder / name / ".installed", (at, at))
        os.utime(folder / name, (at, at))

    def install(command: list[str], **_: object) -> subprocess.CompletedProcess[str]:
        if "venv" in command:
            Path(command[-1]).mkdir()
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(subprocess, "run", install)
    installed = [peers_python(environment).parents[1] for environment in ("bench", "bench-inc")]
    os.utime(installed[0] / ".installed", (0, 0))  # named by a lock, so it stays however long ago it was used
    installed.append(peers_python("bench-scikit").parents[1])
    assert set(folder.iterdir()) == {folder / "peers-other-checkout", *installed}


def test_a_peer_answers_by_name(script: str, tmp_path: Path) -> None:
    answers = peer_answers("bench-scikit", script, {"x": np.array([1.0, 2.0])}, tmp_path)
    assert {name: values.tolist() for name, values in answers.items()} == {"twice": [2.0, 4.0]}


def test_a_peer_that_fails_is_quoted_with_the_command_that_shows_it(script: str, tmp_path: Path) -> None:
    with pytest.raises(EdgeKitError, match=r"double\.py failed: less than nothing") as caught:
        peer_answers("bench-scikit", script, {"x": np.array([-1.0])}, tmp_path)
    assert str(tmp_path / script) in caught.value.remedy


def test_scripts_find_the_benchmarks_and_are_not_hidden_by_them(script: str, tmp_path: Path) -> None:
    (tmp_path / "runtime.py").write_text("raise RuntimeError", encoding="utf-8")
    (tmp_path / script).write_text("import benchmarks.feeds_file, runtime; assert runtime.__path__", encoding="utf-8")
    run_peer("bench", script)


def test_calibration_data_goes_to_the_peer_and_not_beside_its_model(script: str, tmp_path: Path) -> None:
    fed = [
        {"a": np.arange(3), "b": np.ones((2, 2), np.float32)},
        {"a": np.arange(2), "b": np.zeros((1, 2), np.float32)},
    ]
    (tmp_path / QUANTIZERS[0].script).write_text(
        "import sys\nfrom benchmarks.feeds_file import read_feeds\n"
        "open(sys.argv[3], 'w').write(f'{sys.argv[4]} {[each[\"a\"].tolist() for each in read_feeds(sys.argv[2])]}')",
        encoding="utf-8",
    )
    out = quantize_by(QUANTIZERS[0], tmp_path / "model.onnx", fed, tmp_path / "out", transformer=True)
    assert (out / QUANTIZERS[0].file).read_text(encoding="utf-8") == "transformer [[0, 1, 2], [0, 1]]"
    assert [path.name for path in out.iterdir()] == [QUANTIZERS[0].file]


def test_feeds_come_back_as_they_were_written(tmp_path: Path) -> None:
    write_feeds(tmp_path / "feeds.npz", [{"x/y": np.arange(4)}, {"x/y": np.arange(2)}])
    assert [{name: array.tolist() for name, array in feed.items()} for feed in read_feeds(tmp_path / "feeds.npz")] == [
        {"x/y": [0, 1, 2, 3]},
        {"x/y": [0, 1]},
    ]


def test_every_environment_is_locked_by_hash_and_locked_anew_with_the_others() -> None:
    script = (ROOT / "requirements" / "lock.sh").read_text(encoding="utf-8")
    for name in get_args(Environment):
        assert f"lock {name}.lock {name}.in" in script
        assert "--hash=sha256:" in (ROOT / "requirements" / f"{name}.lock").read_text(encoding="utf-8")
    assert all((ROOT / "benchmarks" / each.script).is_file() for each in QUANTIZERS)


def test_paddle_behind_flask_answers_what_the_kit_answers(tmp_path: Path) -> None:
    from benchmarks.flask_paddle import create_app  # it imports paddle, which wants its flags to be set before

    config = ErnieConfig(
        vocab_size=14, num_hidden_layers=1, hidden_size=24, intermediate_size=24, max_position_embeddings=128
    )
    model = build_model(config, random_weights(config))
    export_paddle(model, tmp_path / "paddle")
    artifact = tmp_path / "text"
    to_onnx(tmp_path / "paddle", artifact / "model.onnx")
    vocab = "".join(f"{token}\n" for token in [*SPECIAL_TOKENS, *"借还款利率高低多少"])
    (artifact / VOCAB_NAME).write_text(vocab, encoding="utf-8")
    settings = TextSettings(labels=("a", "b"), multi_label=True)
    Artifact(kind="text", profile="cpu-avx2", models=(ModelEntry(name="text-risk"),), text=settings).write(artifact)
    texts = ["借款利率", "还"]
    asked = create_app(tmp_path / "paddle", artifact, 1).test_client().post("/predict", json={"texts": texts})
    assert asked.status_code == 200
    own = load_text_classifier(artifact, "openvino").classify(texts)
    for theirs, ours in zip(asked.get_json()["results"], own, strict=True):
        assert theirs["text"] == ours.text
        assert theirs["labels"] == pytest.approx(ours.labels, abs=1e-4)
