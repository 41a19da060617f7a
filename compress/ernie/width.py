"""Width and head pruning after DynaBERT (arXiv:2004.04037): the least important heads and inner neurons go.

    importance   how much the loss would change without a head or a neuron: |weight x gradient|, summed over batches
    reordering   the most important come first in each layer; the network still computes the same
    training     PaddleSlim's OFA runs the leading part of each layer, and pulls it towards the whole network
    export       the leading part is cut out, as a network of its own

Of PaddleSlim's tools for this, ``OFA``, its distillation and ``SuperLinear`` are used; docs/adr/0008 says what is wrong
with the others. The embeddings are left as they are: nothing in them gets narrower.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from compress.ernie.batches import label_loss, length_batches, pad
from compress.ernie.checkpoint import Checkpoint, ErnieConfig, Weights, weight_shapes
from compress.ernie.model import ErnieClassifier, build_model, model_weights
from compress.ernie.training import Schedule, train
from compress.paddle_env import paddle
from compress.parallel import Worker, run_parallel

Targets = Sequence[NDArray[np.float32]] | NDArray[np.float32]
_STATES = "states"  # the layer that OFA finds by name in both networks
_JUDGED_TEXTS, _JUDGED_BATCH = 256, 8  # what importance is measured on
_LAYER = "ernie.encoder.layers.{}."
_SLICED_INPUT, _SLICED_OUTPUT = ("self_attn.out_proj", "linear2"), ("linear1", *(f"self_attn.{x}_proj" for x in "qkv"))


@dataclass(frozen=True)
class WidthSettings:
    """How long and how hard the narrow network learns.

    Attributes:
        epochs: Passes over all texts.
        batch: Texts a step, over all processes.
        peak: The highest learning rate.
        hidden_weight: Of the distance to the whole network's vectors after each layer.
        label_weight: Of the true labels, beside the whole network's opinion.
    """

    epochs: int = 1
    batch: int = 32
    peak: float = 2e-4
    hidden_weight: float = 0.5
    label_weight: float = 0.5


@dataclass(frozen=True)
class Importance:
    """How much each head (layers, heads) and each inner neuron (layers, neurons) matters."""

    heads: NDArray[np.float64]
    neurons: NDArray[np.float64]

    def save(self, path: Path) -> None:
        """Write it so that it is there whole or not at all; ``path`` ends in ``.npz``."""
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_suffix(".partial.npz")
        np.savez(partial, heads=self.heads, neurons=self.neurons)
        partial.replace(path)

    @staticmethod
    def load(path: Path) -> Importance:
        """What ``save`` wrote."""
        with np.load(path) as arrays:
            return Importance(arrays["heads"], arrays["neurons"])


def prune_width(
    student: Checkpoint,
    rows: Sequence[Sequence[int]],
    targets: Targets,
    *,
    share: float,
    seed: int,
    scratch: Path,
    settings: WidthSettings | None = None,
    progress: Callable[[str, float], None] | None = None,
) -> Checkpoint:
    """Leave a share of the heads and inner neurons out of every layer, and train the rest to answer as before.

    Args:
        student: The network to be narrowed; also what the narrow one learns from. Its head may be for texts or tokens.
        rows: Token ids of the labelled texts, then of those without labels.
        targets: Of the labelled texts, 1 where a label applies: (labels,) for a text, (tokens, labels) where tokens are
            labelled, NaN where nobody knows.
        share: Of heads and neurons to keep, above 0 and below 1; at least one head stays.
        seed: The same seed and data give the same network.
        scratch: A directory of this very job, in which an interrupted training finds what it had done.
        settings: How long and how hard; None takes the defaults.
        progress: Called with a stage and the share of it that is done.

    Returns:
        The narrow checkpoint; PaddleNLP cannot read it, since its heads no longer make up the hidden size.

    Raises:
        ValueError: ``share`` is not between 0 and 1.
        CompressionError: A training process died, or the loss is no longer finite.
    """
    narrow = narrow_config(student.config, share)
    report = progress or (lambda stage, done: None)
    texts = [list(row) for row in rows]
    kept = scratch / "importance.npz"
    if not kept.is_file():
        found = measure_importance(student, texts, targets, seed=seed, progress=lambda done: report("importance", done))
        found.save(kept)
    job = _Job(
        student.config,
        narrow,
        reordered(student, Importance.load(kept)),
        texts,
        [np.asarray(target, np.float32) for target in targets],
        settings or WidthSettings(),
        seed,
        scratch / "width.npz",
    )
    floats = sum(array.size for name, array in job.start.items() if ".embeddings." not in name)
    weights: Weights = run_parallel(
        _train, job, shared_floats=floats, progress=lambda done: report("narrow network", done)
    )
    return replace(student, config=narrow, weights=weights)


def narrow_config(config: ErnieConfig, share: float) -> ErnieConfig:
    """The network of ``config`` with a share of its heads and inner neurons.

    Raises:
        ValueError: ``share`` is not between 0 and 1.
    """
    if not 0 < share < 1:
        raise ValueError(f"share is {share}; it must be above 0 and below 1.")
    return config.model_copy(
        update={
            "num_attention_heads": max(1, round(share * config.num_attention_heads)),
            "attention_head_size": config.head_size,
            "intermediate_size": max(1, round(share * config.intermediate_size)),
        }
    )


def measure_importance(
    student: Checkpoint,
    rows: Sequence[Sequence[int]],
    targets: Targets,
    *,
    seed: int,
    progress: Callable[[float], None] | None = None,
) -> Importance:
    """How much the loss depends on each head and neuron, to first order (Michel et al., arXiv:1905.10650).

    With a factor of 1 at each head, the loss's derivative by that factor is the sum of weight x gradient over the rows
    of the output projection that the head feeds, so no factor needs to be put in. For a neuron DynaBERT adds up the
    same for the weights before and behind it.

    Args:
        student: The network.
        rows: Token ids; where a text has no target, what the network itself finds likeliest counts as true.
        targets: As in ``prune_width``.
        seed: Chooses the texts.
        progress: Called with the share that is done.
    """
    config, multi_label = student.config, student.config.independent_labels
    random = np.random.default_rng(seed)
    candidates = len(targets) or len(rows)
    chosen = random.permutation(candidates)[:_JUDGED_TEXTS]
    model = build_model(config, student.weights)
    layers = [(layer.self_attn.out_proj, layer.linear1, layer.linear2) for layer in model.ernie.encoder.layers]
    heads = np.zeros((config.num_hidden_layers, config.num_attention_heads))
    neurons = np.zeros((config.num_hidden_layers, config.intermediate_size))
    batches = list(length_batches([len(rows[index]) for index in chosen], _JUDGED_BATCH, random))
    for done, batch in enumerate(batches):
        indices = chosen[batch]
        ids = paddle.to_tensor(pad([rows[index] for index in indices], config.pad_token_id))
        logits = model(ids, paddle.zeros_like(ids))
        truth = _truth(logits, [targets[index] for index in indices] if len(targets) else [])
        if not len(targets):
            truth = _own_opinion(logits, multi_label)
            if config.head == "token":
                truth[ids.numpy() == config.pad_token_id] = np.nan
        if np.isnan(truth).all():  # tokens that nobody labels: nothing to go by
            continue
        label_loss(logits, truth, multi_label=multi_label).backward()
        for layer, (out, first, second) in enumerate(layers):
            heads[layer] += np.abs(_products(out.weight).reshape(config.num_attention_heads, -1).sum(axis=1))
            neurons[layer] += np.abs(_products(first.weight).sum(axis=0) + _products(first.bias))
            neurons[layer] += np.abs(_products(second.weight).sum(axis=1))
        model.clear_gradients()
        if progress is not None:
            progress((done + 1) / len(batches))
    return Importance(heads, neurons)


def reordered(student: Checkpoint, importance: Importance) -> Weights:
    """The student's weights with the most important heads and neurons first; they compute what they did."""
    weights = dict(student.weights)
    size = student.config.head_size
    for layer in range(student.config.num_hidden_layers):
        heads = np.argsort(-importance.heads[layer], kind="stable")
        units = (heads[:, None] * size + np.arange(size)).reshape(-1)  # of the projections, head by head
        neurons = np.argsort(-importance.neurons[layer], kind="stable")
        prefix = _LAYER.format(layer)
        for name in (*_SLICED_OUTPUT, *_SLICED_INPUT):
            order = neurons if name.startswith("linear") else units
            axis = 1 if name in _SLICED_OUTPUT else 0
            weights[f"{prefix}{name}.weight"] = weights[f"{prefix}{name}.weight"].take(order, axis)
            if axis == 1:
                weights[f"{prefix}{name}.bias"] = weights[f"{prefix}{name}.bias"].take(order)
    return weights


@dataclass(frozen=True)
class _Job:
    whole: ErnieConfig
    narrow: ErnieConfig
    start: Weights
    rows: list[list[int]]
    targets: list[NDArray[np.float32]]
    settings: WidthSettings
    seed: int
    state: Path


class _Tapped(paddle.nn.Layer):
    """A classifier whose vectors after each layer pass through one layer that OFA can find by name."""

    def __init__(self, model: ErnieClassifier) -> None:
        super().__init__()
        self.model = model
        self.states = paddle.nn.Identity()

    def forward(self, input_ids: Any, token_type_ids: Any) -> Any:
        """Ids (B, T) to logits, zero at padding; the layers' vectors (B, T, layers, H) likewise."""
        ernie = self.model.ernie
        states = ernie.states(input_ids, token_type_ids)
        real = (1.0 - ernie.is_padding(input_ids)).unsqueeze(-1)  # (B, T, 1)
        self.states(paddle.stack(states, axis=2) * real.unsqueeze(-1))
        if self.model.config.head == "sequence":
            return self.model.classifier(self.model.dropout(ernie.pooler(states[-1])))
        return self.model.classifier(self.model.dropout(states[-1])) * real


def elastic(model: ErnieClassifier, narrow: ErnieConfig, teacher: ErnieClassifier, hidden_weight: float) -> Any:
    """PaddleSlim's OFA on ``model``, set to the leading heads and neurons that ``narrow`` has.

    Args:
        model: Whole, the most important heads and neurons first; its linear layers are replaced.
        narrow: As ``narrow_config`` gives it.
        teacher: What ``calc_distill_loss`` compares the vectors after each layer with.
        hidden_weight: Of that comparison.

    Returns:
        A layer from ids to both networks' logits.
    """
    from paddleslim.nas.ofa import OFA, DistillConfig
    from paddleslim.nas.ofa.layers import SuperLinear
    from paddleslim.nas.ofa.layers_base import Block

    sizes: dict[str, dict[str, int]] = {}
    shapes = weight_shapes(narrow)
    for index, layer in enumerate(model.ernie.encoder.layers):
        for name in (*_SLICED_OUTPUT, *_SLICED_INPUT):
            owner, leaf = (layer.self_attn, name.removeprefix("self_attn.")) if "." in name else (layer, name)
            plain = getattr(owner, leaf)
            rows, columns = plain.weight.shape
            kept = shapes[f"{_LAYER.format(index)}{name}.weight"][1]
            sliced = name in _SLICED_OUTPUT  # the others follow their input
            line = SuperLinear(rows, columns, candidate_config={"channel": [kept, columns]} if sliced else {})
            line.set_state_dict(plain.state_dict())
            setattr(owner, leaf, Block(line, fixed=not sliced))
            if sliced:
                sizes[f"model.{_LAYER.format(index)}{name}"] = {"channel": kept}
    for parameter in teacher.parameters():
        parameter.stop_gradient = True
    distillation = DistillConfig(teacher_model=_Tapped(teacher), mapping_layers=[_STATES], lambda_distill=hidden_weight)
    network = OFA(_Tapped(model), distill_config=distillation)
    network.set_net_config(sizes)
    return network


def leading(model: ErnieClassifier, narrow: ErnieConfig) -> Weights:
    """The narrow network's weights, cut out of an elastic one's."""
    whole = {name.replace(".fn.", "."): array for name, array in model_weights(model).items()}
    return {
        name: np.ascontiguousarray(whole[name][tuple(slice(length) for length in shape)])
        for name, shape in weight_shapes(narrow).items()
    }


def _train(worker: Worker, job: _Job) -> Weights:
    """One process's part of the training."""
    settings, multi_label = job.settings, job.whole.independent_labels
    model = build_model(job.whole, job.start)
    network = elastic(model, job.narrow, build_model(job.whole, job.start), settings.hidden_weight)
    network.model.train()
    parameters = [tensor for name, tensor in model.named_parameters() if ".embeddings." not in name]
    for tensor in model.ernie.embeddings.parameters():
        tensor.stop_gradient = True

    def loss(mine: NDArray[np.int64]) -> Any:
        ids = paddle.to_tensor(pad([job.rows[index] for index in mine], job.whole.pad_token_id))
        logits, wanted = network(ids, paddle.zeros_like(ids))
        total = network.calc_distill_loss() + paddle.nn.functional.mse_loss(logits, wanted)
        truth = _truth(logits, [job.targets[index] if index < len(job.targets) else None for index in mine])
        return total + settings.label_weight * label_loss(logits, truth, multi_label=multi_label)

    schedule = Schedule(settings.epochs, settings.batch, settings.peak)
    train(worker, parameters, loss, [len(row) for row in job.rows], schedule, seed=job.seed, state=job.state)
    return leading(model, job.narrow)


def _truth(logits: Any, targets: Sequence[NDArray[np.float32] | None]) -> NDArray[np.float32]:
    """Targets in the logits' shape, NaN where there are none."""
    truth = np.full(logits.shape, np.nan, np.float32)
    for place, target in zip(truth, targets, strict=False):
        if target is not None:
            place[: len(target)] = target
    return truth


def _own_opinion(logits: Any, multi_label: bool) -> NDArray[np.float32]:
    values = logits.numpy()
    likeliest = values > 0 if multi_label else values == values.max(axis=-1, keepdims=True)
    found: NDArray[np.float32] = likeliest.astype(np.float32)
    return found


def _products(parameter: Any) -> NDArray[np.float32]:
    found: NDArray[np.float32] = parameter.numpy() * parameter.grad.numpy()
    return found
