"""docs/any-model.md: its commands run, and what they leave behind serves over /v2 and counts in the score."""

from __future__ import annotations

import contextlib
import importlib
import io
import json
import re
import shlex
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import requests
from numpy.typing import NDArray

from compress.behaviour import roc_auc
from edge.cli import main
from examples.classifier import draw
from examples.graph.invent import networks
from examples.recommender.train import invent
from runtime.artifact import read_artifact
from tests.docs.blocks import blocks
from tests.e2e.conftest import serving

ROOT = Path(__file__).parents[2]
EXAMPLES, PAGE = ROOT / "examples", ROOT / "docs" / "any-model.md"


@dataclass(frozen=True)
class Kit:
    """Where the page's commands ran, the receipt of its last one, and the state directory with its key."""

    work: Path
    receipt: Any
    state: Path


def edgekit(*arguments: str | Path) -> Any:
    """What a command answers, as in a shell but without the seconds in which an interpreter starts."""
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        main([*map(str, arguments), "--json"])
    return json.loads(printed.getvalue())


def run(command: str) -> Any:
    """One command of the page; what it answers if it is one of the kit's."""
    if command.startswith("edgekit "):
        answer = edgekit(*shlex.split(command)[1:])
        assert "error" not in answer, answer["error"]
        return answer
    if command.startswith(".venv/bin/python -m "):
        module, *arguments = shlex.split(command)[2:]
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("sys.argv", [module, *arguments])
            importlib.import_module(module).main()
    else:
        subprocess.run(["bash", "-ec", command], check=True)
    return None


def snippet(of: str) -> str:
    """The page's block of Python that mentions ``of``."""
    found = re.findall(r"^```python\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    (text,) = (each for each in found if of in each)
    return text


@pytest.fixture(scope="module")
def kit(demo: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kit]:
    """Every command of the page, from top to bottom, and its application."""
    work, state = tmp_path_factory.mktemp("any-model"), tmp_path_factory.mktemp("state")
    (work / "demo-out").mkdir()
    (work / "demo-out" / "bundle").symlink_to(demo.bundle)
    (work / "examples").symlink_to(EXAMPLES)
    receipt = None
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EDGEKIT_STATE_DIR", str(state))
        patch.chdir(work)
        for block in blocks(PAGE):
            for command in block.text.replace("\\\n", " ").splitlines():
                if command.startswith("edgekit score "):
                    exec(snippet("score_inputs"), {})
                receipt = run(command)
        yield Kit(work, receipt, state)


def inputs(work: Path, score: str) -> Any:
    name = {"gang": "gang-inputs.json", "offers": "offer-inputs.json"}[score]
    return json.loads((work / "any" / name).read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def url(kit: Kit) -> Iterator[str]:
    with serving(kit.work / "any" / "bundle", EDGEKIT_STATE_DIR=str(kit.state)) as address:
        yield address


def asked(url: str, model: str, **feeds: NDArray[Any]) -> dict[str, NDArray[Any]]:
    """Over the Open Inference Protocol, in JSON."""
    names = {"float32": "FP32", "int64": "INT64"}
    body = {
        "inputs": [
            {"name": name, "datatype": names[each.dtype.name], "shape": each.shape, "data": each.ravel().tolist()}
            for name, each in feeds.items()
        ]
    }
    answer = requests.post(f"{url}/v2/models/{model}/infer", json=body, timeout=30)
    assert answer.status_code == 200, answer.text
    return {each["name"]: np.array(each["data"]).reshape(each["shape"]) for each in answer.json()["outputs"]}


def test_every_model_is_ready_beside_those_of_the_decision(url: str) -> None:
    index = requests.post(f"{url}/v2/repository/index", timeout=10).json()
    assert {each["name"] for each in index} == {
        *("ocr-det", "ocr-rec", "ocr-cls", "text-risk", "behaviour"),
        *("gang-fraud", "offer-clicks", "photo-quality"),
    }
    for name in ("gang-fraud", "offer-clicks", "photo-quality"):
        assert requests.get(f"{url}/v2/models/{name}/ready", timeout=10).status_code == 200
    nodes, edges = requests.get(f"{url}/v2/models/gang-fraud", timeout=10).json()["inputs"]
    assert (nodes["shape"], edges["shape"]) == ([-1, 6], [2, -1])


def test_graphs_of_any_size_are_told_apart_over_http(url: str) -> None:
    unseen = networks(60, seed=2)
    said = []
    for each in unseen:
        (answer,) = asked(url, "gang-fraud", nodes=each.nodes, edges=each.edges).values()
        assert answer.shape == (len(each.nodes), 2)
        said.append(answer[0, 1])
    assert len({len(each.nodes) for each in unseen}) > 10
    assert roc_auc(np.array([each.labels[0] for each in unseen]), np.array(said)) > 0.9


def test_a_batch_of_offers_gets_a_probability_each_and_one_alone_the_same(url: str) -> None:
    ids, amounts, clicked = invent(600, seed=2)
    (all_at_once,) = asked(url, "offer-clicks", ids=ids, amounts=amounts).values()
    assert all_at_once.shape == (600, 1)
    assert roc_auc(clicked, all_at_once[:, 0]) > 0.7
    (alone,) = asked(url, "offer-clicks", ids=ids[:1], amounts=amounts[:1]).values()
    np.testing.assert_allclose(alone[0], all_at_once[0], atol=1e-4)


def test_a_classifier_from_pytorch_knows_pictures_that_it_has_not_seen(url: str) -> None:
    images, labels = draw.pictures(60, seed=9)
    answer = asked(url, "photo-quality", image=images)
    assert answer["logits"].shape == (60, len(draw.CLASSES))
    assert (answer["logits"].argmax(1) == labels).mean() > 0.9


def test_the_page_s_own_request_tells_sharp_from_blurred(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    exec(snippet("photo-quality"), {"url": url})
    _, labels = draw.pictures(4, seed=9)
    assert capsys.readouterr().out.split() == [draw.CLASSES[label] for label in labels]


def test_the_further_scores_are_in_the_receipt_and_add_up(kit: Kit, url: str) -> None:
    gang = {name: np.array(value) for name, value in inputs(kit.work, "gang").items()}
    (said,) = asked(url, "gang-fraud", nodes=gang["nodes"].astype(np.float32), edges=gang["edges"]).values()
    assert kit.receipt["scores"]["gang"] == pytest.approx(said[0, 1], abs=1e-3)
    assert kit.receipt["scores"]["gang"] > 0.5
    assert set(kit.receipt["scores"]) == {"gang", "offers"}
    assert "score_gang" in {reason["code"] for reason in kit.receipt["reasons"]}
    assert sum(reason["contribution"] for reason in kit.receipt["reasons"]) == kit.receipt["score"]
    assert kit.receipt["decision"] == "review"


def test_inputs_of_another_shape_are_refused_with_their_place(url: str) -> None:
    application = json.loads((EXAMPLES / "application" / "application.json").read_text(encoding="utf-8"))
    wrong = {"gang": {"nodes": [[1, 2, 3]], "edges": [[0], [0]]}}
    application |= {"documents": [], "score_inputs": wrong}
    body = {"application": ("application.json", json.dumps(application).encode())}
    answer = requests.post(f"{url}/v1/score", files=body, timeout=60)
    assert (answer.status_code, answer.json()["code"]) == (400, "APP-001")
    assert "score_inputs.gang: Input 'nodes' of gang-fraud has shape 1x3; expected ?x6" in answer.json()["problem"]


def test_a_section_that_reads_logits_as_probabilities_builds_no_bundle(kit: Kit, tmp_path: Path) -> None:
    policy, text = tmp_path / "policy.toml", (kit.work / "any" / "policy.toml").read_text(encoding="utf-8")
    policy.write_text(text.replace('"offer-clicks"', '"photo-quality"'), encoding="utf-8")
    artifacts = [kit.work / "any" / "artifacts" / name for name in ("gang-fraud", "photo-quality")]
    options = ("--profile", "cpu-generic", "--policy", policy, "--out", tmp_path / "bundle")
    refused = edgekit("bundle", "build", *artifacts, *options)
    assert "which is no probability" in refused["error"]["problem"]
    assert not (tmp_path / "bundle").exists()


def test_pp_ocrv6_s_onnx_pair_goes_the_same_way(ppocr_v6: Path, tmp_path: Path) -> None:
    """As any ONNX model, a network for a line of text; as OCR it reads in tests/runtime/ocr."""
    rng = np.random.default_rng(0)
    lines = {f"{number}:x": rng.uniform(-1, 1, (1, 3, 48, 160 + 32 * number)).astype(np.float32) for number in range(4)}
    pages = {f"{number}:x": rng.uniform(-1, 1, (1, 3, 64, 96 + 32 * number)).astype(np.float32) for number in range(4)}
    for part, cases in (("det", pages), ("rec", lines)):
        np.savez(tmp_path / "cases.npz", **cases)
        out = tmp_path / f"out-{part}"
        source = ("--model", ppocr_v6 / part, "--calibration", tmp_path / "cases.npz")
        options = (*source, "--profile", "cpu-generic", "--out", out)
        assert "error" not in edgekit("compress", "model", *options)
        (entry,) = read_artifact(out).models
        assert (entry.name, entry.precision) == (part, "fp32")
