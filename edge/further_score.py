"""The score of one more model, as the policy's section ``[scores.NAME]`` asks for it.

What the model is fed comes with the application, under ``score_inputs``: the bank's core system knows who shares a
telephone with whom, a branch does not. What comes out is a probability, which counts as the policy says. A section is
compared with its model's golden output when a bundle is built and again when it is loaded, so that a wrong output or
place is found before a customer comes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from devices.errors import ApplicationError, BackendError, PolicyError, RequestError
from edge.policy import ScorePolicy
from runtime.choice import Golden
from runtime.predictor import Predictor, TensorSpec, check_feeds

_ROUNDING = 1e-3  # a probability of 1.0001 is INT8's rounding
_NUMBERS = {"f": "iuf", "i": "iu", "u": "iu", "b": "b"}  # which kinds of JSON values an input of a kind takes


@dataclass(frozen=True)
class FurtherScore:
    """A loaded model that gives one of the policy's further scores; threads may share it."""

    name: str
    predictor: Predictor
    policy: ScorePolicy

    def of(self, inputs: Mapping[str, Any]) -> float:
        """The probability, 0 to 1.

        Args:
            inputs: By the model's input names, nested lists of numbers in the shape of the input.

        Raises:
            ApplicationError: They do not fit the model.
            BackendError: The model failed, or what it gives is no probability.
        """
        place = f"application.json: score_inputs.{self.name}"
        specs = {spec.name: spec for spec in self.predictor.inputs}
        feeds = {name: _array(f"{place}.{name}", value, specs.get(name)) for name, value in inputs.items()}
        try:
            feeds = check_feeds(self.predictor.name, self.predictor.inputs, feeds)
        except RequestError as error:
            raise ApplicationError(f"{place}: {error.problem}") from error
        output = _read(self.predictor.run(feeds), self.policy)
        try:
            value = probability(output, self.policy)
        except IndexError as error:  # the golden output was larger than this one
            raise ApplicationError(f"{place}: {_beyond(output, self.policy)}") from error
        if not -_ROUNDING <= value <= 1 + _ROUNDING:  # NaN too
            raise BackendError(
                f"Model {self.policy.model} gives {value:g} for score {self.name}, which is no probability."
            )
        return min(1.0, max(0.0, value))


def probability(output: NDArray[np.generic], policy: ScorePolicy) -> float:
    """What ``policy`` reads in an output.

    Raises:
        IndexError: Its place is not a value of the output.
    """
    if output.ndim != len(policy.place):
        raise IndexError
    values = output.astype(np.float64)
    if policy.reads == "softmax":
        row = values[policy.place[:-1]]
        chances = np.exp(row - row.max())
        return float((chances / chances.sum())[policy.place[-1]])
    value = float(values[policy.place])
    return value if policy.reads == "probability" else 0.5 + 0.5 * float(np.tanh(value / 2))  # the sigmoid


def check_section(name: str, policy: ScorePolicy, models: Mapping[str, Golden | None]) -> None:
    """See that a section fits the models of its bundle.

    Args:
        name: Of the section.
        policy: It.
        models: Every model of the bundle; the section's own with its golden outputs, where it has any.

    Raises:
        PolicyError: There is no such model or output, the place is not in the output, or no probability stands there.
    """
    if policy.model not in models:
        raise _misfit(name, f"names the model {policy.model!r}; the bundle has {', '.join(sorted(models))}")
    golden = models[policy.model]
    if golden is None:
        return
    if policy.output not in golden.outputs and (policy.output or len(golden.outputs) > 1):
        known = ", ".join(map(repr, sorted(golden.outputs)))
        raise _misfit(name, f"names {policy.output or 'no'} output; {policy.model} has {known}")
    output = _read(golden.outputs, policy)
    try:
        value = probability(output, policy)
    except IndexError as error:
        raise _misfit(name, _beyond(output, policy)) from error
    if not -_ROUNDING <= value <= 1 + _ROUNDING:
        raise _misfit(
            name,
            f"reads {value:g} in the golden output of {policy.model}, which is no probability",
            "Set reads to 'softmax' for a row of classes, to 'sigmoid' for a single value.",
        )


def _read(outputs: Mapping[str, NDArray[np.generic]], policy: ScorePolicy) -> NDArray[np.generic]:
    return next(iter(outputs.values())) if policy.output is None else outputs[policy.output]


def _array(place: str, value: Any, spec: TensorSpec | None) -> NDArray[np.generic]:
    """A JSON value as an input's array; without ``spec`` the name is unknown, as ``check_feeds`` will say."""
    try:
        array = np.asarray(value)
    except ValueError as error:  # rows of different length
        raise ApplicationError(f"{place} is no table: its rows differ in length.") from error
    if spec is None:
        return array
    wanted = np.dtype(spec.dtype)
    if not array.size:
        return array.astype(wanted)
    with np.errstate(over="ignore"):
        if array.dtype.kind not in _NUMBERS.get(wanted.kind, ""):
            raise ApplicationError(f"{place} does not hold {spec.dtype} alone.")
        cast = array.astype(wanted)
    if not np.isfinite(cast).all() or (wanted.kind in "iu" and not np.array_equal(cast, array)):
        raise ApplicationError(f"{place} holds a number that is no {spec.dtype}.")
    return cast


def _beyond(output: NDArray[np.generic], policy: ScorePolicy) -> str:
    shape = "x".join(map(str, output.shape))
    return f"place {list(policy.place)} is no value of the output of {policy.model}, which is {shape}"


def _misfit(name: str, what: str, remedy: str = "Correct the section and build the bundle again.") -> PolicyError:
    return PolicyError(f"The policy's section scores.{name}: {what}.", remedy=remedy)
