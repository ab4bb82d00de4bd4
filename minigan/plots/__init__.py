"""Pictures of a training run: densities with D(x), loss curves, sample grids, films.

A GAN's losses say little about how well it is doing, so one looks. This is the only folder that
imports matplotlib (and Pillow, for the files); only what writes the pictures of a run, session.py
and beside.py in `training`, imports it. Everything here takes NumPy arrays and draws on figures of
its own; pyplot and its global state are never touched, so a script or notebook that does use pyplot
is left alone.

In the order of reading: style, checks, files, figures, grids, curves, density, objectives, critics,
modes, energies, latent, codes, annealing, truncation, growth.
"""

from minigan.plots.annealing import annealing_figure
from minigan.plots.codes import vae_figure
from minigan.plots.critics import draw_critics, draw_estimates, draw_gap, draw_norms, draw_value
from minigan.plots.curves import draw_curve, legend_above, loss_curves, moving_average
from minigan.plots.density import (
    DensityFigure,
    DensityView,
    draw_densities,
    kept_tails,
    tail_figure,
)
from minigan.plots.energies import energy_figure
from minigan.plots.figures import panels
from minigan.plots.files import Film, frame, save_figure, save_gif, save_image
from minigan.plots.grids import draw_pairs, draw_rows, draw_shares, sample_grid
from minigan.plots.growth import growth_figure
from minigan.plots.latent import latent_figure
from minigan.plots.modes import draw_modes, draw_points, heat_points, modes_side_by_side
from minigan.plots.objectives import OBJECTIVE_COLORS, draw_objectives
from minigan.plots.style import D_STAR, DPI, GUIDE, ORANGE, P_DATA, P_G, PINK, SKY, STYLE, D
from minigan.plots.truncation import truncation_figure
