"""Pictures of the dual space, of walks through it and of the divergence.

Import them from :mod:`gluonts_dualkl.plotting.plots`.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from gluonts_dualkl.plotting.plot_style import (
    CLUSTERS,
    FAINT,
    INK,
    LABEL,
    MUTED,
    REAL,
    SYNTHETIC,
    TICK,
    WALK_COLOURS,
    as_series,
    by_channel,
    dress,
    evenly,
    time_label,
)
from gluonts_dualkl.types import Cluster, Divergence, DualSpace, Walk

__all__ = ["plot_divergence", "plot_dual_space", "plot_walk"]


def plot_dual_space(
    ax: Axes,
    space: DualSpace,
    synthetic_levels: np.ndarray | None = None,
    *,
    title: str | None = None,
) -> Axes:
    """Draw the levels of the dual space: histogram and rug, clusters, gaps, band.

    Bars hold the share of real series by bin, in the colour of their cluster; the
    outline, where ``synthetic_levels`` (n,) are given, that of the synthetic ones in
    the same bins. Ticks under the bars are single series; far outliers are counted
    beside them. The shaded stretch is the
    in-distribution band, dotted stretches are the gaps between clusters.
    """
    levels = np.asarray(space.levels, dtype=float)
    edges = _cover(np.asarray(space.bin_edges, dtype=float), levels, synthetic_levels)
    colors = [CLUSTERS[k % len(CLUSTERS)] for k in range(len(space.clusters))]
    groups = [levels[np.asarray(cluster.members, int)] for cluster in space.clusters]
    top = _stack_bars(ax, groups, colors, edges)
    if synthetic_levels is not None:
        drawn = np.asarray(synthetic_levels, dtype=float)
        top = _outline_synthetic(ax, drawn, edges, top)
        _rug(ax, drawn, SYNTHETIC, -0.18 * top, 0.065 * top)
        note = "synthetic" + _off_scale(drawn, edges)
        _beside(ax, -0.145 * top, note, SYNTHETIC)
    for color, group in zip(colors, groups, strict=True):
        _rug(ax, group, color, -0.09 * top, 0.065 * top)
    _beside(ax, -0.055 * top, "training" + _off_scale(levels, edges), INK)
    dress(
        ax,
        xlabel=r"level $s(x) = \log\, p(x)/q(x)$ (nats)",
        ylabel="share of series (%)",
        title=title,
    )
    _mark_band(ax, space, top)
    _name_clusters(ax, space.clusters, colors, edges, top)
    margin = 0.03 * (edges[-1] - edges[0])
    ax.set_xlim(edges[0] - margin, edges[-1] + margin)
    ax.set_ylim(-0.22 * top, 1.44 * top)
    ax.set_yticks([t for t in MaxNLocator(5).tick_values(0, top) if 0 <= t <= top])
    return ax


def plot_walk(
    axes: Sequence[Axes],
    walk: Walk,
    *,
    channel_names: Sequence[str] | None = None,
    freq: str | None = None,
    band: tuple[float, float] | None = None,
    num_states: int = 12,
) -> Sequence[Axes]:
    """Draw a walk: its states by channel and, on the last Axes, its levels.

    Lines run from light (start) to dark (end); the markers of the levels have the
    colours of the states, so that a line is found again on the way.

    Parameters
    ----------
    axes
        ``C + 1`` Axes: one for each channel, then one for the levels.
    band
        In-distribution band of the levels to shade, nats.
    num_states
        Most states drawn as lines, evenly spaced from the start to the end.
    """
    values = as_series(walk.values)
    *panels, last = list(axes)
    colors = WALK_COLOURS(np.linspace(0.0, 1.0, len(values)))
    shown = evenly(len(values), num_states)
    for c, (ax, name) in enumerate(by_channel(panels, values, channel_names)):
        for k in shown:
            end = k == len(values) - 1
            ax.plot(values[k, :, c], color=colors[k], linewidth=2.2 if end else 1.2)
        dress(ax, xlabel=time_label(freq), ylabel=name, flat=True)
        ax.set_xlim(0, max(values.shape[1] - 1, 1))
        ax.xaxis.set_major_locator(MaxNLocator(4, integer=True))
    if band is not None:
        last.axhspan(*band, color=FAINT, alpha=0.7, linewidth=0)
    last.plot(walk.steps, walk.levels, color=MUTED, linewidth=0.9, zorder=2)
    last.scatter(
        walk.steps,
        walk.levels,
        c=colors,
        s=26,
        zorder=3,
        edgecolors=MUTED,
        linewidths=0.5,
    )
    dress(last, xlabel="move number", ylabel="level (nats)", flat=True)
    last.xaxis.set_major_locator(MaxNLocator(4, integer=True))
    return axes


def plot_divergence(
    ax: Axes, divergence: Divergence, *, title: str | None = None
) -> Axes:
    """Draw the nats of the legs of the path, adding up to the total.

    Each bar starts where the one above it ends. The last row is the total with its
    interval; the dashed line is the most that the number of series can certify.
    """
    legs = list(divergence.per_leg.items())
    start = 0.0
    for row, (_, nats) in enumerate(legs):
        ax.barh(row, nats, 0.56, left=start, color=CLUSTERS[0], alpha=0.85)
        ax.plot(
            [start + nats] * 2, [row + 0.28, row + 0.72], color=MUTED, linewidth=0.7
        )
        edge = max(start, start + nats)
        _note_value(ax, edge, row, f"{nats:+.1f}".replace("-", "\N{MINUS SIGN}"))
        start += nats
    total = len(legs)
    ax.barh(total, divergence.value, 0.56, color=REAL)
    error = [
        [divergence.value - divergence.lower],
        [divergence.upper - divergence.value],
    ]
    ax.errorbar(
        divergence.value, total, xerr=error, color=SYNTHETIC, capsize=4, linewidth=1.8
    )
    text = f"{divergence.value:.1f}  [{divergence.lower:.1f}, {divergence.upper:.1f}]"
    _note_value(ax, max(divergence.upper, divergence.value), total, text)
    if np.isfinite(divergence.ceiling):
        ax.axvline(
            divergence.ceiling, color=MUTED, linewidth=1.0, linestyle=(0, (4, 3))
        )
        ax.annotate(
            f"ceiling {divergence.ceiling:.1f}",
            (divergence.ceiling, 1.0),
            xycoords=("data", "axes fraction"),
            xytext=(0, 2),
            textcoords="offset points",
            ha="center",
            fontsize=TICK,
            color=MUTED,
        )
    dress(ax, xlabel="divergence KL(P || Q) (nats)", title=title, spines=("bottom",))
    ax.set_yticks(range(total + 1), [*(name for name, _ in legs), "total"])
    ax.set_ylim(total + 0.55, -0.55)
    ax.tick_params(axis="y", length=0)
    ax.axvline(0.0, color=INK, linewidth=0.8)
    low, high = ax.get_xlim()
    ax.set_xlim(low, high + 0.3 * (high - low))
    return ax


def _cover(
    edges: np.ndarray, levels: np.ndarray, synthetic: np.ndarray | None
) -> np.ndarray:
    """Cut or prolong equal bins to hold all levels but the far ones.

    Far is more than three interquartile ranges outside the middle half of ``levels``.
    """
    everything = levels if synthetic is None else np.concatenate([levels, synthetic])
    low, high = np.quantile(levels, [0.25, 0.75])
    reach = 3.0 * (high - low)
    near = everything[(everything >= low - reach) & (everything <= high + reach)]
    width = float(edges[1] - edges[0]) if len(edges) > 1 else 0.0
    if width <= 0 or reach <= 0:
        return np.histogram_bin_edges(levels, 10)
    first = int(np.floor((near.min() - edges[0]) / width))
    last = int(np.ceil((near.max() - edges[0]) / width))
    return edges[0] + width * np.arange(first, max(last, first + 1) + 1)


def _stack_bars(
    ax: Axes, groups: Sequence[np.ndarray], colors: Sequence[str], edges: np.ndarray
) -> float:
    """Draw the share of series by bin, coloured by cluster; return the highest."""
    total = sum(map(len, groups))
    base = np.zeros(len(edges) - 1)
    for color, group in zip(colors, groups, strict=True):
        share = np.histogram(group, edges)[0] * 100.0 / total
        ax.bar(
            edges[:-1],
            share,
            np.diff(edges),
            base,
            align="edge",
            color=color,
            edgecolor="white",
            linewidth=0.6,
        )
        base = base + share
    return max(float(base.max(initial=0.0)), 1.0)


def _outline_synthetic(
    ax: Axes, levels: np.ndarray, edges: np.ndarray, top: float
) -> float:
    """Draw the outline of synthetic levels; return the height that holds all."""
    share = np.histogram(levels, edges)[0] * 100.0 / max(len(levels), 1)
    top = max(top, float(share.max(initial=0.0)))
    ax.stairs(share, edges, color=SYNTHETIC, linewidth=1.8)
    return top


def _off_scale(levels: np.ndarray, edges: np.ndarray) -> str:
    lost = len(levels) - np.histogram(levels, edges)[0].sum()
    return f" ({lost} off scale)" if lost else ""


def _rug(ax: Axes, levels: np.ndarray, color: str, low: float, height: float) -> None:
    ax.vlines(levels, low, low + height, color=color, linewidth=0.8, alpha=0.6)


def _beside(ax: Axes, y: float, text: str, color: str) -> None:
    place = ax.get_yaxis_transform()
    ax.text(1.01, y, text, transform=place, fontsize=TICK, color=color, va="center")


def _mark_band(ax: Axes, space: DualSpace, top: float) -> None:
    low, high = space.band
    ax.axvspan(low, high, color=FAINT, alpha=0.6, linewidth=0, zorder=0)
    ax.text(
        (low + high) / 2,
        1.43 * top,
        f"in-distribution band, {low:.1f} to {high:.1f} nats",
        fontsize=TICK,
        color=MUTED,
        ha="center",
        va="top",
    )
    for lower, upper in space.gaps:
        ax.axvspan(
            lower,
            upper,
            ymax=0.7,
            facecolor="white",
            edgecolor=MUTED,
            hatch="....",
            linewidth=0,
            alpha=0.8,
            zorder=0.5,
        )


def _name_clusters(
    ax: Axes,
    clusters: Sequence[Cluster],
    colors: Sequence[str],
    edges: np.ndarray,
    top: float,
) -> None:
    """Bracket each cluster and say its size and stability."""
    for k, (cluster, color) in enumerate(zip(clusters, colors, strict=True)):
        narrow = cluster.upper - cluster.lower < 0.2 * (edges[-1] - edges[0])
        lift = 0.17 * top if narrow and k % 2 else 0.0
        text = f"{len(cluster.members)} series\nstability {cluster.stability:.2f}"
        if len(clusters) == 1:
            text = f"one cluster of {len(cluster.members)} series: no cut is supported"
        ends = [max(cluster.lower, edges[0]), min(cluster.upper, edges[-1])]
        ax.plot(ends, [1.09 * top] * 2, color=color, linewidth=3)
        ax.text(
            sum(ends) / 2,
            1.12 * top + lift,
            text,
            color=INK,
            fontsize=TICK,
            ha="center",
            va="bottom",
            linespacing=1.15,
        )


def _note_value(ax: Axes, x: float, y: float, text: str) -> None:
    ax.annotate(
        text,
        (x, y),
        xytext=(6, 0),
        textcoords="offset points",
        va="center",
        fontsize=LABEL,
        color=INK,
        zorder=5,
        bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.8},
    )
