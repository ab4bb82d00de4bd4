"""Random numbers on the GPU, made of a counter."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from minigan.backend.base import Generator, seed_from


class PhiloxGenerator(Generator):
    """Random numbers made of a counter (Salmon et al. 2011, Philox4x32-10; see kernels.cu).

    Key and counter are device memory, so a captured step draws new numbers at every replay.
    """

    # How many numbers one value of the counter gives.
    PER_COUNT: ClassVar = {"float32": 4, "float64": 2, "int64": 2}

    def __init__(self, backend, seed):
        self.backend = backend
        known = isinstance(seed, np.random.SeedSequence)
        self._sequence = seed if known else np.random.SeedSequence(seed)
        self._state = backend.cupy.zeros(2, "uint64")
        self._set(int(self._sequence.generate_state(1, np.uint64)[0]), 0)

    def normal(self, shape, dtype="float32"):
        return self._draw("philox_normal", shape, dtype)

    def uniform(self, shape, low=0.0, high=1.0, dtype="float32"):
        real = np.dtype(dtype).type
        return self._draw("philox_uniform", shape, dtype, real(low), real(high))

    def integers(self, low, high, shape):
        if not low < high:
            raise ValueError(f"integers: low {low} is not below high {high}")
        return self._draw("philox_integers", shape, "int64", int(low), np.uint64(high - low))

    def permutation(self, n):
        return self.backend.cupy.argsort(self.uniform(n, dtype="float64"))

    def _spawn(self, count) -> list[PhiloxGenerator]:
        return [PhiloxGenerator(self.backend, child) for child in self._sequence.spawn(count)]

    def state(self) -> dict:
        key, counter = self.backend.to_numpy(self._state).tolist()
        return {"bit_generator": "Philox4x32", "key": key, "counter": counter}

    def load_state(self, state: dict):
        if not isinstance(state, dict) or "bit_generator" not in state:
            raise ValueError(f"not the state of a generator: {state!r}")
        if state["bit_generator"] == "Philox4x32":
            self._set(int(state["key"]), int(state["counter"]))
        else:
            self._set(seed_from(state) % 2**64, 0)

    def _draw(self, kernel, shape, dtype, *arguments):
        launch, out = self.backend.launch, self.backend.empty(shape, dtype)
        counts = -(-out.size // self.PER_COUNT[out.dtype.name])
        launch(kernel, counts, out, out.size, *arguments, self._state)
        launch("philox_advance", min(counts, 1), self._state, np.uint64(counts), threads=1)
        return out

    def _set(self, key, counter):
        self._state[...] = self.backend.asarray(np.array([key, counter], np.uint64))
