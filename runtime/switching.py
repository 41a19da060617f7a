"""A predictor that serves at once and becomes a faster one later.

TensorRT builds an engine for minutes before it answers at all. Nobody waits for it: another backend of the profile's
order serves meanwhile, and stays for the shapes that the engine was not built for.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from runtime.predictor import Predictor, ShapeRange


class SwitchingPredictor:
    """A stand-in, and behind it a thread that makes the predictor that is wanted.

    ``backend`` and ``precision`` are those of the predictor that serves now.
    """

    def __init__(
        self,
        stand_in: Predictor,
        make: Callable[[], Predictor | None],
        shapes: Mapping[str, ShapeRange],
    ) -> None:
        """Start making.

        Args:
            stand_in: Serves until then.
            make: Makes the wanted predictor, proven; None if there is none to be had. Runs in a thread of its own and
                raises nothing.
            shapes: What the wanted predictor answers, by input.
        """
        self.name, self.sha256 = stand_in.name, stand_in.sha256
        self.backend, self.precision = stand_in.backend, stand_in.precision
        self.inputs, self.outputs = stand_in.inputs, stand_in.outputs
        self._stand_in, self._shapes = stand_in, shapes
        self._wanted: Predictor | None = None
        self._thread = threading.Thread(target=self._switch, args=(make,), name=f"engine-{self.name}", daemon=True)
        self._thread.start()

    def _switch(self, make: Callable[[], Predictor | None]) -> None:
        wanted = make()
        if wanted is not None:
            self._wanted = wanted
            self.backend, self.precision = wanted.backend, wanted.precision

    def settle(self, timeout_s: float | None = None) -> None:
        """Wait until the thread has made the wanted predictor or given up."""
        self._thread.join(timeout_s)

    def run(self, feeds: Mapping[str, NDArray[np.generic]]) -> dict[str, NDArray[np.generic]]:
        """See ``Predictor.run``."""
        wanted = self._wanted
        if wanted is not None and all(
            name in feeds and shape.holds(feeds[name].shape) for name, shape in self._shapes.items()
        ):
            return wanted.run(feeds)
        return self._stand_in.run(feeds)

    def drop_caches(self) -> None:
        """See ``Predictor.drop_caches``."""
        for predictor in filter(None, (self._stand_in, self._wanted)):
            predictor.drop_caches()
