"""Maximum likelihood, where generative models begin, and the divergences that came after it.

The most likely model of a sample is the one with the least KL(p̂ ‖ p_θ), p̂ being the sample itself,
each point with its share: the mean of −ln p_θ is H(p̂) + KL(p̂ ‖ p_θ), and H(p̂) is none of the
model's concern. So it is descended here, on two tables and on a Gaussian. Then the model is too
simple, one Gaussian for data with two humps, and each divergence makes another choice. And where
densities do not overlap, JS, which the first GANs descend, makes none at all.

    python examples/theory/maximum_likelihood.py                      3 seconds

It writes maximum_likelihood.png and prints the numbers.
"""

from __future__ import annotations

import math

import numpy as np

from minigan import Tensor, cpu, grad, no_grad, plots, tensor
from minigan import functional as F
from minigan.data import Gaussian, GaussianMixture1D
from minigan.evaluation import cells, entropy, js, kl, levels, shared_out
from minigan.training import make_folder, options, run

PAIRS = [(0, 0), (0, 0), (1, 0), (1, 1)]  # the sample of (x, y)
HUMPS = GaussianMixture1D([-2, 2], [0.4, 0.4], [0.3, 0.7])
STARTS = np.array([(mean, 0.0) for mean in (-3, -1, 0.5, 1, 3)])  # of one Gaussian: mean and ln std
NARROW, FAR = 0.2, 4.0  # the width of two Gaussians, and how far apart they are
STEPS = 2000
CELL = 0.02
X = cells(-8, 8, CELL)


def main(argv=None):
    args = options.parse(
        options.parser(__doc__.splitlines()[0], out="runs/maximum_likelihood"), argv
    )
    make_folder(args.out)
    with plots.panels(2, 3, size=(13, 7.6)) as (figure, (above, below)):
        lines = tables(*above[:2]) + numbers(above[2]) + humps(*below[:2]) + apart(below[2])
    file = plots.save_figure(figure, args.out / "maximum_likelihood.png")
    print(*lines, f"picture: {file}", sep="\n")
    return 0


def descend(loss, starts, rate) -> np.ndarray:
    """Plain gradient descent of several starts side by side: the way of each, (steps + 1, …)."""
    theta = tensor(np.array(starts), requires_grad=True)
    way = [theta.numpy().copy()]
    for _ in range(STEPS):
        (slope,) = grad(loss(theta).sum(), [theta])  # of a sum whose terms share no parameter
        with no_grad():
            theta -= rate * slope
        way.append(theta.numpy().copy())
    return np.array(way)


# --- Maximum likelihood is least KL --------------------------------------------------------------


def tables(left, right) -> list[str]:
    """Discriminative: for each x one distribution of y. Generative: one of all pairs (x, y)."""
    shares = np.zeros((2, 2))
    for pair in PAIRS:
        shares[pair] += 1 / len(PAIRS)

    def surprise(log_p):
        return -(Tensor(shares) * log_p).sum()  # the mean of −ln p over the sample

    def joint(logits):
        return F.log_softmax(logits.reshape(4)).reshape(2, 2)

    way = descend(lambda logits: surprise(F.log_softmax(logits)), np.zeros((2, 2)), rate=1.0)
    given_x = F.softmax(Tensor(way[-1])).numpy()
    way = descend(lambda logits: surprise(joint(logits)), np.zeros((2, 2)), rate=1.0)
    log_p = [joint(Tensor(logits)) for logits in way]
    p = [F.exp(each).numpy() for each in log_p]
    draw_tables(left, {"generative, P(x, y)": p[-1], "discriminative, P(y | x)": given_x})

    found, least = np.array([surprise(each).item() for each in log_p]), entropy(shares)
    rest = np.array([kl(shares, each) for each in p])
    steps = np.arange(1, len(way) + 1)
    right.semilogx(steps, found, color=plots.P_DATA, label="the mean of −ln p(x, y)")
    right.semilogx(steps, rest, color=plots.P_G, label="KL(p̂ ‖ p)")
    right.axhline(least, color=plots.GUIDE, ls=":", label="H(p̂)")
    right.set(title="descending one descends the other", xlabel="step", ylabel="nats")
    right.legend(loc="center left", bbox_to_anchor=(0, 0.4))
    return [
        f"P(x, y) {p[-1].round(3).tolist()}, P(y | x) {given_x.round(3).tolist()}; the mean of "
        f"-ln p, less H(p) = {least:.4f}, is KL within {np.abs(found - least - rest).max():.0e}"
    ]


def draw_tables(panel, named):
    """Tables of probabilities side by side: a row for each x, a column for each y."""
    for k, (name, table) in enumerate(named.items()):
        panel.imshow(table, cmap="Greens", vmax=2, extent=(3 * k - 0.5, 3 * k + 1.5, 1.5, -0.5))
        panel.text(3 * k + 0.5, -0.65, name, ha="center")
        for (x, y), value in np.ndenumerate(table):
            panel.text(3 * k + y, x, f"{value:.2f}", ha="center", va="center", size=13)
    panel.set(xlim=(-0.6, 4.6), ylim=(1.6, -1), yticks=[0, 1], yticklabels=["x = 0", "x = 1"])
    panel.set_xticks([0, 1, 3, 4], ["y = 0", "y = 1"] * 2)
    panel.set_title("two models of (0, 0), (0, 0), (1, 0), (1, 1)")


def log_normal(x, theta):
    """ln N(x; m, s²) at the points x (n,), for each row (m, ln s) of theta: (starts, n)."""
    z = (Tensor(x) - theta[:, :1]) / F.exp(theta[:, 1:])
    return -0.5 * z * z - theta[:, 1:] - 0.5 * math.log(2 * math.pi)


def numbers(panel) -> list[str]:
    """The most likely Gaussian has the sample's own mean and variance."""
    sample = Gaussian(1, 1.5).sample(cpu.generator(0), 200).ravel().astype(float)
    way = descend(lambda theta: -log_normal(sample, theta).mean(1), STARTS[:1], rate=0.2)
    for name, (mean, log_std), style in (("start", way[0, 0], ":"), ("end", way[-1, 0], "-")):
        panel.plot(X, Gaussian(mean, math.exp(log_std)).pdf(X), style, color=plots.P_G, label=name)
    panel.plot(sample, np.full(len(sample), -0.015), "|", color=plots.P_DATA, alpha=0.5, ms=9)
    panel.set(title="a Gaussian learns 200 numbers", xlabel="x", ylabel="density", xlim=(-6, 6))
    panel.legend(loc="upper right")
    variance = math.exp(2 * log_std)
    return [
        f"a Gaussian: mean {mean:.6f}, off by {abs(mean - sample.mean()):.0e}; variance "
        f"{variance:.6f}, off by {abs(variance - sample.var()):.0e}"
    ]


# --- What each divergence chooses ----------------------------------------------------------------


def kullback_leibler(log_p, log_q):
    """KL(p ‖ q) of densities on the cells, (…, cells) -> (…)."""
    return (F.exp(log_p) * (log_p - log_q)).sum(1) * CELL


def jensen_shannon(log_p, log_q):
    """JS; ln ½ (p + q) = ln p + softplus(ln q − ln p) − ln 2 never asks for ln 0."""
    middle = log_p + F.softplus(log_q - log_p) - math.log(2)
    return 0.5 * kullback_leibler(log_p, middle) + 0.5 * kullback_leibler(log_q, middle)


DIVERGENCES = {  # with a colour, the size of a dot, and a rate of descent
    "KL(p_data ‖ p_g)": (kullback_leibler, plots.D_STAR, 10, 0.05),
    "KL(p_g ‖ p_data)": (lambda p, q: kullback_leibler(q, p), plots.D, 10, 0.05),
    "JS": (jensen_shannon, plots.PINK, 5, 0.2),
}


def humps(left, right) -> list[str]:
    """One Gaussian for two humps, from several starts."""
    p, lines = shared_out(HUMPS.pdf(X), CELL), []
    log_p = Tensor(np.log(p))[None]
    left.fill_between(X, p, color=plots.P_DATA, alpha=0.15, lw=0, label="data")
    for name, (divergence, color, size, rate) in DIVERGENCES.items():
        way = descend(lambda theta, f=divergence: f(log_p, log_normal(X, theta)), STARTS, rate)
        ends = np.unique(np.round(way[-1], 3) + 0.0, axis=0)
        right.plot(way[:, :, 0], np.exp(way[:, :, 1]), color=color, lw=1, alpha=0.7)
        right.plot(ends[:, 0], np.exp(ends[:, 1]), "o", color=color, ms=size, label=name)
        for mean, std in zip(ends[:, 0], np.exp(ends[:, 1]), strict=True):
            q = shared_out(Gaussian(mean, std).pdf(X), CELL)
            left.plot(X, q, "--" if name == "JS" else "-", color=color)
            found = kl(p, q, cell=CELL), kl(q, p, cell=CELL), js(p, q, cell=CELL)
            lines.append(
                f"{name.replace('‖', '||')} rests at mean {mean:.2f}, std {std:.2f}: "
                "KL {:.3f}, reverse {:.3f}, JS {:.3f} nats".format(*found)
            )
    right.plot(STARTS[:, 0], np.exp(STARTS[:, 1]), "k+", label="starts")
    left.set(title="one Gaussian for two humps", xlabel="x", ylabel="density", xlim=(-6, 6))
    right.set(title="where five starts end", xlabel="mean", ylabel="standard deviation")
    right.legend(loc="upper right", fontsize=8.5)
    return lines


def wasserstein1(theta):
    """W₁ between N(0, NARROW²) and each model, by their quantiles."""
    z = Tensor(Gaussian().quantile(levels(1000)))
    return abs(NARROW * z - (theta[:, :1] + F.exp(theta[:, 1:]) * z)).mean(1)


def apart(panel) -> list[str]:
    """The data's own Gaussian, at a distance: how hard is it pulled home?"""
    distances = np.arange(0, FAR + 0.01, 0.1)
    here = np.stack([distances, np.full(len(distances), math.log(NARROW))], axis=1)
    log_p = log_normal(X, Tensor(np.array([[0.0, math.log(NARROW)]])))
    losses = {"JS": lambda theta: jensen_shannon(log_p, log_normal(X, theta)), "W1": wasserstein1}
    lines = []
    for (name, loss), color in zip(losses.items(), (plots.PINK, plots.P_G), strict=True):
        theta = tensor(here, requires_grad=True)
        slopes = grad(loss(theta).sum(), [theta])[0].numpy()[:, 0]
        panel.plot(distances, slopes, color=color, label=name)
        end = descend(loss, here[-1:], rate=0.01)[-1, 0, 0]
        lines.append(f"{FAR:g} away {name} pulls by {abs(slopes[-1]):.0e}, ends {end:.2f} away")
    panel.set(title="the pull at a mean, by its distance", xlabel="distance", ylabel="slope")
    panel.legend()
    return lines


if __name__ == "__main__":
    run(main)
