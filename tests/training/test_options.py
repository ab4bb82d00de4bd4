"""Options that examples share: --quick, the length of a run, and the data that are meant."""

from argparse import Namespace

import numpy as np
import pytest
from PIL import Image

from minigan import data
from minigan.training import CheckpointError, checkpoint, options

QUICK = {"steps": 6, "batch": 32, "lr": 2e-3}


def parse(*argv, quick=QUICK):
    p = options.parser("", out="nowhere", steps=100, resumable=True, quick=quick)
    options.images(p, batch=64, every=10)
    options.shared(p, lr=1e-3)
    return options.parse(p, [str(a) for a in argv])


def test_quick_sets_other_defaults_and_what_is_given_stays():
    assert (parse().steps, parse().batch, parse().quick) == (100, 64, False)
    args = parse("--quick", "--batch", 8)
    assert (args.steps, args.batch, args.lr, args.every) == (6, 8, 2e-3, 10)


def test_quick_may_take_a_share_of_what_is_given():
    eighth = {"steps": lambda steps: max(1, steps // 8)}
    assert parse("--quick", quick=eighth).steps == 12
    assert parse("--quick", "--steps", 16, quick=eighth).steps == 2
    assert parse("--quick", "--steps", 3, quick=eighth).steps == 1
    assert parse("--steps", 16, quick=eighth).steps == 16


def test_the_papers_settings_are_defaults_and_quick_comes_after_them(tmp_path):
    p = options.parser("", out="nowhere", steps=100, quick=QUICK, paper={"steps": 500, "lr": 5.0})
    options.shared(p, batch=64, lr=1e-3)
    seen = [
        (args.paper, args.steps, args.batch, args.lr)
        for argv in ("", "--paper", "--paper --lr 3", "--paper --quick")
        for args in [options.parse(p, argv.split())]
    ]
    assert seen == [
        (False, 100, 64, 1e-3),
        (True, 500, 64, 5.0),
        (True, 500, 64, 3.0),
        (True, 6, 32, 2e-3),
    ]


@pytest.mark.parametrize("quick", [QUICK, {"steps": lambda steps: steps // 8, "batch": 32}])
def test_a_quick_run_goes_on_as_it_was(quick, tmp_path):
    """Nothing is divided twice, and --quick does not turn up where there was none."""
    args = parse("--quick", quick=quick)
    path = tmp_path / checkpoint.NAME
    checkpoint.save(path, {}, options=options.saved(args))
    for words in ([], ["--quick"]):
        again = parse("--resume", path, *words, quick=quick)
        assert (again.steps, again.batch, again.quick) == (args.steps, 32, True)
    assert parse("--resume", path, "--steps", 80, quick=quick).steps == 80
    checkpoint.save(path, {}, options=options.saved(parse(quick=quick)))
    with pytest.raises(CheckpointError, match="made without --quick, which a run with --quick"):
        parse("--resume", path, "--quick", quick=quick)


def test_an_option_that_would_say_nothing_is_an_error():
    """Given, whatever its value; a default, or what a preset makes of it, is no such thing."""
    p = options.parser("", out="nowhere", steps=100, quick={"rate": 3})
    p.add_argument("--loss", choices=("a", "b"), default="a")
    p.add_argument("--rate", type=int, default=1)
    p.add_argument("--self", action="store_true")
    p.add_argument("--more", action="append")
    options.heeded_with(p, "loss", a=("rate", "self"), b=("more",))
    assert options.parse(p, ["--rate", "1", "--self"]).rate == 1
    assert options.parse(p, ["--quick", "--loss", "b"]).rate == 3
    assert options.parse(p, ["--loss", "b", "--more", "x", "--more", "y"]).more == ["x", "y"]
    for name, argv in (
        ("rate is heeded only with --loss a", ["--loss", "b", "--rate", "1"]),
        ("self is heeded only with --loss a", ["--loss", "b", "--self"]),
        ("more is heeded only with --loss b", ["--more", "x"]),
    ):
        with pytest.raises(options.OptionError, match=name):
            options.parse(p, argv)


def test_without_quick_there_is_no_such_option(capsys):
    with pytest.raises(SystemExit):
        parse("--quick", quick=None)
    assert "unrecognized arguments: --quick" in capsys.readouterr().err


def test_the_length_of_a_run():
    batches = range(10)
    assert options.length(Namespace(steps=7)) == 7
    assert options.length(Namespace(steps=7, epochs=None), batches) == 7
    assert options.length(Namespace(steps=7, epochs=3), batches) == 30
    assert options.length(Namespace(steps=7, epochs=3), batches, moves=5) == 6
    assert options.length(Namespace(steps=7, epochs=1), batches, moves=99) == 1


@pytest.fixture
def asked(monkeypatch):
    """What data were asked for; those of any split are out of reach that the list holds."""
    asked, unreachable = [], []

    def choose(name=None, split="train", size=28):
        asked.append((name, split, size))
        if name is None and split in unreachable:
            return pixels("digits", split), "MNIST could not be reached"
        return pixels(name or "MNIST", split), None

    monkeypatch.setattr(data, "choose", choose)
    monkeypatch.setattr(data, "drawn_digits", lambda n, seed: pixels(f"{n} drawn", seed))
    return asked, unreachable


def pixels(name, split):
    return data.Dataset(f"{name} {split}", np.zeros((1, 2, 2, 1), np.uint8))


def test_quick_without_data_means_few_drawn_digits(asked):
    quick, named = (Namespace(quick=True, data=d, size=9) for d in (None, "mnist"))
    assert options.dataset(quick).name == "2000 drawn 0" and not asked[0]
    assert options.dataset(named).name == "mnist train" and asked[0] == [("mnist", "train", 9)]
    assert options.dataset(Namespace(data=None, size=28)).name == "MNIST train"
    sets = options.train_and_test(quick), options.train_and_test(quick, few=(3, 2))
    assert [[s.name for s in pair] for pair in sets] == [
        ["6000 drawn 0", "1000 drawn 1"],
        ["3 drawn 0", "2 drawn 1"],
    ]


@pytest.mark.parametrize(
    ("out_of_reach", "found"),
    [([], "MNIST"), (["test"], "digits"), (["train"], "digits"), (["train", "test"], "digits")],
)
def test_both_splits_are_of_one_set(out_of_reach, found, asked, capsys):
    asked[1].extend(out_of_reach)
    sets = options.train_and_test(Namespace(data=None))
    assert [s.name for s in sets] == [f"{found} train", f"{found} test"]
    assert ("could not be reached" in capsys.readouterr().out) == bool(out_of_reach)


def test_both_splits_of_drawn_faces_have_the_size_that_was_asked_for(monkeypatch):
    monkeypatch.setattr(data, "FACES", {"train": (3, 0), "test": (2, 1)})
    for args, size in ((Namespace(data="faces", size=9), 9), (Namespace(data="faces"), 28)):
        for choose in (options.train_and_test, options.train_and_held_out):
            shapes = [part.images.shape for part in choose(args)]
            assert shapes == [(3, size, size, 3), (2, size, size, 3)]


def test_a_notice_is_printed(asked, capsys):
    asked[1].append("train")
    assert options.dataset(Namespace(data=None, size=28)).name == "digits train"
    assert capsys.readouterr().out == "MNIST could not be reached\n"


def test_of_a_folder_without_a_test_split_every_tenth_image_is_held_out(monkeypatch):
    images = np.arange(40, dtype=np.uint8).reshape(40, 1, 1, 1)
    whole = data.Dataset("mine", images, np.arange(40) % 2, ("even", "odd"))

    def choose(name, *, split="train", size=28):
        if split == "test":
            raise data.DataError("no test split")
        return whole, None

    monkeypatch.setattr(data, "choose", choose)
    train, held_out = options.train_and_held_out(Namespace(data="mine", size=1))
    assert held_out.images.ravel().tolist() == [9, 19, 29, 39]
    assert held_out.labels.tolist() == [1, 1, 1, 1] and held_out.classes == ("even", "odd")
    assert sorted([*train.images.ravel(), 9, 19, 29, 39]) == [*range(40)]
    whole = data.Dataset("mine", images[:19])
    with pytest.raises(data.DataError, match="mine: 19 images, wanted at least 20"):
        options.train_and_held_out(Namespace(data="mine", size=1))


# --- From images to images -----------------------------------------------------------------------


@pytest.fixture
def folders(tmp_path):
    """Two folders of 5 and 3 images, and one of 4 pairs."""
    for name, count, width in (("A", 5, 8), ("B", 3, 8), ("pairs", 4, 16)):
        (tmp_path / name).mkdir()
        for k in range(count):
            Image.new("RGB", (width, 8), (k, width, 0)).save(tmp_path / name / f"{k}.png")
    return tmp_path


def translate(*argv, paired=False):
    p = options.parser("", out="nowhere", steps=100, resumable=True)
    options.translation(p, paired=paired, batch=4)
    return options.parse(p, [str(a) for a in argv])


def test_two_folders_are_two_sets_in_their_order(folders):
    args = translate("--data", folders / "A", folders / "B", "--size", 10)
    first, second = options.domains(args)
    assert (str(first), str(second)) == ("A, 5 images", "B, 3 images")
    assert first.images.shape == (5, 10, 10, 3) and second.images.shape == (3, 10, 10, 3)
    assert options.domains(translate()) is None is options.domains(translate(paired=True))


def test_a_folder_of_pairs_is_two_sets_the_source_first(folders):
    for given, names in (([], ["left", "right"]), (["--source", "right"], ["right", "left"])):
        args = translate("--pairs", folders / "pairs", *given, paired=True)
        assert [part.name for part in options.domains(args)] == [f"pairs, {n}" for n in names]


def test_images_to_map_are_looked_at_before_the_run_and_are_no_part_of_it(folders):
    (folders / "none").mkdir()
    args = translate("--apply", folders / "A")
    assert options.to_apply(args) == folders / "A" and "apply" not in options.saved(args)
    assert options.to_apply(translate()) is None
    (folders / "two").mkdir()
    for name in ("a.png", "a.bmp"):
        Image.new("RGB", (8, 8)).save(folders / "two" / name)
    for folder, said in (
        ("nowhere", "no such folder of images"),
        ("none", "no images here"),
        ("two", "several images would become a.png"),
    ):
        with pytest.raises(data.DataError, match=said):
            options.to_apply(translate("--apply", folders / folder))


def test_folders_are_found_from_elsewhere_and_their_size_stays(folders, monkeypatch):
    monkeypatch.chdir(folders)
    for argv, paired in ((["--data", "A", "B"], False), (["--pairs", "pairs"], True)):
        kept = options.saved(translate(*argv, paired=paired))
        options.make_absolute(kept)
        key = argv[0].strip("-")
        names = kept[key] if paired is False else [kept[key]]
        assert names == [str(folders / name) for name in argv[1:]]
        path = folders / f"{key}.safetensors"
        checkpoint.save(path, {}, options=kept)
        assert vars(translate("--resume", path, paired=paired))[key] == kept[key]
        with pytest.raises(CheckpointError, match="with --size 32, which a run with --size 64"):
            translate("--resume", path, "--size", 64, paired=paired)
        checkpoint.save(path, {}, options=kept | {key: [str(folders / "gone")]})
        with pytest.raises(CheckpointError, match=rf"gone, and there is no such folder.*--{key}"):
            translate("--resume", path, paired=paired)
