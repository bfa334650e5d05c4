"""Whole pictures of a trained generator, composed of the functions of ``plots``.

Each function returns a figure that is ready for ``figure.savefig``;
:func:`save_pictures` and :func:`save_overview` write what ``gluonts-dualkl plot``
shows of a model. Pictures of series show the first eight channels.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from gluonts_dualkl.data.windows import dataset_to_array
from gluonts_dualkl.plotting import plots
from gluonts_dualkl.plotting.explained import (
    draw_clusters,
    draw_dependency,
    draw_explained,
)
from gluonts_dualkl.plotting.plot_style import evenly, title_row
from gluonts_dualkl.types import DataEntry, Divergence, DualSpace, Walk

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from gluonts_dualkl.generator import DualKLGenerator

__all__ = [
    "draw_divergence",
    "draw_dual_space",
    "draw_images",
    "draw_lines",
    "draw_statistics",
    "draw_walk",
    "save_overview",
    "save_pictures",
]

WIDTH = 11.0
DPI = 150
MAX_CHANNELS = 8


def draw_images(
    real: np.ndarray,
    synthetic: np.ndarray,
    channel_names: Sequence[str] | None = None,
    freq: str | None = None,
    titles: tuple[str, str] = ("Real", "Synthetic"),
) -> Figure:
    """Return real series beside synthetic ones as images, ``(N, T, C)`` each."""
    figure, axes = plots.new_figure(1, 2, width=WIDTH, height=5.0)
    _draw_images(axes[0], real, synthetic, channel_names, freq, titles)
    return figure


def draw_lines(
    real: np.ndarray,
    synthetic: np.ndarray,
    channel_names: Sequence[str] | None = None,
    freq: str | None = None,
    titles: tuple[str, str] = ("Real", "Synthetic"),
) -> Figure:
    """Return real series above synthetic ones as lines, the same scale by channel."""
    real, synthetic, names = _first_channels(real, synthetic, channel_names)
    figure, pairs = _paired_rows(len(names))
    for pair, block in pairs:
        for row, values, color in zip(
            pair, (real, synthetic), (plots.REAL, plots.SYNTHETIC), strict=True
        ):
            plots.plot_series(
                row,
                values[:, :, block],
                channel_names=[names[c] for c in block],
                freq=freq,
                color=color,
            )
        for above, below in pair.T:
            limits = [*above.get_ylim(), *below.get_ylim()]
            for ax in (above, below):
                ax.set_ylim(min(limits), max(limits))
        for row, title in zip(pair, titles, strict=True):
            title_row(row, title)
    return figure


def draw_statistics(
    real: np.ndarray,
    synthetic: np.ndarray,
    channel_names: Sequence[str] | None = None,
    freq: str | None = None,
) -> Figure:
    """Return the marginal distribution and the autocorrelation of each channel."""
    real, synthetic, names = _first_channels(real, synthetic, channel_names)
    figure, pairs = _paired_rows(len(names))
    for pair, block in pairs:
        a, b = real[:, :, block], synthetic[:, :, block]
        some = [names[c] for c in block]
        plots.plot_marginals(pair[0], a, b, channel_names=some)
        plots.plot_autocorrelation(pair[1], a, b, channel_names=some, freq=freq)
    return figure


def draw_dual_space(
    space: DualSpace, synthetic_levels: np.ndarray | None = None
) -> Figure:
    """Return the dual space of the training series, beside it synthetic levels."""
    figure, axes = plots.new_figure(width=WIDTH, height=4.0)
    plots.plot_dual_space(axes[0, 0], space, synthetic_levels)
    return figure


def draw_walk(
    walk: Walk,
    channel_names: Sequence[str] | None = None,
    freq: str | None = None,
    band: tuple[float, float] | None = None,
) -> Figure:
    """Return the states of a walk by channel and its levels."""
    values, _, names = _first_channels(walk.values, walk.values, channel_names)
    walk = Walk(values, walk.levels, walk.steps, walk.donors)
    panels = len(names) + 1
    columns = panels if panels <= 5 else -(-panels // 2)
    rows = -(-panels // columns)
    figure, axes = plots.new_figure(rows, columns, width=WIDTH, height=2.8 * rows)
    flat = list(axes.ravel())
    plots.plot_walk(flat[:panels], walk, channel_names=names, freq=freq, band=band)
    _hide(axes.ravel()[panels:])
    return figure


def draw_divergence(divergence: Divergence) -> Figure:
    """Return the nats of the legs of the path and their total."""
    height = 1.3 + 0.36 * len(divergence.per_leg)
    figure, axes = plots.new_figure(width=WIDTH, height=height)
    plots.plot_divergence(axes[0, 0], divergence)
    return figure


def save_pictures(
    generator: DualKLGenerator,
    folder: str | Path,
    *,
    real: np.ndarray | None = None,
    entries: Sequence[DataEntry] | None = None,
    channel_names: Sequence[str] | None = None,
    titles: tuple[str, str] = ("Training series", "Synthetic series"),
    seed: int = 0,
) -> list[Path]:
    """Write the pictures of a generator as PNG files and return their paths.

    Parameters
    ----------
    folder
        Existing folder that receives the files.
    real
        Series ``(N, T, C)`` to set the synthetic ones against; the training series
        by default.
    entries
        Synthetic series as dataset entries; by default as many as ``real``, at most
        200, are generated.
    channel_names
        Labels instead of the generator's names, for instance with units.
    titles
        Names of the real and the synthetic series in the pictures.
    seed
        Seed of the generated series and of the walk.
    """
    real = np.asarray(generator.train_values if real is None else real)
    if entries is None:
        entries = list(generator.generate(min(len(real), 200), seed=seed))
    synthetic = dataset_to_array(entries)
    names = list(channel_names or generator.channel_names)
    freq, space = generator.freq, generator.dual_space()
    levels = generator.log_ratio(entries)
    walk = generator.walk(seed=seed)
    figures = {
        "real_and_synthetic_images": draw_images(real, synthetic, names, freq, titles),
        "real_and_synthetic_lines": draw_lines(real, synthetic, names, freq, titles),
        "statistics": draw_statistics(real, synthetic, names, freq),
        "dual_space": draw_dual_space(space, levels),
        "walk": draw_walk(walk, names, freq, space.band),
        "divergence": draw_divergence(generator.divergence()),
        "dependency": draw_dependency(generator),
        "clusters": draw_clusters(generator, seed),
        "explained_series": draw_explained(generator, synthetic[0], seed),
    }
    paths = []
    for name, figure in figures.items():
        paths.append(Path(folder) / f"{name}.png")
        figure.savefig(paths[-1], dpi=DPI)
    return paths


def save_overview(
    generator: DualKLGenerator, path: str | Path, *, seed: int = 0
) -> Path:
    """Write dual space, divergence and series as images on one PNG file."""
    real = np.asarray(generator.train_values)
    entries = list(generator.generate(min(len(real), 200), seed=seed))
    figure, ((left, right), images) = plots.new_figure(2, 2, width=13.0, height=9.0)
    levels = generator.log_ratio(entries)
    plots.plot_dual_space(left, generator.dual_space(), levels, title="Dual space")
    plots.plot_divergence(right, generator.divergence(), title="Divergence")
    titles = ("Training series", "Synthetic series")
    _draw_images(
        images,
        real,
        dataset_to_array(entries),
        generator.channel_names,
        generator.freq,
        titles,
    )
    figure.savefig(path, dpi=DPI)
    return Path(path)


def _draw_images(
    axes: Sequence[Axes],
    real: np.ndarray,
    synthetic: np.ndarray,
    names: Sequence[str] | None,
    freq: str | None,
    titles: tuple[str, str],
) -> None:
    length, channels = real.shape[1:]
    columns = 3 if length <= 48 else 2
    rows = int(np.clip(40 // (channels + 1), 3, 10))
    for ax, values, title in zip(axes, (real, synthetic), titles, strict=True):
        plots.plot_images(
            ax,
            values[evenly(len(values), rows * columns)],
            reference=real,
            channel_names=names,
            freq=freq,
            rows=rows,
            columns=columns,
            title=title,
            colorbar=values is synthetic,
        )


def _first_channels(
    real: np.ndarray, synthetic: np.ndarray, names: Sequence[str] | None
) -> tuple[np.ndarray, np.ndarray, list[str]]:
    count = min(real.shape[2], MAX_CHANNELS)
    names = names or [f"channel {c}" for c in range(real.shape[2])]
    return real[:, :, :count], synthetic[:, :, :count], list(names)[:count]


def _blocks(channels: int) -> list[list[int]]:
    """Split the channels over rows of at most four Axes, evenly."""
    rows = -(-channels // 4)
    return [list(map(int, block)) for block in np.array_split(range(channels), rows)]


def _paired_rows(channels: int) -> tuple[Figure, list[tuple[np.ndarray, list[int]]]]:
    """Figure with two rows of Axes for each block of channels, and those channels."""
    blocks = _blocks(channels)
    figure, axes = plots.new_figure(
        2 * len(blocks), len(blocks[0]), width=WIDTH, height=5.0 * len(blocks)
    )
    pairs = []
    for k, block in enumerate(blocks):
        rows = axes[2 * k : 2 * k + 2]
        _hide(rows[:, len(block) :])
        pairs.append((rows[:, : len(block)], block))
    return figure, pairs


def _hide(axes: np.ndarray) -> None:
    for ax in axes.ravel():
        ax.set_visible(False)
