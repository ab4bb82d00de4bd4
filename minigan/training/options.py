"""The options of the examples: those that several have, each once, and how a run goes on with them.

    p = options.parser("A GAN on digits.", steps=1200, out="runs/gan", resumable=True)
    options.images(p, batch=64, latent=64, every=100)
    args = options.parse(p, argv)

A user's mistake ends in one line and exit status 2, and a resumed run takes its options from its
checkpoint.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import math
import os
import re
import sys
from pathlib import Path

import numpy as np

from minigan import data
from minigan.backend import Backend, cpu, get_backend
from minigan.system import launcher, world
from minigan.training import checkpoint
from minigan.training.checkpoint import CheckpointError

# A resumed run may go on for longer, elsewhere, with other rates, or find its data elsewhere; the
# rest of its options made it what it is.
_FREE_ON_RESUME = (
    *("steps", "epochs", "out", "resume", "data", "pairs"),
    *("device", "precision", "ranks", "lr", "lr_g", "lr_d"),
)


class OptionError(ValueError):
    """Options that are each possible but do not go together, or do not fit the data."""


def check_ranks(what: str, facts: dict):
    """OptionError unless all ranks have the same facts, by name."""
    seen = world().gather(facts)
    for rank, other in enumerate(seen):
        for key in facts:
            if other.get(key) != seen[0].get(key):
                got = f"rank {rank} has {key} {other.get(key)}, rank 0 {seen[0].get(key)}"
                raise OptionError(f"ranks were started with different {what}: {got}")


@contextlib.contextmanager
def building():
    """`with building():` around what is built from the options: its ValueErrors are the user's."""
    try:
        yield
    except ValueError as error:
        if is_too_big(error):
            raise  # `run` says it better
        raise OptionError(str(error)) from error


def is_too_big(error) -> bool:
    """Whether an array was wanted that no memory holds. Of the largest, only the words say so."""
    words = "array is too big|Maximum allowed|too large to convert|greater than maximum"
    return isinstance(error, MemoryError) or re.search(words, str(error)) is not None


# --- The types of arguments ----------------------------------------------------------------------


def whole(low):
    """An argument type: an integer that is at least `low`."""
    return _number(int, lambda n: n >= low, f"an integer >= {low}")


def above(low):
    """An argument type: a finite number greater than `low`."""
    return _number(float, lambda x: low < x < math.inf, f"a number > {low}")


def at_least(low):
    """An argument type: a finite number that is at least `low`."""
    return _number(float, lambda x: low <= x < math.inf, f"a number >= {low}")


def finite():
    """An argument type: a number that is not infinite or NaN."""
    return _number(float, math.isfinite, "a finite number")


def _number(kind, fits, wanted):
    def convert(text):
        try:
            value = kind(text)
        except ValueError:
            value = None
        if value is None or not fits(value):
            raise argparse.ArgumentTypeError(f"got {text!r}, expected {wanted}")
        return value

    return convert


# --- The parser ----------------------------------------------------------------------------------


def parser(
    description,
    *,
    out,
    steps=None,
    epochs=False,
    resumable=False,
    parallel=False,
    quick=None,
    paper=None,
    after=(),
) -> argparse.ArgumentParser:
    """A parser with the options that every example has; `steps` and `out` are their defaults.

    steps: None for an example that trains nothing: it has --out alone.
    epochs: also offer --epochs. resumable: also offer --resume.
    parallel: also offer --ranks; what learns from images does anyway.
    after: names of options that only what comes after the training heeds, so that a resumed run may
    have others.
    quick: also offer --quick, which sets other defaults: {"steps": 600, "batch": 32}. A function
    as a default makes something of the option's value: {"steps": lambda n: max(1, n // 8)}.
    paper: also offer --paper, which sets other defaults likewise; those of --quick come after.
    """
    p = argparse.ArgumentParser(
        description=description, formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    p.parallel = False
    p.presets = {"paper": paper or {}, "quick": quick or {}}
    p.free = (*_FREE_ON_RESUME, *after)
    p.heeded = []
    p.add_argument("--out", type=Path, default=Path(out), help="the folder to write to")
    if steps is None:
        return p
    p.add_argument("--device", default="cpu", help="cpu, or cuda: one NVIDIA GPU, with CuPy")
    p.add_argument(
        "--precision",
        default="float32",
        choices=("float32", "tf32"),
        help="of matrix products; tf32 rounds their inputs to 10 bits and is faster (cuda only)",
    )
    p.add_argument("--seed", type=whole(0), default=0, help="one seed gives one run")
    p.ranks = p.add_argument("--ranks", type=whole(1), help=argparse.SUPPRESS)
    if parallel:
        offer_ranks(p)
    length = p.add_mutually_exclusive_group()
    length.add_argument("--steps", type=whole(1), default=steps, help="training steps")
    if epochs:
        length.add_argument("--epochs", type=whole(1), help="passes over the data, not --steps")
    if quick:
        p.add_argument("--quick", action="store_true", help="a short and small run, for a look")
    if paper:
        p.add_argument("--paper", action="store_true", help="the paper's sizes and settings")
    if resumable:
        p.add_argument(
            "--resume",
            nargs="?",
            type=Path,
            const=Path(),
            metavar="CHECKPOINT",
            help=f"go on from this file or folder; by default from {checkpoint.NAME} under --out; "
            "with more steps, what falls over a run goes on as in a run of that length",
        )
    return p


def offer_ranks(p: argparse.ArgumentParser):
    """Lets the example run as several ranks: its steps take this rank's rows of each batch."""
    p.parallel = True
    p.ranks.help = "processes that share each batch, as mpiexec -n RANKS would start them"


def heeded(p: argparse.ArgumentParser, when, fits, *names):
    """Makes it an error to give some options where they would say nothing.

    when: in words, "with --pairs FOLDER". fits: whether it is so, a function of the options.
    """
    p.heeded += [(name, when, fits) for name in names]


def heeded_with(p: argparse.ArgumentParser, choice, **names):
    """The same for options that only one value of another one heeds: loss, ebgan=("margin",)."""
    for value, those in names.items():
        fits = functools.partial(lambda value, args: getattr(args, choice) == value, value)
        heeded(p, f"with --{choice} {value}", fits, *those)


# What several examples ask for: the type, and what it is.
SHARED = {
    "batch": (whole(2), "samples in a batch"),
    "width": (whole(1), "channels next to the image"),
    "hidden": (whole(0), "fully connected units; 0: none"),
    "latent": (whole(1), "dimensions of the noise z"),
    "lr": (above(0), "learning rate of G and of D"),
    "lr_g": (above(0), "G's learning rate"),
    "lr_d": (above(0), "D's learning rate"),
    "critic_steps": (whole(1), "of D per step of G"),
    "samples": (whole(1), "images in the sample grids"),
    "every": (whole(1), "steps between sample grids"),
}


def shared(p: argparse.ArgumentParser, **defaults):
    """Adds some of the options in SHARED, each with its default: shared(p, batch=64, lr=1e-3)."""
    for name, default in defaults.items():
        kind, words = SHARED[name]
        p.add_argument("--" + name.replace("_", "-"), type=kind, default=default, help=words)


def images(
    p: argparse.ArgumentParser, *, split=False, data=None, size=28, framed=False, **defaults
):
    """Adds --data and, unless the images must have a test split, --size; and some of SHARED.

    data: what is meant by default, None being MNIST. framed: digits, too, get a --size, in a frame.
    """
    words = "mnist, fashion-mnist, digits or faces (both drawn), or "
    words += "the folder of one" if split else "a folder"
    p.add_argument("--data", default=data, help=words + ("" if data else "; by default MNIST"))
    if not split:
        words = "pixels, for faces and for a folder of images"
        p.add_argument("--size", type=whole(8), default=size, help=words)
        if not framed:
            drawn = "with --data faces or --data FOLDER, as digits have theirs"
            heeded(p, drawn, lambda args: args.data not in (None, *DIGITS), "size")
    shared(p, **defaults)
    if "batch" in defaults:
        offer_ranks(p)


DIGITS = tuple(name for name in data.NAMES if name != "faces")  # which have a size of their own


def translation(p: argparse.ArgumentParser, *, paired=False, **defaults):
    """Adds what goes from images to images: the user's own, --size and --apply; some of SHARED.

    paired: --pairs FOLDER with --source, for images that belong together side by side; otherwise
    --data A B, two folders of images that do not, and --backward, by which --apply maps from B to A
    (no part of the run: take it out of the options).
    """
    own, given = ("pairs", "--pairs FOLDER") if paired else ("data", "--data A B")
    heeded(p, f"without {given}", lambda args: getattr(args, own) is None, "images", "pair")
    heeded(p, f"with {given}", lambda args: getattr(args, own) is not None, "size", "source")
    if paired:
        p.add_argument("--pairs", metavar="FOLDER", help="of images with a pair side by side each")
        p.add_argument(
            "--source", choices=data.SIDES, default="left", help="which half is what G is shown"
        )
    else:
        p.add_argument("--data", nargs=2, metavar=("A", "B"), help="two folders of images")
        heeded(p, "with --apply FOLDER", lambda args: args.apply is not None, "backward")
        p.add_argument("--backward", action="store_true", help="--apply maps from B to A")
    size = "pixels, the side to which images in folders are resized"
    p.add_argument("--size", type=whole(8), default=32, help=size)
    applied(p)
    shared(p, **defaults)
    offer_ranks(p)


def applied(p: argparse.ArgumentParser, verb="map"):
    """Adds --apply, of which `to_apply` gives the folder: what G does to the images in it."""
    words = f"in the end, {verb} the images in it: into OUT/applied"
    p.add_argument("--apply", metavar="FOLDER", help=words)


# --- What was asked for --------------------------------------------------------------------------


def parse(p: argparse.ArgumentParser, argv=None) -> argparse.Namespace:
    """The options; of a resumed run, those of its checkpoint where none are given.

    `args.resume` is then the checkpoint's path, and `args.out` its folder unless given; in a run
    from the start, `args.resume` is None. CheckpointError if an option contradicts the
    checkpoint, unless it is one of _FREE_ON_RESUME or comes after the training. OptionError for an
    option that is not `heeded`.
    """
    args = p.parse_args(argv)
    _start_ranks(p, getattr(args, "ranks", None))
    resumed = getattr(args, "resume", None) is not None
    given = _given(p, argv)
    args = _resumed(p, args, given) if resumed else _with_presets(p, args, argv)
    for name, when, fits in p.heeded:
        if name in given and not fits(args):
            raise OptionError(f"--{name} is heeded only {when}: leave it out, or see to that")
    check_ranks("options", saved(args))
    return args


def _start_ranks(p: argparse.ArgumentParser, ranks: int | None):
    """With --ranks, leaves the rest to as many processes; unless this is one of them already."""
    size = world().size
    wanted = size if ranks is None else ranks
    if max(size, wanted) > 1 and not p.parallel:
        raise OptionError(f"{max(size, wanted)} ranks: this example runs as one process")
    if size == 1 < wanted:
        sys.exit(launcher.start(wanted))
    if size != wanted:
        raise OptionError(f"--ranks {ranks}: {size} were started: leave the option out")


def _with_presets(p: argparse.ArgumentParser, args, argv) -> argparse.Namespace:
    """The options of a run from the start, with what --paper and --quick make of them."""
    chosen = [preset for name, preset in p.presets.items() if getattr(args, name, False)]
    for preset in chosen:
        p.set_defaults(**{key: value for key, value in preset.items() if not callable(value)})
    args = p.parse_args(argv)
    for preset in chosen:
        for key, change in preset.items():
            if callable(change):
                setattr(args, key, change(getattr(args, key)))
    return args


def _resumed(p: argparse.ArgumentParser, args, given: dict) -> argparse.Namespace:
    path = args.out / checkpoint.NAME if args.resume == Path() else args.resume
    path = checkpoint.within(path)
    options = checkpoint.peek(path).get("options", {})
    for key, value in given.items():
        if key not in p.free and key in options and value != options[key]:
            made, asked = _in_words(key, options[key]), _in_words(key, value)
            raise CheckpointError(
                f"{path} was made {made}, which a run {asked} does not continue: "
                "leave the option out, or start a new run without --resume"
            )
    for action in p._actions:
        value = options.get(action.dest)
        if action.choices and value is not None and value not in action.choices:
            made = _in_words(action.dest, value)
            raise CheckpointError(
                f"{path} was made {made}, which is none of {', '.join(action.choices)}: "
                "it is another script's"
            )
    for key in ("data", "pairs"):
        for folder in _folders(options, key):
            if key not in given and os.path.isabs(folder) and not os.path.isdir(folder):
                raise CheckpointError(
                    f"{path} was trained on images in {folder}, and there is no such folder any "
                    f"more: name the one they are in now by --{key}"
                )
    if "steps" in given:
        options.pop("epochs", None)
    given = given | {"out": given.get("out", path.parent), "resume": path}
    return argparse.Namespace(**vars(args) | options | given)


def _folders(options: dict, key) -> list[str]:
    """The folders that an option names: none, one, or two."""
    value = options.get(key) or []
    return [value] if isinstance(value, str) else value


def make_absolute(options: dict):
    """Changes the paths of data in `saved` options, so that they are found from elsewhere too."""
    for key in ("data", "pairs"):
        value = options.get(key)
        if value and value not in data.NAMES:
            found = [os.path.abspath(data.expand(folder)) for folder in _folders(options, key)]
            options[key] = found[0] if isinstance(value, str) else found


def _in_words(key, value) -> str:
    """An option as somebody has given it or, if it is off, has not."""
    option = "--" + key.replace("_", "-")
    if value is None or value is False:
        return f"without {option}"
    return f"with {option}" if value is True else f"with {option} {value}"


def _given(p: argparse.ArgumentParser, argv) -> dict:
    """The options that stand on the command line, without the defaults of the others."""
    unset = argparse.Namespace()
    vars(unset).update(dict.fromkeys(vars(p.parse_args([]))))
    return {key: x for key, x in vars(p.parse_args(argv, unset)).items() if x is not None}


def saved(args: argparse.Namespace) -> dict:
    """The options as JSON values, to be put into a checkpoint for `parse`."""
    return {
        key: str(value) if isinstance(value, Path) else value
        for key, value in vars(args).items()
        if key not in ("out", "resume", "ranks")
    }


def share(args: argparse.Namespace) -> int:
    """How many samples of a batch each rank takes. OptionError if they can't be shared out."""
    with building():
        return world().share(args.batch)


def device(args: argparse.Namespace) -> Backend:
    """The device that was asked for, with its precision. DeviceError or OptionError if it can't."""
    backend = get_backend(args.device)
    if args.precision != "float32" and backend is cpu:
        raise OptionError(f"--precision {args.precision}: only --device cuda has it")
    backend.precision = args.precision
    return backend


def length(args: argparse.Namespace, batches=None, moves=1) -> int:
    """The steps of the whole run: --epochs passes over the batches, `moves` a step, or --steps."""
    epochs = getattr(args, "epochs", None)
    return max(1, epochs * len(batches) // moves) if epochs else args.steps


# --- The data that --data means ------------------------------------------------------------------


def dataset(args: argparse.Namespace, *, few=2000) -> data.Dataset:
    """The images to train on; a notice is printed if there is one.

    few: how many drawn digits --quick without --data means.
    """
    if getattr(args, "quick", False) and args.data is None:
        return data.drawn_digits(few, 0)
    found, notice = data.choose(args.data, size=args.size)
    if notice:
        print(notice)
    return found


def train_and_test(args: argparse.Namespace, *, few=(6000, 1000)) -> tuple:
    """The training images and the test images, of one and the same set; otherwise as `dataset`.

    DataError if --data has no test split.
    """
    if getattr(args, "quick", False) and args.data is None:
        return data.drawn_digits(few[0], 0), data.drawn_digits(few[1], 1)
    size = getattr(args, "size", 28)
    test, notice = data.choose(args.data, split="test", size=size)
    train, other = data.choose("digits" if notice else args.data, size=size)
    if other:  # there are test images, but none to train on
        test, notice = data.choose("digits", split="test")[0], other
    if notice:
        print(notice)
    return train, test


def train_and_held_out(args: argparse.Namespace) -> tuple:
    """As `train_and_test`; of a folder of images, which has no test split, every tenth is held out.

    DataError for a folder of fewer than twenty.
    """
    try:
        return train_and_test(args)
    except data.DataError:
        whole = dataset(args)  # if there is none at all, it says so
    if len(whole) < 20:
        raise data.DataError(f"{whole.name}: {len(whole)} images, wanted at least 20")
    held, y = np.arange(len(whole)) % 10 == 9, whole.labels
    parts = [(whole.images[k], None if y is None else y[k]) for k in (~held, held)]
    return tuple(data.Dataset(whole.name, *part, whole.classes) for part in parts)


def domains(args: argparse.Namespace) -> tuple[data.Dataset, data.Dataset] | None:
    """The sources and the targets that --pairs or --data mean; None if neither is given.

    DataError if they cannot be had.
    """
    if getattr(args, "pairs", None) is not None:
        return data.load_pairs(data.expand(args.pairs), args.size, source=args.source)
    if getattr(args, "data", None) is not None:
        first, second = (data.load_folder(data.expand(path), args.size) for path in args.data)
        return first, second
    return None


def to_apply(args: argparse.Namespace) -> Path | None:
    """The folder that --apply names, looked at before the run; and taken out of the options, as it
    is no part of the run and its checkpoint. None if there is none.

    DataError if there is no such folder, no image in it, or two would become one.
    """
    folder = vars(args).pop("apply")
    if folder is not None:
        folder = data.expand(folder)
        data.files_to_map(folder)
    return folder
