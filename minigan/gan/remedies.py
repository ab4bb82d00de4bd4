"""What is done against the failures: each remedy a few lines, with its price.

A GAN fails in two ways above all. D becomes sure of itself and stops telling G anything, and G
puts all its samples where D happens to be wrong, modes of the data being lost: mode collapse. D
judges one sample at a time, so nothing that it says depends on whether the samples differ; and G
answers the D of the moment, although D will answer back.

    D remembers what G made before          History
    D can't be sure of itself               InstanceNoise
    G takes D's answer into account         Unrolling, in unrolling.py
    D looks at several samples together     nn.MinibatchDiscrimination, nn.MinibatchStd, nn.Pack

The first two are here. Others are a line or an argument:

    one-sided label smoothing               losses.NonSaturating(real_label=0.9)
    dropout in G (Isola et al. 2017)        nn.Dropout in G; they sample with it, too
    spectral normalisation                  nn.SpectralNorm(nn.Linear(…), …) in D
    penalties on D's slope                  penalties.gradient_penalty, r1_penalty, dragan_penalty …
    two time scales, TTUR                   two learning rates, D's the larger (Heusel et al. 2017)
    an average of G's weights               optim.EMA
    feature matching                        losses.feature_matching
"""

from __future__ import annotations

from minigan import optim
from minigan.backend import Generator
from minigan.engine import ShapeError, Tensor
from minigan.engine import functional as F
from minigan.gan.losses import together
from minigan.system import world


class History:
    """Past samples of G, half of every batch that D sees (Shrivastava et al. 2017, section 2.3).

        history = History(G(Tensor(noise.normal((1024, latent)))), rng=rng)
        …
        discriminator_step(D, optimizer, objective, real, history.mix(fake))

    A D that only ever sees the G of the moment forgets, and G may run in a circle: to a mode, away
    when D comes after it, and back. The buffer costs its memory, and D learns from fewer new
    samples. A checkpoint part; `rng` is another.

    samples: the first that G made, (size, …), or a tuple of them and their conditions, which are
    then kept with each; their number and dtypes stay.
    """

    def __init__(self, samples: Tensor | tuple[Tensor, ...], *, rng: Generator):
        self.parts, self.rng = [part.data.copy() for part in together(samples)], rng.whole

    @property
    def samples(self):
        """The buffer, without conditions."""
        return self.parts[0]

    def mix(self, fake):
        """n/2 of the n samples `fake` (n, …), then n/2 past ones; detached. Of a tuple, a tuple.

        The other half of `fake` take random places in the buffer, after that. Of an odd n the one
        in the middle takes a place too, and a coin decides whether it or a past one is shown: so
        with n = 1, Shrivastava's pool. No two samples get the same place. ShapeError unless the
        buffer has n/2 places, rounded up. What ranks share is one batch, and the history one.
        """
        shown = [F.rows_of_all_ranks(part.detach()) for part in together(fake)]
        size, n, past = len(self.samples), len(shown[0]), (len(shown[0]) + 1) // 2
        fits = [x.shape == (n, *kept.shape[1:]) for x, kept in zip(shown, self.parts, strict=False)]
        if len(shown) != len(self.parts) or not all(fits) or not 1 <= past <= size:
            raise ShapeError(
                f"History: got fakes {[x.shape for x in shown]} for a buffer "
                f"{[kept.shape for kept in self.parts]}: expected (n, …) of the same kinds, n at "
                "least 1 and n/2 at most the size of the buffer"
            )
        chosen, places = self.rng.integers(0, size, past), self._places(size, past)
        coin = self.rng.integers(0, 2, 1) if n % 2 else None
        mixed = []
        for x, kept in zip(shown, self.parts, strict=True):
            old = kept[chosen]
            if coin is not None:
                heads = coin.reshape(1, *(1,) * (x.ndim - 1)) == 1
                old[:1] = self.rng.backend.xp.where(heads, old[:1], x.data[n - past : n - past + 1])
            mixed.append(F.concatenate([x[: n - past], Tensor(old)])[world().part(n)])
            kept[places] = x.data[n - past :]
        return mixed[0] if isinstance(fake, Tensor) else tuple(mixed)

    def _places(self, size, count):
        """A random place in each of `count` equal parts of the buffer, which begin anywhere."""
        each, rest = divmod(size, count)
        places = self.rng.backend.xp.arange(count) * each + self.rng.integers(0, each, count)
        return (places + self.rng.integers(0, size, 1)) % size if rest else places

    def state(self) -> dict:
        """The buffer, part by part."""
        names = ["samples", *(f"condition {k}" for k in range(1, len(self.parts)))]
        return dict(zip(names, self.parts, strict=True))

    def load_state(self, state: dict):
        """Takes over `state()` of a history of the same size and shapes."""
        mine = self.state()
        for name, kept in mine.items():
            if state[name].shape != kept.shape:
                raise ValueError(f"{name} has shape {state[name].shape}, expected {kept.shape}")
        for name, kept in mine.items():
            kept[...] = self.rng.backend.asarray(state[name], kept.dtype)


class InstanceNoise(optim.Scheduled):
    """Noise on what D sees, real and generated (Sønderby et al. 2017; Arjovsky and Bottou 2017).

        x + σ_t ε,      ε ~ N(0, 1) in every value

    Data and samples on thin sets hardly meet, and then a perfect D exists whose gradient is 0
    almost everywhere. Blurred by the same noise they overlap. What G learns is the blurred data's
    distribution made sharp again, as far as σ_t goes to 0; until then fine detail is invisible.

        noise = InstanceNoise(optim.linear_decay(0.1, steps, start=0), rng=rng)
        …
        noise.advance()                                        at the start of each training step
        discriminator_step(D, optimizer, objective, noise(real), noise(fake))
        generator_step(D, optimizer, objective, noise(fake))

    schedule: σ as a function of the step t = 1, 2, …, or a number. A checkpoint part; `rng` is
    another. RuntimeError if there is no first `advance()`.
    """

    def __init__(self, schedule, *, rng: Generator):
        super().__init__(schedule, rng.backend)
        self.rng = rng

    def __call__(self, x: Tensor) -> Tensor:
        return x + Tensor(self.rng.normal(x.shape, dtype=x.dtype) * self.value)
