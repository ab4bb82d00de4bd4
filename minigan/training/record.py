"""The numbers of a run, step by step."""

from __future__ import annotations

import numpy as np

from minigan.backend import cpu
from minigan.engine import Tensor
from minigan.engine.tensors import raw
from minigan.system import world


class Record:
    """The numbers of a run, one row per step, kept on the device until somebody looks.

    Of several ranks they are the mean: all have to look when one does.

    A checkpoint part: the rows up to now are saved and restored.
    """

    growing = True  # see checkpoint.py: the number of rows is not fixed

    def __init__(self, *columns: str):
        self.columns = columns
        self._rows = np.zeros((0, len(columns)))
        self._log = None

    def __len__(self):
        return len(self._rows) + (0 if self._log is None else len(self._log))

    def add(self, *values):
        """One step's values, scalar tensors or numbers, in the order of the columns."""
        if self._log is None:
            devices = [value.backend for value in values if isinstance(value, Tensor)]
            self._log = (devices or [cpu])[0].log(len(self.columns))
        self._log.append([raw(value) for value in values])

    def rows(self) -> np.ndarray:
        """All rows as float64 (steps, columns); waits for the device."""
        if self._log is not None and len(self._log):
            self._rows = np.concatenate([self._rows, world().mean(self._log.drain())])
        return self._rows

    def __getitem__(self, column: str) -> np.ndarray:
        """One column, a value per step."""
        return self.rows()[:, self.columns.index(column)]

    def by_name(self) -> dict[str, np.ndarray]:
        """All columns."""
        return {column: self[column] for column in self.columns}

    def latest(self, steps=20) -> dict[str, float]:
        """The mean of each column over the last `steps` rows."""
        recent = self.rows()[-steps:].mean(axis=0)
        return dict(zip(self.columns, map(float, recent), strict=True))

    def state(self) -> dict:
        """The rows; waits for the device."""
        return {"rows": self.rows()}

    def load_state(self, state: dict):
        """Takes over `state()` of a record of the same columns, in the place of its own rows."""
        if self._log is not None:
            self._log.drain()  # and kept: a captured step writes to this very log
        self._rows = state["rows"]
