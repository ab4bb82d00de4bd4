"""A classifier that is trained once, and kept in a folder for the next call."""

from __future__ import annotations

from pathlib import Path

from minigan.backend import Generator
from minigan.data import Dataset
from minigan.evaluation import train_classifier
from minigan.nn import Module
from minigan.training import checkpoint


def kept_classifier(path: Path, C: Module, dataset: Dataset, shifts: Generator, **how) -> Module:
    """C ready for use: as the file `path` keeps it if it was trained alike, or trained and kept.

    how: what `train_classifier` is told, but for its bar: JSON values. If the file is of another
    training, a line says so.
    """
    about = checkpoint.about_data(dataset) | how
    if path.exists():
        found = checkpoint.peek(path).get("about")
        if found and about | found == about:  # one without a digest is judged by the name alone
            checkpoint.load(path, {"classifier": C})
            return C.eval()
        print(f"{path} was trained otherwise ({found}): training a new one")
    C = train_classifier(C, dataset, shifts, **how)
    checkpoint.save(path, {"classifier": C}, about=about)
    return C
