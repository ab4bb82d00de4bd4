"""Truncation: the noise's law, what batch norms make of it, and the weights it asks for."""

import math
from statistics import NormalDist

import numpy as np
import pytest
from checks import check_gradients, fill

from minigan import nn, optim
from minigan.backend import cpu
from minigan.engine import Tensor, grad, tensor
from minigan.gan import orthogonal_penalty, standing_statistics, truncated_normal
from minigan.gan.truncation import _alike, _quantile
from minigan.models import BigGANGenerator

N01 = NormalDist()


# --- Noise ---------------------------------------------------------------------------------------


def test_the_quantile_is_the_normal_s():
    q = np.concatenate([np.linspace(-0.499, 0.499, 999), [0.5 - 1e-9, 1e-9 - 0.5]])
    expected = [math.copysign(N01.inv_cdf(0.5 - abs(x)), x) for x in q]
    np.testing.assert_allclose(_quantile(np, q), expected, rtol=1e-13, atol=1e-16)


@pytest.mark.parametrize("limit", [0.1, 0.5, 1.0, 2.0, 9.0])
def test_noise_has_the_law_of_drawing_again(limit):
    """Kolmogorov: of n values the largest gap to the distribution function is below 1.95 / √n, but
    once in a thousand. Numbers times the limit would be 0.1 and more away.
    """
    n, inside = 20_000, 2 * N01.cdf(limit) - 1
    z = np.sort(truncated_normal(cpu.generator(0), (n,), limit))
    assert z.dtype == np.float32 and abs(z).max() <= limit
    for values, fits in ((z, True), (limit * truncated_normal(cpu.generator(1), (n,), 2), False)):
        at = np.clip(np.sort(values).astype(float), -limit, limit)
        cdf = np.array([(N01.cdf(x) - N01.cdf(-limit)) / inside for x in at])
        gap = abs(cdf - np.arange(n) / n).max()
        assert (gap < 1.95 / math.sqrt(n)) if fits else (gap > 0.09)


@pytest.mark.parametrize("limit", [0, -1.0, math.nan])
def test_there_is_no_noise_within_nothing(limit):
    with pytest.raises(ValueError, match=r"limit is .*, expected a number > 0"):
        truncated_normal(cpu.generator(0), (2,), limit)


def test_noise_of_a_captured_step_is_new_every_time(cuda):
    """And nobody waits for the device, to see whether all are within the limit."""
    rng = cuda.generator(0)
    step = cuda.capture(lambda: truncated_normal(rng, (500,), 0.7))
    seen = set()
    for _ in range(6):
        z = step()
        found = cuda.to_numpy(z)
        assert abs(found).max() <= 0.7 and abs(found.std() - 0.385) < 0.04
        seen.add(found.tobytes())
    assert len(seen) == 6
    if hasattr(cuda.xp, "hardware"):
        with cuda.xp.refusing_synchronisation():
            truncated_normal(rng, (500,), 0.7)


# --- Batch norms ---------------------------------------------------------------------------------


def norms():
    rng = cpu.generator(0)
    return nn.Sequential(
        nn.SpectralNorm(nn.Linear(2, 3, rng=rng), rng=rng),
        nn.BatchNorm(3, momentum=0.2, rng=rng),
        nn.Dropout(0.5, rng=rng),
    )


def test_standing_statistics_are_the_means_over_the_batches():
    G, x = norms(), [cpu.generator(k).normal((7, 2)) for k in range(1, 4)]
    optim.Adam(G, 0.1)
    G(Tensor(x[0])), G.eval()
    before = {key: array.copy() for key, array in G.state().items()}
    queue = list(x)
    assert standing_statistics(G, lambda: (Tensor(queue.pop(0)),), 3) is G and not queue
    after, seen = G.state(), [G[0](Tensor(part)).numpy() for part in x]
    means = np.mean([part.mean(0) for part in seen], 0)
    variances = np.mean([part.var(0, ddof=1) for part in seen], 0)
    np.testing.assert_allclose(after["1.running_mean"], means, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(after["1.running_variance"], variances, rtol=1e-5)
    for key in before.keys() - {"1.running_mean", "1.running_variance"}:
        np.testing.assert_array_equal(after[key], before[key])  # weights, and the spectral norm's u
    assert G[1].momentum == 0.2 and not any(module.training for _, module in G.modules())


def test_what_was_set_for_them_is_set_back_after_an_error():
    G = norms()
    with pytest.raises(TypeError):
        standing_statistics(G, lambda: (np.ones(3),), 2)
    assert G[1].momentum == 0.2 and G[1].training
    with pytest.raises(ValueError, match="batches is 0"):
        standing_statistics(G, lambda: (np.ones(3),), 0)


def test_standing_statistics_are_the_same_on_both_devices(cuda):
    G = BigGANGenerator(rng=cpu.generator(0), size=8, width=2, latent=4, classes=3)
    there = BigGANGenerator(rng=cuda.generator(0), size=8, width=2, latent=4, classes=3)
    there.load_state(G.state())
    for net, device in ((G, cpu), (there, cuda)):
        draws = [cpu.generator(k) for k in range(3)]
        inputs = lambda draws=draws, device=device: (
            tensor((rng := draws.pop()).normal((5, 4)), device=device),
            tensor(rng.integers(0, 3, (5,)), device=device),
        )
        standing_statistics(net.eval(), inputs, 3)
    for a, b in zip(there.state().values(), G.state().values(), strict=True):
        np.testing.assert_allclose(cuda.to_numpy(a), b, rtol=1e-4, atol=1e-5)


# --- Weights -------------------------------------------------------------------------------------


def layers(init=None):
    rng = cpu.generator(0)
    return nn.Sequential(
        nn.Linear(3, 4, rng=rng, init=init),  # more filters than inputs
        nn.SpectralNorm(nn.Conv2d(2, 3, (2, 1), rng=rng, init=init), rng=rng),
        nn.ConvTranspose2d(2, 3, 2, rng=rng, init=init),
        nn.Embedding(3, 2, rng=rng),
    )


def by_loops(array, axis):
    """Σ over pairs of filters of their squared inner product."""
    filters = np.moveaxis(array, axis, 0).reshape(array.shape[axis], -1)
    pairs = [(w, v) for i, w in enumerate(filters) for j, v in enumerate(filters) if i != j]
    return sum((w @ v) ** 2 for w, v in pairs)


def test_the_orthogonal_penalty_is_its_definition():
    net = layers().astype("float64")
    for k, p in enumerate(net.parameters()):
        p.data[...] = fill(p.shape, seed=k)
    weights = [(net[0].weight, 1), (net[1].layer.weight, 3), (net[2].weight, 2)]
    expected = 0.3 * sum(by_loops(w.numpy(), axis) for w, axis in weights)
    assert orthogonal_penalty(net, 0.3).item() == pytest.approx(expected, rel=1e-12)
    for layer in (net[0], net[1].layer, net[2]):
        w, b = (p.numpy() for p in layer.parameters())
        check_gradients(lambda w, layer=layer, b=b: _alike(layer.at([w, tensor(b)])), w)


def test_orthogonal_layers_have_no_penalty_to_pay():
    """Nor any gradient to follow; but four filters of three numbers can't be orthogonal."""
    net = layers(nn.orthogonal(2.0))[1:2]
    loss = orthogonal_penalty(net, 1.0)
    gradients = grad(loss, net.parameters(), unused="zeros")
    assert abs(loss.item()) < 1e-4 and max(abs(g.numpy()).max() for g in gradients) < 1e-4
    assert orthogonal_penalty(layers(nn.orthogonal())[:1], 1.0).item() > 0.1
