"""The objectives of G at one generated sample: their values, and how hard each pulls."""

from __future__ import annotations

import numpy as np

from minigan.plots.style import D_STAR, GUIDE, ORANGE, P_DATA, P_G, PINK, SKY

OBJECTIVE_COLORS = {
    "minimax": D_STAR,
    "zero-sum": ORANGE,
    "non-saturating": P_G,
    "relativistic": PINK,
    "least-squares": SKY,
    "hinge": GUIDE,
    "wasserstein": P_DATA,
}
_DASHED = {"zero-sum", "wasserstein"}  # they lie on others


def draw_objectives(left, right, outputs, pulls: dict):
    """J(G) on the left, the size of its derivative in D's output on the right, for each objective.

    outputs: (n,), of D at G(z), before any sigmoid. pulls: by the objective's name J(G) and the
    derivative, together (n, 2). KeyError for a name that OBJECTIVE_COLORS lacks.
    """
    for name, pull in pulls.items():
        values, slopes = np.asarray(pull).T
        line = "--" if name in _DASHED else "-"
        style = {"color": OBJECTIVE_COLORS[name], "ls": line, "label": name}
        left.plot(outputs, values, **style)
        right.plot(outputs, np.where(slopes == 0, np.nan, np.abs(slopes)), **style)
    left.set(ylim=(-5, 13), ylabel="J(G)")
    left.legend(loc="upper right")
    right.set(yscale="log", ylim=(1e-5, 30), ylabel="|∂J(G) / ∂D's output|")
    for panel in (left, right):
        panel.set_xlabel("D's output at G(z), before any sigmoid")
        _add_probability_axis(panel)


def _add_probability_axis(panel):
    """A second axis above: the probability D(G(z)) that belongs to a logit."""
    above = panel.secondary_xaxis("top")
    probabilities = np.array([1e-4, 1e-3, 0.01, 0.1, 0.5, 0.9])
    above.set_xticks(np.log(probabilities / (1 - probabilities)))
    above.set_xticklabels([f"{p:g}" for p in probabilities])
    above.set_xlabel("D(G(z)), where the output is a logit")
