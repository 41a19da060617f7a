"""Train a GraphSAGE on invented networks and save it as any training run would.

    python -m examples.graph.train --out DIR

writes ``DIR/gang-fraud/`` (a Paddle model), ``DIR/gang-cases.npz`` (what ``edgekit compress model`` calibrates and
measures with) and ``DIR/gang-inputs.json`` (one invented applicant's network, as an application brings it). Seconds.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np

from compress.behaviour import roc_auc
from compress.paddle_env import paddle
from examples.graph.invent import FEATURES, Network, joined, networks
from examples.graph.network import Members

TRAINED, MEASURED, CASES = 1600, 400, 64
BATCH, EPOCHS = 64, 6


def train(known: list[Network], seed: int = 0) -> Members:
    """A network that has seen ``known``."""
    paddle.seed(seed)
    members = Members(len(FEATURES))
    optimizer = paddle.optimizer.Adam(learning_rate=5e-3, parameters=members.parameters())
    rng = np.random.default_rng(seed)
    for _ in range(EPOCHS):
        order = rng.permutation(len(known))
        for start in range(0, len(order), BATCH):
            batch = joined([known[index] for index in order[start : start + BATCH]])
            logits = members.logits(paddle.to_tensor(batch.nodes), paddle.to_tensor(batch.edges))
            loss = paddle.nn.functional.cross_entropy(logits, paddle.to_tensor(batch.labels))
            loss.backward()
            optimizer.step()
            optimizer.clear_grad()
    members.eval()
    return members


def auc(members: Members, unseen: list[Network]) -> float:
    """How often an applicant of a gang gets a higher probability than an ordinary one."""
    said = [members(paddle.to_tensor(each.nodes), paddle.to_tensor(each.edges)).numpy()[0, 1] for each in unseen]
    return roc_auc(np.array([each.labels[0] for each in unseen]), np.array(said, np.float64))


def save(members: Members, out: Path) -> None:
    """Write model, cases and one applicant's inputs."""
    inputs = [
        paddle.static.InputSpec([None, len(FEATURES)], "float32", "nodes"),
        paddle.static.InputSpec([2, None], "int64", "edges"),
    ]
    paddle.jit.save(members, str(out / "gang-fraud" / "inference"), inputs)
    cases = networks(CASES, seed=3)
    arrays = {f"{number}:nodes": each.nodes for number, each in enumerate(cases)}
    arrays |= {f"{number}:edges": each.edges for number, each in enumerate(cases)}
    np.savez_compressed(out / "gang-cases.npz", **arrays)
    gang = max(cases, key=lambda each: int(each.labels.sum()))
    inputs_json = {"nodes": np.round(gang.nodes.astype(np.float64), 4).tolist(), "edges": gang.edges.tolist()}
    (out / "gang-inputs.json").write_text(json.dumps(inputs_json) + "\n", encoding="utf-8")


def main() -> None:
    """Train, measure, save."""
    parser = argparse.ArgumentParser(prog="examples.graph.train", description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    out = parser.parse_args().out
    out.mkdir(parents=True, exist_ok=True)
    members = train(networks(TRAINED, seed=1))
    save(members, out)
    print(f"AUC on {MEASURED} invented networks that it has not seen: {auc(members, networks(MEASURED, seed=2)):.3f}")


if __name__ == "__main__":
    main()
