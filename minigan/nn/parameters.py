"""Parameters, and sets of them as one vector.

The parameters of a network stand side by side in a flat array once an optimiser has taken them over
(see `FlatParameters`), so that an update is one pass over memory however many layers there are.
"""

from __future__ import annotations

import itertools

from minigan.backend import backend_of
from minigan.engine import Tensor, Variable
from minigan.engine.checks import check_alike


class Parameter(Variable):
    """A leaf tensor that a network owns and an optimiser updates in place.

    `home` is the flat array that it stands in, from `start` on; None until it is in a set.
    """

    __slots__ = ("home", "start")

    def __init__(self, data, name=""):
        super().__init__(data, name)
        self.home, self.start = None, 0

    def move(self, array, home=None, start=0):
        """Lets `data` be this array, which stands in the flat array `home` or in none."""
        Tensor.data.__set__(self, array)
        self.home, self.start = home, start


class FlatParameters:
    """A set of parameters as one vector, for what goes over all of them in one pass.

    A parameter gets a place in a flat array from the first set that it is in, side by side with
    all others of that set that have none, and stays there. So sets may overlap, and may hold
    parameters of several networks: an optimiser for either half of G, and an average of all of G.

    `pieces` is where the vector lies in memory: pairs of a slice of the vector and the flat memory
    that it is. If the set was the first for all its parameters, as a network's optimiser mostly is,
    this is one piece.

    ValueError for a set without parameters; TypeError for what is no Parameter; TypeError or
    DeviceError if they differ in dtype or device.
    """

    def __init__(self, parameters):
        self.parameters = list(dict.fromkeys(parameters))
        _check_set(self.parameters)
        first = self.parameters[0].data
        self.backend, self.dtype = backend_of(first), first.dtype
        self._slices = _slices(self.parameters)
        self.size = self._slices[-1].stop
        self._settle()
        self._places = [p.data for p in self.parameters]
        self.pieces = self._pieces()

    def _settle(self):
        """Gives the parameters that stand in none a flat array."""
        homeless = [p for p in self.parameters if p.home is None]
        if homeless:
            home = self.backend.xp.concatenate([p.data.reshape(-1) for p in homeless])
            for p, part in zip(homeless, _slices(homeless), strict=True):
                p.move(home[part].reshape(p.shape), home, part.start)

    def _pieces(self) -> list:
        """Neighbours in the vector that are neighbours in memory are one piece."""
        runs = []  # of [the home, where the run begins in it, where in the vector, its size]
        for p, part in zip(self.parameters, self._slices, strict=True):
            if runs and runs[-1][0] is p.home and runs[-1][1] + runs[-1][3] == p.start:
                runs[-1][3] += p.size
            else:
                runs.append([p.home, p.start, part.start, p.size])
        return [(slice(at, at + n), home[begin : begin + n]) for home, begin, at, n in runs]

    def views(self, vector) -> list:
        """The parts of a vector that belong to each parameter, in the parameters' shapes."""
        parts = zip(self.parameters, self._slices, strict=True)
        return [vector[part].reshape(p.shape) for p, part in parts]

    def zeros(self):
        """A vector with a zero for each number of the parameters."""
        return self.backend.xp.zeros(self.size, self.dtype)

    def values(self):
        """The parameters' numbers as one vector, a copy."""
        return self.backend.xp.concatenate([memory for _, memory in self.pieces])

    def updated(self):
        """To be called after every in-place change of the pieces."""
        for p in self.parameters:
            p.updated()

    def paired_with(self, other) -> list:
        """Pairs of flat memory, this vector's and another's, that hold the same parts of both."""
        if len(self.pieces) == len(other.pieces) == 1:
            return [(self.pieces[0][1], other.pieces[0][1])]
        pairs = zip(self.parameters, other.parameters, strict=True)
        return [(mine.data.reshape(-1), theirs.data.reshape(-1)) for mine, theirs in pairs]

    def check(self, what, now=None):
        """RuntimeError if a parameter was converted, or is not the one that is there `now`."""
        parameters = self.parameters if now is None else now
        pairs = zip(parameters, self._places, strict=False)
        if [p for p, place in pairs if p.data is not place] or len(parameters) != len(self._places):
            why = "parameters have been converted by .astype(), or replaced, since this was made"
            raise RuntimeError(f"{what}: {why}, so it would not touch the new ones: make it anew")

    def __reduce__(self):  # in a copy, too, parameters stand in a flat array
        return FlatParameters, (self.parameters,)


def _check_set(parameters):
    if not parameters:
        raise ValueError("there are no parameters to optimise")
    first = parameters[0]
    for p in parameters:
        if not isinstance(p, Parameter):
            raise TypeError(f"got a {type(p).__name__}, expected a Parameter: nn.Parameter(x.data)")
        check_alike(f"parameters {first.node.name!r} and {p.node.name!r}", first, p)


def _slices(parameters) -> list[slice]:
    """Where each parameter is in a vector of them all."""
    ends = [0, *itertools.accumulate(p.size for p in parameters)]
    return [slice(start, stop) for start, stop in itertools.pairwise(ends)]


def load_arrays(what, arrays: dict, state: dict):
    """Copies the values of a state into the arrays of the same names.

    ValueError, before any change, if names or shapes differ.
    """
    if arrays.keys() != state.keys():
        raise ValueError(f"{what} differ in {', '.join(sorted(arrays.keys() ^ state.keys()))}")
    for key, array in arrays.items():
        if state[key].shape != array.shape:
            raise ValueError(f"{key} has shape {state[key].shape}, expected {array.shape}")
    for key, array in arrays.items():
        array[...] = backend_of(array).asarray(state[key], array.dtype)
