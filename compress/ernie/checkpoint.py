"""Read and write PaddleNLP's ERNIE checkpoints: ``config.json``, ``vocab.txt``, and the weights.

Weights come as ``*.safetensors`` or as ``model_state.pdparams``, which is a pickle: whoever wrote it could run any
command in a reader that unpickles it freely. Here an unpickler builds nothing but dictionaries, strings, numbers and
stand-ins for arrays; every other global is refused by name before anything is called.
"""

from __future__ import annotations

import json
import pickle
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import safetensors
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from safetensors.numpy import save_file

from devices.errors import CheckpointError
from devices.malformed import place_and_reason
from runtime.artifact import Head, TextSettings
from runtime.text import VOCAB_NAME
from runtime.tokenizer import ErnieTokenizer

CONFIG_NAME, TOKENIZER_CONFIG_NAME = "config.json", "tokenizer_config.json"
PICKLE_NAME, WEIGHTS_NAME = "model_state.pdparams", "model.safetensors"
DEFAULT_MAX_LENGTH = 128
# an embedding may be a little larger than its vocabulary (ERNIE 3.0: 40000 rows for 39980 tokens); more is a mix-up
_SPARE_ROWS = 128
_STRUCTURED_NAMES = "StructuredToParameterName@@"  # paddle.save's own table beside the weights
_HEADS: dict[str, Head] = {"ErnieForSequenceClassification": "sequence", "ErnieForTokenClassification": "token"}
Weights = dict[str, NDArray[np.float32]]


class ErnieConfig(BaseModel):
    """What of ``config.json`` decides the network; defaults are PaddleNLP's ``ErnieConfig``.

    Attributes:
        id2label: Index to label name; PaddleNLP leaves it out where there are two labels.
        problem_type: ``multi_label_classification`` makes each label stand for itself.
        task_id: Row of the task embedding that every token gets, where ``use_task_id`` is set.
        attention_head_size: Of each head, where heads were pruned, so that those left no longer make up
            ``hidden_size``; None where they do. PaddleNLP has no such field: only the kit reads what has it.
    """

    model_config = ConfigDict(extra="ignore", frozen=True)

    architectures: tuple[str, ...] = ("ErnieForSequenceClassification",)
    model_type: Literal["ernie"] = "ernie"
    vocab_size: int = Field(default=30522, ge=1)
    hidden_size: int = Field(default=768, ge=1)
    num_hidden_layers: int = Field(default=12, ge=1)
    num_attention_heads: int = Field(default=12, ge=1)
    attention_head_size: int | None = Field(default=None, ge=1)
    intermediate_size: int = Field(default=3072, ge=1)
    hidden_act: Literal["gelu", "relu"] = "gelu"
    pool_act: Literal["tanh"] = "tanh"
    hidden_dropout_prob: float = Field(default=0.1, ge=0, lt=1)
    attention_probs_dropout_prob: float = Field(default=0.1, ge=0, lt=1)
    max_position_embeddings: int = Field(default=512, ge=2)
    type_vocab_size: int = Field(default=16, ge=1)
    use_task_id: bool = False
    task_type_vocab_size: int = Field(default=3, ge=1)
    task_id: int = Field(default=0, ge=0)
    layer_norm_eps: float = Field(default=1e-12, gt=0, le=1e-3)  # Paddle takes no larger one
    initializer_range: float = Field(default=0.02, gt=0)
    pad_token_id: int = Field(default=0, ge=0)
    id2label: Annotated[dict[int, str], Field(min_length=1)] = {0: "LABEL_0", 1: "LABEL_1"}
    problem_type: str | None = None

    @model_validator(mode="after")
    def _fits_together(self) -> ErnieConfig:
        if self.attention_head_size is None and self.hidden_size % self.num_attention_heads:
            raise ValueError(f"hidden_size {self.hidden_size} is no multiple of {self.num_attention_heads} heads")
        if sorted(self.id2label) != list(range(len(self.id2label))):
            raise ValueError("id2label does not number its labels 0, 1, 2 ...")
        if len(set(self.id2label.values())) != len(self.id2label):
            raise ValueError("id2label names a label twice")
        if self.use_task_id and self.task_id >= self.task_type_vocab_size:
            raise ValueError(f"task_id {self.task_id} is beyond task_type_vocab_size {self.task_type_vocab_size}")
        if self.pad_token_id >= self.vocab_size:
            raise ValueError(f"pad_token_id {self.pad_token_id} is beyond vocab_size {self.vocab_size}")
        if len(self.architectures) != 1 or self.architectures[0] not in _HEADS:
            raise ValueError(f"architectures {list(self.architectures)} is not one of {list(_HEADS)}")
        return self

    @property
    def head_size(self) -> int:
        """Numbers that each attention head works with."""
        return self.attention_head_size or self.hidden_size // self.num_attention_heads

    @property
    def labels(self) -> tuple[str, ...]:
        """Label names in the order of the logits."""
        return tuple(self.id2label[index] for index in range(len(self.id2label)))

    @property
    def multi_label(self) -> bool:
        """Whether a text may carry several labels."""
        return self.problem_type == "multi_label_classification"

    @property
    def independent_labels(self) -> bool:
        """Whether each label stands for itself; of a token's labels one is right, whatever ``problem_type`` says."""
        return self.multi_label and self.head == "sequence"

    @property
    def head(self) -> Head:
        """``sequence`` or ``token``."""
        return _HEADS[self.architectures[0]]


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint that is whole and fits together.

    Attributes:
        config: The network.
        weights: float32, by PaddleNLP's names; linear weights are (in, out).
        vocab: The bytes of ``vocab.txt``.
        lowercase: ``do_lower_case`` of the tokenizer.
    """

    config: ErnieConfig
    weights: Weights
    vocab: bytes
    lowercase: bool

    def tokenizer(self) -> ErnieTokenizer:
        """The tokenizer that the network was trained with."""
        return ErnieTokenizer(self.vocab, self.lowercase)

    def settings(self) -> TextSettings:
        """How its logits become labels, before any calibration."""
        return TextSettings(
            labels=self.config.labels,
            multi_label=self.config.multi_label and self.config.head == "sequence",
            max_length=min(DEFAULT_MAX_LENGTH, self.config.max_position_embeddings),
            lowercase=self.lowercase,
            head=self.config.head,
        )


def is_checkpoint(directory: Path) -> bool:
    """Whether ``directory`` looks like a PaddleNLP checkpoint rather than an artifact."""
    return (directory / CONFIG_NAME).is_file()


def read_checkpoint(directory: Path) -> Checkpoint:
    """Read and check the checkpoint in ``directory``; nothing in it is executed.

    Raises:
        CheckpointError: A file is missing, malformed or hostile, or a weight is missing, unexpected, of the wrong
            shape or type, or not finite; the message names it.
        TokenizerError: The vocabulary is missing or lacks a special token.
    """
    config = _read_config(directory / CONFIG_NAME)
    lowercase = _lowercase(directory)
    tokenizer = read_tokenizer(directory)
    if not 0 <= config.vocab_size - tokenizer.vocab_size < _SPARE_ROWS:
        raise CheckpointError(
            f"{directory / VOCAB_NAME} has {tokenizer.vocab_size} tokens, but the model's embedding has "
            f"{config.vocab_size} rows.",
            remedy="Use the vocab.txt that came with the model.",
        )
    if tokenizer.pad_id != config.pad_token_id:
        raise CheckpointError(
            f"[PAD] is token {tokenizer.pad_id} of {directory / VOCAB_NAME}, but pad_token_id is {config.pad_token_id}."
        )
    weights = _checked(_read_weights(directory), weight_shapes(config), directory)
    return Checkpoint(config, weights, (directory / VOCAB_NAME).read_bytes(), lowercase)


def read_tokenizer(directory: Path) -> ErnieTokenizer:
    """The tokenizer of the checkpoint in ``directory``, without its weights.

    Raises:
        CheckpointError: ``tokenizer_config.json`` is malformed.
        TokenizerError: The vocabulary is missing or lacks a special token.
    """
    return ErnieTokenizer(directory / VOCAB_NAME, _lowercase(directory))


def write_checkpoint(directory: Path, checkpoint: Checkpoint) -> None:
    """Write ``config.json``, ``vocab.txt``, ``tokenizer_config.json`` and ``model.safetensors``, as PaddleNLP does.

    The directory is made if missing. ``read_checkpoint`` gives back the same weights, bit for bit.
    """
    directory.mkdir(parents=True, exist_ok=True)
    unused = {"attention_head_size"} if checkpoint.config.attention_head_size is None else set()
    config = checkpoint.config.model_dump(mode="json", exclude=unused)
    config["label2id"] = {label: index for index, label in checkpoint.config.id2label.items()}
    tokenizer = {"do_lower_case": checkpoint.lowercase, "tokenizer_class": "ErnieTokenizer"}
    for name, content in ((CONFIG_NAME, config), (TOKENIZER_CONFIG_NAME, tokenizer)):
        text = json.dumps(content, ensure_ascii=False, indent=2, sort_keys=True)
        (directory / name).write_text(text + "\n", encoding="utf-8")
    (directory / VOCAB_NAME).write_bytes(checkpoint.vocab)
    save_file(checkpoint.weights, directory / WEIGHTS_NAME, metadata={"format": "np"})
    (directory / WEIGHTS_NAME).chmod((directory / CONFIG_NAME).stat().st_mode)  # safetensors writes for this user alone


def weight_shapes(config: ErnieConfig) -> dict[str, tuple[int, ...]]:
    """Every weight that a checkpoint of ``config`` holds, by PaddleNLP's name."""
    hidden, inner = config.hidden_size, config.intermediate_size
    heads = config.num_attention_heads * config.head_size
    tables = {"word": config.vocab_size, "position": config.max_position_embeddings}
    tables["token_type"] = config.type_vocab_size
    if config.use_task_id:
        tables["task_type"] = config.task_type_vocab_size
    shapes: dict[str, tuple[int, ...]] = {
        f"ernie.embeddings.{name}_embeddings.weight": (rows, hidden) for name, rows in tables.items()
    }
    linear = {f"self_attn.{name}_proj": (hidden, heads) for name in "qkv"} | {"self_attn.out_proj": (heads, hidden)}
    linear |= {"linear1": (hidden, inner), "linear2": (inner, hidden)}
    norms = ["ernie.embeddings.layer_norm"]
    for layer in range(config.num_hidden_layers):
        prefix = f"ernie.encoder.layers.{layer}"
        for name, (rows, columns) in linear.items():
            shapes |= {f"{prefix}.{name}.weight": (rows, columns), f"{prefix}.{name}.bias": (columns,)}
        norms += [f"{prefix}.norm1", f"{prefix}.norm2"]
    for norm in norms:
        shapes |= {f"{norm}.weight": (hidden,), f"{norm}.bias": (hidden,)}
    shapes |= {"ernie.pooler.dense.weight": (hidden, hidden), "ernie.pooler.dense.bias": (hidden,)}
    labels = len(config.id2label)
    return shapes | {"classifier.weight": (hidden, labels), "classifier.bias": (labels,)}


def _checked(weights: Mapping[str, NDArray[Any]], shapes: Mapping[str, tuple[int, ...]], directory: Path) -> Weights:
    if missing := sorted(set(shapes) - set(weights)):
        name = missing[0]
        raise CheckpointError(
            f"{directory} lacks {len(missing)} weights that its {CONFIG_NAME} calls for, "
            f"the first of them {name} of shape {list(shapes[name])}."
        )
    if unexpected := sorted(set(weights) - set(shapes)):
        name = unexpected[0]
        raise CheckpointError(
            f"{directory} holds {len(unexpected)} weights that its {CONFIG_NAME} has no place for, "
            f"the first of them {name} of shape {list(weights[name].shape)}."
        )
    for name, array in weights.items():
        if array.shape != shapes[name]:
            raise CheckpointError(
                f"Weight {name} has shape {list(array.shape)}; {CONFIG_NAME} calls for {list(shapes[name])}."
            )
        if array.dtype.kind != "f":
            raise CheckpointError(f"Weight {name} is {array.dtype.name}; expected floating point.")
        if not np.isfinite(array).all():
            raise CheckpointError(f"Weight {name} holds values that are not finite (NaN or infinity).")
    return {name: np.ascontiguousarray(weights[name], dtype=np.float32) for name in shapes}


def _lowercase(directory: Path) -> bool:
    path = directory / TOKENIZER_CONFIG_NAME
    return bool(_read_json(path).get("do_lower_case", True)) if path.is_file() else True


def _read_config(path: Path) -> ErnieConfig:
    content = _read_json(path)
    counts = [content[key] for key in ("num_labels", "num_classes") if content.get(key) is not None]
    if counts and "id2label" not in content and isinstance(counts[0], int):
        content["id2label"] = {index: f"LABEL_{index}" for index in range(counts[0])}
    content = {key: value for key, value in content.items() if value is not None}
    try:
        return ErnieConfig.model_validate(content)
    except ValidationError as error:
        raise CheckpointError(f"{path} cannot be used at {place_and_reason(error)}.") from error


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_bytes())
    except FileNotFoundError as error:
        raise CheckpointError(f"{path} is missing.") from error
    except ValueError as error:
        raise CheckpointError(f"{path} is not JSON: {error}.") from error
    if not isinstance(content, dict):
        raise CheckpointError(f"{path} holds a {type(content).__name__}; expected an object.")
    return content


def _read_weights(directory: Path) -> dict[str, NDArray[Any]]:
    found = sorted(directory.glob("*.safetensors"))
    if len(found) > 1:
        raise CheckpointError(f"{directory} holds {len(found)} safetensors files; one is read.")
    if found:
        try:
            with safetensors.safe_open(found[0], framework="numpy") as file:
                return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - it is no mapping
        except (safetensors.SafetensorError, TypeError) as error:  # TypeError: bfloat16, which numpy lacks
            raise CheckpointError(f"{found[0]} cannot be read: {error}.") from error
    if not (directory / PICKLE_NAME).is_file():
        raise CheckpointError(f"{directory} holds no weights: neither {PICKLE_NAME} nor *.safetensors is there.")
    return _read_pickle(directory / PICKLE_NAME)


def _read_pickle(path: Path) -> dict[str, NDArray[Any]]:
    try:
        with path.open("rb") as file:
            content = _RestrictedUnpickler(file).load()
        if not isinstance(content, dict):
            raise CheckpointError(f"{path} holds a {type(content).__name__}; expected a dictionary of weights.")
        content.pop(_STRUCTURED_NAMES, None)
        return {name: _array(name, value) for name, value in content.items()}
    except CheckpointError:
        raise
    # what a damaged or hostile pickle makes the unpickler raise
    except (pickle.UnpicklingError, EOFError, ImportError, LookupError, TypeError, ValueError) as error:
        raise CheckpointError(f"{path} is damaged or no checkpoint: {error}.") from error
    except (AttributeError, ArithmeticError, MemoryError) as error:
        raise CheckpointError(f"{path} is damaged or no checkpoint: {error}.") from error


class _StandIn:
    """What the pickle believes to be a function, a class or an object of numpy's: it only remembers."""

    __slots__ = ("arguments", "name", "state")

    def __init__(self, name: str, arguments: tuple[Any, ...] = ()) -> None:
        self.name, self.arguments = name, arguments
        self.state: tuple[Any, ...] = ()

    def __call__(self, *arguments: Any) -> Any:
        if self.name == "_codecs.encode":  # how protocol 2 writes bytes
            text, encoding = arguments
            if encoding != "latin1":
                raise ValueError(f"encoding {encoding!r}")
            return text.encode("latin1")
        return _StandIn(self.name, arguments)

    def __setstate__(self, state: Any) -> None:
        self.state = state


class _RestrictedUnpickler(pickle.Unpickler):
    """Knows the four globals that pickled numpy arrays need, as stand-ins; refuses every other."""

    _known = frozenset(
        {
            ("numpy.core.multiarray", "_reconstruct"),
            ("numpy._core.multiarray", "_reconstruct"),
            ("numpy", "ndarray"),
            ("numpy", "dtype"),
            ("_codecs", "encode"),
        }
    )

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in self._known:
            raise CheckpointError(
                f"The checkpoint's pickle asks for {module}.{name}, which no weights need.",
                state="Nothing in it was executed and the model was not loaded.",
                remedy="Do not trust this file; get the checkpoint from its source again, best as safetensors.",
            )
        return _StandIn(f"{module}.{name}")


def _array(name: object, value: object) -> NDArray[Any]:
    """The array that a stand-in remembers, made from its bytes and plain numbers only."""
    if not isinstance(name, str):
        raise CheckpointError(f"The checkpoint's pickle names a weight {name!r}; expected a string.")
    if not isinstance(value, _StandIn) or not value.name.endswith("_reconstruct"):
        raise CheckpointError(f"Entry {name} of the checkpoint is no array.")
    _, shape, dtype, is_fortran, data = value.state
    code, byte_order = dtype.arguments[0], dtype.state[1]
    if code not in ("f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "b1") or byte_order not in ("<", "|", "="):
        raise CheckpointError(f"Weight {name} is of type {byte_order}{code}; expected little-endian floating point.")
    flat = np.frombuffer(data, np.dtype(code))
    return flat.reshape(shape, order="F" if is_fortran else "C")
