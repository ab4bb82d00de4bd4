"""Bounds of the likelihood against plain loops, closed forms and differences; on both devices."""

import math

import numpy as np
import pytest
from checks import check_gradients, fill

from minigan import cpu, tensor
from minigan.engine import ShapeError, Tensor, grad
from minigan.gan import (
    BernoulliLikelihood,
    GaussianLikelihood,
    elbo,
    gaussian_kl,
    log_mean_exp,
    log_weights,
    reparametrised,
)
from minigan.models import GaussianEncoder, vae_decoder


def ln_normal(x, mu, variance):
    return sum(
        -0.5 * ((a - m) ** 2 / v + math.log(2 * math.pi * v))
        for a, m, v in zip(x.flat, mu.flat, np.broadcast_to(variance, x.shape).flat, strict=True)
    )


def ln_bernoulli(x, logits):
    p = 1 / (1 + np.exp(-logits))
    return float((x * np.log(p) + (1 - x) * np.log(1 - p)).sum())


def model(kind="gaussian", device=cpu, dtype="float64"):
    """An encoder, a decoder and a likelihood of images 2 × 2, with two dimensions of z."""
    weights = device.generator(0)
    E = GaussianEncoder([4, 5, 2], rng=weights)
    E.log_variance.weight.data[...] *= 300  # so that σ² differs from x to x
    G = vae_decoder(rng=weights, latent=2, hidden=(3,), size=2, squash=kind == "gaussian")
    p = GaussianLikelihood(0.3, rng=weights) if kind == "gaussian" else BernoulliLikelihood()
    return [part.astype(dtype) for part in (E, G, p)]


def images(n=3, dtype="float64"):
    return tensor((fill((n, 2, 2, 1), "even") > 0).astype(dtype) * 0.8 + 0.1)


# --- The parts -----------------------------------------------------------------------------------


def test_kl_is_what_sampling_says_and_0_for_the_prior():
    mu, log_variance = np.array([[0.5, -1.0, 0.0]]), np.array([[-0.7, 0.3, 0.0]])
    exact = gaussian_kl(tensor(mu), tensor(log_variance)).numpy()
    assert exact.shape == (1,)
    noise = np.random.default_rng(0).standard_normal((200_000, 3))
    z = reparametrised(tensor(mu), tensor(log_variance), tensor(noise)).numpy()
    np.testing.assert_allclose(z.mean(0), mu[0], atol=0.01)
    np.testing.assert_allclose(z.var(0), np.exp(log_variance[0]), rtol=0.02)
    ratio = 0.5 * (z**2 - (z - mu) ** 2 / np.exp(log_variance) - log_variance).sum(1)
    assert abs(ratio.mean() - exact[0]) < 4 * ratio.std() / len(z) ** 0.5
    assert gaussian_kl(tensor(np.zeros((2, 3))), tensor(np.zeros((2, 3)))).numpy().tolist() == [
        0,
        0,
    ]


def test_kl_is_a_sum_over_z():
    """Not a mean: twice the dimensions cost twice the nats."""
    mu, log_variance = fill((4, 3)), fill((4, 3), seed=1)
    one = gaussian_kl(tensor(mu), tensor(log_variance)).numpy()
    two = gaussian_kl(*(tensor(np.tile(part, 2)) for part in (mu, log_variance))).numpy()
    np.testing.assert_allclose(two, 2 * one, rtol=1e-13)


def test_log_mean_exp_does_not_overflow():
    values = fill((5, 3))
    np.testing.assert_allclose(
        log_mean_exp(tensor(values)).numpy(), np.log(np.exp(values).mean(0)), rtol=1e-12
    )
    for far in (1e4, -1e4):
        shifted = log_mean_exp(tensor(values + far), 1).numpy()
        np.testing.assert_allclose(shifted - far, np.log(np.exp(values).mean(1)), atol=1e-10)
    check_gradients(lambda x: log_mean_exp(x, 1), values)
    check_gradients(log_mean_exp, values + 1e3)


@pytest.mark.parametrize("k", [None, 4])
def test_likelihoods_are_sums_over_pixels(k):
    x, made = fill((3, 2, 2, 1), "positive"), fill((3, 2, 2, 1) if k is None else (k, 3, 2, 2, 1))
    said = GaussianLikelihood(0.3)(tensor(x), tensor(made)).numpy()
    assert said.shape == made.shape[:-3]
    for index in np.ndindex(said.shape):
        assert abs(said[index] - ln_normal(x[index[-1]], made[index], 0.3)) < 1e-10
    x = (x > 1).astype(float)
    said = BernoulliLikelihood()(tensor(x), tensor(made)).numpy()
    for index in np.ndindex(said.shape):
        assert abs(said[index] - ln_bernoulli(x[index[-1]], made[index])) < 1e-10


def test_a_bernoulli_likelihood_of_far_logits_is_exact():
    x, logits = tensor([[0.0, 1.0]]), tensor([[-1e4, 1e4]])
    assert BernoulliLikelihood()(x, logits).numpy().tolist() == [0.0]
    assert BernoulliLikelihood()(x, -logits).numpy().tolist() == [-2e4]


def test_the_best_variance_is_the_mean_squared_error():
    """There ln v has no gradient, and ln p is −½ D (1 + ln 2πv)."""
    x, made = tensor(fill((6, 5))), tensor(fill((6, 5), seed=1))
    v = float(((x - made).numpy() ** 2).mean())
    p = GaussianLikelihood(v, rng=cpu.generator(0)).astype("float64")
    p.log_variance.data[...] = math.log(v)  # which had been rounded
    value = p(x, made).mean()
    assert abs(value.item() + 2.5 * (1 + math.log(2 * math.pi * v))) < 1e-12
    assert abs(grad(value, [p.log_variance])[0].item()) < 1e-12
    assert p.variance == pytest.approx(v) and not GaussianLikelihood(v).parameters()
    assert p.most((5,)) == pytest.approx(p(x, x).numpy()[0])  # of a decoder that makes x itself


@pytest.mark.parametrize("variance", [0, -1, math.inf, math.nan])
def test_impossible_variances(variance):
    with pytest.raises(ValueError, match=f"variance is {variance}, expected a number > 0"):
        GaussianLikelihood(variance)


# --- The bounds ----------------------------------------------------------------------------------

KINDS = pytest.mark.parametrize("kind", ["gaussian", "bernoulli"])


@KINDS
def test_bounds_are_what_plain_loops_say(kind):
    (E, G, p), x, k = model(kind), images(), 4
    noise = fill((k, 3, 2))
    mu, ln_v = (part.numpy() for part in E(x))
    assert np.ptp(ln_v) > 0.1
    weights = np.empty((k, 3))
    for i, n in np.ndindex(k, 3):
        z = mu[n] + np.exp(ln_v[n] / 2) * noise[i, n]
        made = G(tensor(z[None])).numpy()[0]
        pixels = x.numpy()[n]
        fits = ln_normal(pixels, made, 0.3) if kind == "gaussian" else ln_bernoulli(pixels, made)
        weights[i, n] = fits + ln_normal(z, 0 * z, 1.0) - ln_normal(z, mu[n], np.exp(ln_v[n]))
        if not i:
            first = elbo(E, G, p, x, tensor(noise[0]))
            assert abs(first.reconstruction.numpy()[n] - fits) < 1e-6
    found = log_weights(E, G, p, x, tensor(noise))
    np.testing.assert_allclose(found.numpy(), weights, atol=1e-6)
    np.testing.assert_allclose(
        log_mean_exp(found).numpy(), np.log(np.exp(weights).mean(0)), atol=1e-6
    )


@KINDS
def test_gradients_of_the_bounds_are_differences(kind):
    """Of ELBO and IWAE, in every weight, the learnt variance too."""
    (E, G, p), x, noise = model(kind), images(), fill((4, 3, 2))
    parameters = [*E.parameters(), *G.parameters(), *p.parameters()]
    for bound in (
        lambda: elbo(E, G, p, x, tensor(noise[0])).elbo.mean(),
        lambda: log_mean_exp(log_weights(E, G, p, x, tensor(noise))).mean(),
    ):
        for parameter, g in zip(parameters, grad(bound(), parameters), strict=True):
            at, u = parameter.numpy().copy(), fill(parameter.shape, seed=3)
            values = []
            for sign in (1, -1):
                parameter.data[...] = at + sign * 1e-5 * u
                values.append(bound().item())
            parameter.data[...] = at
            assert abs((values[0] - values[1]) / 2e-5 - (g.numpy() * u).sum()) < 1e-7


def test_both_forms_of_the_elbo_have_one_mean():
    """And it's at most the ln p(x) that a fine grid of z finds, as L_k is, which grows with k."""
    (E, G, p), x = model(), images()
    noise = np.random.default_rng(0).standard_normal((4000, 3, 2))
    weights = log_weights(E, G, p, x, tensor(noise)).numpy()
    parts = [elbo(E, G, p, x, tensor(some)).elbo.numpy() for some in noise[:2000]]
    np.testing.assert_allclose(np.mean(parts, 0), weights.mean(0), atol=0.15)
    of = [
        log_mean_exp(tensor(weights.reshape(-1, k, 3)), 1).numpy().mean(0) for k in (1, 5, 50, 500)
    ]
    line = np.linspace(-6, 6, 241)
    z = np.stack(np.meshgrid(line, line), -1).reshape(-1, 1, 2)
    made = G(tensor(z[:, 0])).reshape(-1, 1, 2, 2, 1)
    joint = p(x, made).numpy() - 0.5 * (z**2).sum(-1) - math.log(2 * math.pi)
    exact = np.log(np.exp(joint).sum(0)) + 2 * math.log(line[1] - line[0])
    assert (np.diff(of, axis=0) > 0).all() and (of[-1] < exact + 0.01).all()
    np.testing.assert_allclose(of[-1], exact, atol=0.05)
    assert (exact - of[0] > 0.1).all()


def test_noise_of_another_shape_is_refused():
    (E, G, p), x = model(), images()
    with pytest.raises(ShapeError, match=r"elbo: noise has shape \(2, 2\), expected \(3, 2\)"):
        elbo(E, G, p, x, tensor(fill((2, 2))))
    with pytest.raises(ShapeError, match=r"noise has shape \(3, 2\), expected \(k, 3, 2\)"):
        log_weights(E, G, p, x, tensor(fill((3, 2))))


def test_a_device_computes_the_same(cuda):
    found = []
    for device in (cpu, cuda):
        parts = model(device=device, dtype="float32")
        for part, like in zip(parts, model(dtype="float32"), strict=True):
            part.load_state(like.state())
        E, G, p = parts
        x, noise = (Tensor(device.asarray(a, "float32")) for a in (images().data, fill((4, 3, 2))))
        values = log_mean_exp(log_weights(E, G, p, x, noise)) + elbo(E, G, p, x, noise[0]).elbo
        found.append(values.numpy())
        assert isinstance(p.variance, float)
    assert found[0].dtype == np.float32
    np.testing.assert_allclose(*found, rtol=1e-4)
