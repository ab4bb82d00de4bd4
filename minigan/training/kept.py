"""A classifier that is trained once, and kept in a folder for the next call."""

from __future__ import annotations

from pathlib import Path

from minigan.backend import Backend
from minigan.data import Dataset
from minigan.evaluation import train_classifier
from minigan.models import image_classifier
from minigan.nn import Module
from minigan.training import checkpoint


def kept_classifier(path: Path, dataset: Dataset, backend: Backend, *, seed, **how) -> Module:
    """A classifier of such images, ready for use: the one in the file `path` if it was trained
    alike, or a new one, which is put there.

    how: what `train_classifier` is told beside the seed, JSON values. If the file is of another
    training, a line says so. DataError for images without labels.
    """
    weights, dropout, shifts = backend.generator(seed).spawn(3)
    _, size, _, channels = dataset.images.shape
    shape = {"size": size, "channels": channels, "classes": len(dataset.classes)}
    C = image_classifier(rng=weights, dropout=dropout, **shape)
    about = checkpoint.about_data(dataset) | {"seed": seed} | how
    if path.exists():
        found = checkpoint.peek(path).get("about")
        if found and about | found == about:  # one without a digest is judged by the name alone
            checkpoint.load(path, {"classifier": C})
            return C.eval()
        print(f"{path} was trained otherwise ({found}): training a new one")
    C = train_classifier(C, dataset, shifts, seed=seed, **how)
    checkpoint.save(path, {"classifier": C}, about=about)
    return C
