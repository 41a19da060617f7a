"""What of a student is compared with what of its teacher, and how, through PaddleSlim's ``Distill``.

    logits      soft cross entropy at a temperature (Hinton et al., arXiv:1503.02531)
    sentences   squared distance of each chosen layer's view of the whole text: the first token's vector beside the
                mean of all (after TinyBERT, arXiv:1909.10351)
    relations   of the last layer: which token attends to which, and how values resemble each other, averaged over
                heads; Kullback-Leibler divergence (MiniLM, arXiv:2002.10957)

Padding is left out of all three. PaddleSlim finds tensors by layer names, so both networks' views pass through a
layer that has nothing but these names (``Said``).
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from compress.ernie.model import ErnieClassifier
from compress.paddle_env import paddle

LOGITS, SENTENCES, RELATIONS = "logits", "sentences", "relations"
_MASKED = -1e4
_SMALLEST = 1e-6  # of a relation: float16 keeps about this much of the teacher's
Views = dict[str, Any]


class ViewedErnie(paddle.nn.Layer):
    """A classifier that also says what it saw on the way.

    Args:
        model: Whose weights are used, not copied.
        layers: Whose view of the text is wanted.
        relations: Whether those of the last layer are.
    """

    def __init__(self, model: ErnieClassifier, layers: Sequence[int], *, relations: bool) -> None:
        super().__init__()
        self.model = model
        self.outputs = (LOGITS, *(f"layer{layer}" for layer in layers), *([RELATIONS] if relations else []))
        self._layers = tuple(layers)
        self._heard: dict[str, Any] = {}
        if relations:
            attention = model.ernie.encoder.layers[-1].self_attn
            for name in ("q_proj", "k_proj", "v_proj"):
                getattr(attention, name).register_forward_post_hook(self._listener(name))

    def forward(self, input_ids: Any, token_type_ids: Any) -> tuple[Any, ...]:
        """Ids (B, T) to what ``outputs`` names: logits, each layer's view (B, 2H), relations (B, 2, T, T)."""
        ernie = self.model.ernie
        states = ernie.states(input_ids, token_type_ids)
        padding = ernie.is_padding(input_ids)  # (B, T)
        real = (1.0 - padding).unsqueeze(-1)  # (B, T, 1)
        count = real.sum(axis=1)
        views = [
            paddle.concat([states[layer][:, 0], (states[layer] * real).sum(axis=1) / count], axis=-1)
            for layer in self._layers
        ]
        if self._heard:
            views.append(self._relations(padding))
        last = ernie.pooler(states[-1]) if self.model.config.head == "sequence" else states[-1]
        return (self.model.classifier(self.model.dropout(last)), *views)

    def _listener(self, name: str) -> Any:
        def listen(layer: Any, inputs: Any, output: Any) -> None:
            self._heard[name] = output

        return listen

    def _relations(self, padding: Any) -> Any:
        mask = padding.unsqueeze([1, 2]) * _MASKED  # (B, 1, 1, T)
        query, key, value = (
            paddle.transpose(
                paddle.reshape(self._heard[name], [0, 0, self.model.config.num_attention_heads, -1]), [0, 2, 1, 3]
            )
            for name in ("q_proj", "k_proj", "v_proj")
        )  # (B, heads, T, H / heads)
        scale = query.shape[-1] ** -0.5
        maps = [
            paddle.nn.functional.softmax(paddle.matmul(left * scale, right, transpose_y=True) + mask).mean(axis=1)
            for left, right in ((query, key), (value, value))
        ]
        return paddle.stack(maps, axis=1)


class Said(paddle.nn.Layer):
    """Repeats what a network said, through layers that PaddleSlim can find by name."""

    def __init__(self, names: Sequence[str]) -> None:
        super().__init__()
        for name in names:
            self.add_sublayer(name, paddle.nn.Identity())
        self.now: Views = {}

    def forward(self) -> list[Any]:
        """What ``now`` holds."""
        return [layer(self.now[name]) for name, layer in self.named_children()]


def real_tokens(lengths: Sequence[int], longest: int) -> NDArray[np.int64]:
    """Where the tokens of texts that are not padding stand in a flattened (B, T)."""
    return np.concatenate([row * longest + np.arange(length) for row, length in enumerate(lengths)])


def compared_logits(logits: Any, lengths: Sequence[int]) -> Any:
    """Logits of texts (B, labels), or of tokens (B, T, labels), as rows without padding: (R, labels)."""
    if len(logits.shape) == 2:
        return logits
    tokens = paddle.to_tensor(real_tokens(lengths, logits.shape[1]))
    return paddle.gather(paddle.reshape(logits, [-1, logits.shape[2]]), tokens)


def as_choices(logits: Any, *, multi_label: bool) -> Any:
    """Logits (R, labels) to what a softmax over the last axis makes probabilities of.

    PaddleSlim's losses look at one side of a label only, so a label that stands for itself becomes a choice between
    its logit and zero: (R * labels, 2), whose softmax is the sigmoid and what is left.
    """
    if not multi_label:
        return logits
    flat = paddle.reshape(logits, [-1, 1])
    return paddle.concat([flat, paddle.zeros_like(flat)], axis=1)


def compared_relations(relations: Any, lengths: Sequence[int]) -> Any:
    """Relations (B, 2, T, T) as rows of real tokens, never zero: (R, T)."""
    longest = relations.shape[2]
    rows = real_tokens([length for length in lengths for _ in range(2)], longest)
    return paddle.gather(paddle.reshape(relations, [-1, longest]), paddle.to_tensor(rows)) + _SMALLEST


def distiller(student: Said, teacher: Said, weights: Mapping[str, float], *, temperature: float, align: Any) -> Any:
    """PaddleSlim's ``Distill`` on what two networks said.

    Args:
        student: Whose loss is wanted.
        teacher: What it should come close to.
        weights: Of the loss on each view; one that is missing or zero is not compared.
        temperature: Logits are divided by it; their loss is multiplied by its square, so that gradients keep their
            size.
        align: PaddleSlim's ``align_params`` for sentences, where the two networks are not equally wide; else None.

    Raises:
        ValueError: A view is missing; PaddleSlim itself would end in ``UnboundLocalError``.
    """
    from paddleslim.dygraph.dist import Distill

    losses: dict[str, dict[str, Any]] = {
        LOGITS: {"loss_function": "CELoss", "temperature": temperature},
        SENTENCES: {"loss_function": "MSELoss"} | ({} if align is None else {"align_params": align}),
        RELATIONS: {"loss_function": "KLLoss", "act": None, "reduction": "batchmean"},
    }
    layers = []
    for view, weight in weights.items():
        if not weight:
            continue
        for model in (student, teacher):
            names = [name for name, _ in model.named_sublayers()]
            if view not in names:
                near = difflib.get_close_matches(view, names, n=3, cutoff=0.3) or names[:3]
                raise ValueError(f"{type(model).__name__} has no layer {view!r}; near it are {near}")
        scale = temperature**2 if view == LOGITS else 1.0
        layers.append({**losses[view], "layers_name": [view, view], "weight": weight * scale})
    teacher.eval()
    # convert_fn would replace functions of Paddle for the whole process
    return Distill([{"layers": layers}], [student], [teacher], convert_fn=False)
