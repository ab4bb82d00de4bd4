"""Every example, once: how it runs in a blink, what it leaves, and what each of its options does.

An example that is in no row fails the suite (tests/examples/test_examples.py).
"""

import json
from types import MappingProxyType
from typing import NamedTuple

import numpy as np
from running import module

from minigan import plots


class Example(NamedTuple):
    """How an example is run, and what has to come of it. Its options are given as on a shell.

    IMAGES, OTHER, CLASSES, PAIRS, SAMPLES and USUAL become paths: two folders of images, one with a
    folder for each class, one of pairs, an array of digits, and the folder of the usual run.
    """

    small: str  # the options of a run of milliseconds
    writes: str  # the names of the files that it leaves
    options: dict  # what each of its options does: {option: Row}
    smaller: dict = MappingProxyType({})  # what has no option, made small: {name in it: value}
    # Options, and one of the small run's that does not go with them.
    instead: tuple = (("--epochs", "--steps"), ("--data digits", "--size"))
    ways: dict = MappingProxyType({})  # other ways through its code: {name: options}
    mistakes: tuple = ()  # (options, what the one line says), besides those that many have
    loses: str = ""  # options with which the weights are lost, and
    not_then: str = ""  # what it then doesn't write
    resumes: bool = False  # whether there is a checkpoint to go on from, and
    lengthens: bool = False  # whether a run that goes on for longer is the longer run


# --- What must be seen: functions of the value, the run with it, and the run without -------------


def differs(value, seen, usual):
    assert seen.status == 0 and seen.left != usual.left


def refused(words):
    def check(value, seen, usual):
        *_, line = seen.err.strip().splitlines()
        assert seen.status == 2 and "error: " in line and words in line

    return check


def elsewhere(value, seen, usual):
    assert seen.files.keys() == usual.files.keys() and seen.folder.match(value)


def steps(value, seen, usual):
    assert max(map(len, seen.rows)) == int(value)


def trained(value, seen, usual):
    """As `steps`, of a training that keeps no record."""
    assert max(optimizer.t for optimizer in seen.optimizers) == int(value)


def beside(value, seen, usual):
    """A row more in the picture, which is not drawn here, and nothing else."""
    assert seen.status == 0 and seen.files == usual.files


def epochs(value, seen, usual):
    """Of forty images, or of 500 digits, in batches of 8."""
    steps(int(value) * (62 if "digits" in seen.out else 5), seen, usual)


def quicker(value, seen, usual):
    parse = module("evaluate_mnist").parse
    usual, quick = parse([]), parse(["--quick"])
    assert all(getattr(quick, key) < getattr(usual, key) for key in ("steps", "count", "centres"))


def more_curves(value, seen, usual):
    assert int(seen.files["began.png"]) > int(usual.files["began.png"])


def another_curve(value, seen, usual):
    """In the picture, and nothing else: the run is the same."""
    assert int(seen.files.pop("progressive.png")) > int(usual.files["progressive.png"])
    assert seen.files.items() < usual.files.items() and seen.out == usual.out


def more_tails(value, seen, usual):
    """A curve more in one picture, and nothing else."""
    assert int(seen.files.pop("tails.png")) == int(usual.files["tails.png"]) + 1
    assert seen.files.items() < usual.files.items()


def saves(value, seen, usual):
    assert seen.saves == sorted({*range(int(value), 4, int(value)), 4})


def pictures(value, seen, usual):
    saves(value, seen, usual)
    found = [int(name[8:14]) for name in seen.files if name.startswith("samples_")]
    assert found == seen.saves


def images(value, seen, usual):
    grid = plots.sample_grid(np.zeros((int(value), 8, 8, 3)))
    assert seen.files["samples_000002.png"] == str(grid.shape)


def frames(value, seen, usual):
    assert seen.files["training.gif"] == str(int(value) + 1)


def captioned(value, seen, usual):
    """A picture beside the others, and nothing else: the run is the same."""
    assert seen.files.keys() - usual.files.keys() == {"caption.png"} and "by the rule: " in seen.out
    assert seen.rows[0].tobytes() == usual.rows[0].tobytes()


def found_again(value, seen, usual):
    """The checkpoint of the usual run, without a training: the same numbers."""
    first, *others = usual.out.splitlines()
    assert "2 steps on" in first and seen.out.splitlines() == others
    assert usual.files.keys() - seen.files.keys() == {"checkpoint.safetensors"}


def descended(value, seen, usual):
    """Known z, those of held-out images and of two ends, beside the training and the ruler's."""
    assert [optimizer.t for optimizer in seen.optimizers] == [2, 2, 2, *[int(value)] * 3]


def applied(value, seen, usual):
    """Each image of the folder, and nothing else: the run is the same."""
    made = {path.stem for path in (seen.folder / "applied").rglob("*.png")}
    assert made == {f"{i:02d}" for i in range(40)} and "40 images mapped" in seen.out
    assert seen.files.keys() - usual.files.keys() == {"applied"}
    assert seen.rows[0].tobytes() == usual.rows[0].tobytes()


def applied_backward(value, seen, usual):
    """As many images, and the run is the same; which G it is stands in the example's own test."""
    assert seen.out == usual.out and "40 images mapped" in seen.out
    assert seen.rows[0].tobytes() == usual.rows[0].tobytes()


def kept_elsewhere(value, seen, usual):
    """The classifiers that the usual run has kept are used, and the run is the same."""
    kept = {"f.safetensors", "ruler.safetensors"}
    assert usual.files.keys() - seen.files.keys() == kept and seen.out == usual.out
    assert seen.rows[0].tobytes() == usual.rows[0].tobytes() and len(seen.optimizers) == 2


def searched(value, seen, usual):
    """The search for z, beside the training of G and D, and of the ruler if there is one."""
    assert int(value) in [optimizer.t for optimizer in seen.optimizers]


def begun(value, seen, usual):
    """As many z, of three numbers, for each of four images: the best may be one of few."""
    sizes = [sum(p.size for p in optimizer.parameters) for optimizer in seen.optimizers]
    assert 4 * 3 * int(value) in sizes


def windows(value, seen, usual):
    assert json.loads(seen.files["parzen.json"])["samples"] == int(value)


def scored(value, seen, usual):
    assert json.loads(seen.files["scores.json"])["test images"]["count"] == int(value)


def centres(value, seen, usual):
    assert json.loads(seen.files["scores.json"])["parzen"]["k-means"]["count"] == int(value)


def table(value, seen, usual):
    """A row of numbers for each seed."""
    assert len(json.loads(seen.files["table.json"])) == int(value)


class Row(NamedTuple):
    """Values of an option, by spaces, and the words of one by commas; none if it is a flag.

    `on` is added to the small run.
    """

    values: str = ""
    seen: object = differs
    on: str = ""


TRAINING = {
    "--out": Row("elsewhere deep/er", elsewhere),
    "--device": Row("tpu cpu:1", refused("unknown device")),
    "--precision": Row("tf32", refused("only --device cuda")),
    "--seed": Row("1 2"),
    "--steps": Row("1 3", steps),
}
DCGAN = {
    "--batch": Row("4 16"),
    "--width": Row("2 6"),
    "--hidden": Row("0 6"),
    "--latent": Row("2 6"),
    "--lr-g": Row("1e-4 1e-2"),
    "--lr-d": Row("1e-4 1e-2"),
    "--data": Row("OTHER digits"),
    "--size": Row("12 16"),
    "--samples": Row("2 12", images),
    "--every": Row("1 3", pictures, "--steps 4"),
}
MODES = {
    "--data": Row("grid"),
    "--latent": Row("3 12"),
    "--width": Row("4 12"),
    "--batch": Row("8 32"),
    "--loss": Row("wasserstein hinge"),
    "--lr-g": Row("1e-4 1e-2"),
    "--lr-d": Row("1e-4 1e-2"),
    "--critic-steps": Row("2 3"),
    "--pack": Row("2 4"),
}
SEARCHED = "--steps 30 --every 30 --lr-g 0.01 --lr-d 0.01 --descent 40"  # of a G that heeds its z
WITH_RATES = "--lr-g 1e30 --lr-d 1e30"

RUNS = {
    "information_theory": Example(
        small="",
        writes="information_theory.png",
        options={"--out": Row("elsewhere deep/er", elsewhere)},
    ),
    "maximum_likelihood": Example(
        small="",
        smaller={"STEPS": 3},
        writes="maximum_likelihood.png",
        options={"--out": Row("deep/er", elsewhere)},
    ),
    "oscillation": Example(
        small="",
        smaller={"STEPS": 30},
        writes="oscillation.png",
        options={"--out": Row("deep/er", elsewhere)},
    ),
    "optimal_discriminator": Example(
        small="--steps 2 --batch 8",
        writes="D.png",
        options=TRAINING | {"--batch": Row("4 16"), "--lr": Row("1e-3 1e-2")},
    ),
    "gaussian_1d": Example(
        small="--steps 2 --batch 8 --frames 0",
        writes="result.png tails.json tails.png",
        options=TRAINING
        | {
            "--noise": Row("uniform"),
            "--beside": Row("USUAL", more_tails),
            "--mean": Row("0 -3"),
            "--std": Row("0.5 3"),
            "--batch": Row("4 16"),
            "--lr": Row("1e-4 1e-2"),
            "--k": Row("2 3"),
            "--raw": Row(),
            "--frames": Row("1 4", frames, "--steps 64"),
        },
        ways={"with a film": "--frames 2", "uniform": "--noise uniform"},
        mistakes=(
            ("--beside no/such/run", "want quantiles that a run has kept"),
            ("--mean 1e30", "float32"),
            ("--std 1e-30", "float32"),
            ("--std 1e30", "float32"),
        ),
        loses="--lr 1e30 --steps 300",
    ),
    "saturation": Example(
        small="--steps 2 --batch 8 --head-start 2",
        writes="saturation.png",
        options=TRAINING
        | {
            "--head-start": Row("0 5"),
            "--optimizer": Row("adam"),
            "--lr": Row("1e-3 0.1"),
            "--batch": Row("4 16"),
        },
        loses="--lr 1e30 --steps 20 --head-start 0",
    ),
    "game": Example(
        small="--steps 2 --batch 8 --width 4",
        smaller={"SEEN": 60},
        writes="saturation.png",
        options=TRAINING
        | {
            "name": Row("d-has-won z-too-small"),
            "--all": Row(),
            "--list": Row(),
            "--batch": Row("4 16"),
            "--width": Row("2 8"),
        },
        ways={"all": "--all"},
        mistakes=(("no-such-failure", "invalid choice"), ("--batch 1", ">= 2")),
    ),
    "networks": Example(
        small="--steps 2 --batch 8 --width 4",
        smaller={"SEEN": 60},
        writes="batch-norm-leak.png",
        options=TRAINING
        | {
            "name": Row("stale-graph wrong-smoothing"),
            "--all": Row(),
            "--list": Row(),
            "--batch": Row("4 16"),
            "--width": Row("2 8"),
        },
        ways={"all": "--all"},
        mistakes=(("no-such-failure", "invalid choice"),),
    ),
    "digits": Example(
        small="--steps 2 --batch 8 --hidden 4",
        smaller={"COUNT": 60},
        writes="k-stuck.png",
        options=TRAINING
        | {
            "name": Row("memorisation"),
            "--all": Row(),
            "--list": Row(),
            "--batch": Row("4 16"),
            "--hidden": Row("2 8"),
        },
        ways={"all": "--all"},
        mistakes=(("no-such-failure", "invalid choice"), ("memorisation --batch 51", "50")),
    ),
    "mode_collapse": Example(
        small="--steps 2 --batch 16 --width 8 --frames 1",
        smaller={"plots.modes.CELLS": 4},
        writes="checkpoint.safetensors result.png training.gif",
        resumes=True,
        options=TRAINING
        | MODES
        | {
            "--answers": Row("2 3"),
            "--frames": Row("2 4", frames, "--steps 4"),
            "--quick": Row(on="--steps 16"),
        },
        ways={
            "packed": "--pack 2",
            "max min": "--answers 2",
            "of a grid": "--loss wasserstein --data grid",
        },
        mistakes=(
            ("--pack 3", "--batch 16 can't be packed by --pack 3"),
            ("--lr-g -1", "expected a number > 0"),
            ("--resume", "no such checkpoint"),
        ),
        loses=f"{WITH_RATES} --frames 10 --steps 20",
        not_then="result.png",
    ),
    "remedies_table": Example(
        small="--only none --seeds 1 --steps 2 --batch 16 --width 8",
        writes="table.json table.png",
        options=TRAINING
        | MODES
        | {
            "--only": Row("R1 hinge"),
            "--seeds": Row("2 3", table),
            "--quick": Row(on="--steps 16"),
            "--minibatch-std": Row(),
            "--minibatch-discrimination": Row(),
            "--unroll": Row("1 2", on="--steps 6"),
            "--history": Row("8 16"),
            "--r1": Row("0.1 1"),
            "--r2": Row("0.1 1"),
            "--dragan": Row("0.1 1"),
            "--gradient-penalty": Row("0.1 1"),
            "--spectral-norm": Row(),
            "--instance-noise": Row("0.1 1"),
            "--label-smoothing": Row("0.1 0.3"),
            "--dropout": Row("0.1 0.5"),
            "--feature-matching": Row("0.1 1"),
            "--ema": Row("0.05 0.1"),
        },
        ways={
            "all at once": "--pack 2 --minibatch-std --minibatch-discrimination --history 32 "
            "--instance-noise 0.1 --dragan 0.1 --r1 0.1 --r2 0.1 --dropout 0.1 --unroll 2 "
            "--spectral-norm --ema 0.9 --label-smoothing 0.1",
        },
        mistakes=(
            ("--pack 3", "--batch 16 can't be packed by --pack 3"),
            ("--history 100", "--history 100: want an even --batch"),
            ("--unroll 1 --feature-matching 1", "each replaces G's step"),
            ("--label-smoothing 0.1 --loss hinge", "hinge loss has no labels"),
            ("--only hinge --label-smoothing 0.1", "the hinge loss has no labels"),
            ("--label-smoothing 1", "want less than 1"),
            ("--dropout 1", "want a probability below 1"),
            ("--ema 1", "decay is 1.0"),
            ("--dropout -1", "expected a number > 0"),
            ("--only prayer", "invalid choice"),
        ),
    ),
    "wgan": Example(
        small="--steps 2 --critic-steps 1",
        smaller={"DEEP_STEPS": 1},
        writes="wgan.png",
        options=TRAINING
        | {
            "--quick": Row(on="--steps 3"),
            "--critic-steps": Row("2 3"),
            "--two-sided": Row(),
            "--clip": Row("0.01 0.1"),
        },
        mistakes=(("--clip 0.01 --two-sided", "not allowed with"),),
    ),
    "dcgan_mnist": Example(
        small="--data IMAGES --steps 2 --size 8 --width 4 --hidden 8 --latent 3 --batch 8 "
        "--samples 4 --every 2",
        writes="checkpoint.safetensors losses.png samples_000002.png training.gif",
        resumes=True,
        lengthens=True,
        options=TRAINING
        | DCGAN
        | {
            "--epochs": Row("1 2", epochs),
            "--loss": Row("hinge minimax"),
            "--critic-steps": Row("2 3"),
            "--clip": Row("0.01 0.1"),
        },
        ways={
            "of Wasserstein": "--loss wasserstein --critic-steps 2",
            "clipped": "--loss wasserstein --critic-steps 2 --clip 0.01",
        },
        mistakes=(
            ("--loss perceptual", "invalid choice"),
            ("--batch 41", "batch size 41"),
            ("--size 9", "image size 9"),
        ),
        loses=f"{WITH_RATES} --steps 1000",
    ),
    "cgan": Example(
        small="--data CLASSES --steps 2 --size 8 --hidden 8 --latent 3 --batch 8 --every 2",
        writes="between.png checkpoint.safetensors losses.png samples_000002.png training.gif",
        resumes=True,
        options=TRAINING
        | {key: row for key, row in DCGAN.items() if key != "--samples"}
        | {
            "--data": Row("digits"),
            "--epochs": Row("1 2", epochs),
            "--discriminator": Row("joined auxiliary"),
            "--shuffle-labels": Row(),
            "--first": Row("10 20"),
            "--quick": Row(),
        },
        ways={
            "joined": "--discriminator joined",
            "auxiliary": "--discriminator auxiliary",
        },
        mistakes=(
            ("--discriminator oracle", "invalid choice"),
            ("--data IMAGES", "no labels"),
            ("--batch 41", "batch size 41"),
            ("--size 9", "image size 9"),
        ),
        loses=f"{WITH_RATES} --steps 1000",
        not_then="between.png",
    ),
    "biggan": Example(
        small="--data CLASSES --steps 2 --size 16 --width 2 --latent 12 --batch 8 --every 2 "
        "--ruler 2",
        smaller={"COUNTED": 8, "LIMITS": (1.0, 0.5), "STANDING": 1, "AT_ONCE": 8},
        writes="biggan.png checkpoint.safetensors classifier.safetensors curves.json "
        "samples_000002.png training.gif",
        resumes=True,
        options=TRAINING
        | {key: DCGAN[key] for key in ("--batch", "--lr-g", "--lr-d", "--every")}
        | {
            "--data": Row("digits", on="--size 32"),
            "--size": Row("32"),
            "--attention": Row("4 16", refused("the blocks' images have")),
            "--width": Row("3 4"),
            "--latent": Row("3 6"),
            "--without": Row(
                "spectral-g spectral-d projection conditional chunks attention orthogonal "
                "two-steps average noise",
                on="--steps 4 --beta 1 --lr-g 0.01 --lr-d 0.01",
            ),
            "--beta": Row("0 1", on="--lr-g 0.01 --steps 4"),
            "--ruler": Row("1 3"),
            "--quick": Row(on="--steps 16"),
        },
        ways={"without one": "--without two-steps"},
        mistakes=(
            ("--without luck", "invalid choice"),
            ("--data IMAGES", "no labels"),
            ("--latent 5", "latent 5: expected a multiple of 3"),
            ("--size 9", "image size 9"),
            ("--beta -1", "expected a number >= 0"),
            ("--batch 41", "batch size 41"),
        ),
        loses=f"{WITH_RATES} --steps 1000",
        not_then="biggan.png",
    ),
    "text_to_image": Example(
        small="--images 600 --steps 2 --width 4 --hidden 8 --latent 3 --batch 8 --every 2",
        smaller={"COUNTED": 400},
        writes="checkpoint.safetensors samples_000002.png text_to_image.png training.gif",
        resumes=True,
        options=TRAINING
        | {key: DCGAN[key] for key in ("--batch", "--width", "--latent", "--lr-g", "--lr-d")}
        | {
            "--hidden": Row("4 12"),
            "--images": Row("500 700"),
            "--scenes": Row("two"),
            "--encoder": Row("order id"),
            "--group": Row("1 2"),
            "--shuffle": Row(),
            "--interpolate": Row("0.5 1"),
            "--caption": Row("yellow magenta", captioned),
            "--every": Row("1 3", pictures, "--steps 4"),
            "--quick": Row(on="--steps 16"),
        },
        ways={"of two": "--scenes two", "blended": "--interpolate 1 --group 1 --encoder order"},
        mistakes=(
            ("--caption purple", "unknown words: purple; known are: a, at, big"),
            ("--caption red --encoder id", "--encoder id knows no words"),
            ("--group 3", "group 3: wanted a divisor of the batch size 8"),
            ("--batch 601", "batch size 601"),
            ("--scenes three", "invalid choice"),
            ("--interpolate 0", "expected a number > 0"),
        ),
        loses=f"{WITH_RATES} --steps 1000",
        not_then="text_to_image.png",
    ),
    "pix2pix": Example(
        small="--images 40 --steps 2 --width 4 --batch 4 --every 2",
        instead=(("--pairs", "--images"),),
        smaller={"COUNTED": 8},
        writes="checkpoint.safetensors pix2pix.png samples_000002.png training.gif",
        resumes=True,
        options=TRAINING
        | {key: DCGAN[key] for key in ("--width", "--lr-g", "--lr-d", "--every")}
        | {
            "--batch": Row("2 8"),
            "--images": Row("30 50"),
            "--pairs": Row("PAIRS"),
            "--source": Row("right", on="--pairs PAIRS --size 8"),
            "--size": Row("12 16", on="--pairs PAIRS"),
            "--apply": Row("IMAGES CLASSES", applied),
            "--l1": Row("0 1"),
            "--stages": Row("2 3"),
            "--no-gan": Row(),
            "--unconditional": Row(),
            "--no-skips": Row(),
            "--beside": Row("USUAL", beside),
            "--quick": Row(on="--steps 16"),
        },
        ways={"pairs": "--pairs PAIRS --size 8", "the error alone": "--no-gan"},
        mistakes=(
            ("--size 64", "--size is heeded only with --pairs FOLDER"),
            ("--source right", "--source is heeded only with --pairs FOLDER"),
            ("--pairs PAIRS --images 9", "--images is heeded only without --pairs FOLDER"),
            ("--pairs PAIRS --size 8 --stages 4", "--size 8: wanted 16 or more for --stages 4"),
            ("--pairs PAIRS --size 9", "image size 9: expected one that halves evenly"),
            ("--pairs IMAGES --size 8", "8 x 8 pixels, wanted a pair side by side"),
            ("--apply no/such/folder", "no such folder of images"),
            ("--source top", "invalid choice"),
            ("--no-gan --unconditional", "not allowed with"),
            ("--no-gan --l1 0", "nothing is left to learn from"),
            ("--l1 -1", "expected a number >= 0"),
            ("--batch 41", "batch size 41"),
            ("--beside no/such/run", "no such checkpoint"),
        ),
        loses=f"{WITH_RATES} --steps 1000",
        not_then="pix2pix.png",
    ),
    "cyclegan": Example(
        small="--images 40 --steps 2 --width 4 --batch 4 --every 2",
        instead=(("--data", "--images"),),
        smaller={"COUNTED": 20},
        writes="checkpoint.safetensors cyclegan.png samples_000002.png training.gif",
        resumes=True,
        options=TRAINING
        | {key: DCGAN[key] for key in ("--width", "--lr-g", "--lr-d", "--every")}
        | {
            "--batch": Row("2 8"),
            "--images": Row("30 50"),
            "--pair": Row("day"),
            "--data": Row("IMAGES,OTHER OTHER,IMAGES"),
            "--size": Row("16 24", on="--data IMAGES OTHER"),
            "--apply": Row("IMAGES CLASSES", applied),
            "--backward": Row(seen=applied_backward, on="--apply IMAGES"),
            "--cycle": Row("0 1"),
            "--identity": Row("1 5", on="--pair day"),
            "--generator": Row("unet residual"),
            "--buffer": Row("2 8", on="--steps 4"),
            "--quick": Row(on="--steps 16"),
        },
        ways={
            "day": "--pair day --identity 1",
            "two folders": "--data IMAGES OTHER --size 16 --generator residual --cycle 0",
        },
        mistakes=(
            ("--data IMAGES no/such/folder", "no such folder of images"),
            ("--data IMAGES OTHER --size 9", "--size 9: expected a multiple of 4"),
            ("--size 64", "--size is heeded only with --data A B"),
            ("--data IMAGES OTHER --pair day", "--pair is heeded only without --data A B"),
            ("--apply no/such/folder", "no such folder of images"),
            ("--pair night", "invalid choice"),
            ("--identity 5", "--identity: one of hue is grey, the other is not"),
            ("--buffer 1", "--buffer 1: want half of --batch 4"),
            ("--cycle -1", "expected a number >= 0"),
            ("--batch 41", "batch size 41"),
        ),
        loses=f"{WITH_RATES} --steps 1000",
        not_then="cyclegan.png",
    ),
    "one_sided": Example(
        small="--pair square --steps 2 --batch 4",
        smaller={"COUNTED": 20, "KNOWN": 20, "data.squares.LEVELS": 9},
        writes="one_sided.png",
        options=TRAINING
        | {
            "--batch": Row("8 16"),
            "--lr": Row("1e-4 1e-2"),
            "--pair": Row("images both"),
            "--weight": Row("0 5"),
            "--cycle": Row("0 1"),
            "--self": Row(on="--pair images"),
            "--quick": Row(on="--steps 16"),
        },
        ways={"images": "--pair images --self"},
        mistakes=(
            ("--self", "a point has no halves: want --pair images"),
            ("--pair circle", "invalid choice"),
            ("--batch 1", "expected an integer >= 2"),
        ),
        loses="--lr 1e30 --steps 100",
        not_then="one_sided.png",
    ),
    "domain_transfer": Example(
        small="--data digits --images 200 --steps 2 --classifier-steps 2 --width 4 --batch 8 "
        "--every 2",
        smaller={"COUNTED": 40, "KNOWN": 100},
        writes="checkpoint.safetensors domain_transfer.png f.safetensors ruler.safetensors "
        "samples_000002.png training.gif",
        resumes=True,
        options=TRAINING
        | {key: DCGAN[key] for key in ("--batch", "--width", "--lr-g", "--lr-d", "--every")}
        | {
            "--data": Row("IMAGES", refused("no test split")),
            "--images": Row("100 300"),
            "--classifier-steps": Row("1 3"),
            "--gan": Row("0 1"),
            "--alpha": Row("0 1"),
            "--beta": Row("0 1"),
            "--gamma": Row("1 2"),
            "--classifiers": Row("USUAL", kept_elsewhere),
            "--apply": Row("IMAGES CLASSES", applied),
            "--quick": Row(on="--steps 16"),
        },
        mistakes=(
            ("--gan 0 --alpha 0 --beta 0", "nothing is left to learn from"),
            ("--alpha -1", "expected a number >= 0"),
            ("--apply no/such/folder", "no such folder of images"),
            ("--batch 201", "batch size 201"),
        ),
        loses=f"{WITH_RATES} --steps 1000",
        not_then="domain_transfer.png",
    ),
    "super_resolution": Example(
        small="--data CLASSES --steps 2 --head-start 0 --size 8 --width 4 --batch 8 --every 2 "
        "--ruler 2",
        writes="checkpoint.safetensors classifier.safetensors samples_000002.png "
        "super_resolution.png training.gif",
        resumes=True,
        options=TRAINING
        | {key: DCGAN[key] for key in ("--width", "--lr-g", "--lr-d", "--data", "--size")}
        | {key: DCGAN[key] for key in ("--batch", "--every")}
        | {
            "--content": Row("0 10"),
            "--head-start": Row("1 2", on="--steps 4"),
            "--ruler": Row("1 3"),
            "--apply": Row("IMAGES OTHER", applied),
            "--quick": Row(on="--steps 16"),
        },
        ways={"without labels": "--data IMAGES", "head start": "--head-start 1"},
        mistakes=(
            ("--head-start 2", "--head-start 2: wanted fewer than --steps 2"),
            ("--size 9", "image size 9: expected a multiple of 4"),
            ("--size 20 --data IMAGES --content -1", "expected a number >= 0"),
            ("--batch 41", "batch size 41"),
            ("--apply no/such/folder", "no such folder of images"),
        ),
        loses=f"{WITH_RATES} --steps 1000",
        not_then="super_resolution.png",
    ),
    "inpainting": Example(
        small="--data CLASSES --steps 2 --size 8 --width 4 --hidden 8 --latent 3 --batch 8 "
        "--every 2 --hole 4 --count 4 --pool 5 --starts 2 --descent 3 --ruler 2",
        writes="checkpoint.safetensors classifier.safetensors inpainting.png "
        "samples_000002.png training.gif",
        resumes=True,
        options=TRAINING
        | {key: row for key, row in DCGAN.items() if key != "--samples"}
        | {
            "--hole": Row("2 6"),
            "--window": Row("3 5", on=SEARCHED),
            "--prior": Row("100 1000", on=SEARCHED),
            "--count": Row("1 3"),
            "--pool": Row("4 6", on=SEARCHED),
            "--starts": Row("1 5", begun),
            "--descent": Row("5 7", searched),
            "--ruler": Row("1 3"),
            "--quick": Row(on="--steps 16"),
        },
        ways={"without labels": "--data IMAGES"},
        mistakes=(
            ("--hole 8", "--hole 8: images have 8 pixels a side, wanted fewer"),
            ("--window 8", "--window 8: images have 8 pixels a side, wanted fewer"),
            ("--starts 9", "--starts 9: want at most --pool 5"),
            ("--size 9", "image size 9"),
            ("--batch 41", "batch size 41"),
        ),
        loses=f"{WITH_RATES} --steps 1000",
        not_then="inpainting.png",
    ),
    "vae": Example(
        small="--data digits --steps 2 --batch 8 --hidden 8 --every 2 --count 5",
        smaller={
            "DRAWS": 10,
            "RUNGS": (2, 5),
            "SHOWN": 100,
            "SIDE": 3,
            "TICKS": 9,
            "ANNEALED": {"schedule": 3, "chains": 2, "leapfrogs": 2},
        },
        writes="checkpoint.safetensors samples_000002.png training.gif vae.png",
        resumes=True,
        options=TRAINING
        | {
            "--batch": Row("4 16"),
            "--latent": Row("1 3"),
            "--hidden": Row("0 6"),
            "--lr": Row("1e-4 1e-2"),
            "--likelihood": Row("bernoulli"),
            "--beta": Row("0 50"),
            "--count": Row("3 8"),
            "--data": Row("IMAGES", refused("no test split")),
            "--every": Row("1 3", pictures, "--steps 4"),
            "--quick": Row(on="--steps 16"),
        },
        ways={
            "linear": "--hidden 0",
            "black and white": "--likelihood bernoulli --latent 3",
        },
        mistakes=(
            ("--likelihood poisson", "invalid choice"),
            ("--beta -1", "expected a number >= 0"),
            ("--batch 601", "batch size 601"),
        ),
        loses="--lr 1e30 --steps 1000",
        not_then="vae.png",
    ),
    "ais": Example(
        small="--data digits --steps 2 --batch 8 --latent 2 --count 3 --temperatures 2 --chains 2",
        smaller={
            "HIDDEN": (4, 5, 6, 7),
            "GRID": (0.1, 0.2),
            "CENTRES": 20,
            "LINEAR": (2, 3, 4),
            "LADDER": (1, 2, 3),
        },
        writes="ais.json ais.png annealed checkpoint.safetensors",
        resumes=True,
        options=TRAINING
        | {
            "--batch": Row("4 16"),
            "--latent": Row("1 3"),
            "--lr": Row("1e-4 1e-2"),
            "--lr-g": Row("1e-4 1e-2"),
            "--lr-d": Row("1e-4 1e-2"),
            "--count": Row("2 4"),
            "--temperatures": Row("1 3"),
            "--chains": Row("1 3"),
            "--leapfrogs": Row("1 3"),
            "--data": Row("IMAGES", refused("no test split")),
            "--quick": Row(on="--steps 16"),
        },
        mistakes=(
            ("--temperatures 0", "expected an integer >= 1"),
            ("--batch 601", "batch size 601"),
        ),
        loses="--lr 1e30 --steps 1000",
        not_then="ais.png",
    ),
    "pca": Example(
        small="--data IMAGES --size 8 --steps 2 --code 2 --every 1",
        writes="checkpoint.safetensors pca.png",
        resumes=True,
        options=TRAINING
        | {
            "--data": Row("OTHER digits"),
            "--size": Row("10 12"),
            "--images": Row("30 35"),
            "--code": Row("3 4"),
            "--decay": Row("0.1 0.9"),
            "--lr": Row("1e-4 1e-2"),
            "--every": Row("2", differs, "--steps 4"),
            "--quick": Row(on="--steps 16"),
        },
        mistakes=(
            ("--code 16", "--code 16: wanted less than 16, all pixels"),
            ("--images 2", "--code 2: 2 images have fewer axes than that"),
            ("--decay 1", "--decay 1.0: from 1 on nothing is left"),
            ("--size 9", "images of 9 x 9 pixels: wanted an even number"),
            ("--images 1", "expected an integer >= 2"),
        ),
        loses="--lr 1e30 --steps 1000",
        not_then="pca.png",
    ),
    "began": Example(
        small="--data IMAGES --steps 2 --size 8 --batch 8 --latent 3 --code 3 --hidden 8",
        smaller={"COUNTED": 40},
        writes="began.png checkpoint.safetensors",
        resumes=True,
        options=TRAINING
        | {
            "--epochs": Row("1 2", epochs),
            "--loss": Row("ebgan"),
            "--gamma": Row("0.2 0.5", on="--no-batch-norm"),
            "--rate": Row("0.001 0.5", on="--no-batch-norm"),
            "--margin": Row("0.1 5", on="--loss ebgan"),
            "--pull": Row("0 1", on="--loss ebgan"),
            "--power": Row("1"),
            "--no-batch-norm": Row(),
            "--batch": Row("4 16"),
            "--latent": Row("2 6"),
            "--code": Row("2 6"),
            "--hidden": Row("4 12"),
            "--lr": Row("1e-4 1e-2"),
            "--data": Row("OTHER digits"),
            "--size": Row("12 16"),
            "--every": Row("1 3", saves, "--steps 4"),
            "--beside": Row("USUAL USUAL/checkpoint.safetensors", more_curves),
            "--quick": Row(),
        },
        ways={"ebgan": "--loss ebgan"},
        mistakes=(
            ("--margin 1", "--margin is heeded only with --loss ebgan"),
            ("--loss ebgan --rate 1", "--rate is heeded only with --loss began"),
            ("--gamma 1.5", "gamma is 1.5"),
            ("--rate 0", "expected a number > 0"),
            ("--margin -1", "expected a number > 0"),
            ("--loss wgan", "invalid choice"),
            ("--power 3", "invalid choice"),
            ("--batch 1", "expected an integer >= 2"),
            ("--beside no/such/run", "no such checkpoint"),
        ),
        loses="--lr 1e30 --steps 100",
        not_then="began.png",
    ),
    "goodfellow_2014": Example(
        small="--data digits --steps 2 --batch 8 --latent 3 --hidden 8 --units 4 "
        "--samples 100 --every 2",
        writes="checkpoint.safetensors parzen.json samples.png",
        resumes=True,
        lengthens=True,
        options=TRAINING
        | {
            "--epochs": Row("1 2", epochs),
            "--batch": Row("4 16"),
            "--latent": Row("2 6"),
            "--hidden": Row("4 12"),
            "--units": Row("2 6"),
            "--lr-g": Row("0.1 1"),
            "--lr-d": Row("0.01 0.5"),
            "--halving": Row("1 10"),
            "--momentum": Row("0.1 0.9"),
            "--average": Row("3 10"),
            "--data": Row("IMAGES", refused("no test split")),
            "--samples": Row("150 200", windows),
            "--every": Row("1 3", saves, "--steps 4"),
            "--quick": Row(),
        },
        mistakes=(
            ("--batch 5001", "batch size 5001"),
            ("--data faces", "wanted 784 pixels"),
            ("--momentum 1", "momentum is 1.0"),
            ("--average 1", "expected a number > 1"),
            ("--samples 99", "expected an integer >= 100"),
            ("--hidden 0", "expected an integer >= 1"),
        ),
        loses=f"{WITH_RATES} --steps 100",
        not_then="parzen.json",
    ),
    "faces": Example(
        small="--data IMAGES --steps 2 --size 8 --width 4 --hidden 0 --latent 3 --batch 8 "
        "--samples 4 --every 2",
        smaller={"COUNTED": 40, "data.FACES": {"train": (40, 0), "test": (20, 1)}},
        writes="checkpoint.safetensors losses.png samples_000002.png training.gif",
        resumes=True,
        options=TRAINING
        | DCGAN
        | {
            "--data": Row("OTHER faces"),
            "--hidden": Row("4 6"),
            "--epochs": Row("1 2", epochs),
            "--flip": Row(),
            "--shift": Row("1 2"),
            "--paper": Row(),
            "--quick": Row(on="--steps 16"),
        },
        ways={"drawn and moved": "--data faces --flip --shift 1"},
        mistakes=(
            ("--batch 41", "batch size 41"),
            ("--size 9", "image size 9"),
            ("--shift 8", "--shift 8: wanted less than --size 8"),
        ),
        loses=f"{WITH_RATES} --steps 1000",
    ),
    "progressive": Example(
        small="--data CLASSES --steps 2 --size 8 --width 4 --latent 3 --batch 8 --every 2 --each 1 "
        "--fade 1 --ruler 2",
        writes="checkpoint.safetensors classifier.safetensors progressive.png samples_000002.png "
        "times.json training.gif",
        resumes=True,
        options=TRAINING
        | {key: DCGAN[key] for key in ("--batch", "--width", "--latent", "--size")}
        | {
            "--data": Row("OTHER digits", on="--steps 4"),
            "--lr": Row("1e-4 1e-3"),
            "--every": Row("1 3", pictures, "--steps 4"),
            "--most": Row("1 3"),
            "--depth": Row("2"),
            "--each": Row("2 3", on="--size 16 --steps 5"),
            "--fade": Row("2 3", on="--size 16 --steps 8 --each 3"),
            "--ruler": Row("1 3"),
            "--scratch": Row(on="--size 16"),
            "--beside": Row("USUAL", another_curve),
            "--quick": Row(on="--steps 20"),
        },
        ways={
            "grown": "--data IMAGES --size 16 --each 4 --steps 6",
            "from scratch": "--size 16 --scratch",
        },
        mistakes=(
            ("--size 9", "image size 9"),
            ("--batch 41", "batch size 41"),
            ("--size 32 --each 1", "Growth: steps is 2, expected more than 2"),
            ("--beside no/such/run", "no such checkpoint"),
        ),
        loses="--lr 1e30 --steps 100",
        not_then="progressive.png",
    ),
    "latent_space": Example(
        small="--data CLASSES --steps 2 --size 8 --width 4 --hidden 8 --latent 3 --batch 8 "
        "--ruler 2 --known 3 --starts 2 --descent 2",
        smaller={"LOTS": (30, 10, 10)},
        writes="checkpoint.safetensors classifier.safetensors latent_space.png morph.gif",
        resumes=True,
        options=TRAINING
        | {key: row for key, row in DCGAN.items() if key not in ("--samples", "--every")}
        | {
            "checkpoint": Row("USUAL USUAL/checkpoint.safetensors", found_again),
            "--morph": Row("IMAGES/01.png,IMAGES/02.png IMAGES/03.png,OTHER/02.png"),
            "--quick": Row(on="--steps 16"),
            "--ruler": Row("1 3"),
            "--known": Row("2 5"),
            "--starts": Row("1 3"),
            "--descent": Row("5 7", descended),
        },
        mistakes=(
            ("--morph no.png SAMPLES", "no.png: cannot be read as an image"),
            ("--morph IMAGES/01.png SAMPLES", "SAMPLES.npz: cannot be read as an image"),
            ("no/such/run", "no such checkpoint"),
            ("--batch 41", "batch size 41"),
            ("--size 9", "image size 9"),
        ),
        loses=f"{WITH_RATES} --steps 1000",
        not_then="latent_space.png",
    ),
    "random_field": Example(
        small="--steps 2 --batch 8 --width 8 --latent 3 --critic-steps 1",
        smaller={"COUNTED": 100, "SETS": 2},
        writes="checkpoint.safetensors random_field.png",
        resumes=True,
        options=TRAINING
        | {
            "--sigma": Row("0.2 1"),
            "--length": Row("0.1 0.5"),
            "--width": Row("4 12"),
            "--batch": Row("4 16"),
            "--latent": Row("2 6"),
            "--lr-g": Row("1e-4 1e-2"),
            "--lr-d": Row("1e-4 1e-2", on="--critic-steps 2"),
            "--critic-steps": Row("2 3"),
            "--quick": Row(on="--steps 16"),
        },
        mistakes=(("--sigma 0", "expected a number > 0"), ("--sigma 11", "wanted at most 10")),
        loses=f"{WITH_RATES} --steps 1000",
        not_then="random_field.png",
    ),
    "evaluate_mnist": Example(
        small="--data digits --steps 2 --count 100 --centres 4",
        writes="classifier.safetensors scores.json scores.png",
        options=TRAINING
        | {
            "--steps": Row("1 3", trained),
            "samples": Row("SAMPLES"),
            "--data": Row("IMAGES", refused("no test split")),
            "--count": Row("150 200", scored),
            "--centres": Row("2 8", centres),
            "--trained-on": Row("200", refused("has no labels"), "SAMPLES"),
            "--real": Row("200", refused("--trained-on")),
            "--quick": Row("", quicker),
        },
    ),
}


# --- What many have ------------------------------------------------------------------------------

# An option that an example may have, a mistake with it, and what the one line says: one of these.
MISTAKES = {
    "--data": ("no/such/folder", "no such folder|invalid choice: 'no/such/folder'|expected 2"),
    "--pairs": ("no/such/folder", "no such folder"),
    "--device": ("tpu", "unknown device 'tpu'"),
    "--precision": ("tf32", "only --device cuda"),
    "--steps": ("0", "expected an integer >= 1"),
    "--resume": ("no/such/file", "no such checkpoint"),
}


def having(fits=lambda row: True):
    """(example, way) for each row that fits, the way of the small run being ""."""
    return [(name, way) for name, row in RUNS.items() if fits(row) for way in ("", *row.ways)]
