"""wgan.py: what its critics find is held against W₁ by quadrature, and its image run goes on."""

import re
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image
from running import complaint, module, run
from safetensors.numpy import load_file
from scipy.integrate import quad
from scipy.optimize import brentq
from scipy.stats import norm

from minigan import cpu, models, optim
from minigan import functional as F
from minigan.training import checkpoint

CHECKPOINT = "checkpoint.safetensors"


def gap(x):
    """F_g − F_d of the example's two densities, by SciPy."""
    return norm.cdf(x, 0.5, 1.5) - 0.5 * (norm.cdf(x, -2, 0.5) + norm.cdf(x, 1.5, 0.5))


TURNS = [brentq(gap, *ends) for ends in ((-4, -2), (0, 1), (1, 2))]  # where mass turns round
EXACT = quad(lambda x: abs(gap(x)), -9, 9, points=TURNS, limit=200)[0]


@pytest.fixture
def example(monkeypatch):
    return module("wgan")


class Silent:
    def advance(self):
        pass


def alone(example, way, steps, seed=1):
    args = SimpleNamespace(seed=seed, steps=steps)
    return example.learn_alone(example.WAYS[way], args, cpu, Silent())[-1]


def test_the_example_knows_the_exact_distance_and_the_best_critic(example):
    assert abs(example.W1 - EXACT) < 1e-4

    def best(x):  # slope 1, and the other way after each turn
        first, second, third = (2.0 * F.relu(x - turn) for turn in TURNS)
        return x - first + second - third

    verdict = example.judge(best, cpu)
    assert verdict.steepest == pytest.approx(1, abs=1e-3)
    assert verdict.value == pytest.approx(EXACT, rel=1e-3)
    tripled = example.judge(lambda x: 3.0 * best(x), cpu)
    assert tripled.bound == pytest.approx(verdict.bound, rel=1e-4)


def test_the_one_sided_penalty_finds_the_distance_where_the_others_do_not(example):
    """The bar: within 5% of W₁, from below if divided by K, and as it is from above."""
    penalised = alone(example, 3, steps=1500)
    assert 0.95 * EXACT < penalised.bound < EXACT
    assert abs(penalised.value / EXACT - 1) < 0.06
    for way, share in ((0, 0.85), (1, 0.85), (2, 0.95)):  # clipped twice; two-sided: trapped
        assert 0 < alone(example, way, steps=600).bound < share * EXACT
    wide, narrow = (alone(example, way, steps=50).value for way in (1, 0))
    assert wide > 100 * narrow  # the value of a clipped critic says what the clipping was


def test_gradients_vanish_and_explode_with_the_clip_and_not_with_the_penalty(example, monkeypatch):
    monkeypatch.setattr(example, "DEEP_STEPS", 30)
    args = SimpleNamespace(seed=0)
    ratios = []
    for way in example.DEEP:
        first, *_, last = example.norms_through_layers(way, args, cpu, Silent())
        ratios.append(first / last)
    vanished, faded, exploded, penalised = ratios
    assert vanished < 1e-8 and vanished < faded < 0.1 and exploded > 1e3
    assert 0.03 < penalised < 30


def test_on_the_line_the_critic_follows_the_distance_and_the_run_ends_in_a_picture(tmp_path):
    out, _ = run("wgan.py", "--quick", "--out", tmp_path)
    *critics, last = out.splitlines()
    assert len(critics) == 4
    for line in critics:
        value, steepest, ratio = map(float, re.findall(r"(?:value|slope|ratio) (-?[\d.]+)", line))
        assert ratio < EXACT and ratio == pytest.approx(value / steepest, rel=0.001)
    exact, found, start, end, off = map(
        float, re.findall(r"(?:exact|critic|from|to|by) ([\d.]+)", last)
    )
    assert exact == pytest.approx(EXACT, abs=1e-4) and 0.9 * EXACT < found < EXACT
    assert end < 0.5 * start and off < 0.15 * start
    with Image.open(tmp_path / "wgan.png") as picture:
        assert picture.size == (1250, 700)


# --- On images -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """Options of an image run that takes milliseconds a step, on forty small pictures."""
    folder = tmp_path_factory.mktemp("images")
    random = np.random.default_rng(0)
    for i in range(40):
        pixels = random.integers(0, 255, (8, 8, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{i:02d}.png")
    networks = ["--size", 8, "--width", 4, "--hidden", 6, "--latent", 3]
    return ["--data", folder, *networks, "--batch", 8, "--samples", 4, "--every", 3]


@pytest.fixture(scope="module")
def whole(small, tmp_path_factory):
    out = tmp_path_factory.mktemp("whole")
    run("wgan.py", *small, "--steps", 9, "--out", out)
    return out / CHECKPOINT


def test_an_image_run_in_two_parts_is_the_run_in_one(small, whole, tmp_path):
    run("wgan.py", *small, "--steps", 3, "--out", tmp_path)
    before = load_file(tmp_path / CHECKPOINT)
    run("wgan.py", "--resume", "--steps", 9, "--out", tmp_path)
    after, same = load_file(tmp_path / CHECKPOINT), load_file(whole)
    assert after.keys() == same.keys()
    assert all(after[key].tobytes() == same[key].tobytes() for key in same)
    weights = [k for k in after if k.startswith(("G/", "D/", "average/")) and "running" not in k]
    still = {key for key in weights if not (before[key] != after[key]).any()}
    constant = max(key for key in weights if key.startswith("D/") and key.endswith("bias"))
    assert len(weights) > 20 and still <= {constant}, "what is added to f cancels in its value"
    names = {path.name for path in tmp_path.iterdir()}
    assert {"samples_000009.png", "value.png", "training.gif"} < names


def test_a_checkpoint_says_how_to_make_its_generator(whole):
    how = checkpoint.peek(whole)["generator"]
    assert (how["network"], how["noise"], how["low"]) == ("dcgan", "normal", -1.0)
    G = models.dcgan_generator(rng=cpu.generator(0), **how["arguments"])
    average = optim.EMA(G)
    checkpoint.load(whole, {"average": average}, partial=True)
    saved = load_file(whole)
    for key, value in average.network.state().items():
        np.testing.assert_array_equal(value, saved[f"average/{key}"])


def test_clipped_weights_stay_within_their_bound_and_others_do_not(small, whole, tmp_path):
    run("wgan.py", *small, "--clip", 0.015, "--steps", 3, "--out", tmp_path)
    clipped, free = load_file(tmp_path / CHECKPOINT), load_file(whole)

    def largest(saved):
        return max(abs(v).max() for k, v in saved.items() if k.startswith("D/") and "run" not in k)

    assert largest(clipped) == np.float32(0.015) < largest(free)


def test_what_does_not_go_together_is_one_line(whole, tmp_path):
    _, err = run("wgan.py", "--clip", 0.01, "--two-sided", "--out", tmp_path, status=2)
    assert "not allowed with" in complaint(err)
    _, err = run("wgan.py", "--resume", whole, "--critic-steps", 2, status=2)
    assert "--critic-steps 5" in complaint(err)
