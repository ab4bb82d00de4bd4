"""The examples as a user runs them: they train, they repeat, they stop and go on, they complain."""

import os
import re
import signal
import subprocess
import time

import numpy as np
import pytest
from checks import gpu_is_there
from PIL import Image
from running import command, complaint, module, run
from safetensors.numpy import load_file

from minigan import cpu, models, optim
from minigan.models import mlp
from minigan.training import checkpoint

without_gpu = pytest.mark.skipif(gpu_is_there(), reason="this machine has a GPU")
CHECKPOINT = "checkpoint.safetensors"


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """A folder of forty small pictures, which loads at once."""
    folder = tmp_path_factory.mktemp("images")
    random = np.random.default_rng(0)
    for i in range(40):
        pixels = random.integers(0, 255, (8, 8, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{i:02d}.png")
    return folder


@pytest.fixture(scope="module")
def small(images):
    """Options of a DCGAN that takes milliseconds a step."""
    networks = ["--size", 8, "--width", 4, "--latent", 3]
    return ["--data", images, *networks, "--batch", 8, "--samples", 4, "--every", 3]


# --- gaussian_1d ---------------------------------------------------------------------------------


def test_gaussian_learns_its_distribution(tmp_path):
    out, _ = run("gaussian_1d.py", "--steps", 1200, "--frames", 3, "--out", tmp_path)
    numbers = out.splitlines()[-1].replace(",", " ").split()
    mean, std = float(numbers[1]), float(numbers[numbers.index("std") + 1])
    assert abs(mean - 4) < 0.2 and abs(std - 1.25) < 0.2
    with (
        Image.open(tmp_path / "result.png") as picture,
        Image.open(tmp_path / "training.gif") as gif,
    ):
        assert picture.size == (1000, 580) and gif.n_frames >= 2


def test_gaussian_learns_as_well_with_more_steps_of_d(tmp_path, monkeypatch, capsys):
    """The bar is 3% of σ = 1.25; with G's schedule, D stands still after a third of them."""
    example = module("gaussian_1d")
    argv = ["--k", 3, "--steps", 1000, "--frames", 0, "--out", tmp_path]
    assert example.main(list(map(str, argv))) == 0
    mean, std = map(float, re.search(r"mean (\S+) .*std (\S+)", capsys.readouterr().out).groups())
    assert abs(mean - 4) < 0.0375 and abs(std - 1.25) < 0.0375


def test_gaussian_repeats_with_its_seed_and_says_why_raw_fails(tmp_path):
    argv = ["--steps", 60, "--frames", 0, "--out", tmp_path, "--raw"]
    first, again, other = (
        run("gaussian_1d.py", *argv, "--seed", seed)[0].split("(4")[0] for seed in (1, 1, 2)
    )
    assert first.split("steps in")[0] == again.split("steps in")[0]
    assert first.split("steps in")[0] != other.split("steps in")[0]
    assert not (tmp_path / "training.gif").exists()


def test_gaussian_moves_every_parameter_of_both_networks(tmp_path, monkeypatch):
    example = module("gaussian_1d")
    made = []

    def remember(*args, **kwargs):
        network = mlp(*args, **kwargs)
        made.append((network, {k: p.numpy().copy() for k, p in network.named_parameters().items()}))
        return network

    monkeypatch.setattr(example, "mlp", remember)
    assert example.main(["--steps", "3", "--frames", "0", "--out", str(tmp_path)]) == 0
    assert [network.name for network, _ in made] == ["G", "D"]
    for network, before in made:
        for key, p in network.named_parameters().items():
            assert (p.numpy() != before[key]).any(), f"{network.name}.{key} did not move"


def test_gaussian_raw_fails_and_says_why(tmp_path):
    argv = ["--steps", 1500, "--frames", 0, "--out", tmp_path]
    assert "--raw trains on the numbers as they are" in run("gaussian_1d.py", *argv, "--raw")[0]
    centred = run("gaussian_1d.py", *argv, "--raw", "--mean", 0, "--std", 1)[0]
    assert "--raw trains" not in centred  # nothing to explain where nothing failed


@pytest.mark.parametrize("argv", [["--mean", "1e30"], ["--std", "1e-30"], ["--std", "1e30"]])
def test_gaussian_refuses_what_float32_cannot_resolve(argv, tmp_path):
    _, err = run("gaussian_1d.py", *argv, "--out", tmp_path, status=2)
    assert "float32" in complaint(err)


def test_gaussian_that_loses_its_weights_says_so(tmp_path):
    _, err = run("gaussian_1d.py", "--lr", "1e30", "--steps", 300, "--out", tmp_path, status=1)
    assert "NaN or infinity: the weights are lost" in err and "Traceback" not in err


# --- dcgan_mnist ---------------------------------------------------------------------------------


def parameters(path):
    """All that a checkpoint holds of the two networks' weights."""
    return {
        key: value
        for key, value in load_file(path).items()
        if key.startswith(("G/", "D/")) and "running" not in key
    }


def test_dcgan_on_drawn_digits_moves_every_parameter_of_both_networks(tmp_path):
    argv = ["--data", "digits", "--width", 4, "--batch", 16, "--samples", 9, "--every", 2]
    weights = []
    for steps in (1, 4):
        run("dcgan_mnist.py", *argv, "--steps", steps, "--out", tmp_path / str(steps))
        weights.append(parameters(tmp_path / str(steps) / CHECKPOINT))
    before, after = weights
    assert {key[0] for key in before} == {"G", "D"} and len(before) > 10
    still = [key for key in before if not (before[key] != after[key]).any()]
    assert not still, f"did not move: {still}"
    written = sorted(path.name for path in (tmp_path / "4").iterdir())
    assert written == [
        CHECKPOINT,
        "losses.png",
        "samples_000002.png",
        "samples_000004.png",
        "training.gif",
    ]
    with Image.open(tmp_path / "4" / "samples_000004.png") as picture:
        assert picture.size == (176, 176)


@pytest.mark.parametrize(
    "loss", ["minimax", "non-saturating", "least-squares", "hinge", "wasserstein"]
)
def test_dcgan_trains_with_every_loss(loss, small, tmp_path):
    run("dcgan_mnist.py", *small, "--loss", loss, "--steps", 4, "--out", tmp_path)
    assert all(np.isfinite(value).all() for value in load_file(tmp_path / CHECKPOINT).values())


def test_a_run_that_loses_its_weights_says_so_and_stops(small, tmp_path):
    argv = [*small, "--lr-g", 1e30, "--lr-d", 1e30, "--steps", 1000, "--out", tmp_path]
    out, err = run("dcgan_mnist.py", *argv, status=1)
    assert "NaN or infinity: the weights are lost" in err and "Traceback" not in err
    assert "1,000 steps" not in out
    if (tmp_path / CHECKPOINT).exists():
        assert all(np.isfinite(v).all() for v in parameters(tmp_path / CHECKPOINT).values())


def test_dcgan_falls_back_to_drawn_digits_and_says_so(tmp_path):
    nowhere = {"XDG_CACHE_HOME": str(tmp_path), "https_proxy": "http://127.0.0.1:9"}
    nowhere |= {"HOME": str(tmp_path), "LOCALAPPDATA": str(tmp_path), "MINIGAN_DATA": ""}
    argv = ["--steps", 1, "--width", 2, "--batch", 4, "--samples", 1, "--out", tmp_path / "run"]
    out, _ = run("dcgan_mnist.py", *argv, **nowhere)
    assert out.startswith("MNIST could not be reached") and "drawn digits" in out
    _, err = run("dcgan_mnist.py", *argv, "--data", "mnist", status=2, **nowhere)
    assert "MNIST" in complaint(err)


def equal(a, b):
    """Whether two checkpoints hold the same arrays, bit for bit."""
    a, b = load_file(a), load_file(b)
    return a.keys() == b.keys() and all(a[key].tobytes() == b[key].tobytes() for key in a)


@pytest.fixture(scope="module")
def whole(small, tmp_path_factory):
    """The checkpoint of a run of 30 steps that nothing disturbed."""
    out = tmp_path_factory.mktemp("whole")
    run("dcgan_mnist.py", *small, "--steps", 30, "--out", out)
    return out / CHECKPOINT


def test_one_seed_gives_one_run(small, whole, tmp_path):
    run("dcgan_mnist.py", *small, "--steps", 30, "--out", tmp_path / "same")
    assert equal(tmp_path / "same" / CHECKPOINT, whole)
    run("dcgan_mnist.py", *small, "--steps", 30, "--seed", 1, "--out", tmp_path / "other")
    assert not equal(tmp_path / "other" / CHECKPOINT, whole)


def test_a_run_in_two_parts_is_the_run_in_one(small, whole, tmp_path):
    run("dcgan_mnist.py", *small, "--steps", 12, "--out", tmp_path)
    assert not equal(tmp_path / CHECKPOINT, whole)
    run("dcgan_mnist.py", "--resume", "--steps", 30, "--out", tmp_path)
    assert equal(tmp_path / CHECKPOINT, whole)


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGKILL")
def test_a_run_killed_at_random_moments_is_the_run_that_was_not(small, whole, tmp_path):
    """Killing loses the steps since the last checkpoint, which the next run makes again."""
    random, path = np.random.default_rng(), tmp_path / CHECKPOINT
    for _ in range(5):
        argv = ["--resume"] if path.exists() else small
        child = start("dcgan_mnist.py", *argv, "--steps", 30, "--out", tmp_path)
        wait_for_another(path, child)
        time.sleep(random.uniform(0, 0.03))
        child.kill()
        child.communicate()
        assert path.exists()
        if child.returncode == 0:  # it was done before the blow
            break
    else:
        run("dcgan_mnist.py", "--resume", "--steps", 30, "--out", tmp_path)
    assert equal(path, whole)


def start(script, *argv):
    return subprocess.Popen(
        command(script, *argv),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )


def wait_for_another(path, child):
    """Waits until a child has written the file anew, or has ended."""

    def written():
        return path.stat().st_mtime_ns if path.exists() else None

    before, deadline = written(), time.monotonic() + 60
    while written() == before and child.poll() is None and time.monotonic() < deadline:
        time.sleep(0.001)


@pytest.mark.skipif(os.name == "nt", reason="Windows sends no such signals to a child")
@pytest.mark.parametrize("name", ["SIGINT", "SIGHUP"])
def test_ctrl_c_and_a_lost_terminal_save_and_exit_cleanly(name, small, tmp_path):
    number = getattr(signal, name)
    child = start("dcgan_mnist.py", *small, "--steps", 100_000, "--out", tmp_path)
    wait_for_another(tmp_path / CHECKPOINT, child)
    child.send_signal(number)
    out, err = child.communicate(timeout=60)
    assert child.returncode == 128 + number
    assert "Traceback" not in err and "go on with --resume" in out
    steps = len(load_file(tmp_path / CHECKPOINT)["record/rows"])
    assert f"{steps:,} steps" in out
    run("dcgan_mnist.py", "--resume", "--steps", steps + 2, "--out", tmp_path)
    assert len(load_file(tmp_path / CHECKPOINT)["record/rows"]) == steps + 2


# --- dcgan_mnist, as a Wasserstein GAN ------------------------------------------------------------

CRITIC = ["--loss", "wasserstein", "--critic-steps", 5]


@pytest.fixture(scope="module")
def criticised(small, tmp_path_factory):
    """The checkpoint of a run with a gradient penalty."""
    out = tmp_path_factory.mktemp("criticised")
    run("dcgan_mnist.py", *small, *CRITIC, "--hidden", 6, "--steps", 9, "--out", out)
    return out / CHECKPOINT


def test_a_run_with_a_critic_in_two_parts_is_the_run_in_one(small, criticised, tmp_path):
    run("dcgan_mnist.py", *small, *CRITIC, "--hidden", 6, "--steps", 3, "--out", tmp_path)
    before = load_file(tmp_path / CHECKPOINT)
    run("dcgan_mnist.py", "--resume", "--steps", 9, "--out", tmp_path)
    after, same = load_file(tmp_path / CHECKPOINT), load_file(criticised)
    assert after.keys() == same.keys()
    assert all(after[key].tobytes() == same[key].tobytes() for key in same)
    weights = [k for k in after if k.startswith(("G/", "D/", "average/")) and "running" not in k]
    still = {key for key in weights if not (before[key] != after[key]).any()}
    constant = max(key for key in weights if key.startswith("D/") and key.endswith("bias"))
    assert len(weights) > 20 and still <= {constant}, "what is added to f cancels in its value"
    names = {path.name for path in tmp_path.iterdir()}
    assert {"samples_000009.png", "value.png", "training.gif"} < names


def test_a_checkpoint_says_how_to_make_its_generator(criticised):
    how = checkpoint.peek(criticised)["generator"]
    assert (how["network"], how["noise"], how["low"]) == ("dcgan", "normal", -1.0)
    G = models.dcgan_generator(rng=cpu.generator(0), **how["arguments"])
    average = optim.EMA(G)
    checkpoint.load(criticised, {"average": average}, partial=True)
    saved = load_file(criticised)
    for key, value in average.network.state().items():
        np.testing.assert_array_equal(value, saved[f"average/{key}"])


def test_clipped_weights_stay_within_their_bound_and_others_do_not(small, criticised, tmp_path):
    argv = [*small, *CRITIC, "--hidden", 6, "--clip", 0.015, "--steps", 3, "--out", tmp_path]
    run("dcgan_mnist.py", *argv)
    clipped, free = load_file(tmp_path / CHECKPOINT), load_file(criticised)

    def largest(saved):
        return max(abs(v).max() for k, v in saved.items() if k.startswith("D/") and "run" not in k)

    assert largest(clipped) == np.float32(0.015) < largest(free)


def test_a_run_keeps_its_critics_steps(criticised):
    _, err = run("dcgan_mnist.py", "--resume", criticised, "--critic-steps", 2, status=2)
    assert "--critic-steps 5" in complaint(err)


# --- Theory and stability -------------------------------------------------------------------------


def test_information_theory_prints_the_lectures_numbers(tmp_path):
    """The die by hand: log₂ 6 = 2.585, (2·2 + 4·3) / 6 = 2.667; W₁ of disjoint boxes grows."""
    out, _ = run("information_theory.py", "--out", tmp_path)
    assert "H(p) = 2.585, H(p, q) = 2.667, KL(p || q) = 0.082 bits" in out
    assert "JS = 0.693, 0.693 (ln 2 = 0.693), W1 = 2.000, 4.000" in out
    with Image.open(tmp_path / "information_theory.png") as picture:
        assert picture.size == (1300, 420)


def test_oscillation_is_as_theory_says(tmp_path, monkeypatch):
    """By theory: simultaneous steps of the bilinear game grow by √(1 + α²) each; others by name."""
    out, _ = run("oscillation.py", "--out", tmp_path)
    assert "\nas theory says" in out and out.count("spirals out (theory") == 2
    with Image.open(tmp_path / "oscillation.png") as picture:
        assert picture.size == (1100, 600)

    example = module("oscillation")
    simultaneous = example.path(example.bilinear, example.WAYS[0])
    growth = np.hypot(*simultaneous[1:].T) / np.hypot(*simultaneous[:-1].T)
    np.testing.assert_allclose(growth, np.sqrt(1 + example.RATE**2), rtol=1e-5)
    wrong = example.WAYS[0]._replace(expected="converges")
    monkeypatch.setattr(example, "WAYS", [wrong])
    assert example.main(["--out", str(tmp_path)]) == 1, "a result against theory is a failure"


def test_a_discriminator_trained_alone_finds_the_optimal_one(tmp_path):
    out, _ = run("optimal_discriminator.py", "--steps", 1000, "--batch", 512, "--out", tmp_path)
    off, value, exact = map(float, re.findall(r"(?:\*\||from D|2 JS) (-?[\d.]+)", out))
    assert off < 0.02 and abs(value - exact) < 0.01
    assert (tmp_path / "D.png").exists()


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (["--data", "no/such/folder"], "no such folder"),
        (["--device", "tpu"], "unknown device 'tpu'"),
        pytest.param(["--device", "cuda"], "device 'cuda'", marks=without_gpu),
        (["--precision", "tf32"], "only --device cuda"),
        (["--steps", "0"], "expected an integer >= 1"),
        (["--loss", "perceptual"], "invalid choice"),
        (["--resume", "no/such/file"], "no such checkpoint"),
        (["--batch", "41"], "batch size 41"),
        (["--size", "9"], "image size 9"),
    ],
)
def test_a_users_mistake_is_one_line_and_status_2(argv, said, small, tmp_path):
    _, err = run("dcgan_mnist.py", *small, "--out", tmp_path, *argv, status=2)
    assert said in complaint(err)
    assert not list(tmp_path.iterdir())


def test_a_checkpoint_of_another_shape_is_refused(small, whole, tmp_path):
    damaged = tmp_path / CHECKPOINT
    damaged.write_bytes(whole.read_bytes()[:-100])
    _, err = run("dcgan_mnist.py", "--resume", damaged, status=2)
    assert str(damaged) in complaint(err)
    _, err = run("dcgan_mnist.py", "--resume", whole, "--width", 8, status=2)
    assert "--width 4" in complaint(err)


def test_resuming_on_other_data_is_refused(whole, tmp_path):
    _, err = run("dcgan_mnist.py", "--resume", whole, "--data", "digits", "--steps", 40, status=2)
    assert "40 images; --data names drawn digits" in complaint(err)


def test_resuming_a_finished_run_says_so(whole, tmp_path):
    out, _ = run("dcgan_mnist.py", "--resume", whole, "--steps", 30, "--out", tmp_path)
    assert "30 steps were done already: ask for more with --steps" in out
    assert (tmp_path / "losses.png").exists()


def test_an_output_folder_that_cannot_be_made_is_one_line(small, tmp_path):
    (tmp_path / "file").write_text("in the way")
    argv = [*small, "--steps", 1, "--out", tmp_path / "file" / "run"]
    _, err = run("dcgan_mnist.py", *argv, status=2)
    assert "error: " in complaint(err)
