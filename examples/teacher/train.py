"""Train the demonstration's teacher from nothing: a small ERNIE that labels invented loan statements.

    .venv/bin/python -m examples.teacher.train --out examples/teacher/model

It learns from statements that a grammar writes anew for every step and from the hand-written training file, both
invented; dev chooses the moment to stop, test is read at the end. In place of pre-training on a large text it
grows: one layer learns first, then two, then all four, each start keeping what was learned before.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import dataclass
from pathlib import Path
from random import Random

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save_file

from compress.ernie.batches import apply_averaged_gradients, learning_rate, pad
from compress.ernie.checkpoint import CONFIG_NAME, TOKENIZER_CONFIG_NAME, ErnieConfig, Weights, read_checkpoint
from compress.ernie.model import ErnieClassifier, build_model
from compress.evaluate import macro_f1
from compress.paddle_env import paddle
from compress.parallel import Worker, run_parallel
from compress.textdata import read_texts
from examples.statements.grammar import LABELS, generate
from runtime.text import VOCAB_NAME
from runtime.tokenizer import MASK, SPECIAL_TOKENS, ErnieTokenizer

STATEMENTS = Path(__file__).parent.parent / "statements"
DEV = STATEMENTS / "written_dev.tsv"
LONGEST = 256  # tokens
BATCH = 16  # texts a process and step
WRITTEN_SHARE = 0.3  # of a batch; the rest comes from the grammar
JOINED_SHARE = 0.3  # of the written texts get a second statement behind them
HIDDEN_SHARE = 0.08  # of the characters
SMOOTHING = 0.05
AVERAGING, AVERAGE_EVERY = 0.96, 5  # how much of the averaged weights stays, every so many steps
DEV_EVERY = 100  # steps
INITIAL_RANGE = 0.04
# layers, steps, highest learning rate: one layer learns words cheaply, and the next ones start from what it knows
STAGES = ((1, 2000, 1e-3), (2, 800, 5e-4), (4, 700, 3e-4))


@dataclass(frozen=True)
class Job:
    """What each training process needs."""

    config: ErnieConfig
    vocab: tuple[str, ...]
    seed: int


def vocabulary() -> list[str]:
    """Special tokens, ASCII with its inner pieces, punctuation, GB 2312's common characters, and the texts' own."""
    ascii_characters = [chr(code) for code in range(33, 127) if not chr(code).isupper()]
    pieces = [f"##{character}" for character in ascii_characters if character.isalnum()]
    punctuation = list("，。、；：？！“”‘’（）《》【】—…～￥％·〇①②③④⑤")
    rows = range(0xB0, 0xD8)  # GB 2312 level 1: rows 16 to 55, by pronunciation
    common = [bytes((row, column)).decode("gb2312", errors="ignore") for row in rows for column in range(0xA1, 0xFF)]
    texts = read_texts(STATEMENTS / "written_train.tsv").texts
    texts += [statement.text for statement in generate(3000, seed=1)]
    seen = sorted({character for text in texts for character in text.lower() if not character.isspace()})
    everything = [*SPECIAL_TOKENS, *ascii_characters, *pieces, *punctuation, *filter(None, common), *seen]
    return list(dict.fromkeys(everything))


def network(vocab_size: int) -> ErnieConfig:
    """4 layers of 312, as ERNIE 3.0 nano."""
    return ErnieConfig(
        vocab_size=vocab_size,
        hidden_size=312,
        num_hidden_layers=4,
        num_attention_heads=12,
        intermediate_size=1248,
        max_position_embeddings=LONGEST,
        type_vocab_size=2,
        initializer_range=INITIAL_RANGE,
        id2label=dict(enumerate(LABELS)),
        problem_type="multi_label_classification",
    )


class Learner(paddle.nn.Layer):
    """The classifier, and label heads on every layer, which are thrown away afterwards.

    From random weights the first token alone learns nothing: what tells texts apart fades from layer to layer. Heads
    that see all tokens of every layer keep each layer telling them apart.
    """

    def __init__(self, config: ErnieConfig) -> None:
        super().__init__()
        self.model = ErnieClassifier(config)
        labels = len(config.id2label)
        self.heads = paddle.nn.LayerList(
            [paddle.nn.Linear(2 * config.hidden_size, labels) for _ in range(config.num_hidden_layers)]
        )

    def forward(self, ids: paddle.Tensor) -> list[paddle.Tensor]:
        """Ids (B, T) to logits (B, labels): the classifier's, then each head's."""
        ernie = self.model.ernie
        states = ernie.states(ids, paddle.zeros_like(ids))
        padding = ernie.is_padding(ids).unsqueeze(-1)  # (B, T, 1)
        count = (1 - padding).sum(axis=1)
        logits = [self.model.classifier(self.model.dropout(ernie.pooler(states[-1])))]
        for head, state in zip(self.heads, states, strict=True):
            mean = (state * (1 - padding)).sum(axis=1) / count
            strongest = (state - 1e4 * padding).max(axis=1)
            logits.append(head(self.model.dropout(paddle.concat([mean, strongest], axis=-1))))
        return logits


def waves(rows: int, width: int) -> NDArray[np.float32]:
    """Positions as waves of growing length (arXiv:1706.03762), so that neighbours start out alike."""
    angles = np.arange(rows)[:, None] / 10_000 ** (np.arange(0, width, 2) / width)
    return np.stack([np.sin(angles), np.cos(angles)], axis=-1).reshape(rows, width).astype(np.float32)


def grow(weights: Weights, config: ErnieConfig, seed: int) -> Weights:
    """Weights for ``config`` from those of a network with fewer layers; the new layers start out doing little."""
    paddle.seed(seed)
    learner = Learner(config)
    grown = {name: tensor.numpy() for name, tensor in learner.state_dict().items()}
    position = "model.ernie.embeddings.position_embeddings.weight"
    grown[position] = INITIAL_RANGE * waves(*grown[position].shape)
    for name in grown:
        if name in weights:
            grown[name] = weights[name]
        elif weights and name.endswith(("out_proj.weight", "linear2.weight")):
            grown[name] = 0.1 * grown[name]
    return grown


class Source:
    """Training texts without end; each process draws its own."""

    def __init__(self, tokenizer: ErnieTokenizer, seed: int, rank: int) -> None:
        self._random = Random(f"{seed} {rank}")
        data = read_texts(STATEMENTS / "written_train.tsv")
        self._written = [(example.text, set(example.labels)) for example in data.examples]
        self._grammar = generate(10**7, seed=seed * 1000 + rank)
        self._tokenizer = tokenizer

    def batches(self, count: int) -> list[tuple[list[list[int]], NDArray[np.float32]]]:
        """``count`` batches of similar length each, in random order."""
        drawn = [self._draw() for _ in range(count * BATCH)]
        rows = [(self._tokenizer.ids(text, LONGEST), labels) for text, labels in drawn]
        rows.sort(key=lambda row: len(row[0]))
        batches = []
        for start in range(0, len(rows), BATCH):
            part = rows[start : start + BATCH]
            targets = np.array([[label in labels for label in LABELS] for _, labels in part], np.float32)
            batches.append(([ids for ids, _ in part], targets))
        self._random.shuffle(batches)
        return batches

    def _draw(self) -> tuple[str, set[str]]:
        if self._random.random() >= WRITTEN_SHARE:
            return self._next_generated()
        text, labels = self._random.choice(self._written)
        if self._random.random() >= JOINED_SHARE:
            return text, labels
        more, more_labels = self._random.choice(self._written)
        together = labels | more_labels
        return text + more, together if together == {LABELS[0]} else together - {LABELS[0]}

    def _next_generated(self) -> tuple[str, set[str]]:
        statement = next(self._grammar)
        return statement.text, set(statement.labels)


def hide(ids: NDArray[np.int64], random: np.random.Generator) -> NDArray[np.int64]:
    """Some characters become [MASK], so that no single one decides."""
    chosen = (random.random(ids.shape) < HIDDEN_SHARE) & (ids >= len(SPECIAL_TOKENS))
    return np.where(chosen, SPECIAL_TOKENS.index(MASK), ids)


def answers(
    model: ErnieClassifier, tokenizer: ErnieTokenizer, path: Path
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Logits and truth, both (N, labels), for the texts of a file."""
    data = read_texts(path)
    order = sorted(range(len(data.examples)), key=lambda index: len(data.examples[index].text))
    logits = np.zeros((len(order), len(LABELS)), np.float32)
    model.eval()
    with paddle.no_grad():
        for start in range(0, len(order), 32):
            part = order[start : start + 32]
            ids = tokenizer.encode([data.examples[index].text for index in part], LONGEST)
            feeds = paddle.to_tensor(ids.input_ids), paddle.to_tensor(ids.token_type_ids)
            logits[part] = model(*feeds).numpy()
    return logits, data.targets(LABELS)


def f1_per_label(logits: NDArray[np.float32], truth: NDArray[np.float32]) -> NDArray[np.float64]:
    """F1 of each label at probability 0.5."""
    return np.array([macro_f1(logits[:, [column]] > 0, truth[:, [column]]) for column in range(len(LABELS))])


def train(worker: Worker, job: Job) -> Weights:
    """One process's part of the training; the first one also watches dev and returns the best weights."""
    weights: Weights = {}
    best: Weights = {}
    best_f1, started = -1.0, time.monotonic()
    tokenizer = ErnieTokenizer(job.vocab)
    source = Source(tokenizer, job.seed, worker.rank)
    random = np.random.default_rng((job.seed, worker.rank))
    functional = paddle.nn.functional
    for layers, steps, peak in STAGES:
        config = job.config.model_copy(update={"num_hidden_layers": layers})
        learner = Learner(config)
        learner.set_state_dict(grow(weights, config, job.seed))  # the same in every process
        paddle.seed(job.seed + 1 + worker.rank)  # but each its own dropout
        parameters = learner.parameters()
        optimizer = paddle.optimizer.AdamW(
            peak, parameters=parameters, weight_decay=0.02, grad_clip=paddle.nn.ClipGradByGlobalNorm(1.0)
        )
        averaged = {name: tensor.numpy() for name, tensor in learner.state_dict().items()}
        queue: list[tuple[list[list[int]], NDArray[np.float32]]] = []
        losses = np.zeros(layers + 1)
        for step in range(steps):
            queue = queue or source.batches(16)
            rows, targets = queue.pop()
            learner.train()
            truth = paddle.to_tensor(targets * (1 - SMOOTHING) + SMOOTHING / 2)
            each = [
                functional.binary_cross_entropy_with_logits(logits, truth)
                for logits in learner(paddle.to_tensor(hide(pad(rows, tokenizer.pad_id), random)))
            ]
            (each[0] + sum(each[1:]) / layers).backward()
            optimizer.set_lr(learning_rate(step, steps, peak))
            apply_averaged_gradients(worker, optimizer, parameters)
            losses += 0.02 * (np.array([float(loss) for loss in each]) - losses)
            if (step + 1) % AVERAGE_EVERY == 0:
                for name, tensor in learner.state_dict().items():
                    averaged[name] = AVERAGING * averaged[name] + (1 - AVERAGING) * tensor.numpy()
            if worker.rank == 0 and ((step + 1) % DEV_EVERY == 0 or step + 1 == steps):
                classifier = {
                    name.removeprefix("model."): array for name, array in averaged.items() if name.startswith("model.")
                }
                f1 = f1_per_label(*answers(build_model(config, classifier), tokenizer, DEV))
                if layers == job.config.num_hidden_layers and f1.mean() >= best_f1:
                    best, best_f1 = dict(classifier), float(f1.mean())
                worker.report(
                    f"{layers} layers, step {step + 1} of {steps}: losses {np.round(losses, 3)}, "
                    f"dev macro-F1 {f1.mean():.4f}, {time.monotonic() - started:.0f} s"
                )
        weights = averaged
    return best


def save(out: Path, config: ErnieConfig, vocab: list[str], weights: Weights) -> None:
    """Write a checkpoint directory as PaddleNLP does, weights in half precision."""
    out.mkdir(parents=True, exist_ok=True)
    content = config.model_dump(mode="json")
    content["label2id"] = {label: index for index, label in config.id2label.items()}
    (out / CONFIG_NAME).write_text(json.dumps(content, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    (out / VOCAB_NAME).write_text("\n".join(vocab) + "\n", encoding="utf-8")
    tokenizer = {"do_lower_case": True, "tokenizer_class": "ErnieTokenizer"}
    (out / TOKENIZER_CONFIG_NAME).write_text(json.dumps(tokenizer) + "\n", encoding="utf-8")
    halves = {name: array.astype(np.float16) for name, array in weights.items()}
    save_file(halves, out / "model.safetensors", metadata={"format": "np"})


def main() -> None:
    """Train, save, and report on the test file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    vocab = vocabulary()
    config = network(len(vocab))
    job = Job(config, tuple(vocab), arguments.seed)
    floats = sum(parameter.size for parameter in Learner(config).parameters())
    print(f"{len(vocab)} tokens, {floats:,} weights", flush=True)
    best = run_parallel(train, job, shared_floats=floats, progress=lambda line: print(line, flush=True))
    save(arguments.out, config, vocab, best)
    saved = read_checkpoint(arguments.out)
    model, tokenizer = build_model(saved.config, saved.weights), saved.tokenizer()
    for path in (DEV, STATEMENTS / "written_test.tsv"):
        f1 = f1_per_label(*answers(model, tokenizer, path))
        each = ", ".join(f"{label} {value:.3f}" for label, value in zip(LABELS, f1, strict=True))
        print(f"{path.name}: macro-F1 {f1.mean():.4f} ({each})")


if __name__ == "__main__":
    main()
