"""Pictures of series, of the dual space and of walks, each drawn on given Axes.

Every ``plot_*`` function draws on the Axes it is given and returns them; nothing
global is touched: no ``pyplot``, no ``rcParams``, no open figure. :func:`new_figure`
makes a figure of bare Axes for callers that have none. Real series are dark grey,
synthetic ones orange; clusters take the blues, greens and purples of Okabe and Ito's
colour-blind safe palette. Series are arrays ``(N, T, C)`` in their original units,
levels and divergences are in nats.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.ticker import MaxNLocator

from gluonts_dualkl.plotting.dual_plots import (
    plot_divergence,
    plot_dual_space,
    plot_walk,
)
from gluonts_dualkl.plotting.plot_style import (
    INK,
    LABEL,
    MUTED,
    REAL,
    SYNTHETIC,
    TICK,
    as_series,
    by_channel,
    dress,
    evenly,
    legend,
    name_channels,
    new_figure,
    time_label,
)

__all__ = [
    "REAL",
    "SYNTHETIC",
    "new_figure",
    "plot_autocorrelation",
    "plot_divergence",
    "plot_dual_space",
    "plot_images",
    "plot_marginals",
    "plot_series",
    "plot_walk",
]


def plot_series(
    axes: Sequence[Axes],
    values: np.ndarray,
    *,
    channel_names: Sequence[str] | None = None,
    freq: str | None = None,
    color: str = REAL,
    num_series: int = 30,
    label: str | None = None,
) -> Sequence[Axes]:
    """Draw series as lines, one Axes for each channel.

    Parameters
    ----------
    axes
        One Axes for each of the ``C`` channels.
    values
        Series ``(N, T, C)``, original units.
    channel_names
        Labels of the channels, with their units where known.
    freq
        Length of a time step, for the label of the time axis.
    color, label
        Colour of the lines and their name in a legend.
    num_series
        Most series drawn, evenly spaced over ``values``.
    """
    values = as_series(values)
    shown = values[evenly(len(values), num_series)]
    alpha = float(np.clip(6.0 / np.sqrt(max(len(shown), 1)) / 2.5, 0.25, 0.9))
    for c, (ax, name) in enumerate(by_channel(axes, values, channel_names)):
        lines = ax.plot(shown[:, :, c].T, color=color, alpha=alpha, linewidth=0.9)
        if lines and label:
            lines[0].set_label(label)
        dress(ax, xlabel=time_label(freq), ylabel=name, flat=True)
        ax.set_xlim(0, max(values.shape[1] - 1, 1))
        ax.xaxis.set_major_locator(MaxNLocator(4, integer=True))
    return axes


def plot_images(
    ax: Axes,
    values: np.ndarray,
    *,
    reference: np.ndarray | None = None,
    channel_names: Sequence[str] | None = None,
    freq: str | None = None,
    rows: int = 8,
    columns: int = 3,
    title: str | None = None,
    limit: float = 2.5,
    colorbar: bool = False,
) -> Axes:
    """Draw series as images of channels by time steps, many of them on one Axes.

    Parameters
    ----------
    values
        Series ``(N, T, C)``; the first ``rows * columns`` are drawn.
    reference
        Series whose mean and deviation by channel standardise ``values``; give the
        same for real and synthetic series to compare them. Default: ``values``.
    limit
        Standard deviations at which the colours saturate.
    colorbar
        Whether to add the colour scale beside ``ax``.
    """
    values = as_series(values)
    reference = values if reference is None else as_series(reference)
    spread = np.nanstd(reference, axis=(0, 1))
    spread = np.where(spread > 0, spread, 1.0)
    scaled = (values - np.nanmean(reference, axis=(0, 1))) / spread
    image, left, top = _mosaic(scaled, rows, columns)
    picture = ax.imshow(
        np.ma.masked_invalid(image),
        cmap="RdBu_r",
        vmin=-limit,
        vmax=limit,
        aspect="auto",
        interpolation="nearest",
    )
    dress(ax, xlabel=time_label(freq), title=title, spines=())
    length, channels = values.shape[1:]
    times = [(x + t, str(t)) for x in left for t in (0, length // 2)]
    ax.set_xticks([x for x, _ in times], [t for _, t in times])
    if channels <= 8:
        names = name_channels(channel_names, channels)
        ax.set_yticks([y + c for y in top[:1] for c in range(channels)], names)
    else:
        ax.set_yticks([top[0] + (channels - 1) / 2], [f"{channels} channels"])
    ax.tick_params(length=0)
    ax.tick_params(axis="y", labelsize=TICK - 1)
    if colorbar and ax.figure is not None:
        _add_colorbar(ax, picture, "standard deviations from the channel's mean")
    return ax


def plot_marginals(
    axes: Sequence[Axes],
    real: np.ndarray,
    synthetic: np.ndarray,
    *,
    channel_names: Sequence[str] | None = None,
    bins: int = 30,
) -> Sequence[Axes]:
    """Draw the distribution of the values of each channel, real and synthetic."""
    real, synthetic = as_series(real), as_series(synthetic)
    for c, (ax, name) in enumerate(by_channel(axes, real, channel_names)):
        a, b = (x[:, :, c][np.isfinite(x[:, :, c])] for x in (real, synthetic))
        edges = np.histogram_bin_edges(np.concatenate([a, b]), bins)
        for x, color, fill, label in (
            (a, REAL, True, "real"),
            (b, SYNTHETIC, False, "synthetic"),
        ):
            share = np.histogram(x, edges)[0] * 100.0 / max(len(x), 1)
            style: dict[str, Any] = {"alpha": 0.35} if fill else {"linewidth": 1.6}
            ax.stairs(share, edges, color=color, fill=fill, label=label, **style)
        dress(ax, xlabel=name, ylabel="share of values (%)", flat=True)
    legend(axes[0])
    return axes


def plot_autocorrelation(
    axes: Sequence[Axes],
    real: np.ndarray,
    synthetic: np.ndarray,
    *,
    channel_names: Sequence[str] | None = None,
    freq: str | None = None,
    max_lag: int | None = None,
) -> Sequence[Axes]:
    """Draw the autocorrelation of each channel over lags, real and synthetic.

    Values are centred by the real mean of their channel and time step, so that what
    series share at a step does not count as dependency. The shaded stretch is two
    standard errors of the real curve.
    """
    real, synthetic = as_series(real), as_series(synthetic)
    max_lag = min(max_lag or real.shape[1] // 2, real.shape[1] - 1)
    centre = np.nanmean(real, axis=0)
    for c, (ax, name) in enumerate(by_channel(axes, real, channel_names)):
        for x, color, label in (
            (real, REAL, "real"),
            (synthetic, SYNTHETIC, "synthetic"),
        ):
            mean, error = _autocorrelation(x[:, :, c] - centre[:, c], max_lag)
            ax.plot(mean, color=color, linewidth=1.6, label=label)
            if x is real:
                low, high = mean - 2.0 * error, mean + 2.0 * error
                lags = range(max_lag + 1)
                ax.fill_between(lags, low, high, color=REAL, alpha=0.15, linewidth=0)
        ax.axhline(0.0, color=MUTED, linewidth=0.7)
        dress(
            ax,
            xlabel=time_label(freq, "lag"),
            ylabel=f"autocorrelation, {name}",
            flat=True,
        )
        ax.set_xlim(0, max_lag)
        ax.xaxis.set_major_locator(MaxNLocator(4, integer=True))
    legend(axes[0])
    return axes


def _autocorrelation(x: np.ndarray, max_lag: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the autocorrelation of centred series (N, T) by lag and its error."""
    length = x.shape[1]
    lags = range(max_lag + 1)
    products = np.stack(
        [np.nanmean(x[:, lag:] * x[:, : length - lag], 1) for lag in lags], axis=1
    )
    variance = float(products[:, 0].mean())
    products /= variance if variance > 0 else 1.0
    mean = products.mean(axis=0)
    spread = (products - mean * products[:, :1]).std(axis=0)
    return mean, spread / np.sqrt(len(products))


def _mosaic(
    scaled: np.ndarray, rows: int, columns: int
) -> tuple[np.ndarray, list[int], list[int]]:
    """Return series as images on a grid, and the grid's left and top pixels."""
    _, length, channels = scaled.shape
    columns = min(columns, len(scaled))
    rows = min(rows, -(-len(scaled) // columns))
    wide, high = length + max(1, length // 16), channels + 1
    image = np.full((rows * high - 1, columns * wide - (wide - length)), np.nan)
    for k in range(min(len(scaled), rows * columns)):
        y, x = k // columns * high, k % columns * wide
        image[y : y + channels, x : x + length] = scaled[k].T
    lefts = [c * wide for c in range(columns)]
    return image, lefts, [r * high for r in range(rows)]


def _add_colorbar(ax: Axes, picture: ScalarMappable, label: str) -> None:
    bar = ax.get_figure(root=True).colorbar(picture, ax=ax, shrink=0.6, aspect=25)  # type: ignore[union-attr]
    bar.set_label(label, fontsize=LABEL, color=INK)
    bar.ax.tick_params(labelsize=TICK, colors=MUTED, length=2)
    bar.outline.set_visible(False)
