from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from compress.behaviour import average_precision, compress_behaviour, pad, roc_auc, train
from compress.behaviour_network import BehaviourNetwork, quantile_bins, save_network
from compress.histories import History, read_histories
from compress.paddle_env import paddle
from devices.errors import CompressionError, DataError
from devices.profile import Backend, Profile, load_profile
from runtime.artifact import BehaviourSettings, entry_files, read_artifact
from runtime.behaviour import FEATURE_NAMES, FEATURES, BehaviourModel
from runtime.choice import check_parity, read_golden
from runtime.predictor import Predictor, load_predictor, model_files

PROFILES: dict[Backend, str] = {"openvino": "cpu-avx2", "onnxruntime": "gpu-nvidia-4gb", "paddle": "cpu-paddle"}


def invented(count: int, seed: int) -> Iterator[dict[str, Any]]:
    """Histories whose label shows in two ways: moves at night, and transfers instead of purchases."""
    rng = np.random.default_rng(seed)
    for number in range(count):
        label = number % 2
        transactions = []
        for day in range(int(rng.integers(6, 25))):
            odd = rng.random() < (0.5 if label else 0.1)
            transactions.append(
                {
                    "time": f"2026-05-{day + 1:02d}T{2 if odd else 14:02d}:{int(rng.integers(60)):02d}:00+08:00",
                    "amount": round(float(-rng.uniform(5, 500)), 2),
                    "balance": 3000.0,
                    "channel": "transfer" if odd else "pos",
                    "counterparty": f"示例{int(rng.integers(4))}",
                }
            )
        yield {"transactions": transactions, "label": label}


def write(path: Path, documents: Iterator[dict[str, Any]]) -> Path:
    text = "".join(json.dumps(document, ensure_ascii=False) + "\n" for document in documents)
    path.write_bytes(gzip.compress(text.encode()) if path.suffix == ".gz" else text.encode())
    return path


@dataclass(frozen=True)
class Compressed:
    """Artifacts trained once from the same data, one for each backend."""

    root: Path
    reports: dict[Backend, dict[str, Any]]
    stages: list[tuple[str, float]]

    def artifact(self, backend: Backend) -> Path:
        return self.root / backend


@pytest.fixture(scope="module")
def compressed(tmp_path_factory: pytest.TempPathFactory) -> Compressed:
    root = tmp_path_factory.mktemp("behaviour")
    train_file = write(root / "train.jsonl.gz", invented(240, 1))
    dev_file = write(root / "dev.jsonl", invented(80, 2))
    (root / "paddle").mkdir()
    (root / "paddle" / "artifact.json").write_text("{}")
    (root / "paddle" / "model.onnx").write_bytes(b"of an earlier artifact for another profile")
    stages: list[tuple[str, float]] = []
    reports: dict[Backend, dict[str, Any]] = {
        backend: compress_behaviour(
            train_file, dev_file, load_profile(name), root / backend, lambda stage, share: stages.append((stage, share))
        )
        for backend, name in PROFILES.items()
    }
    return Compressed(root, reports, stages)


def predictor(compressed: Compressed, backend: Backend) -> Predictor:
    directory = compressed.artifact(backend)
    return load_predictor(entry_files(directory, read_artifact(directory).model("behaviour")), backend)


def test_it_learns_what_the_histories_show(compressed: Compressed) -> None:
    for backend, report in compressed.reports.items():
        chosen = {row["metric"]: row for row in report["rows"] if row["chosen"]}
        assert set(chosen) == {"auc", "average_precision"}
        assert chosen["auc"]["value"] > 0.9
        assert chosen["average_precision"]["value"] > 0.9
        assert all(row["backend"] == backend and row["latency_ms"] > 0 for row in chosen.values())
        assert report["histories"] == {"train": 240, "dev": 80}


def test_progress_runs_from_reading_to_the_end(compressed: Compressed) -> None:
    assert compressed.stages[0] == ("read histories", 0.0)
    assert compressed.stages[-1] == ("measure", 1.0)
    assert ("train", 1.0) in compressed.stages


@pytest.mark.parametrize("backend", PROFILES)
def test_the_artifact_holds_one_model_in_the_backend_s_format_and_its_golden_outputs(
    compressed: Compressed, backend: Backend
) -> None:
    directory = compressed.artifact(backend)
    models = {"inference.pdmodel", "inference.pdiparams"} if backend == "paddle" else {"model.onnx"}
    reports = {path.name for path in directory.glob("report.*")}
    assert "report.json" in reports
    assert {path.name for path in directory.iterdir()} - reports == models | {"artifact.json", "golden.npz"}
    artifact = read_artifact(directory)
    entry = artifact.model("behaviour")
    assert (artifact.kind, entry.backend, entry.golden) == ("behaviour", backend, "golden.npz")
    golden = read_golden((directory / "golden.npz").read_bytes())
    check_parity(predictor(compressed, backend), golden, tolerance=1e-4)
    size = sum((directory / name).stat().st_size for name in models)
    assert {row["size_bytes"] for row in compressed.reports[backend]["rows"] if row["chosen"]} == {size}


def test_the_same_seed_and_data_give_the_same_model(compressed: Compressed) -> None:
    goldens = [read_golden((compressed.artifact(backend) / "golden.npz").read_bytes()) for backend in PROFILES]
    for other in goldens[1:]:
        np.testing.assert_allclose(other.outputs["probability"], goldens[0].outputs["probability"], atol=1e-6)


@pytest.mark.parametrize("backend", PROFILES)
def test_padding_changes_no_result_and_gets_no_attention(compressed: Compressed, backend: Backend) -> None:
    loaded = predictor(compressed, backend)
    rng = np.random.default_rng(3)
    rows = [rng.standard_normal((length, FEATURES)).astype(np.float32) for length in (5, 17, 40)]
    stacked, mask = pad(rows)
    stacked[mask == 0] = 4.0  # what stands in the padding must not matter
    together = loaded.run({"features": stacked, "mask": mask})
    for number, each in enumerate(rows):
        alone = loaded.run({"features": each[None], "mask": np.ones((1, len(each)), np.float32)})
        np.testing.assert_allclose(together["probability"][number], alone["probability"][0], atol=1e-6)
        np.testing.assert_allclose(together["attention"][number, : len(each)], alone["attention"][0], atol=1e-6)
        assert together["attention"][number, len(each) :].sum() == 0
        np.testing.assert_allclose(alone["attention"].sum(), 1, atol=1e-5)


def test_backends_agree_on_histories_of_every_length(compressed: Compressed) -> None:
    loaded = {backend: predictor(compressed, backend) for backend in PROFILES}
    rng = np.random.default_rng(4)
    for count, length in ((1, 1), (1, 200), (3, 7), (2, 7), (1, 64)):
        feeds = {
            "features": rng.standard_normal((count, length, FEATURES)).astype(np.float32),
            "mask": np.ones((count, length), np.float32),
        }
        results = {backend: each.run(feeds) for backend, each in loaded.items()}
        for result in results.values():
            assert result["probability"].shape == (count,)
            assert result["attention"].shape == (count, length)
            for name in ("probability", "attention"):
                np.testing.assert_allclose(result[name], results["paddle"][name], atol=1e-4)


@pytest.mark.parametrize("backend", PROFILES)
def test_the_served_model_points_at_the_moves_that_made_it_suspicious(compressed: Compressed, backend: Backend) -> None:
    artifact = read_artifact(compressed.artifact(backend))
    assert artifact.behaviour is not None
    model = BehaviourModel(predictor(compressed, backend), artifact.behaviour)
    histories = list(invented(40, 5))
    mean = {
        label: np.mean([model.assess(each["transactions"]).probability for each in histories if each["label"] == label])
        for label in (0, 1)
    }
    assert mean[1] > mean[0] + 0.3


def test_a_feature_that_never_varied_in_training_stays_silent_when_it_does(compressed: Compressed) -> None:
    directory = compressed.artifact("openvino")
    artifact = read_artifact(directory)
    assert isinstance(artifact.behaviour, BehaviourSettings)
    assert artifact.behaviour.std[FEATURE_NAMES.index("channel_loan")] == 1e6
    assert artifact.behaviour.std[FEATURE_NAMES.index("channel_pos")] < 1
    model = BehaviourModel(predictor(compressed, "openvino"), artifact.behaviour)
    transactions = next(invented(1, 6))["transactions"]
    atm = [{**each, "channel": "atm"} for each in transactions]
    loan = [{**each, "channel": "loan"} for each in transactions]
    assert model.assess(atm).probability == pytest.approx(model.assess(loan).probability, abs=1e-5)


def test_an_export_that_is_not_the_trained_model_leaves_no_artifact(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def save_another(network: BehaviourNetwork, directory: Path) -> None:
        another = BehaviourNetwork(quantile_bins(np.zeros((1, FEATURES), np.float32)))
        another.eval()
        save_network(another, directory)

    monkeypatch.setattr("compress.behaviour.save_network", save_another)
    data = write(tmp_path / "data.jsonl", invented(20, 7))
    with pytest.raises(CompressionError, match="is not the trained one"):
        compress_behaviour(data, data, load_profile("cpu-generic"), tmp_path / "out", epochs=1)
    assert [each.name for each in tmp_path.iterdir()] == ["data.jsonl"]


def test_training_follows_its_seed() -> None:
    rng = np.random.default_rng(8)
    histories = [History.labelled(rng.standard_normal((8, FEATURES)).astype(np.float32), i % 2) for i in range(40)]
    weights = [
        train(histories, seed=seed, epochs=1, progress=lambda share: None)[0].head.weight.numpy() for seed in (1, 1, 2)
    ]
    np.testing.assert_allclose(weights[0], weights[1], atol=1e-7)
    assert np.abs(weights[0] - weights[2]).max() > 1e-3


def test_what_is_said_as_of_each_transaction_is_what_is_served_when_it_is_the_last() -> None:
    rng = np.random.default_rng(11)
    rows = rng.standard_normal((1, 9, FEATURES)).astype(np.float32)
    network = BehaviourNetwork(quantile_bins(rows[0]))
    network.eval()
    with paddle.no_grad():
        along = paddle.nn.functional.sigmoid(network.logits(paddle.to_tensor(rows))).numpy()[0]
        for length in range(1, 10):
            mask = np.zeros((1, 9), np.float32)
            mask[0, :length] = 1
            probability, _ = network(paddle.to_tensor(rows), paddle.to_tensor(mask))
            np.testing.assert_allclose(probability.numpy()[0], along[length - 1], atol=1e-6)


def test_a_label_in_the_middle_of_a_long_history_is_learnt_from() -> None:
    rng = np.random.default_rng(12)
    histories = []
    for _ in range(40):
        rows = rng.standard_normal((60, FEATURES)).astype(np.float32)
        labels = (rows[:, 0] > 0.5).astype(np.float32)
        labels[-10:] = np.nan
        histories.append(History(rows, labels))
    network, settings = train(histories, seed=0, epochs=15, progress=lambda share: None, max_transactions=16)
    assert settings.max_transactions == 16
    with paddle.no_grad():
        logits = network.logits(paddle.to_tensor(histories[0].rows[None])).numpy()[0]
    assert roc_auc(np.int64(histories[0].rows[:, 0] > 0.5), logits.astype(np.float64)) > 0.95
    with pytest.raises(ValueError, match="nothing is known"):
        _ = histories[0].label


def test_bins_reach_into_both_tails_and_leave_out_what_never_varies() -> None:
    rows = np.stack([np.zeros(5000), np.random.default_rng(13).standard_normal(5000)], 1).astype(np.float32)
    feature, low, width = quantile_bins(rows)
    assert set(feature) == {1}
    np.testing.assert_allclose(low[1:], (low + width)[:-1], atol=1e-6)
    assert low[0] < -3
    assert low[-1] + width[-1] > 3
    assert quantile_bins(rows[:, :1]).shape == (3, 1)


def test_saved_outputs_bear_their_names(tmp_path: Path) -> None:
    network = BehaviourNetwork(quantile_bins(np.zeros((1, FEATURES), np.float32)))
    network.eval()
    save_network(network, tmp_path)
    loaded = load_predictor(model_files(tmp_path, "behaviour"), "paddle")
    assert [spec.name for spec in loaded.outputs] == ["probability", "attention"]
    feeds = {"features": np.ones((2, 3, FEATURES), np.float32), "mask": np.ones((2, 3), np.float32)}
    with paddle.no_grad():
        probability, attention = network(*(paddle.to_tensor(feeds[name]) for name in ("features", "mask")))
    outputs = loaded.run(feeds)
    np.testing.assert_allclose(outputs["probability"], probability.numpy(), atol=1e-6)
    np.testing.assert_allclose(outputs["attention"], attention.numpy(), atol=1e-6)


def good() -> dict[str, Any]:
    return next(invented(1, 9))


def change(**fields: object) -> Callable[[], str]:
    document = good()
    document["transactions"][2] |= fields
    return lambda: json.dumps(document)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (lambda: '{"transactions": [', "Expecting value"),
        (lambda: "[1]", 'it must be an object with a list "transactions"'),
        (lambda: json.dumps({**good(), "transactions": {}}), 'it must be an object with a list "transactions"'),
        (lambda: json.dumps({**good(), "transactions": []}), '"transactions" is empty'),
        (lambda: json.dumps({**good(), "label": 2}), '"label" is 2'),
        (lambda: json.dumps({**good(), "label": True}), '"label" is True'),
        (lambda: json.dumps({"transactions": good()["transactions"]}), '"label" is None'),
        (lambda: json.dumps({**good(), "transactions": [7]}), "transaction 0 is not an object"),
        (change(amount=float("nan")), "transaction 2 has amount nan; it must be a number"),
        (change(amount=10**400), "int too large to convert to float"),
        (change(balance="3000"), "transaction 2 has balance '3000'; it must be a number"),
        (change(channel=None), "transaction 2 has channel None; it must be a text"),
        (change(time="yesterday"), "transaction 2 has time 'yesterday', which is not ISO 8601"),
        (change(time="2026-05-03T14:00:00"), "which lacks its zone"),
    ],
)
def test_a_malformed_line_is_refused_with_its_number(tmp_path: Path, line: Callable[[], str], said: str) -> None:
    path = tmp_path / "histories.jsonl"
    path.write_text("\n".join([json.dumps(good()), "", line()]), encoding="utf-8")
    with pytest.raises(DataError) as caught:
        read_histories(path)
    assert f"{path}, line 3: " in caught.value.problem
    assert said in caught.value.problem


def test_files_that_cannot_be_read_are_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="missing.jsonl cannot be read: No such file"):
        read_histories(tmp_path / "missing.jsonl")
    torn = tmp_path / "torn.jsonl.gz"
    torn.write_bytes(gzip.compress(json.dumps(good()).encode())[:-12])
    with pytest.raises(DataError, match=r"torn.jsonl.gz cannot be read: Compressed file ended"):
        read_histories(torn)
    damaged = tmp_path / "damaged.jsonl.gz"
    whole = gzip.compress(json.dumps(good()).encode())
    damaged.write_bytes(whole[:20] + bytes(20) + whole[40:])
    with pytest.raises(DataError, match=r"damaged.jsonl.gz cannot be read"):
        read_histories(damaged)
    plain = tmp_path / "plain.jsonl.gz"
    plain.write_text("{}")
    with pytest.raises(DataError, match=r"plain.jsonl.gz cannot be read: Not a gzipped file"):
        read_histories(plain)


def test_a_file_without_both_labels_teaches_nothing_and_is_refused(tmp_path: Path) -> None:
    profile: Profile = load_profile("cpu-generic")
    same = write(tmp_path / "same.jsonl", ({**each, "label": 0} for each in invented(4, 10)))
    both = write(tmp_path / "both.jsonl", invented(4, 10))
    for train_file, dev_file in ((same, both), (both, same)):
        with pytest.raises(DataError, match=r"same.jsonl has 4 histories and not both labels"):
            compress_behaviour(train_file, dev_file, profile, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("labels", "scores", "auc", "ap"),
    [
        ([0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8], 0.75, 0.8333333),
        ([0, 1], [0.5, 0.5], 0.5, 0.5),
        ([1, 0, 1], [0.9, 0.5, 0.5], 0.75, 0.8333333),
        ([1, 1, 0], [0.1, 0.2, 0.9], 0.0, 0.5833333),
        ([0, 0, 1], [0.1, 0.2, 0.9], 1.0, 1.0),
    ],
)
def test_curves_match_values_worked_out_by_hand(labels: list[int], scores: list[float], auc: float, ap: float) -> None:
    assert roc_auc(np.array(labels), np.array(scores)) == pytest.approx(auc)
    assert average_precision(np.array(labels), np.array(scores)) == pytest.approx(ap)
