"""Scores that can be foretold: of real digits, of noise, of one class alone, of copies."""

import json
import signal
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image
from running import complaint, module, run

from minigan import Tensor, cpu, data, models, optim
from minigan.nn import Module, Parameter
from minigan.training import CheckpointError, OptionError, Sampler, checkpoint, generated

pytestmark = pytest.mark.usefixtures("drawn_once")
SCRIPT = "evaluate_mnist"
TEST = "test images"


@pytest.fixture
def example(monkeypatch):
    return module("evaluate_mnist")


@pytest.fixture(scope="module")
def ruler(tmp_path_factory):
    """The folder of a first call, with its classifier, and what the call printed."""
    out = tmp_path_factory.mktemp("evaluate")
    printed, _ = run(SCRIPT, "--quick", "--out", out)
    return SimpleNamespace(out=out, printed=printed, scores=scores(out))


def scores(out):
    return json.loads((out / "scores.json").read_text())


def test_the_classifier_reads_drawn_digits_and_real_ones_are_close_to_real_ones(ruler):
    assert ruler.scores["classifier"]["accuracy"] > 0.97
    assert f"{ruler.scores['classifier']['accuracy']:.2%} of 1,000 test images" in ruler.printed
    real = ruler.scores[TEST]
    assert real["count"] == 500 and sum(real["shares"]) == pytest.approx(1)
    assert min(real["shares"]) > 0.05 and real["confidence"] > 0.95
    assert min(real["precision_recall"]) > 0.8
    with Image.open(ruler.out / "scores.png") as picture:
        assert picture.size == (1300, 420)


def test_centres_of_k_means_beat_five_times_as_many_real_images(ruler):
    parzen = ruler.scores["parzen"]
    assert [s["count"] for s in parzen.values()] == [500, 100, 100]
    real, few, centres = (parzen[k] for k in ("training images", "fewer of these", "k-means"))
    assert few["mean"] < real["mean"] < centres["mean"] - 3 * centres["error"]


def copy_of_classifier(ruler, folder):
    path = folder / "classifier.safetensors"
    path.write_bytes((ruler.out / path.name).read_bytes())
    return path


def test_the_classifier_is_kept_and_only_for_what_it_was_trained_on(
    ruler, example, tmp_path, capsys
):
    kept = copy_of_classifier(ruler, tmp_path)
    before = kept.stat().st_mtime_ns
    example.main(["--quick", "--out", str(tmp_path)])
    assert kept.stat().st_mtime_ns == before
    assert "trained otherwise" not in capsys.readouterr().out
    assert scores(tmp_path) == ruler.scores
    example.main(["--quick", "--out", str(tmp_path), "--steps", "20"])
    assert kept.stat().st_mtime_ns != before
    out = capsys.readouterr().out
    assert "was trained otherwise" in out and "'steps': 150" in out
    assert checkpoint.peek(kept)["about"]["steps"] == 20


@pytest.fixture
def score(ruler, example, tmp_path):
    """A function from an array of images to their scores, those of real ones, and the Parzen's."""

    def scored(images, **labels):
        np.savez(tmp_path / "samples.npz", images=images, **labels)
        copy_of_classifier(ruler, tmp_path)
        example.main([str(tmp_path / "samples.npz"), "--quick", "--out", str(tmp_path)])
        result = scores(tmp_path)
        if len(images) < 500:  # compared with as many real ones
            assert result[TEST]["count"] == len(images)
        else:
            assert result[TEST] == ruler.scores[TEST]
        return result["samples"], result[TEST], result["parzen"]

    return scored


def test_other_real_digits_score_as_the_test_images_do(score):
    mine, real, parzen = score(data.drawn_digits(500, 7).images[..., 0])
    assert 0.6 < mine["frechet"] / real["frechet"] < 1.6
    assert np.allclose(mine["precision_recall"], real["precision_recall"], atol=0.06)
    assert mine["neighbour"] == pytest.approx(real["neighbour"], rel=0.05)
    assert parzen["samples"]["mean"] == pytest.approx(parzen["training images"]["mean"], rel=0.1)


def test_noise_is_far_from_everything(score):
    noise = np.random.default_rng(0).integers(0, 256, (500, 28, 28, 1), dtype=np.uint8)
    mine, real, parzen = score(noise)
    assert mine["frechet"] > 50 * real["frechet"]
    assert mine["precision_recall"][0] < 0.02
    assert mine["neighbour"] > 2 * real["neighbour"]
    assert parzen["samples"]["mean"] < -100


def test_one_class_is_precise_and_nine_are_missed(score):
    digits = data.drawn_digits(4000, 3)
    mine, real, _ = score(digits.images[digits.labels == 3])
    assert mine["count"] == 400 and mine["shares"][3] > 0.97
    assert sum(share < 0.01 for share in mine["shares"]) == 9
    assert mine["precision_recall"][0] > 0.8 and mine["precision_recall"][1] < 0.3
    assert mine["frechet"] > 20 * real["frechet"]


def test_copies_are_found_out(score):
    mine, real, _ = score(data.drawn_digits(6000, 0).images[:500])
    assert mine["neighbour"] == 0 < real["neighbour"]
    assert mine["precision_recall"][0] == 1.0


# --- Generators ----------------------------------------------------------------------------------


def save_generator(path, network, arguments, *, low, noise, change, average=None, **extra):
    """A checkpoint of a G changed by one function, and of an average of it changed by another."""
    G = models.GENERATORS[network](rng=cpu.generator(0), **arguments)
    parts = {"G": G}
    if average is not None:
        parts["average"] = optim.EMA(G)
        average(parts["average"].network)
    change(G)
    recipe = {"network": network, "arguments": arguments, "noise": noise, "low": low}
    checkpoint.save(path, parts, generator=recipe, **extra)
    return path


def constant(value):
    """Makes every pixel of a network's output the squashed `value`, whatever its input."""

    def change(G):
        for p in G.parameters():
            p.data[...] = 0
        p.data[...] = value  # the last is the output's bias
        assert p.ndim == 1

    return change


DCGAN = {"latent": 3, "width": 2}
FIRST = {"latent": 3, "hidden": 4}
LIKE = data.Dataset("like these", np.zeros((1, 28, 28, 1), np.uint8))


@pytest.mark.parametrize(
    ("network", "arguments", "low", "noise", "value", "byte"),
    [
        ("dcgan", DCGAN, -1.0, "normal", 100, 255),
        ("dcgan", DCGAN, -1.0, "normal", -100, 0),
        ("dcgan", DCGAN, -1.0, "normal", 0, 128),
        ("goodfellow_2014", FIRST, 0.0, "uniform", 100, 255),
        ("goodfellow_2014", FIRST, 0.0, "uniform", -100, 0),
        ("goodfellow_2014", FIRST, 0.0, "uniform", 0, 128),
    ],
)
def test_pixels_go_from_low_to_one(example, tmp_path, network, arguments, low, noise, value, byte):
    path = tmp_path / "checkpoint.safetensors"
    save_generator(path, network, arguments, low=low, noise=noise, change=constant(value))
    images, asked = example.samples(path, 130, cpu.generator(0), LIKE)
    assert asked is None and images.shape == (130, 28, 28, 1) and images.dtype == np.uint8
    assert (images == byte).all()


def test_the_average_is_what_is_scored(example, tmp_path):
    path = tmp_path / "checkpoint.safetensors"
    both = {"change": constant(-100), "average": constant(100)}
    save_generator(path, "dcgan", DCGAN, low=-1.0, noise="normal", **both)
    images, _ = example.samples(tmp_path, 100, cpu.generator(0), LIKE)
    assert (images == 255).all()


@pytest.mark.parametrize("noise", ["normal", "uniform"])
def test_noise_is_drawn_as_the_checkpoint_says(tmp_path, noise):
    """Pixels that show z itself: a G whose one ReLU path passes z₀ from −1 … 1 on to all pixels."""

    def pass_on(G):
        constant(0)(G)
        first, second, last = (G[i] for i in (0, 2, 4))
        first.weight.data[0, 0], first.bias.data[0] = 1, 3
        second.weight.data[0, 0] = 1
        last.weight.data[0], last.bias.data[...] = 1, -3

    path = tmp_path / "checkpoint.safetensors"
    save_generator(path, "goodfellow_2014", FIRST, low=0.0, noise=noise, change=pass_on)
    images = generated(path, 4000, cpu.generator(0))[0].astype(float) / 255
    assert (images == images[:, :1, :1]).all()
    z = np.log(images[:, 0, 0, 0] / (1 - images[:, 0, 0, 0]))
    assert abs(z.mean()) < 0.06
    assert z.std() == pytest.approx(1 if noise == "normal" else 1 / np.sqrt(3), rel=0.05)
    assert (abs(z) > 1.02).any() == (noise == "normal")


@pytest.mark.usefixtures("few_digits")
def test_what_dcgan_mnist_writes_is_scored_in_one_command(ruler, example, tmp_path):
    small = ["--data", "digits", "--width", 4, "--batch", 16, "--samples", 4, "--steps", 2]
    run("dcgan_mnist", *small, "--out", tmp_path)
    copy_of_classifier(ruler, tmp_path)
    assert not example.main([str(tmp_path), "--quick", "--out", str(tmp_path)])
    result = scores(tmp_path)
    assert result["samples"]["count"] == 500
    # Two steps make no digits.
    assert result["samples"]["frechet"] > 20 * ruler.scores[TEST]["frechet"]


# --- Classes that were asked for -----------------------------------------------------------------


class Told(Module):
    """Draws the class that it is told, a real digit of it each time; or none but ones."""

    def __init__(self, rng, latent, deaf=False):
        super().__init__()
        digits = data.drawn_digits(500, 7)
        self.scale = Parameter(np.ones(1, "float32"))
        self.images = [data.to_unit(digits.images[digits.labels == c]) for c in range(10)]
        self.deaf = deaf

    def forward(self, z, labels):
        drawn = [
            self.images[1 if self.deaf else c][i % 30] for i, c in enumerate(labels.data.tolist())
        ]
        return Tensor(np.stack(drawn)) * self.scale


@pytest.mark.parametrize("deaf", [False, True])
def test_a_generator_that_is_told_classes_is_asked_whether_it_draws_them(
    deaf, ruler, example, tmp_path, monkeypatch, capsys
):
    monkeypatch.setitem(models.GENERATORS, "told", Told)
    sampler = Sampler("told", {"latent": 2, "deaf": deaf}, classes=10)
    parts = {"G": sampler.build(cpu.generator(0))}
    checkpoint.save(tmp_path / checkpoint.NAME, parts, generator=sampler.recipe())
    copy_of_classifier(ruler, tmp_path)
    example.main([str(tmp_path), "--quick", "--out", str(tmp_path)])
    mine = scores(tmp_path)["samples"]
    rows = {line[:40].strip(): line[40:].split() for line in capsys.readouterr().out.splitlines()}
    if deaf:
        assert mine["accuracies"] == [c == 1 for c in range(10)] and mine["accuracy"] < 0.2
    else:
        assert min(mine["accuracies"]) > 0.9 and mine["accuracy"] > 0.97
    assert rows["the class that was asked for"][0] == f"{mine['accuracy']:.1%}"
    assert rows["the same, of the worst class"][0] == f"{min(mine['accuracies']):.1%}"


def test_labels_in_a_file_are_what_was_asked_for(score, tmp_path):
    digits = data.drawn_digits(300, 5)
    right, _, _ = score(digits.images, labels=digits.labels)
    wrong, _, _ = score(digits.images, labels=(digits.labels + 1) % 10)
    assert right["accuracy"] > 0.97 and wrong["accuracy"] < 0.03
    assert "accuracy" not in score(digits.images)[0]


@pytest.mark.parametrize("varied", [True, False])
def test_a_classifier_trained_on_samples_alone_tells_variety_from_one_good_sample(
    varied, ruler, example, tmp_path, capsys
):
    """One digit of each class, repeated, is what the ruler agrees with all the same."""
    digits = data.drawn_digits(3000, 7)
    first = [int(np.flatnonzero(digits.labels == c)[0]) for c in range(10)]
    images = digits.images if varied else digits.images[np.array(first)[digits.labels]]
    np.savez(tmp_path / "samples.npz", images=images, labels=digits.labels)
    copy_of_classifier(ruler, tmp_path)
    words = ["--trained-on", "3000", "--real", "200", "--quick", "--out", str(tmp_path)]
    example.main([str(tmp_path / "samples.npz"), *words])
    result = scores(tmp_path)
    learnt = result["taught by"]
    assert list(learnt) == ["3,000 samples", "200 real images", "half of each"]
    assert result["samples"]["accuracy"] > 0.97
    assert learnt["3,000 samples"] > 0.9 if varied else learnt["3,000 samples"] < 0.8
    assert not varied or learnt["half of each"] > learnt["200 real images"]
    out = capsys.readouterr().out
    for name, right in learnt.items():
        assert f"a classifier trained on {name} alone: {right:.2%} of test images right" in out


@pytest.mark.parametrize("words", [["--trained-on", 200], ["--real", 200]])
def test_to_train_on_samples_there_must_be_some(words, tmp_path):
    _, err = run(SCRIPT, *words, "--quick", "--out", tmp_path / "new", status=2)
    assert "--trained-on goes with samples" in complaint(err) and not list(tmp_path.iterdir())


# --- Interrupted -------------------------------------------------------------------------------


def test_ctrl_c_leaves_no_half_trained_classifier(tmp_path, monkeypatch):
    made, step = [], optim.Adam.step

    def pressed(optimizer, gradients):
        step(optimizer, gradients)
        made.append(optimizer)
        if len(made) == 9:
            signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(optim.Adam, "step", pressed)
    run(SCRIPT, "--quick", "--steps", 100_000, "--out", tmp_path / "run", status=130)
    assert len(made) == 9 and not list((tmp_path / "run").iterdir())


# --- Mistakes ------------------------------------------------------------------------------------


def npz(path, **arrays):
    np.savez(path, **arrays)


def labelled(labels):
    return lambda path: npz(path, images=np.zeros((100, 28, 28), "uint8"), labels=labels)


def diverged(path):
    change = constant(np.nan)
    save_generator(path, "dcgan", DCGAN, low=-1.0, noise="normal", change=change)


def coloured(path):
    arguments = DCGAN | {"channels": 3}
    save_generator(path, "dcgan", arguments, low=-1.0, noise="normal", change=constant(0))


def unknown(path):
    recipe = {"network": "stylegan", "arguments": {}, "noise": "normal", "low": -1.0}
    checkpoint.save(path, {"G": cpu.generator(0)}, generator=recipe)


@pytest.mark.parametrize(
    ("name", "make", "said"),
    [
        ("a.safetensors", lambda path: None, "no such checkpoint"),
        ("a.safetensors", lambda path: checkpoint.save(path, {}, step=1), "train it anew"),
        ("a.safetensors", unknown, "'stylegan', known are: "),
        ("a.safetensors", diverged, "draws NaN or infinity"),
        ("a.safetensors", coloured, r"(500, 28, 28, 3), wanted uint8 (n, 28, 28, 1)"),
        ("a.npz", lambda path: None, "No such file"),
        ("a.npz", lambda path: path.write_text("no archive"), "not an .npz file"),
        ("a.npz", lambda path: npz(path, x=np.zeros(3)), "an array 'images'"),
        ("a.npz", lambda path: npz(path, images=np.zeros((100, 28, 28))), "float64 images"),
        ("a.npz", lambda path: npz(path, images=np.zeros((9, 28, 28), "uint8")), "at least 100"),
        (
            "a.npz",
            labelled(np.zeros(100)),
            "labels are float64 (100,), wanted",
        ),
        (
            "a.npz",
            labelled(np.zeros(99, int)),
            "labels are int64 (99,), wanted whole numbers (100,)",
        ),
        (
            "a.npz",
            labelled(np.full(100, 10)),
            "wanted whole numbers (100,) from 0 to 9",
        ),
        ("a.npz", labelled(np.zeros(0, int)), "labels are int64 (0,)"),
        ("a.npz", labelled(np.full(100, -1)), "from 0 to 9"),
    ],
)
def test_what_cannot_be_scored_is_said_before_anything_is_trained(
    name, make, said, example, tmp_path
):
    make(tmp_path / name)
    with pytest.raises((CheckpointError, OptionError, OSError)) as error:
        example.main([str(tmp_path / name), "--quick", "--out", str(tmp_path / "run")])
    assert said in str(error.value) and name in str(error.value)
    assert not (tmp_path / "run").exists()


def test_a_checkpoint_without_a_recipe_is_one_line_and_status_2(tmp_path):
    path = tmp_path / "checkpoint.safetensors"
    checkpoint.save(path, {}, step=1)
    _, err = run(SCRIPT, path, "--quick", "--out", tmp_path / "run", status=2)
    assert "train it anew" in complaint(err)


def test_a_folder_of_pictures_is_no_ruler(example, tmp_path):
    with pytest.raises(data.DataError, match="no test split"):
        example.main(["--data", str(tmp_path), "--out", str(tmp_path / "run")])
