"""Train a wide-and-deep click model (Cheng et al., arXiv:1606.07792) on invented offers and save it.

Nobody is in here. An invented customer is shown an offer of expensive credit and clicks on it or not; who does so often
is a risk that no paper shows. The wide half remembers single values and one crossing of two; the deep half learns
vectors.

    python -m examples.recommender.train --out DIR

writes ``DIR/offer-clicks/`` (a Paddle model), ``DIR/offer-cases.npz`` and ``DIR/offer-inputs.json``. Takes seconds.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from compress.behaviour import roc_auc
from compress.paddle_env import paddle

OCCUPATIONS, OFFERS, CITIES = 12, 8, 20
TABLE = OCCUPATIONS + OFFERS + CITIES + OCCUPATIONS * OFFERS  # ids of all columns in one table, the crossing last
AMOUNTS = ("log_income", "debt_share", "visits_30_days", "hour")
SHOWN, MEASURED, CASES = 20_000, 4000, 256
BATCH, EPOCHS = 512, 4


class WideAndDeep(paddle.nn.Layer):
    """Ids (N, 4) int64 and amounts (N, 4) float32 to the probability of a click, (N, 1)."""

    def __init__(self) -> None:
        super().__init__()
        self.wide = paddle.nn.Embedding(TABLE, 1)
        self.deep = paddle.nn.Embedding(TABLE, 8)
        self.hidden = paddle.nn.Sequential(
            paddle.nn.Linear(4 * 8 + len(AMOUNTS), 32), paddle.nn.ReLU(), paddle.nn.Linear(32, 1)
        )

    def forward(self, ids, amounts):
        """Probabilities."""
        return paddle.nn.functional.sigmoid(self.logits(ids, amounts))

    def logits(self, ids, amounts):
        """Before the sigmoid."""
        deep = paddle.concat([self.deep(ids).flatten(1), amounts], axis=1)
        return self.wide(ids).sum(axis=1) + self.hidden(deep)


def invent(count: int, seed: int) -> tuple[NDArray[np.int64], NDArray[np.float32], NDArray[np.int64]]:
    """Offers that were shown: ids (count, 4), amounts (count, 4), and 1 where it was clicked."""
    tastes = np.random.default_rng(7).normal(0, 1, (OCCUPATIONS, OFFERS))  # the same world for every seed
    rng = np.random.default_rng(seed)
    occupation, offer, city = (rng.integers(0, most, count) for most in (OCCUPATIONS, OFFERS, CITIES))
    amounts = np.stack(
        [rng.normal(0, 1, count), rng.beta(2, 4, count), rng.poisson(2, count) / 2, rng.uniform(-1, 1, count)], axis=1
    )
    pull = tastes[occupation, offer] - 0.8 * amounts[:, 0] + 3.0 * amounts[:, 1] + 0.6 * amounts[:, 2] - 2.5
    clicked = rng.random(count) < 1 / (1 + np.exp(-pull))
    crossing = OCCUPATIONS + OFFERS + CITIES + occupation * OFFERS + offer
    ids = np.stack([occupation, OCCUPATIONS + offer, OCCUPATIONS + OFFERS + city, crossing], axis=1)
    return ids, amounts.astype(np.float32), clicked.astype(np.int64)


def train(seed: int = 0) -> WideAndDeep:
    """A model that has seen ``SHOWN`` offers."""
    paddle.seed(seed)
    model = WideAndDeep()
    optimizer = paddle.optimizer.Adam(learning_rate=1e-2, parameters=model.parameters())
    ids, amounts, clicked = invent(SHOWN, seed=1)
    rng = np.random.default_rng(seed)
    for _ in range(EPOCHS):
        order = rng.permutation(SHOWN)
        for start in range(0, SHOWN, BATCH):
            some = order[start : start + BATCH]
            logits = model.logits(paddle.to_tensor(ids[some]), paddle.to_tensor(amounts[some]))
            truth = paddle.to_tensor(clicked[some, None].astype(np.float32))
            loss = paddle.nn.functional.binary_cross_entropy_with_logits(logits, truth)
            loss.backward()
            optimizer.step()
            optimizer.clear_grad()
    model.eval()
    return model


def auc(model: WideAndDeep) -> float:
    """On ``MEASURED`` offers that it has not seen."""
    ids, amounts, clicked = invent(MEASURED, seed=2)
    said = model(paddle.to_tensor(ids), paddle.to_tensor(amounts)).numpy()[:, 0]
    return roc_auc(clicked, said.astype(np.float64))


def save(model: WideAndDeep, out: Path) -> None:
    """Write model, cases and one applicant's inputs."""
    inputs = [
        paddle.static.InputSpec([None, 4], "int64", "ids"),
        paddle.static.InputSpec([None, len(AMOUNTS)], "float32", "amounts"),
    ]
    paddle.jit.save(model, str(out / "offer-clicks" / "inference"), inputs)
    ids, amounts, _ = invent(CASES, seed=3)
    np.savez_compressed(out / "offer-cases.npz", ids=ids, amounts=amounts)
    one = {"ids": ids[:1].tolist(), "amounts": np.round(amounts[:1].astype(np.float64), 4).tolist()}
    (out / "offer-inputs.json").write_text(json.dumps(one) + "\n", encoding="utf-8")


def main() -> None:
    """Train, measure, save."""
    parser = argparse.ArgumentParser(prog="examples.recommender.train", description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    out = parser.parse_args().out
    out.mkdir(parents=True, exist_ok=True)
    model = train()
    save(model, out)
    print(f"AUC on {MEASURED} invented offers that it has not seen: {auc(model):.3f}")


if __name__ == "__main__":
    main()
