"""A classifier as the ruler: what it sees in images, and how far they are from real ones.

Distances between a classifier's features mean more than distances between pixels. So one is
trained on the data first, and then shown samples and, as the zero, real images that it has not
been trained on:

    C = image_classifier(rng=rng, dropout=dropout)
    C = train_classifier(C, train, shifts, seed=0, steps=1872)
    known, real, fake = (look(C, images) for images in (train.images, test.images, samples))
    fake.scores(known), real.first(len(samples)).scores(known)

What comes out depends on this classifier and on the number of images: compare like with like.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from minigan.backend import Generator
from minigan.data import Batches, DataError, Dataset, shifted, to_unit
from minigan.engine import Tensor, no_grad
from minigan.engine import functional as F
from minigan.evaluation.metrics import (
    PrecisionRecall,
    class_shares,
    frechet_distance,
    precision_recall,
)
from minigan.evaluation.neighbours import nearest
from minigan.gan import losses
from minigan.nn import Module
from minigan.optim import EMA, Adam, cosine
from minigan.system import terminal

CHUNK = 500  # images that go through the classifier at once


# --- Making it -----------------------------------------------------------------------------------


def train_classifier(
    C: Module,
    dataset: Dataset,
    shifts: Generator,
    *,
    seed: int,
    steps: int,
    batch=128,
    rate=5e-3,
    augment=None,
    progress=True,
) -> Module:
    """Cross-entropy on images that are moved a little; returns the average of recent weights, in
    evaluation mode.

    C         from images to logits; on the device of `shifts`, which draws how images are moved
    seed      of the order of the images; see `Batches`
    rate      falls to 0 along a cosine
    augment   how images are changed before C sees them, a function (images, shifts) -> images;
              by default `shifted`. `warped` teaches C what to expect of images from elsewhere
    progress  whether to show a bar

    DataError for images without labels.
    """
    if dataset.labels is None:
        raise DataError(f"{dataset.name}: these images have no labels for a classifier to learn")
    backend, changed = shifts.backend, augment or shifted
    batches = Batches((dataset, dataset.labels), batch, seed, backend)
    optimizer = Adam(C, cosine(rate, steps))
    average, log = EMA(C, 0.995), backend.log(1)

    def step():
        images, labels = batches.next()
        loss = losses.softmax_cross_entropy(C(changed(Tensor(images), shifts)), labels)
        optimizer.descend(loss)
        average.update()
        log.append([loss.data])

    step = backend.capture(step)  # on a GPU: recorded once, then replayed without Python
    with terminal.bar(total=steps, unit="step", disable=not progress) as bar:
        for done in range(1, steps + 1):
            step()
            bar.update()
            if done % 50 == 0:
                text = f"classifier, cross-entropy {log.drain().mean():.3f}"
                bar.set_postfix_str(text, refresh=False)
    return average.network


# --- What it sees --------------------------------------------------------------------------------


class Seen(NamedTuple):
    """Images and what a classifier sees in them, on the host."""

    images: np.ndarray  # uint8 (n, h, w, c)
    features: np.ndarray  # float32 (n, hidden)
    probabilities: np.ndarray  # float32 (n, classes)
    labels: np.ndarray | None = None  # int64 (n,): their classes, or those G was asked for

    def first(self, count) -> Seen:
        """The first `count` of them: distances are compared for equally many images."""
        return Seen(*(array if array is None else array[:count] for array in self))

    @property
    def classes(self) -> np.ndarray:
        """The class that the classifier decides for, int64 (n,)."""
        return self.probabilities.argmax(axis=1)

    def shares(self) -> np.ndarray:
        """The share of the images that it puts into each class, (classes,)."""
        return class_shares(self.classes, self.probabilities.shape[1])

    def confidence(self) -> float:
        """The mean probability of the class that it decides for."""
        return float(self.probabilities.max(axis=1).mean())

    def accuracy(self) -> float:
        """The share of the images in which it sees the class of their label.

        How good it is, on real images; how well a conditional generator does as it is told, on
        samples.
        """
        return float((self.classes == self.labels).mean())

    def accuracies(self) -> np.ndarray:
        """The same for the images of each label, (classes,); NaN for a class that has none."""
        count = self.probabilities.shape[1]
        right = np.bincount(self.labels[self.classes == self.labels], minlength=count)
        asked = np.bincount(self.labels, minlength=count)
        return np.where(asked > 0, right / np.maximum(asked, 1), np.nan)

    def frechet(self, known: Seen) -> float:
        """The (squared) Fréchet distance to known images, in features of the classifier."""
        return frechet_distance(self.features, known.features)

    def precision_recall(self, known: Seen, most=5000) -> PrecisionRecall:
        """Against as many known images, at most 5,000: the time grows with the square."""
        n = min(most, len(self.images))
        return precision_recall(known.features[:n], self.features[:n])

    def neighbour(self, known: Seen, most=1000) -> float:
        """The median distance of 1,000 images to the nearest known one, pixels from 0 to 1."""
        return float(np.median(nearest(self.images[:most], known.images)[0])) / 255

    def scores(self, known: Seen) -> dict:
        """All of these by name, as JSON values; known: the training images."""
        found = {
            "count": len(self.images),
            "shares": self.shares().tolist(),
            "confidence": self.confidence(),
            "frechet": self.frechet(known),
            "precision_recall": list(self.precision_recall(known)),
            "neighbour": self.neighbour(known),
        }
        if self.labels is not None:
            each = [None if np.isnan(share) else float(share) for share in self.accuracies()]
            found |= {"accuracy": self.accuracy(), "accuracies": each}
        return found


def look(C: Module, images: np.ndarray, labels=None) -> Seen:
    """Shows images, uint8 (n, h, w, c), to the classifier, on its device.

    labels: (n,), the class of each image, or the one that a generator was asked for.
    ValueError for a classifier in training, for no images, and if there are not as many labels.
    """
    if C.training:
        raise ValueError("look: the classifier is in training: call eval() first")
    if not len(images):
        raise ValueError("look: no images: wanted at least one")
    if labels is not None and len(labels) != len(images):
        raise ValueError(f"look: {len(labels)} labels of {len(images)} images: wanted as many")
    backend = C.parameters()[0].backend
    features, probabilities = [], []
    with no_grad():
        for start in range(0, len(images), CHUNK):
            part = backend.asarray(images[start : start + CHUNK])
            seen = C[:-1](Tensor(to_unit(part)))
            features.append(seen.numpy())
            probabilities.append(F.softmax(C[-1](seen)).numpy())
    return Seen(images, np.concatenate(features), np.concatenate(probabilities), labels)
