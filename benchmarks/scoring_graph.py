"""A graph network against logistic regression: who will be distrusted, on a network that is public.

Bitcoin OTC (SNAP; Kumar et al. 2016): people rate each other from -10 to 10. 60 % of the ratings are known, the next
20 % are learned from, and on the last 20 %, with 80 % known, is measured: once with the ratings in random order, as the
literature has it, and once in order of time, where more than half of the last ratings have a newcomer at an end.
Both sides see the same numbers about the two ends of a rating; GraphSAGE, the layers of ``examples/graph``, also sees
those of their neighbours and of the neighbours of those, by trust and by distrust. It goes through ``compress model``
on its way, and answers as it serves.
"""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.harness import Goal, Progress, Report, Row
from benchmarks.peers import peer_answers
from benchmarks.scoring_tally import ratio_by_group
from benchmarks.textsplit import SHARED
from compress.behaviour import roc_auc
from compress.model import compress_model
from compress.paddle_env import paddle
from devices.errors import EdgeKitError
from devices.match import best
from devices.probe import probe
from examples.graph.network import GraphSage
from runtime.artifact import entry_files, read_artifact
from runtime.predictor import load_predictor

DATA = SHARED / "graph_bitcoin_otc" / "soc-sign-bitcoinotc.csv"
WHAT = "Graph: AUC of distrust, GraphSAGE over logistic regression"
KNOWN, LEARNED = 0.6, 0.8
HIDDEN, STEPS, SEEDS = 32, 120, (0, 1, 2)
Ids = NDArray[np.int64]
Floats = NDArray[np.float32]


def read_ratings() -> tuple[Ids, Ids]:
    """Who rated whom, (2, E) from 0 on and in order of time, and how, (E,)."""
    with DATA.open(encoding="utf-8") as file:
        rows = sorted((float(time), int(a), int(b), int(rating)) for a, b, rating, time in csv.reader(file))
    people, place = np.unique([row[1:3] for row in rows], return_inverse=True)
    return place.reshape(-1, 2).T.astype(np.int64), np.array([row[3] for row in rows])


def described(edges: Ids, ratings: Ids, people: int) -> Floats:
    """Seven numbers about each person by the ratings so far: (people, 7)."""
    columns = []
    for side in (0, 1):
        count = np.bincount(edges[side], minlength=people)
        total = np.bincount(edges[side], weights=ratings, minlength=people)
        bad = np.bincount(edges[side], weights=ratings < 0, minlength=people)
        columns += [np.log1p(count), total / np.maximum(count, 1) / 10, bad / np.maximum(count, 1)]
    columns.append((columns[0] + columns[3]) == 0)
    return np.stack(columns, axis=1).astype(np.float32)


def both_ways(edges: Ids, people: int) -> Ids:
    """In both directions, and from everybody to himself."""
    return np.concatenate([edges, edges[::-1], np.tile(np.arange(people), (2, 1))], axis=1)


class Ratings(paddle.nn.Layer):
    """The probability that a rating is distrust, (Q, 2): no and yes.

    ``nodes`` (N, 7), ``trust`` and ``distrust`` (2, E), ``asked`` (2, Q): who rates whom.
    """

    def __init__(self) -> None:
        super().__init__()
        self.trust, self.distrust = GraphSage(7, HIDDEN), GraphSage(7, HIDDEN)
        self.drop = paddle.nn.Dropout(0.3)
        self.head = paddle.nn.Sequential(
            paddle.nn.Linear(2 * (7 + 2 * HIDDEN), HIDDEN), paddle.nn.ReLU(), paddle.nn.Linear(HIDDEN, 2)
        )

    def forward(self, nodes, trust, distrust, asked):
        """Probabilities."""
        return paddle.nn.functional.softmax(self.logits(nodes, trust, distrust, asked), axis=-1)

    def logits(self, nodes, trust, distrust, asked):
        """Before the softmax."""
        known = paddle.concat([nodes, self.trust(nodes, trust), self.distrust(nodes, distrust)], axis=1)
        ends = paddle.concat([paddle.gather(known, asked[0]), paddle.gather(known, asked[1])], axis=1)
        return self.head(self.drop(ends))


def fed(
    edges: Ids, ratings: Ids, until: int, asked: Ids, people: int, scale: tuple[Floats, Floats]
) -> dict[str, NDArray]:
    """What the network is fed to tell about ``asked`` by the ratings before ``until``."""
    past, how = edges[:, :until], ratings[:until]
    nodes = (described(past, how, people) - scale[0]) / scale[1]
    trust, distrust = (both_ways(past[:, which], people) for which in (how > 0, how < 0))
    return {"nodes": nodes, "trust": trust, "distrust": distrust, "asked": np.ascontiguousarray(asked)}


def train(feeds: dict[str, NDArray], labels: Ids, seed: int, progress: Progress) -> Ratings:
    """A network that has seen all of ``labels``."""
    paddle.seed(seed)
    network = Ratings()
    optimizer = paddle.optimizer.Adam(learning_rate=5e-3, parameters=network.parameters(), weight_decay=1e-4)
    inputs, truth = [paddle.to_tensor(feeds[name]) for name in feeds], paddle.to_tensor(labels)
    for step in range(STEPS):
        loss = paddle.nn.functional.cross_entropy(network.logits(*inputs), truth)
        loss.backward()
        optimizer.step()
        optimizer.clear_grad()
        progress(f"train, seed {seed}", (step + 1) / STEPS)
    network.eval()
    return network


def served(network: Ratings, cases: list[dict[str, NDArray]], scratch: Path) -> tuple[NDArray[np.float64], str]:
    """What the compressed network says of the last case, and in which precision; the others calibrate and measure."""
    spec = paddle.static.InputSpec
    shapes = {"nodes": [None, 7], "trust": [2, None], "distrust": [2, None], "asked": [2, None]}
    inputs = [spec(shape, "float32" if name == "nodes" else "int64", name) for name, shape in shapes.items()]
    paddle.jit.save(network, str(scratch / "ratings" / "inference"), inputs)
    np.savez(
        scratch / "cases.npz",
        **{f"{number}:{name}": value for number, case in enumerate(cases[:-1]) for name, value in case.items()},
    )
    out = scratch / "out"
    compress_model(scratch / "ratings", scratch / "cases.npz", best(probe()), out)
    (entry,) = read_artifact(out).models
    (answer,) = load_predictor(entry_files(out, entry), entry.backend).run(cases[-1]).values()
    return answer[:, 1].astype(np.float64), entry.precision


def measure_graph(report: Report, scratch: Path, progress: Progress) -> None:
    """Rows on AUC."""
    if not DATA.is_file():
        report.add(Row(WHAT, None, note="The public network is not beside the checkout."))
        return
    edges, ratings = read_ratings()
    order = np.random.default_rng(0).permutation(len(ratings))
    _measure_split(report, scratch, progress, "random order", edges[:, order], ratings[order], Goal(1.0))
    _measure_split(report, scratch, progress, "order of time", edges, ratings, None)


def _measure_split(
    report: Report, scratch: Path, progress: Progress, split: str, edges: Ids, ratings: Ids, goal: Goal | None
) -> None:
    people, bad = int(edges.max()) + 1, (ratings < 0).astype(np.int64)
    first, last = int(KNOWN * len(bad)), int(LEARNED * len(bad))
    raw = described(edges[:, :first], ratings[:first], people)
    scale = raw.mean(0), raw.std(0) + 1e-6
    learn = fed(edges, ratings, first, edges[:, first:last], people, scale)
    asked = fed(edges, ratings, last, edges[:, last:], people, scale)
    earlier = [first * part // 8 for part in range(3, 9)]  # cases for calibration: the network as it grew
    cases = [fed(edges, ratings, until, edges[:, until : until + 500], people, scale) for until in earlier]
    ends = [np.concatenate([one["nodes"][one["asked"][side]] for side in (0, 1)], 1) for one in (learn, asked)]
    table = {"train_rows": ends[0], "train_labels": bad[first:last], "test_rows": ends[1]}
    truth = bad[last:]
    try:
        theirs = peer_answers("bench-scikit", "scikit_logistic.py", table, scratch)
    except EdgeKitError as error:
        report.add(Row(f"{WHAT}, {split}", None, note=error.problem))
        return
    networks = [train(learn, bad[first:last], seed, progress) for seed in SEEDS]
    ours, precision = served(networks[0], [*cases, asked], scratch)
    inputs = [paddle.to_tensor(value) for value in asked.values()]
    others = [roc_auc(truth, each(*inputs).numpy()[:, 1].astype(np.float64)) for each in networks[1:]]
    for columns, said in theirs.items():
        note = (
            f"Ours {roc_auc(truth, ours):.3f}, served in {precision} (other seeds "
            f"{', '.join(f'{auc:.3f}' for auc in others)}); logistic regression {roc_auc(truth, said):.3f}."
        )
        if columns == "plain":
            note += f" {len(truth):,} ratings, {truth.sum():,} of them distrust; 95 % interval over who was rated."
        figure = ratio_by_group(roc_auc, truth, ours, said, edges[1, last:])
        report.add(Row(f"{WHAT}, {columns}, {split}", figure, "times", goal, note))
