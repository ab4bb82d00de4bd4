"""The average of a network's recent weights."""

from __future__ import annotations

from minigan.engine.checks import expect
from minigan.nn import Module
from minigan.optim.checks import counted, fraction


class EMA:
    """A copy of a network whose weights are the exponential moving average of the original's.

        a ← b a + (1 − b) θ,    b = min(decay, (1 + t) / (w + t))

    The warm-up of b lets the average forget the initial weights: until b has come to `decay`, the
    weights of step t count in proportion to some t^(w − 2). w = `warm_up` is 10 as a rule, which
    makes the average reach back over a ninth of the run; 3 is half of the run, and about 2 the
    plain mean (polynomial-decay averaging, Shamir and Zhang 2013). Running statistics are averaged
    alike. `network` is the copy, in evaluation mode: sample from it.
    """

    def __init__(self, network: Module, decay=0.999, *, warm_up=10):
        self.decay = fraction("decay", decay)
        self.warm_up = expect(warm_up > 1, "warm_up", warm_up, "a number > 1")
        self.source, self.network = network, network.copy().eval()
        self.t = 0
        self._flat = self.network.flat(), network.flat()
        self.live = self._flat[0].backend.live()
        # Of a layer that has two paths each buffer counts once.
        places = (network.named_buffers().values() for network in (self.network, network))
        own = ({(id(module), key): (module, key) for module, key in found} for found in places)
        self._buffers = list(zip(*(found.values() for found in own), strict=True))

    def update(self):
        """To be called after each of the optimiser's steps.

        RuntimeError if either network was converted, or has got other layers, in the meantime.
        """
        average, source = self._flat
        average.check("average")
        source.check("average", self.source.parameters())
        backend = source.backend
        backend.host(self._advance)
        for mine, theirs in average.paired_with(source):
            backend.average(mine, theirs, self.live)
        for (mine, key), (theirs, _) in self._buffers:
            backend.average(getattr(mine, key), getattr(theirs, key), self.live)
        backend.host(average.updated)

    def _advance(self):
        self.t += 1
        self.live.set(1 - min(self.decay, (1 + self.t) / (self.warm_up + self.t)))

    def state(self) -> dict:
        """The step count and the averages."""
        return {self._count(): self.t} | self.network.state()

    def load_state(self, state: dict):
        """Takes over `state()` of the average of an equal network."""
        t, averages = counted(state, self._count())
        self.network.load_state(averages)
        self.t = t

    def _count(self) -> str:
        """What the step count is called in a state: t, unless a parameter has that name."""
        name, averages = "t", self.network.state()
        while name in averages:
            name += "'"
        return name
