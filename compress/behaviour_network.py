"""The network of the behaviour model.

An LSTM of 32 units reads standardized transactions in order of time; attention (Bahdanau et al., arXiv:1409.0473,
with one learned query) weighs its states into one vector. A small layer decides by that vector, by the latest state and
by the latest transaction. The weights of the attention say which transactions counted. The latest transaction is also
told apart by the quantiles of what training saw (piecewise linear encoding, Gorishniy et al., arXiv:2203.05556), finely
in the tails: a line over a logarithm cannot see where ordinary amounts end, and trees can.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from compress.histories import FloatArray
from compress.paddle_env import paddle
from runtime.behaviour import FEATURES, INPUT_FEATURES, INPUT_MASK, OUTPUT_ATTENTION, OUTPUT_PROBABILITY

HIDDEN = 32
DROPOUT = 0.5
_NARROWEST = 1e-4  # of a standard deviation


class BehaviourNetwork(paddle.nn.Layer):
    """Features (N, T, ``FEATURES``) and mask (N, T) in; probability (N,) and attention (N, T) out.

    The mask is 1 for a transaction and 0 for padding, which must come at the end: the LSTM runs forward only, so what
    follows the last transaction cannot reach the states before it, and attention gives it no weight.

    Args:
        bins: (3, B): the feature, the lower end and the width of each bin, see ``quantile_bins``.
    """

    def __init__(self, bins: FloatArray) -> None:
        super().__init__()
        self.register_buffer("bin_feature", paddle.to_tensor(bins[0].astype(np.int64)))
        self.register_buffer("bin_low", paddle.to_tensor(bins[1]))
        self.register_buffer("bin_width", paddle.to_tensor(bins[2]))
        self.lstm = paddle.nn.LSTM(FEATURES, HIDDEN)
        self.query = paddle.nn.Linear(HIDDEN, HIDDEN)
        self.score = paddle.nn.Linear(HIDDEN, 1)
        self.latest = paddle.nn.Linear(FEATURES + bins.shape[1], HIDDEN)
        self.hidden = paddle.nn.Linear(3 * HIDDEN, HIDDEN)
        self.head = paddle.nn.Linear(HIDDEN, 1)
        self.dropout = paddle.nn.Dropout(DROPOUT)

    def forward(self, features: paddle.Tensor, mask: paddle.Tensor) -> tuple[paddle.Tensor, paddle.Tensor]:
        """Probability as of the last transaction, and attention."""
        states, scores = self._states(features)
        attention = paddle.nn.functional.softmax(scores + (mask - 1.0) * 1e4, axis=-1)
        pooled = (attention.unsqueeze(-1) * states).sum(axis=1)
        beyond = paddle.concat([mask[:, 1:], paddle.zeros_like(mask[:, :1])], axis=1)
        last = (mask - beyond).unsqueeze(-1)  # (N, T, 1): 1 at the last transaction
        logit = self._decide(pooled, (last * states).sum(axis=1), (last * features).sum(axis=1))
        return paddle.nn.functional.sigmoid(logit), attention

    def logits(self, features: paddle.Tensor) -> paddle.Tensor:
        """As of every transaction, (N, T): what ``forward`` would say, before the sigmoid, if it were the last."""
        states, scores = self._states(features)
        weights = paddle.exp(scores).unsqueeze(-1)
        pooled = paddle.cumsum(weights * states, axis=1) / paddle.cumsum(weights, axis=1)
        return self._decide(pooled, states, features)

    def _states(self, features: paddle.Tensor) -> tuple[paddle.Tensor, paddle.Tensor]:
        states, _ = self.lstm(features)
        states = self.dropout(states)
        scores = self.score(paddle.tanh(self.query(states))).squeeze(-1)
        return states, paddle.clip(scores, -15.0, 15.0)  # so that sums of their exponentials keep their digits

    def _decide(self, pooled: paddle.Tensor, state: paddle.Tensor, features: paddle.Tensor) -> paddle.Tensor:
        chosen = paddle.index_select(features, self.bin_feature, axis=-1)
        encoded = paddle.clip((chosen - self.bin_low) / self.bin_width, 0.0, 1.0)
        latest = self.latest(paddle.concat([encoded, features], axis=-1))
        latest = self.dropout(paddle.nn.functional.relu(latest))
        hidden = self.hidden(paddle.concat([pooled, state, latest], axis=-1))
        return self.head(self.dropout(paddle.nn.functional.relu(hidden))).squeeze(-1)


def quantile_bins(rows: FloatArray) -> FloatArray:
    """Bins between quantiles of each feature, five to a factor of ten in both tails.

    Args:
        rows: (n, F), standardized.

    Returns:
        (3, B) float32: feature, lower end, width. Features that hardly vary have none; at least one bin is returned.
    """
    tail = 10.0 ** -np.arange(1.0, 3.3, 0.2)
    levels = np.concatenate([tail[::-1], [0.25, 0.5, 0.75], 1.0 - tail])
    bins = []
    for feature in range(rows.shape[1]):
        edges = np.unique(np.quantile(rows[:, feature], levels))
        wide = np.diff(edges) > _NARROWEST
        bins += [(feature, low, width) for low, width in zip(edges[:-1][wide], np.diff(edges)[wide], strict=True)]
    return np.array(bins or [(0, 0.0, 1.0)], np.float32).T.copy()


def save_network(network: BehaviourNetwork, directory: Path) -> None:
    """Write ``inference.pdmodel`` and ``inference.pdiparams``, outputs named ``probability`` and ``attention``.

    ``jit.save`` calls outputs after the operator that made them, so they are renamed in the written program.
    """
    spec = paddle.static.InputSpec
    paddle.jit.save(
        network,
        str(directory / "inference"),
        input_spec=[
            spec([None, None, FEATURES], "float32", INPUT_FEATURES),
            spec([None, None], "float32", INPUT_MASK),
        ],
    )
    path = directory / "inference.pdmodel"
    program = paddle.base.core.ProgramDesc(path.read_bytes())  # owns the block: without this name it is freed under us
    block = program.block(0)
    fetched = [block.op(i).input("X")[0] for i in range(block.op_size()) if block.op(i).type() == "fetch"]
    for old, new in zip(fetched, (OUTPUT_PROBABILITY, OUTPUT_ATTENTION), strict=True):
        block._rename_var(old.encode(), new.encode())
    path.write_bytes(program.serialize_to_string())
