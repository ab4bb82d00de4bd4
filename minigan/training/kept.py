"""A classifier that is trained once, and kept in a folder for the next call."""

from __future__ import annotations

from pathlib import Path

from minigan.backend import Backend
from minigan.data import DataError, Dataset, shifted
from minigan.evaluation import train_classifier
from minigan.models import image_classifier
from minigan.nn import Module
from minigan.system import world
from minigan.training import checkpoint
from minigan.training.options import building

BATCH = 128  # images at once, or all, if they are fewer


def kept_classifier(
    path: Path, dataset: Dataset, backend: Backend, *, seed, width=16, augment=shifted, **how
) -> Module:
    """A classifier of such images, ready for use: the one in the file `path` if it was trained
    alike, or a new one, which is put there.

    width: of the network, see `image_classifier`. augment, how: what `train_classifier` is told
    beside the seed; JSON values, but for augment, of which the name is kept. Without "batch" it is
    BATCH. If the file is of another training, a line says so. DataError for images without labels,
    OptionError for a size that does not halve evenly.
    """
    if dataset.labels is None:
        raise DataError(f"{dataset.name}: no labels to train a classifier with")
    how = {"batch": min(BATCH, len(dataset))} | how
    weights, dropout, shifts = backend.generator(seed).spawn(3, shared=[1, 2])
    _, size, _, channels = dataset.images.shape
    shape = {"size": size, "channels": channels, "classes": len(dataset.classes)}
    with building():
        C = image_classifier(rng=weights, dropout=dropout, width=width, **shape)
    about = checkpoint.about_data(dataset) | {"seed": seed} | how
    about |= {"width": width, "augment": augment.__name__}
    if world().first(path.exists()):  # by now, another rank may have written it
        found = checkpoint.peek(path).get("about")
        if found and about | found == about:  # one without a digest is judged by the name alone
            checkpoint.load(path, {"classifier": C})
            return C.eval()
        print(f"{path} was trained otherwise ({found}): training a new one")
    with building():
        C = train_classifier(C, dataset, shifts, seed=seed, augment=augment, **how)
    checkpoint.save(path, {"classifier": C}, about=about)
    return C
