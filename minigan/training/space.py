"""The latent space of a generator out of a checkpoint: points in it, images there and back.

space = LatentSpace(path, rng)
a, b = space.points(3), space.points(3)         z, and mixtures of classes where G is told them
space.draw(*a)                                  images
space.way(a, b, t, slerp)                       images on the way
space.find(images, *a[1:]).z                    images back to z
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from minigan.backend import Generator
from minigan.data import Dataset
from minigan.gan import Inversion, invert, lerp, slerp
from minigan.optim import linear_decay
from minigan.training.options import OptionError
from minigan.training.sampler import Sampler, not_lost


class LatentSpace:
    """A generator and its z. Arrays are on the host; images are floats (n, h, w, c) from −1 to 1.

    path    of the checkpoint; CheckpointError as for `generated`
    rng     draws z, on the device on which G is to be
    like    a data set; OptionError unless G draws such images, and is told as many classes if any

    `normal`: whether z is Gaussian, and ‖z‖ what counts; else it is uniform from −1 to 1, where it
    must stay. `along` is the way that keeps to what G has seen: `slerp` for the former, `lerp` for
    the latter. `classes`: how many G is told, or 0.
    """

    def __init__(self, path: Path, rng: Generator, like: Dataset):
        self.sampler, self.G = Sampler.kept(path, rng)
        self.rng, self.backend = rng, rng.backend
        self.normal, self.classes = self.sampler.kind == "normal", self.sampler.classes
        self.along = slerp if self.normal else lerp
        drawn = not_lost(path, self.draw(*self.points(1))).shape[1:]
        wanted = like.images.shape[1:]
        if drawn != wanted:
            raise OptionError(f"{path}: its generator draws {drawn}, {like.name} has {wanted}")
        if self.classes and self.classes != len(like.classes):
            told = f"{path}: its generator is told {self.classes} classes"
            raise OptionError(f"{told}, {like.name} has {len(like.classes)}")

    def points(self, n) -> tuple[np.ndarray, ...]:
        """z (n, latent) and, if G is told classes, one for each: mixtures (n, classes)."""
        z, *labels = map(self.backend.to_numpy, self.sampler.inputs(self.rng, n))
        return z, *(part for some in labels for part in self.told(some))

    def told(self, labels) -> tuple[np.ndarray, ...]:
        """What G is told beside z of images of these classes, (n,)."""
        return (np.eye(self.classes, dtype=self.sampler.dtype)[labels],)

    def draw(self, z, *told) -> np.ndarray:
        """G's images. Uniform z that were moved out of their cube go to its wall."""
        z = z if self.normal else z.clip(-1, 1)
        return self.sampler.draw(self.G, *map(self.backend.asarray, (z, *told)))

    def way(self, a, b, t, between) -> np.ndarray:
        """The images at k places t (k,) on the way between two points, of one row each.

        between: `lerp` or `slerp`, for z, such as `along`; what G is told goes along a line.
        """
        t = np.asarray(t, self.sampler.dtype)[:, None]
        return self.draw(*(w(p, q, t) for w, p, q in zip((between, lerp), a, b, strict=False)))

    def find(self, images, *told, starts, steps, rate=0.3, prior=30.0, progress=True) -> Inversion:
        """The z of images, from several starts; see `gan.invert`.

        prior: λ at first, for Gaussian z. It falls to 0 over the first third of the steps.
        """
        low, n = self.sampler.low, len(images)
        z = self.sampler.noise(self.rng, n * starts).reshape(n, starts, -1)
        x = low + (1 - low) * (images + 1) / 2
        x, *told = (self.backend.asarray(part, z.dtype) for part in (x, *told))
        lead = linear_decay(prior, max(1, steps // 3), start=0)
        kind = {"prior": lead} if self.normal else {"bound": 1.0}
        found = invert(self.G, x, z, *told, steps=steps, rate=rate, progress=progress, **kind)
        return Inversion(*map(self.backend.to_numpy, found))
