"""Ways between two z, and the z of an image, against closed forms; on both devices."""

import numpy as np
import pytest

from minigan import cpu, models, nn, optim
from minigan.engine import ShapeError
from minigan.gan import invert, lerp, slerp

# --- Ways between two z --------------------------------------------------------------------------


def test_slerp_goes_round_a_circle():
    """From angle 0.3 to 1.8 at an even pace, at the radius 2."""
    angles = np.array([0.3, 1.8])
    a, b = 2 * np.stack([np.cos(angles), np.sin(angles)], axis=1)
    t = np.linspace(0, 1, 7)
    on_the_way = 2 * np.stack([np.cos(0.3 + 1.5 * t), np.sin(0.3 + 1.5 * t)], axis=1)
    np.testing.assert_allclose(slerp(a, b, t[:, None]), on_the_way, rtol=1e-13)
    np.testing.assert_allclose(lerp(a, b, t[:, None]), np.outer(1 - t, a) + np.outer(t, b))


def test_slerp_changes_the_length_at_an_even_pace():
    """Of vectors of lengths 1 and 3 at an angle near to half a turn, too."""
    a, b = np.array([1.0, 0.0]), 3 * np.array([np.cos(3.1), np.sin(3.1)])
    t = np.linspace(0, 1, 7)
    way = slerp(a, b, t[:, None])
    np.testing.assert_allclose(np.linalg.norm(way, axis=1), 1 + 2 * t, rtol=1e-12)
    np.testing.assert_allclose(np.arctan2(*way.T[::-1]), 3.1 * t, rtol=1e-12)


def test_slerp_keeps_the_length_and_lerp_does_not(cuda):
    """In many dimensions two z are at right angles: half-way between them lerp has √½ of ‖z‖."""
    z = cpu.generator(0).normal((2, 50, 1000))
    z /= np.linalg.norm(z, axis=2, keepdims=True)
    t = np.linspace(0, 1, 5, dtype="float32").reshape(5, 1, 1)
    for device in (cpu, cuda):
        a, b = map(device.asarray, z)
        ways = [device.to_numpy(way(a, b, device.asarray(t))) for way in (lerp, slerp)]
        straight, round_about = (np.linalg.norm(way, axis=2) for way in ways)
        assert ways[1].shape == (5, 50, 1000) and ways[1].dtype == np.float32
        np.testing.assert_allclose(round_about, 1, rtol=1e-5)
        np.testing.assert_allclose(straight[2], 0.5**0.5, rtol=0.05)
        for way in ways:
            np.testing.assert_allclose(way[[0, -1]], z, atol=1e-6)


@pytest.mark.parametrize("b", [[3.0, 4.0], [6.0, 8.0], [-3.0, -4.0], [0.0, 0.0]])
def test_where_there_is_no_circle_slerp_is_lerp(b):
    a, b = np.array([3.0, 4.0]), np.array(b)
    for pair in ((a, b), (b, a)):
        for t in (0, 0.25, 1):
            np.testing.assert_allclose(slerp(*pair, t), lerp(*pair, t), rtol=1e-12)


def test_slerp_of_a_small_angle_keeps_its_digits():
    """Where arccos has lost half of them."""
    for angle in (1e-3, 1e-5, 1e-7):
        a, b = np.array([1.0, 0.0]), np.array([np.cos(angle), np.sin(angle)])
        half = [np.cos(angle / 2), np.sin(angle / 2)]
        np.testing.assert_allclose(slerp(a, b, 0.5), half, rtol=1e-12)


@pytest.mark.parametrize("way", [lerp, slerp])
def test_ways_lead_between_vectors_of_one_shape(way):
    with pytest.raises(ShapeError, match=rf"{way.__name__}: got shapes \(2, 3\) and \(3,\)"):
        way(np.zeros((2, 3)), np.zeros(3), 0.5)
    with pytest.raises(TypeError, match=f"{way.__name__}: got dtypes int64 and float64"):
        way(np.arange(3), np.zeros(3), 0.5)


# --- The z of an image ---------------------------------------------------------------------------


class Told(nn.Module):
    """G(z, y) = W z + y."""

    def __init__(self, rng, latent=3, pixels=5):
        self.linear = nn.Linear(latent, pixels, rng=rng, bias=False, init=nn.normal(1.0))

    def forward(self, z, y):
        return self.linear(z) + y


def linear(dtype="float64", device=cpu):
    """A linear G in evaluation mode, with four images, three starts each, and what G is told."""
    G, rng = Told(device.generator(0)).astype(dtype).eval(), cpu.generator(1)
    shapes = (4, 5), (4, 3, 3), (4, 5)
    return G, *(device.asarray(rng.normal(shape, dtype)) for shape in shapes)


@pytest.mark.parametrize("prior", [0.0, 0.7])
def test_inverting_a_linear_generator_is_ridge_regression(prior):
    """argmin ‖x − W z − y‖² + λ ‖z‖² = (Wᵀ W + λ)⁻¹ Wᵀ (x − y), from every start."""
    G, x, starts, y = linear()
    before, given = G.linear.weight.numpy().copy(), starts.copy()
    found = invert(G, x, starts, y, steps=600, prior=prior)
    W = before.T  # nn.Linear computes z @ weight
    z = np.linalg.solve(W.T @ W + prior * np.eye(3), W.T @ (x - y).T).T
    np.testing.assert_allclose(found.every_z, np.repeat(z[:, None], 3, axis=1), atol=1e-5)
    np.testing.assert_allclose(found.z, z, atol=1e-5)
    squares = ((x - y - z @ before) ** 2).sum(axis=1)
    np.testing.assert_allclose(found.errors, np.repeat(squares[:, None], 3, axis=1), atol=1e-5)
    np.testing.assert_array_equal(G.linear.weight.numpy(), before)
    np.testing.assert_array_equal(starts, given)


def test_a_hole_is_not_seen_and_a_penalty_is_heeded():
    """argmin Σ w (x − W z − y)² + c ‖W z + y‖² = (Wᵀ (w + c) W)⁻¹ Wᵀ (w (x − y) − c y)."""
    G, x, starts, y = linear()
    w, c = np.array([[0, 1, 2, 3, 4.0]] * 4), 0.5
    how = {"steps": 600, "weight": w, "penalty": lambda made: (made * made).sum(1) * c}
    found = invert(G, x, starts, y, **how)
    W = G.linear.weight.numpy().T
    for i, z in enumerate(found.z):
        right = W.T @ (w[i] * (x[i] - y[i]) - c * y[i])
        np.testing.assert_allclose(z, np.linalg.solve(W.T * (w[i] + c) @ W, right), atol=1e-5)
        made = W @ z + y[i]
        value = (w[i] * (x[i] - made) ** 2).sum() + c * (made**2).sum()
        np.testing.assert_allclose(found.errors[i], value, rtol=1e-5)
    x[:, 0] = 7.0  # in the hole
    np.testing.assert_array_equal(invert(G, x, starts, y, **how).z, found.z)


def test_a_prior_that_falls_to_nothing_leaves_no_trace():
    G, x, starts, y = linear()
    fading = optim.linear_decay(5.0, 300, start=0)
    plain, faded, held = (
        invert(G, x, starts, y, steps=800, prior=prior).z for prior in (0.0, fading, 5.0)
    )
    np.testing.assert_allclose(faded, plain, atol=1e-5)
    assert np.abs(held - plain).max() > 0.1


def test_a_bound_is_kept_and_reached():
    """Least squares within a box: where z is free, the slope is 0; at the wall, it points out."""
    G, x, starts, y = linear()
    x = 3 * x
    z = invert(G, x, starts.clip(-0.5, 0.5), y, steps=600, bound=0.5).z
    W = G.linear.weight.numpy().T
    slope = (z @ W.T - (x - y)) @ W
    inside = np.abs(z) < 0.5
    assert np.abs(z).max() == 0.5 and inside.any() and not inside.all()
    np.testing.assert_allclose(slope[inside], 0, atol=1e-4)
    assert (slope[~inside] * z[~inside] < 0).all()


class Fold(nn.Module):
    """G(z) = (z² − 1)² + z / 4: of two valleys one is the deeper."""

    def forward(self, z):
        return (z * z - 1.0) ** 2 + z * 0.25


def test_the_start_that_comes_nearest_counts():
    x, starts = np.full((2, 1), -5.0), np.array([[[1.5], [-1.5]], [[-0.5], [0.5]]])
    found = invert(Fold().eval(), x, starts, steps=200)
    assert (found.z < -0.9).all() and found.every_z[0, 0] > 0.9 and found.every_z[1, 1] > 0.9
    np.testing.assert_array_equal(found.error, found.errors.min(axis=1))


def test_captured_steps_find_what_eager_ones_find(cuda):
    """A DCGAN told classes, with a prior that moves from step to step, a bound and a penalty."""
    shape = {"size": 8, "width": 2, "classes": 3, "latent": 4}
    state = models.ConditionalGenerator(rng=cpu.generator(0), **shape).state()
    rng, results = cpu.generator(1), []
    x, starts = rng.uniform((2, 8, 8, 1), -1, 1), rng.normal((2, 3, 4)).clip(-1, 1)
    for device in (cpu, cuda):
        G = models.ConditionalGenerator(rng=device.generator(0), **shape).eval()
        G.load_state(state)
        given = map(device.asarray, (x, starts, np.array([0, 2])))
        fading = optim.linear_decay(1.0, 8, start=0)
        weight = device.asarray(np.linspace(0, 1, 2 * 64).reshape(2, 8, 8, 1).astype("float32"))
        how = {"weight": weight, "penalty": lambda made: (made * made).sum((1, 2, 3)) * 0.1}
        found = invert(G, *given, steps=10, prior=fading, bound=1.0, **how)
        results.append([device.to_numpy(part) for part in found])
    for here, there in zip(*results, strict=True):
        np.testing.assert_allclose(there, here, rtol=1e-3, atol=1e-3)
    assert np.abs(results[0][0]).max() <= 1


def test_what_cannot_be_inverted_is_said():
    G, x, starts, y = linear()
    with pytest.raises(ValueError, match="G is in training"):
        invert(G.train(), x, starts, y)
    G.eval()
    for wrong in ((x[:3], starts, y), (x, starts[:, 0], y), (x, starts, y[:1])):
        with pytest.raises(ShapeError, match="invert: got shapes"):
            invert(G, *wrong)
    with pytest.raises(ShapeError, match="invert: got shapes"):
        invert(G, x, starts, y, weight=np.ones((1, 5)))
    with pytest.raises(ValueError, match="steps is 0"):
        invert(G, x, starts, y, steps=0)
