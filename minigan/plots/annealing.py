"""Likelihoods by annealing in one figure: bounds that close, and models side by side."""

from __future__ import annotations

import numpy as np
from matplotlib.lines import Line2D

from minigan.plots.figures import panels
from minigan.plots.style import D_STAR, ORANGE, P_DATA, P_G, D

KINDS = {"train": P_DATA, "test": P_G, "simulated": D}


def annealing_figure(known: dict, models: dict):
    """How far bounds are from a likelihood that is known; and the likelihoods of models.

    known    "exact", and "kde" beside it, numbers; "temperatures", "lower" and "upper", as many
             numbers each. Where chance has put a bound on the wrong side, its mark is hollow
    models   by name {kind: nats} of three kinds, "train", "test" and "simulated", with their
             standard errors as "train_error" …; "upper", the other bound of "simulated";
             "kde_train" and "kde_test"; "most", what no model passes
    """
    with panels(1, 2, size=(12, 4.6), width_ratios=[4, 5]) as (figure, (left, right)):
        _closing(left, known)
        for place, said in enumerate(models.values()):
            _model(right, place, said)
        right.set_xticks(range(len(models)), models)
        right.set_xlim(-0.6, len(models) - 0.4)
        right.set(title="ln p(x) of two decoders", ylabel="nats per image")
        right.legend(handles=_signs(), loc="center left", bbox_to_anchor=(1, 0.5))
    return figure


def _closing(panel, known):
    exact, count = known["exact"], np.asarray(known["temperatures"])
    for name, sign, color in (("lower", -1, P_G), ("upper", 1, D)):
        off = sign * (np.asarray(known[name]) - exact)
        size = np.maximum(np.abs(off), 1e-3)
        panel.plot(count, size, "o-", color=color, label=f"{name} bound")
        if (wrong := off < 0).any():
            how = {"color": color, "mfc": "white", "label": f"{name} bound, on the wrong side"}
            panel.plot(count[wrong], size[wrong], "o", **how)
    panel.axhline(exact - known["kde"], color=ORANGE, ls="--", label="KDE, 10,000 samples")
    panel.set(xscale="log", yscale="log", xlabel="temperatures", ylabel="nats off, in size")
    panel.set_title("a linear decoder: how far from the exact ln p(x)")
    panel.legend()


def _model(panel, place, said):
    for k, (kind, color) in enumerate(KINDS.items()):
        x = place + 0.2 * (k - 1)
        panel.errorbar(x, said[kind], said[f"{kind}_error"], fmt="o", color=color, capsize=3)
        if f"kde_{kind}" in said:
            panel.plot(x, said[f"kde_{kind}"], "s", color=ORANGE)
    panel.plot(place + 0.2, said["upper"], "_", color=color, ms=14)
    panel.plot([place - 0.35, place + 0.35], [said["most"]] * 2, color=D_STAR, ls=":")


def _signs():
    """What each mark is."""
    marks = [(color, "o", f"AIS, {kind} images") for kind, color in KINDS.items()]
    marks += [(D, "_", "the upper bound"), (ORANGE, "s", "KDE, 10,000 samples")]
    signs = [Line2D([], [], color=c, marker=m, ls="", label=words) for c, m, words in marks]
    return [*signs, Line2D([], [], color=D_STAR, ls=":", label="−½ D ln 2πv: none passes it")]
