"""ERNIE in Paddle, with PaddleNLP's weight names (ERNIE 2.0: arXiv:1907.12412; 3.0: arXiv:2107.02137).

Attention mask, positions and task ids are worked out inside the network: whoever serves it feeds ``input_ids`` and
``token_type_ids`` and cannot get the rest wrong. Attention is written out plainly, operator for operator as in
``paddle.nn.MultiHeadAttention``, which OpenVINO and ONNX Runtime recognise and fuse.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from compress.ernie.checkpoint import ErnieConfig
from compress.paddle_env import paddle

# added to the attention of padding; PaddleNLP's value, and small enough for float16
_MASKED = -1e4


class ErnieEmbeddings(paddle.nn.Layer):
    """Word, position, token type and task embeddings, summed and normalised."""

    def __init__(self, config: ErnieConfig) -> None:
        super().__init__()
        initial = _normal(config)

        def table(rows: int) -> Any:
            return paddle.nn.Embedding(rows, config.hidden_size, weight_attr=initial)

        self.word_embeddings = table(config.vocab_size)
        self.position_embeddings = table(config.max_position_embeddings)
        self.token_type_embeddings = table(config.type_vocab_size)
        self.task_type_embeddings = table(config.task_type_vocab_size) if config.use_task_id else None
        self._task_id = config.task_id
        self.layer_norm = paddle.nn.LayerNorm(config.hidden_size, epsilon=config.layer_norm_eps)
        self.dropout = paddle.nn.Dropout(config.hidden_dropout_prob)

    def forward(self, input_ids: Any, token_type_ids: Any) -> Any:
        """Ids (B, T) to vectors (B, T, H)."""
        positions = paddle.arange(paddle.shape(input_ids)[1], dtype="int64")  # (T,)
        total = self.word_embeddings(input_ids) + self.position_embeddings(positions)  # (B, T, H)
        total = total + self.token_type_embeddings(token_type_ids)
        if self.task_type_embeddings is not None:
            total = total + self.task_type_embeddings.weight[self._task_id]
        return self.dropout(self.layer_norm(total))


class ErnieAttention(paddle.nn.Layer):
    """Attention of as many heads as the projections give, so that heads can be left out.

    It is a class of its own because Paddle's wants heads that make up the hidden size, and because PaddleSlim
    (``nas.ofa.utils.nlp_utils``) replaces the methods of Paddle's by some that ignore padding once they are imported.
    """

    def __init__(self, config: ErnieConfig, plain: Any) -> None:
        super().__init__()
        self._head_size, self._dropout = config.head_size, config.attention_probs_dropout_prob
        self.q_proj, self.k_proj, self.v_proj = plain.q_proj, plain.k_proj, plain.v_proj
        self.out_proj = plain.out_proj
        if config.attention_head_size is not None:
            hidden, inner = config.hidden_size, config.num_attention_heads * config.head_size
            initial = _normal(config)
            self.q_proj, self.k_proj, self.v_proj = (
                paddle.nn.Linear(hidden, inner, weight_attr=initial) for _ in range(3)
            )
            self.out_proj = paddle.nn.Linear(inner, hidden, weight_attr=initial)

    def forward(self, query: Any, key: Any, value: Any, attn_mask: Any) -> Any:
        """(B, T, H) each, and what is added to the attention of padding, to (B, T, H)."""
        query, key, value = (
            self._heads(line(given)) for line, given in ((self.q_proj, query), (self.k_proj, key), (self.v_proj, value))
        )
        product = paddle.matmul(query * self._head_size**-0.5, key, transpose_y=True) + attn_mask  # (B, heads, T, T)
        shares = paddle.nn.functional.softmax(product)
        if self._dropout:
            shares = paddle.nn.functional.dropout(shares, self._dropout, training=self.training)
        mixed = paddle.matmul(shares, value).transpose([0, 2, 1, 3])  # (B, T, heads, head size)
        return self.out_proj(mixed.reshape([0, 0, mixed.shape[2] * mixed.shape[3]]))

    def _heads(self, projected: Any) -> Any:
        """(B, T, heads x head size) to (B, heads, T, head size)."""
        heads = projected.shape[-1] // self._head_size
        return projected.reshape([0, 0, heads, self._head_size]).transpose([0, 2, 1, 3])


class ErniePooler(paddle.nn.Layer):
    """The first token's vector through a dense layer and tanh."""

    def __init__(self, config: ErnieConfig) -> None:
        super().__init__()
        self.dense = paddle.nn.Linear(config.hidden_size, config.hidden_size)

    def forward(self, hidden: Any) -> Any:
        """(B, T, H) to (B, H)."""
        return paddle.tanh(self.dense(hidden[:, 0]))


class ErnieModel(paddle.nn.Layer):
    """Embeddings, encoder, pooler."""

    def __init__(self, config: ErnieConfig) -> None:
        super().__init__()
        self._pad_id = config.pad_token_id
        self.embeddings = ErnieEmbeddings(config)
        layer = paddle.nn.TransformerEncoderLayer(
            config.hidden_size,
            1,  # its attention is replaced below
            config.intermediate_size,
            dropout=config.hidden_dropout_prob,
            activation=config.hidden_act,
            attn_dropout=config.attention_probs_dropout_prob,
            act_dropout=0.0,
            weight_attr=_normal(config),
        )
        self.encoder = paddle.nn.TransformerEncoder(layer, config.num_hidden_layers)
        for each in self.encoder.layers:  # paddle.nn.TransformerEncoderLayer does not pass an epsilon through
            each.norm1._epsilon = each.norm2._epsilon = config.layer_norm_eps
            each.self_attn = ErnieAttention(config, each.self_attn)
        self.pooler = ErniePooler(config)

    def forward(self, input_ids: Any, token_type_ids: Any) -> Any:
        """Ids (B, T) to the last layer's vectors (B, T, H)."""
        return self.states(input_ids, token_type_ids)[-1]

    def states(self, input_ids: Any, token_type_ids: Any) -> list[Any]:
        """Ids (B, T) to each layer's vectors, every one (B, T, H)."""
        mask = self.is_padding(input_ids).unsqueeze([1, 2]) * _MASKED  # (B, 1, 1, T)
        found = [self.embeddings(input_ids, token_type_ids)]
        for layer in self.encoder.layers:
            found.append(layer(found[-1], mask))
        return found[1:]

    def is_padding(self, input_ids: Any) -> Any:
        """(B, T) float32, 1 at padding."""
        return (input_ids == self._pad_id).astype("float32")


class ErnieClassifier(paddle.nn.Layer):
    """A label head on ERNIE: per text (B, labels), or per token (B, T, labels) where the checkpoint says so."""

    def __init__(self, config: ErnieConfig) -> None:
        super().__init__()
        self.config = config
        self.ernie = ErnieModel(config)
        self.dropout = paddle.nn.Dropout(config.hidden_dropout_prob)
        self.classifier = paddle.nn.Linear(config.hidden_size, len(config.id2label), weight_attr=_normal(config))

    def forward(self, input_ids: Any, token_type_ids: Any) -> Any:
        """Ids (B, T) to logits."""
        hidden = self.ernie(input_ids, token_type_ids)
        if self.config.head == "sequence":
            hidden = self.ernie.pooler(hidden)
        return self.classifier(self.dropout(hidden))


def _normal(config: ErnieConfig) -> Any:
    return paddle.ParamAttr(initializer=paddle.nn.initializer.Normal(std=config.initializer_range))


def build_model(config: ErnieConfig, weights: Mapping[str, NDArray[np.float32]] | None = None) -> ErnieClassifier:
    """The network of ``config``, in evaluation mode.

    Args:
        config: As read from a checkpoint.
        weights: All of them, as ``read_checkpoint`` checked them; None leaves the random initial ones.
    """
    model = ErnieClassifier(config)
    if weights is not None:
        missing, unexpected = model.set_state_dict({name: paddle.to_tensor(array) for name, array in weights.items()})
        if missing or unexpected:
            raise ValueError(f"weights do not fit the config: missing {missing}, unexpected {unexpected}")
    model.eval()
    return model


def model_weights(model: ErnieClassifier) -> dict[str, NDArray[np.float32]]:
    """The network's weights as arrays, by PaddleNLP's names."""
    return {name: tensor.numpy() for name, tensor in model.state_dict().items()}
