"""Labelled images, and the batches that a training loop takes from them.

Images are kept as bytes (0 … 255), a quarter of what floats would take, and become float32 in
[−1, 1], the range of tanh, when a batch is drawn.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from minigan.backend import Backend, Generator, backend_of, cpu
from minigan.data.idx import DataError
from minigan.engine.checks import whole_number
from minigan.system import world


@dataclass(frozen=True, eq=False)
class Dataset:
    """Images with their labels, in host memory.

    `images` is uint8 (n, h, w, c) with n ≥ 1; `labels` is int64 (n,), indices into `classes`, or
    None where the images have none. DataError for anything else.

    `recipe` is what the images are computed from, if they are: another processor may round one of
    them otherwise, and it is the same set still.
    """

    name: str
    images: np.ndarray = field(repr=False)
    labels: np.ndarray | None = field(default=None, repr=False)
    classes: tuple[str, ...] = ()
    recipe: str = field(default="", repr=False)

    def __post_init__(self):
        _check_images(self.name, self.images)
        if self.labels is not None:
            _check_labels(self.name, self.labels, len(self.images), len(self.classes))

    def __len__(self):
        return len(self.images)

    def __str__(self):
        return f"{self.name}, {len(self):,} images"

    @cached_property
    def sha256(self) -> str:
        """What the set is, whatever its name: a digest of images, labels and class names.

        Of the recipe instead of the images, if there is one. MNIST takes 0.03 s; once.
        """
        labels = None if self.labels is None else self.labels.tolist()
        facts = [self.images.shape, labels, self.classes, self.recipe]
        total = hashlib.sha256(json.dumps(facts).encode())
        if not self.recipe:
            total.update(np.ascontiguousarray(self.images).data)
        return total.hexdigest()


def _check_images(name, images):
    got = f"{images.dtype} {images.shape}" if isinstance(images, np.ndarray) else type(images)
    if not isinstance(images, np.ndarray) or images.dtype != np.uint8 or images.ndim != 4:
        raise DataError(f"{name}: images are {got}, wanted a uint8 array (n, h, w, c)")
    if 0 in images.shape:
        raise DataError(f"{name}: images are {got}, wanted no size to be 0")


def _check_labels(name, labels, images: int, classes: int):
    got = f"{labels.dtype} {labels.shape}" if isinstance(labels, np.ndarray) else type(labels)
    if not isinstance(labels, np.ndarray) or labels.dtype != np.int64 or labels.shape != (images,):
        raise DataError(f"{name}: labels are {got}, wanted an int64 array ({images},)")
    low, high = labels.min(), labels.max()
    if low < 0 or high >= classes:
        raise DataError(f"{name}: labels run from {low} to {high}, but there are {classes} classes")


def to_unit(images):
    """Bytes to what a network sees: uint8 images on any device to float32 in [−1, 1].

    TypeError for another dtype, whose values would lie outside.
    """
    return backend_of(images).to_unit(images)


def dequantised(images, rng: Generator):
    """Bytes to what has a density: (pixel + u) / 256, u uniform on [0, 1]; float32 in [0, 1].

    Bytes are but 256 values, on which a density can grow without bound. With noise as wide as
    their distance, ln p of the result is on average at most the log-probability of the bytes plus
    ln 256 per pixel (Theis et al. 2016, section 3.1). This is where it's done, for all likelihoods
    on images; the noise is drawn anew at each call.

    images: uint8, or float32 in [−1, 1] as `Batches` draws them; on rng's device. TypeError for
    another dtype.
    """
    xp = rng.backend.xp
    if images.dtype == "float32":
        images = xp.rint((images + 1) * 127.5)
    elif images.dtype != "uint8":
        raise TypeError(f"dequantised: images are {images.dtype}, wanted uint8, or float32 units")
    return (images + rng.uniform(images.shape)) * np.float32(1 / 256)


def to_bytes(images):
    """What a network draws to bytes, the inverse of `to_unit`: float images to uint8.

    Rounds to the nearest byte and clips what lies outside [−1, 1]. ValueError if a pixel is NaN or
    infinite: a network that has diverged should not look like one that draws grey; and for
    integers, which are bytes already or would all be clipped.
    """
    if images.dtype.kind != "f":
        raise ValueError(f"to_bytes: images are {images.dtype}, wanted floats in [-1, 1]")
    xp = backend_of(images).xp
    if not xp.isfinite(images).all():
        raise ValueError(f"to_bytes: NaN or infinity among the pixels of {images.shape}")
    return xp.rint((xp.clip(images, -1, 1) + 1) * 127.5).astype("uint8")


@dataclass(frozen=True, eq=False)
class OneOf:
    """Rows to choose from, (n, k, …): a batch has one of the k for each image, (size, …).

    Which one is drawn anew in every epoch; parts with as many to choose from choose alike.
    """

    rows: np.ndarray


class Batches:
    """Shuffled batches as a pure function of (seed, step).

    Step 1000 of a resumed run draws the very images that step 1000 of the uninterrupted run drew,
    bit for bit and on any device. Each epoch is one permutation of all images, made on the host
    from (seed, epoch) alone; what is left over at its end is dropped, so that every batch has the
    same size. `step` is what `next()` will draw; set it to go on from there.

    Of several ranks each draws its rows of every batch: there are `share` of them, where `size`
    stands below.

        Batches(dataset, 64, seed)                        images
        Batches((dataset, dataset.labels), 64, seed)      images with their labels
        Batches((photos, maps), 64, seed)                 pairs
        Batches(photos, 64, 0), Batches(maps, 64, 1)      no pairs: each in an order of its own
        Batches((images, OneOf(captions)), 64, seed)      images, each with one of its captions
        Batches(dataset, 64, seed, group=4)               fours of one class

    data      a `Dataset`, or its uint8 images (n, h, w, c); or a tuple of such and of other arrays,
              with a row for each image, which then travel together: a batch is a tuple of arrays
    size      images in a batch, an int; ValueError unless 1 ≤ size ≤ n
    seed      an int ≥ 0
    backend   the device to keep the images on; they are sent there once, as bytes
    group     how many images that follow each other have one label. Each epoch forms the groups
              anew; what is left over of a class is dropped. ValueError unless it divides the size,
              there are labels, and the groups make a batch; it must divide a rank's share

    DataError for other data, and for parts that are not equally long.
    """

    def __init__(self, data, size: int, seed: int, backend: Backend = cpu, *, group: int = 1):
        self._alone = not isinstance(data, (tuple, list))
        first, *others = (data,) if self._alone else data
        dataset = first if isinstance(first, Dataset) else Dataset("images", first)
        parts = [(dataset.images, 1), *map(_rows, others)]
        lengths, size = [len(part) // k for part, k in parts], whole_number("batch size", size)
        if len(set(lengths)) > 1:
            raise DataError(f"what travels together has {lengths} rows: wanted equally many")
        if not 1 <= size <= len(dataset):
            there_are = f"1 to {len(dataset)}, the images there are ({dataset.name})"
            raise ValueError(f"batch size {size}: wanted {there_are}")
        self.size, self.seed, self.backend = size, seed, backend
        self.share, self._mine = world().share(size), world().part(size)
        self.group = whole_number("group", group)
        self._members = None if self.group == 1 else _members(dataset, self.group, size)
        self._classes = dataset.labels
        self._parts = [(backend.asarray(part), k) for part, k in parts]
        self._labels = None if dataset.labels is None else backend.asarray(dataset.labels)
        self._epoch, self._order = None, None
        self.step, self._due = 0, None

    def __len__(self):
        """How many batches make an epoch."""
        if self._members is None:
            return len(self._parts[0][0]) // self.size
        return sum(n // self.group for n in self._members) * self.group // self.size

    def __getitem__(self, step: int):
        return self.at(step)

    # Steps go on without end, so a `for` over the batches would never come back.
    __iter__ = None

    def at(self, step: int):
        """The batch of `step` = 0, 1, 2 …: images as float32 (size, h, w, c) in [−1, 1], other rows
        as they are, all on the device.
        """
        return self._drawn(*self._of(step))

    def next(self):
        """The batch of the step that is due, and one step on; for use in a captured step."""
        self.backend.host(self._advance)
        return self._drawn(*self._due)

    def _drawn(self, index, luck):
        rows = []
        for part, k in self._parts:
            row = index if k == 1 else index * k + luck % k
            images = _are_images(part)
            rows.append(self.backend.to_unit(part, row) if images else part.take(row, axis=0))
        return rows[0] if self._alone else tuple(rows)

    def indices(self):
        """Which images `next()` drew last, int64 (size,): rows of any table beside the images.

        In a captured step too. ValueError if nothing has been drawn.
        """
        return self._drawn_last("indices")

    def labels(self):
        """The labels of the images that `next()` drew last, int64 (size,); in a captured step too.

        ValueError if there are none, or nothing has been drawn.
        """
        index = self._drawn_last("labels")
        return self._labelled("labels").take(index)

    def _drawn_last(self, what):
        if self._due is None:
            raise ValueError(f"{what}: no images have been drawn: call next() first")
        return self._due[0]

    def _advance(self):
        due = self._of(self.step)
        if self._due is None:
            self._due = [array.copy() for array in due]
        for kept, array in zip(self._due, due, strict=True):
            kept[...] = array  # always the same memory: a replayed step reads it there
        self.step += 1

    def indices_at(self, step: int):
        """Which images are those of `step`, int64 (size,)."""
        return self._of(step)[0]

    def labels_at(self, step: int):
        """The labels of the images of `step`, int64 (size,). ValueError if there are none."""
        return self._labelled("labels_at").take(self.indices_at(step))

    def _labelled(self, what):
        if self._labels is None:
            raise ValueError(f"{what}: these images have no labels")
        return self._labels

    def _of(self, step: int):
        """The images of `step`, and a large number for each by which it chooses; on the device."""
        if step < 0:
            raise ValueError(f"batch of step {step}: steps count from 0")
        epoch, batch = divmod(step, len(self))
        if epoch != self._epoch:  # kept for speed alone: it could be drawn anew at any time
            # NumPy ignores a seed's trailing zeros: [seed, 0] would be the plain seed's stream.
            generator = cpu.generator([self.seed, 1 + epoch])
            order = self._shuffled(generator)
            luck = generator.integers(0, 2**31, len(order))
            self._epoch, self._order = epoch, [self.backend.asarray(x) for x in (order, luck)]
        return [x[batch * self.size : (batch + 1) * self.size][self._mine] for x in self._order]

    def _shuffled(self, generator):
        """All images in random order; or all groups, of random members."""
        order = generator.permutation(len(self._parts[0][0]))
        if self._members is None:
            return order
        by_class = order[np.argsort(self._classes[order], kind="stable")]
        classes = np.split(by_class, np.cumsum(self._members)[:-1])
        whole = [members[: len(members) // self.group * self.group] for members in classes]
        groups = np.concatenate(whole).reshape(-1, self.group)
        return groups[generator.permutation(len(groups))].reshape(-1)


def _rows(part) -> tuple[np.ndarray, int]:
    """What travels with images, and of how many rows one is chosen for each of them.

    The images of a data set, or an array with a row for each image; or with k for each, in turn.
    """
    if isinstance(part, OneOf):
        rows = np.asarray(part.rows)
        if rows.ndim < 2 or not rows.shape[1]:
            raise DataError(f"OneOf {rows.shape}: wanted (n, k, …), k rows for each image")
        return _rows(rows.reshape(-1, *rows.shape[2:]))[0], rows.shape[1]
    rows = part.images if isinstance(part, Dataset) else np.asarray(part)
    if rows.ndim < 1 or rows.dtype.kind not in "fiub":
        raise DataError(f"{rows.dtype} {rows.shape} beside images: wanted numbers, a row for each")
    return rows, 1


def _members(dataset, group, size) -> np.ndarray:
    """How many images each class has. ValueError unless they make groups, and these a batch."""
    if group < 1 or world().share(size) % group:
        shared = "" if world().size == 1 else f", shared by {world().size} ranks"
        raise ValueError(f"group {group}: wanted a divisor of the batch size {size}{shared}")
    if dataset.labels is None:
        raise ValueError(f"group {group}: these images have no labels: wanted a Dataset with them")
    members = np.bincount(dataset.labels, minlength=len(dataset.classes))
    grouped = int((members // group).sum()) * group
    if grouped < size:
        raise ValueError(
            f"group {group}: {grouped} images have {group - 1} more of their class beside them, "
            f"wanted at least a batch of {size}"
        )
    return members


def _are_images(array) -> bool:
    return array.dtype == "uint8" and array.ndim == 4
