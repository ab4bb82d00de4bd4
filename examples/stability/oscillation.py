"""Why GANs circle: the two smallest games there are, and what makes them settle.

Descending a loss leads downhill. Two players who each descend their own loss need not come down
anywhere. In the bilinear game, min over θ and max over ψ of θ ψ, and in the Dirac-GAN (Mescheder
et al. 2018), one number θ generated, one datum at 0 and the discriminator D(x) = ψ x, the only
rest is at θ = ψ = 0, and the steps go around it:

    simultaneous steps      spiral out: each moves by where the other was
    alternating steps       circle: each answers the other's move
    two time scales         circle too, on an ellipse: a faster D alone does not help
    extragradient           converges: a look ahead, then the step (Korpelevich 1976)
    R1                      converges: a penalty on D's slope at the data (Mescheder et al. 2018)

python examples/stability/oscillation.py holds each against theory and draws oscillation.png.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from minigan import grad, losses, plots, tensor
from minigan.gan import penalties
from minigan.training import make_folder, options, run

RATE = 0.2
START = (0.0, 1.0)  # θ and ψ
STEPS = 300


# --- The games: G's loss and D's loss, given θ and ψ ---------------------------------------------


def bilinear(theta, psi, gamma):
    """V = θ ψ: G descends V, D ascends it. R1's counterpart here is a weight on ψ²."""
    return theta * psi, -(theta * psi) + 0.5 * gamma * psi * psi


def dirac(theta, psi, gamma):
    """The minimax GAN with data at 0, samples at θ and D(x) = ψ x.

    With the non-saturating loss the circles would shrink, ever more slowly: try it.
    """

    def D(x):
        return x * psi

    objective, real = losses.Minimax(), tensor([0.0])
    loss = objective.discriminator(D(real), D(theta))
    if gamma:
        loss = loss + penalties.r1_penalty(weight=gamma)(D, real.reshape(1, 1), theta)
    return objective.generator(D(theta)), loss


def directions(game, theta, psi, gamma=0.0) -> tuple[float, float]:
    """The gradient of G's loss in θ and of D's loss in ψ, at one point."""
    theta, psi = (tensor([value], requires_grad=True) for value in (theta, psi))
    g_loss, d_loss = game(theta, psi, gamma)
    (in_theta,) = grad(g_loss, [theta])
    (in_psi,) = grad(d_loss, [psi])
    return in_theta.item(), in_psi.item()


# --- The ways to move ----------------------------------------------------------------------------


class Way(NamedTuple):
    """How the players move; `expected` is what theory says of both games."""

    label: str
    expected: str
    color: str
    alternating: bool = False
    look_ahead: bool = False
    d_rate: float = RATE
    gamma: float = 0.0


WAYS = [
    Way("simultaneous", "spirals out", plots.D_STAR),
    Way("alternating", "circles", plots.D, alternating=True),
    Way("two time scales", "circles", plots.GUIDE, alternating=True, d_rate=3 * RATE),
    Way("extragradient", "converges", plots.PINK, look_ahead=True),
    Way("R1", "converges", plots.P_G, alternating=True, gamma=0.5),
]


def move(game, way: Way, theta, psi) -> tuple[float, float]:
    """One step of both players."""
    if way.alternating:
        _, in_psi = directions(game, theta, psi, way.gamma)
        psi -= way.d_rate * in_psi
        in_theta, _ = directions(game, theta, psi)
        return theta - RATE * in_theta, psi
    in_theta, in_psi = directions(game, theta, psi, way.gamma)
    if way.look_ahead:
        ahead = theta - RATE * in_theta, psi - way.d_rate * in_psi
        in_theta, in_psi = directions(game, *ahead, way.gamma)
    return theta - RATE * in_theta, psi - way.d_rate * in_psi


def path(game, way: Way) -> np.ndarray:
    """Where the players went: (steps + 1, 2)."""
    points = [START]
    for _ in range(STEPS):
        points.append(move(game, way, *points[-1]))
        if math.hypot(*points[-1]) > 100:
            break
    return np.array(points)


def verdict(points) -> tuple[str, float]:
    """What a path does, by its largest distance from 0 in its last third over that in its first."""
    radius = np.hypot(*points.T)
    third = len(radius) // 3
    ratio = float(radius[-third:].max() / radius[:third].max())
    return ("spirals out" if ratio > 1.25 else "converges" if ratio < 0.8 else "circles"), ratio


# --- The picture ---------------------------------------------------------------------------------


def main(argv=None):
    args = options.parse(options.parser(__doc__.splitlines()[0], out="runs/oscillation"), argv)
    make_folder(args.out)
    games = {"bilinear game, V = θψ": bilinear, "Dirac-GAN": dirac}
    agreed = True
    with plots.panels(1, 2, size=(11, 6)) as (figure, panels):
        for panel, (name, game) in zip(panels, games.items(), strict=True):
            draw_field(panel, game)
            for way in WAYS:
                points = path(game, way)
                found, ratio = verdict(points)
                agreed &= found == way.expected
                panel.plot(*points.T, color=way.color, lw=1, label=f"{way.label}: {found}")
                print(f"{name}, {way.label}: {found} (theory: {way.expected}; x {ratio:.2f})")
            panel.plot(0, 0, "k+", ms=10)
            panel.set(title=name, xlabel="θ, the generator")
            panel.legend(
                loc="lower left", fontsize=9, frameon=True, framealpha=1, edgecolor="white"
            )
        panels[0].set_ylabel("ψ, the discriminator")
    file = plots.save_figure(figure, args.out / "oscillation.png")
    print(f"{'as theory says' if agreed else 'NOT as theory says'}; picture: {file}")
    return 0 if agreed else 1


def draw_field(panel, game):
    """Where both would go from each point, if they moved at once."""
    ticks = np.linspace(-2.2, 2.2, 12)
    theta, psi = (axis.ravel() for axis in np.meshgrid(ticks, ticks))
    field = np.array([directions(game, *point) for point in zip(theta, psi, strict=True)])
    panel.quiver(theta, psi, *-field.T, color="#cccccc", angles="xy", width=0.003)
    panel.set(xlim=(-2.4, 2.4), ylim=(-2.4, 2.4), aspect="equal")


if __name__ == "__main__":
    run(main)
