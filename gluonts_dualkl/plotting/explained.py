"""Pictures that explain a trained generator, composed of ``explanation_plots``.

Each function returns a figure that is ready for ``figure.savefig``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from gluonts_dualkl.analysis.cuts import cut_tree
from gluonts_dualkl.analysis.dual_space import dual_features
from gluonts_dualkl.analysis.explanation import (
    channel_dependency,
    explain,
    nats_by_scale,
)
from gluonts_dualkl.analysis.localised import neighbour_divergences
from gluonts_dualkl.plotting import explanation_plots, plots

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from gluonts_dualkl.generator import DualKLGenerator

__all__ = ["draw_clusters", "draw_dependency", "draw_explained"]

WIDTH = 11.0
MAX_CHANNELS = 6
NEIGHBOURS = 20


def draw_dependency(generator: DualKLGenerator) -> Figure:
    """Return the nats of the Gaussian leg by time scale and by pair of channels."""
    law = generator.model.gaussian
    figure, axes = plots.new_figure(1, 2, width=WIDTH, height=4.2)
    left, right = axes[0]
    explanation_plots.plot_scales(left, nats_by_scale(law), title="By time scale")
    names = [
        name
        for name, varies in zip(generator.channel_names, generator.preparation.varying)
        if varies
    ]
    explanation_plots.plot_channel_dependency(
        right,
        channel_dependency(law),
        channel_names=names,
        title="Between channels, nats",
    )
    return figure


def draw_clusters(generator: DualKLGenerator, seed: int = 0) -> Figure:
    """Return the tree of cuts of the dual space over the local divergences."""
    levels = generator.dual_space().levels
    features = dual_features(generator.model)
    neighbours = min(NEIGHBOURS, len(levels) // 3)
    local = neighbour_divergences(
        levels,
        features,
        neighbours,
        generator=torch.Generator().manual_seed(seed),
    )
    tree = cut_tree(levels, features, seed=seed)
    cuts = [0.5 * (a + b) for a, b in generator.dual_space().gaps]
    figure, axes = plots.new_figure(2, 1, width=WIDTH, height=6.0)
    explanation_plots.plot_cut_tree(axes[0, 0], tree, title="Tree of cuts")
    title = f"Local divergence between {neighbours} series on either side"
    explanation_plots.plot_local_divergences(axes[1, 0], local, cuts, title=title)
    axes[1, 0].set_xlim(axes[0, 0].get_xlim())
    return figure


def draw_explained(
    generator: DualKLGenerator, series: np.ndarray, seed: int = 0
) -> Figure:
    """Return a series ``(T, C)``, the nats its pixels carry and the nearest real ones.

    The first six channels, in original units.
    """
    said = explain(generator, series[None], seed=seed)
    shown = slice(0, min(series.shape[1], MAX_CHANNELS))
    names = list(generator.channel_names)[shown]
    nearest = generator.train_values[said.nearest.indices[0]]
    figure, axes = plots.new_figure(
        2, len(names) + 1, width=2.6 * (len(names) + 1), height=5.6
    )
    level, place = said.levels[0], said.places[0]
    explanation_plots.plot_attribution(
        list(axes[0]),
        series[:, shown],
        said.attribution[0][:, shown],
        channel_names=names,
        freq=generator.freq,
        title=f"{level:.0f} nats, {place}",
    )
    explanation_plots.plot_nearest_real(
        list(axes[1, : len(names)]),
        series[:, shown],
        nearest[:, :, shown],
        names=said.item_ids[0],
        channel_names=names,
        freq=generator.freq,
    )
    axes[1, -1].set_visible(False)
    return figure
