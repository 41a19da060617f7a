"""Train a small classifier in PyTorch and export it to ONNX: how ``photo-quality.onnx`` beside this file was made.

The kit does not need PyTorch, and this is the only file that does. In an environment that has it (2.13, and ``onnx``):

    python -m examples.classifier.export --out examples/classifier/photo-quality.onnx

The exported model gives logits, as classifiers from PyTorch usually do; ``reads = "softmax"`` in a policy makes
probabilities of them.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch

from examples.classifier.draw import CLASSES, SIDE, pictures

TRAINED, MEASURED = 3000, 1000
BATCH, EPOCHS = 64, 3


def network() -> torch.nn.Module:
    """Pictures (N, 1, 32, 32) to logits (N, 3)."""
    return torch.nn.Sequential(
        torch.nn.Conv2d(1, 8, 3, padding=1),
        torch.nn.BatchNorm2d(8),
        torch.nn.ReLU(),
        torch.nn.MaxPool2d(2),
        torch.nn.Conv2d(8, 16, 3, padding=1),
        torch.nn.BatchNorm2d(16),
        torch.nn.ReLU(),
        torch.nn.MaxPool2d(4),
        torch.nn.Flatten(),
        torch.nn.Linear(16 * (SIDE // 8) ** 2, len(CLASSES)),
    )


def train() -> torch.nn.Module:
    """A network that has seen invented pictures."""
    torch.manual_seed(0)
    torch.set_num_threads(1)  # pictures this small are slower on more
    model = network()
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    images, labels = (torch.from_numpy(each) for each in pictures(TRAINED, seed=1))
    for _ in range(EPOCHS):
        for some in torch.randperm(TRAINED).split(BATCH):
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(model(images[some]), labels[some]).backward()
            optimizer.step()
    return model.eval()


def main() -> None:
    """Train, measure, export."""
    parser = argparse.ArgumentParser(prog="examples.classifier.export", description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    out = parser.parse_args().out
    model = train()
    images, labels = (torch.from_numpy(each) for each in pictures(MEASURED, seed=2))
    with torch.no_grad():
        right = (model(images).argmax(1) == labels).float().mean().item()
    torch.onnx.export(
        model,
        (images[:1],),
        str(out),
        input_names=["image"],
        output_names=["logits"],
        dynamic_axes={"image": {0: "n"}, "logits": {0: "n"}},
        opset_version=17,
        dynamo=False,
    )
    print(f"{right:.1%} of {MEASURED} invented pictures that it has not seen are classified right.")


if __name__ == "__main__":
    main()
