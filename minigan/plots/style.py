"""The colours and the style that all figures share.

One colour means one thing, in every figure: p_data and the real samples, p_g and the generator,
the discriminator D, and the best possible discriminator D*.
"""

from __future__ import annotations

# Colours that the colour-blind can tell apart: Okabe and Ito, "Color Universal Design" (2008).
# p_g in green and D in blue are also what Goodfellow et al. (2014) used in their figure 1.
P_DATA = "#000000"
P_G = "#009E73"
D = "#0072B2"
D_STAR = "#D55E00"
GUIDE = "#999999"
ORANGE, PINK, SKY = "#E69F00", "#CC79A7", "#56B4E9"  # of no fixed meaning, in the same palette
DPI = 100
STYLE = {
    "font.size": 10,
    "axes.labelsize": 10,
    "axes.titlelocation": "left",
    "xtick.labelsize": 9,
    "ytick.labelsize": 9,
    "legend.fontsize": 9.5,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.grid": False,
    "legend.frameon": False,
}
