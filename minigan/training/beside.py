"""A failure beside the same run mended: what the scripts of examples/failures share.

    FAILURES = {
        "saturation": Failure("gradient has vanished",
                              "minimax loss against a sure D", partial(play, loss="minimax"),
                              "the non-saturating loss", play),
    }
    args = options.parse(beside.parser("…", FAILURES, steps=800, out="runs/failures"), argv)
    return compare(args, FAILURES)

`play(args)` makes a run, in view, under a watch, and returns an Outcome.
"""

from __future__ import annotations

import argparse
import textwrap
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from minigan import plots
from minigan.training import options


class Outcome(NamedTuple):
    """What came of one run: its curve, that is what it is of, steps (n,) and values (n,); its
    numbers in a line, what its watch said, a function that draws it on a panel, and its exit status
    if it was interrupted."""

    curve: tuple[str, np.ndarray, np.ndarray]
    line: str
    said: list[str]
    draw: Callable
    status: int = 0


class Failure(NamedTuple):
    """The words by which a run tells the failure, and how it is provoked and mended: in words, and
    as a function from the options to an Outcome."""

    words: str
    provoked: str
    sick: Callable
    mended: str
    well: Callable


def parser(description, failures: dict, *, steps, out) -> argparse.ArgumentParser:
    """The options that such a script has; without a name it shows the first failure."""
    p = options.parser(description, steps=steps, out=out)
    first, *_ = failures
    p.add_argument("name", nargs="?", choices=failures, default=first, help="the failure")
    p.add_argument("--all", action="store_true", help="every failure, and a table")
    p.add_argument("--list", action="store_true", help="say what there is, and run nothing")
    return p


def compare(args: argparse.Namespace, failures: dict) -> int:
    """Runs what the options ask for, says what came of it, and draws it; the exit status."""
    if args.list:
        for name, failure in failures.items():
            print(f"{name}: {failure.provoked}; mended: {failure.mended}")
        return 0
    rows = {}
    for name in failures if args.all else [args.name]:
        failure, pair = failures[name], []
        for words, run in ((failure.provoked, failure.sick), (failure.mended, failure.well)):
            outcome = run(args)
            if outcome.status > 1:
                return outcome.status
            print(f"{name}, {words}: {outcome.line}")
            print(*(outcome.said or ["(nothing to say)"]), sep="\n")
            pair.append(outcome)
        rows[name] = pair
    if args.all:
        print(table(failures, rows))
    file = args.out / ("failures.png" if args.all else f"{args.name}.png")
    print(f"picture: {plots.save_figure(figure(failures, rows), file)}")
    return 0


def noticed(failure: Failure, outcome: Outcome) -> str:
    """The line by which a run has told this failure; empty if it has not."""
    return next((line for line in outcome.said if failure.words in line), "")


def table(failures: dict, rows: dict) -> str:
    """A line for each failure: when it was noticed, if the mended run was silent, the numbers."""
    lines = [("failure", "noticed", "mended", "numbers", "mended")]
    for name, (sick, well) in rows.items():
        step = noticed(failures[name], sick).split(":")[0] or "NOT noticed"
        silent = f"says {len(well.said)}" if well.said else "silent"
        lines.append((name, step, silent, sick.line, well.line))
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    padded = (map(str.ljust, line, widths) for line in lines)
    return "\n".join("  ".join(cells).rstrip() for cells in padded)


def figure(failures: dict, rows: dict):
    """For each failure the two curves and the two pictures, with what each run said below it."""
    size = (10, 3.4 * len(rows))
    with plots.panels(len(rows), 3, size=size, squeeze=False) as (drawing, panels):
        for (name, pair), (left, *places) in zip(rows.items(), panels, strict=True):
            failure = failures[name]
            titles = failure.provoked, failure.mended
            kinds = ("provoked", plots.ORANGE), ("mended", plots.P_G)
            for outcome, panel, title, kind in zip(pair, places, titles, kinds, strict=True):
                what, *curve = outcome.curve
                plots.draw_curve(left, *curve, *kind)
                outcome.draw(panel)
                panel.set_title(textwrap.fill(f"{kind[0]}: {title}", 40), size=9)
                said = noticed(failure, outcome) or "says: nothing of it"
                panel.set_xlabel(textwrap.fill(said, 48), loc="left", ma="left", size=8)
            left.set_title(name, weight="bold")
            left.set(xlabel="step", ylabel=what)
            left.legend()
    return drawing
