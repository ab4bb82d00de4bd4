"""dcgan_mnist.py: it trains with every loss, and goes on after whatever ended it."""

import os
import signal
import time

import numpy as np
import pytest
from checks import gpu_is_there
from PIL import Image
from running import complaint, equal, run, start, wait_for_another
from safetensors.numpy import load_file

from minigan import cpu, losses, models, optim
from minigan.training import checkpoint
from minigan.training.checkpoint import NAME as CHECKPOINT


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


def parameters(path):
    """All that a checkpoint holds of the two networks' weights."""
    return {
        key: value
        for key, value in load_file(path).items()
        if key.startswith(("G/", "D/")) and "running" not in key
    }


@pytest.mark.usefixtures("few_digits")
def test_it_on_drawn_digits_moves_every_parameter_of_both_networks(tmp_path):
    argv = ["--data", "digits", "--width", 4, "--batch", 16, "--samples", 9, "--every", 2]
    weights = []
    for steps in (1, 4):
        run("dcgan_mnist", *argv, "--steps", steps, "--out", tmp_path / str(steps))
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


@pytest.mark.parametrize("loss", losses.OBJECTIVES)
def test_it_trains_with_every_loss(loss, small, tmp_path):
    run("dcgan_mnist", *small, "--loss", loss, "--steps", 4, "--out", tmp_path)
    assert all(np.isfinite(value).all() for value in load_file(tmp_path / CHECKPOINT).values())


@pytest.mark.usefixtures("few_digits")
def test_it_falls_back_to_drawn_digits_and_says_so(tmp_path):
    nowhere = {"XDG_CACHE_HOME": str(tmp_path), "https_proxy": "http://127.0.0.1:9"}
    nowhere |= {"HOME": str(tmp_path), "LOCALAPPDATA": str(tmp_path), "MINIGAN_DATA": ""}
    argv = ["--steps", 1, "--width", 2, "--batch", 4, "--samples", 1, "--out", tmp_path / "run"]
    out, _ = run("dcgan_mnist", *argv, **nowhere)
    assert out.startswith("MNIST could not be reached") and "drawn digits" in out
    _, err = run("dcgan_mnist", *argv, "--data", "mnist", status=2, **nowhere)
    assert "MNIST" in complaint(err)


@pytest.fixture(scope="module")
def whole(small, tmp_path_factory):
    """The folder of a run of 30 steps that nothing disturbed."""
    out = tmp_path_factory.mktemp("whole")
    run("dcgan_mnist", *small, "--steps", 30, "--out", out)
    return out


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGKILL")
def test_a_run_killed_at_random_moments_is_the_run_that_was_not(small, whole, tmp_path):
    """Killing loses the steps since the last checkpoint, which the next run makes again."""
    random, path = np.random.default_rng(), tmp_path / CHECKPOINT
    for _ in range(5):
        argv = ["--resume"] if path.exists() else small
        child = start("dcgan_mnist", *argv, "--steps", 30, "--out", tmp_path)
        wait_for_another(path, child)
        time.sleep(random.uniform(0, 0.03))
        child.kill()
        child.communicate()
        assert path.exists()
        if child.returncode == 0:  # it was done before the blow
            break
    else:
        run("dcgan_mnist", "--resume", "--steps", 30, "--out", tmp_path)
    assert equal(tmp_path, whole)


@pytest.mark.skipif(os.name == "nt", reason="Windows sends no such signals to a child")
@pytest.mark.parametrize("name", ["SIGINT", "SIGHUP"])
def test_ctrl_c_and_a_lost_terminal_save_and_exit_cleanly(name, small, tmp_path):
    number = getattr(signal, name)
    child = start("dcgan_mnist", *small, "--steps", 100_000, "--out", tmp_path)
    wait_for_another(tmp_path / CHECKPOINT, child)
    child.send_signal(number)
    out, err = child.communicate(timeout=60)
    assert child.returncode == 128 + number
    assert "Traceback" not in err and "go on with --resume" in out
    steps = len(load_file(tmp_path / CHECKPOINT)["record/rows"])
    assert f"{steps:,} steps" in out
    run("dcgan_mnist", "--resume", "--steps", steps + 2, "--out", tmp_path)
    assert len(load_file(tmp_path / CHECKPOINT)["record/rows"]) == steps + 2


def test_a_checkpoint_of_another_shape_is_refused(small, whole, tmp_path):
    damaged = tmp_path / CHECKPOINT
    damaged.write_bytes((whole / CHECKPOINT).read_bytes()[:-100])
    _, err = run("dcgan_mnist", "--resume", damaged, status=2)
    assert str(damaged) in complaint(err)
    _, err = run("dcgan_mnist", "--resume", whole, "--width", 8, status=2)
    assert "--width 4" in complaint(err)


@pytest.mark.usefixtures("few_digits")
def test_resuming_on_other_data_is_refused(whole, tmp_path):
    _, err = run("dcgan_mnist", "--resume", whole, "--data", "digits", "--steps", 40, status=2)
    assert "40 images; --data names drawn digits" in complaint(err)


@pytest.mark.skipif(gpu_is_there(), reason="this machine has a GPU")
def test_without_a_gpu_it_says_so_in_one_line(small, tmp_path):
    _, err = run("dcgan_mnist", *small, "--out", tmp_path, "--device", "cuda", status=2)
    assert "device 'cuda'" in complaint(err)
    assert not list(tmp_path.iterdir())


# --- As a Wasserstein GAN ------------------------------------------------------------------------

CRITIC = ["--loss", "wasserstein", "--critic-steps", 5]


@pytest.fixture(scope="module")
def criticised(small, tmp_path_factory):
    """The checkpoint of a run with a gradient penalty."""
    out = tmp_path_factory.mktemp("criticised")
    run("dcgan_mnist", *small, *CRITIC, "--hidden", 6, "--steps", 9, "--out", out)
    return out / CHECKPOINT


def test_a_run_with_a_critic_in_two_parts_is_the_run_in_one(small, criticised, tmp_path):
    run("dcgan_mnist", *small, *CRITIC, "--hidden", 6, "--steps", 3, "--out", tmp_path)
    before = load_file(tmp_path / CHECKPOINT)
    run("dcgan_mnist", "--resume", "--steps", 9, "--out", tmp_path)
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
    run("dcgan_mnist", *argv)
    clipped, free = load_file(tmp_path / CHECKPOINT), load_file(criticised)

    def largest(saved):
        return max(abs(v).max() for k, v in saved.items() if k.startswith("D/") and "run" not in k)

    assert largest(clipped) == np.float32(0.015) < largest(free)


def test_a_run_keeps_its_critics_steps(criticised):
    _, err = run("dcgan_mnist", "--resume", criticised, "--critic-steps", 2, status=2)
    assert "--critic-steps 5" in complaint(err)
