"""Pictures of what carries the nats, and of how the dual space is cut.

Every function draws on the Axes it is given and returns them, in the style of
:mod:`gluonts_dualkl.plotting.plots`; nothing global is touched. Series are ``(T, C)``
or ``(N, T, C)`` in original units, dependency is in nats.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.ticker import MaxNLocator

from gluonts_dualkl.analysis.cuts import CutNode
from gluonts_dualkl.analysis.explanation import ChannelDependency
from gluonts_dualkl.analysis.localised import LocalDivergences
from gluonts_dualkl.plotting.plot_style import (
    CLUSTERS,
    FAINT,
    INK,
    LABEL,
    MUTED,
    REAL,
    SYNTHETIC,
    TICK,
    by_channel,
    dress,
    legend,
    name_channels,
    time_label,
    title_row,
)

__all__ = [
    "plot_attribution",
    "plot_channel_dependency",
    "plot_cut_tree",
    "plot_local_divergences",
    "plot_nearest_real",
    "plot_scales",
]

NATS = LinearSegmentedColormap.from_list("nats", ["#ffffff", "#9ecae1", CLUSTERS[0]])
SIGNED = "RdBu_r"
LEVEL = r"level $s(x) = \log\, p(x)/q(x)$ (nats)"


def plot_scales(
    ax: Axes,
    law: Mapping[int, float],
    series: Mapping[int, float] | None = None,
    *,
    title: str | None = None,
) -> Axes:
    """Draw the nats by time scale as bars, shortest scale first.

    Parameters
    ----------
    law
        Nats of the law by length in steps of the segments joined, as
        :func:`~gluonts_dualkl.analysis.explanation.nats_by_scale` returns them.
    series
        The same of one series, drawn beside it.
    """
    if not law or (series is not None and list(series) != list(law)):
        raise ValueError(
            f"law has the scales {list(law)} and series "
            f"{None if series is None else list(series)}; give the same, at least one."
        )
    rows, nats = np.arange(len(law)), np.array(list(law.values()), float)
    high = 0.62 if series is None else 0.36
    shift = 0.0 if series is None else 0.19
    bars = [(rows - shift, nats, REAL, "the law of the data, mean")]
    if series is not None:
        own = np.array(list(series.values()), float)
        bars.append((rows + shift, own, SYNTHETIC, "this series"))
    for at, values, color, label in bars:
        ax.barh(at, values, high, color=color, alpha=0.85, label=label)
        for y, value in zip(at, values):
            _note(ax, value, y, f"{value:.1f}")
    ax.set_yticks(rows, _scale_names(list(law)))
    ax.set_ylim(len(law) - 0.45, -0.55)
    ax.axvline(0.0, color=INK, linewidth=0.8)
    dress(ax, xlabel="dependency (nats)", title=title, spines=("bottom",))
    ax.tick_params(axis="y", length=0)
    ax.margins(x=0.14)
    if series is not None:
        legend(ax)
    return ax


def plot_channel_dependency(
    ax: Axes,
    dependency: ChannelDependency,
    *,
    channel_names: Sequence[str] | None = None,
    title: str | None = None,
) -> Axes:
    """Draw the mutual information of channel pairs as a map.

    Pairs have the colours; the diagonal, grey, says how much each channel depends on
    its own past, which is often far more. Up to ten channels the nats are written in.
    """
    pairs = np.array(dependency.pairs, float)
    channels = len(pairs)
    names = name_channels(channel_names, channels)
    top = max(float(pairs.max(initial=0.0)), 1e-9)
    shown = np.ma.masked_array(pairs, np.eye(channels, dtype=bool))
    ax.set_facecolor(FAINT)
    picture = ax.imshow(shown, cmap=NATS, vmin=0.0, vmax=top, aspect="auto")
    if channels <= 10:
        for i in range(channels):
            for j in range(channels):
                value = dependency.within[i] if i == j else pairs[i, j]
                dark = i != j and value > 0.6 * top
                ax.text(
                    j,
                    i,
                    f"{value:.2f}" if value < 9.95 else f"{value:.0f}",
                    color="white" if dark else MUTED if i == j else INK,
                    fontsize=TICK,
                    ha="center",
                    va="center",
                    style="italic" if i == j else "normal",
                )
    dress(ax, title=title, spines=())
    turn: dict[str, Any] = {"rotation": 30, "ha": "right", "rotation_mode": "anchor"}
    ax.set_xticks(range(channels), names, **turn)
    ax.set_yticks(range(channels), names)
    ax.tick_params(length=0)
    note = "diagonal: of a channel with itself over time"
    ax.set_xlabel(note, fontsize=TICK, color=MUTED)
    _bar(ax, picture, "mutual information (nats)")
    return ax


def plot_attribution(
    axes: Sequence[Axes],
    series: np.ndarray,
    attribution: np.ndarray,
    *,
    channel_names: Sequence[str] | None = None,
    freq: str | None = None,
    title: str | None = None,
) -> Sequence[Axes]:
    """Draw a series as curves and below them the nats that each pixel carries.

    Parameters
    ----------
    axes
        ``C + 1`` Axes: one for the curve of each channel, then one for the image.
    series
        ``(T, C)``, original units.
    attribution
        ``(T, C)``, nats. Red follows from the rest more than chance would have it, blue
        speaks against the law; the same shade colours the points of the curves.
    """
    series, attribution = np.asarray(series, float), np.asarray(attribution, float)
    if series.ndim != 2 or series.shape != attribution.shape:
        raise ValueError(
            f"series has shape {series.shape} and attribution {attribution.shape}; "
            "give both for one series, (T, C)."
        )
    *panels, image = list(axes)
    limit = max(float(np.quantile(np.abs(attribution), 0.98)), 1e-9)
    shade: dict[str, Any] = {"cmap": SIGNED, "vmin": -limit, "vmax": limit}
    length, channels = series.shape
    for c, (ax, name) in enumerate(by_channel(panels, series[None], channel_names)):
        ax.plot(series[:, c], color=MUTED, linewidth=0.9, zorder=1)
        ax.scatter(
            range(length),
            series[:, c],
            c=attribution[:, c],
            s=20,
            edgecolors=MUTED,
            linewidths=0.4,
            zorder=2,
            **shade,
        )
        dress(ax, ylabel=name, flat=True)
        ax.set_xlim(-0.5, length - 0.5)
        ax.xaxis.set_major_locator(MaxNLocator(6, integer=True))
        ax.yaxis.set_major_locator(MaxNLocator(3))
        ax.tick_params(labelbottom=False)
    picture = image.imshow(
        attribution.T, aspect="auto", interpolation="nearest", **shade
    )
    dress(image, xlabel=time_label(freq), spines=())
    image.set_yticks(range(channels), name_channels(channel_names, channels))
    image.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    image.tick_params(length=0)
    _bar(image, picture, "nats carried", axes)
    if title is not None:
        title_row(panels, title)
    return axes


def plot_nearest_real(
    axes: Sequence[Axes],
    series: np.ndarray,
    real: np.ndarray,
    *,
    names: Sequence[str] | None = None,
    channel_names: Sequence[str] | None = None,
    freq: str | None = None,
) -> Sequence[Axes]:
    """Draw a synthetic series over the real ones nearest to it, one Axes a channel.

    Parameters
    ----------
    series
        ``(T, C)``, original units.
    real
        The nearest real series, nearest first, ``(k, T, C)``, original units.
    names
        Names of the real series, for the legend.
    """
    series, real = np.asarray(series, float), np.asarray(real, float)
    if series.ndim != 2 or real.ndim != 3 or real.shape[1:] != series.shape:
        raise ValueError(
            f"series has shape {series.shape} and real {real.shape}; give (T, C) and "
            "(k, T, C)."
        )
    if names is not None and len(names) != len(real):
        raise ValueError(f"names has {len(names)} names for {len(real)} real series.")
    labels = names or [f"real series, nearest {k + 1}" for k in range(len(real))]
    styles = ("-", (0, (5, 2)), (0, (1.5, 1.5)))
    for c, (ax, name) in enumerate(by_channel(axes, real, channel_names)):
        for k in reversed(range(len(real))):
            ax.plot(
                real[k, :, c],
                color=REAL,
                linewidth=1.3,
                linestyle=styles[k % 3],
                alpha=max(0.85 - 0.2 * k, 0.25),
                label=str(labels[k]),
            )
        ax.plot(series[:, c], color=SYNTHETIC, linewidth=2.0, label="synthetic")
        dress(ax, xlabel=time_label(freq), ylabel=name, flat=True)
        ax.set_xlim(0, max(len(series) - 1, 1))
        ax.xaxis.set_major_locator(MaxNLocator(4, integer=True))
    _legend_above(axes[0])
    return axes


def plot_local_divergences(
    ax: Axes,
    local: LocalDivergences,
    cuts: Sequence[float] | np.ndarray = (),
    *,
    title: str | None = None,
) -> Axes:
    """Draw the local divergence along the dual space, with the cuts.

    The shaded stretch is one standard error, the dashed line what one cluster without
    any cut would reach; what lies above it is drawn dark.
    """
    x, y = local.positions, local.nats
    band = y - local.standard_error, y + local.standard_error
    ax.fill_between(x, *band, color=CLUSTERS[0], alpha=0.15, linewidth=0)
    ax.plot(x, y, color=CLUSTERS[1], linewidth=1.2, zorder=2)
    ax.plot(x, np.where(local.believed, y, np.nan), color=CLUSTERS[0], linewidth=2.4)
    ax.scatter(x[local.believed], y[local.believed], s=14, color=CLUSTERS[0], zorder=3)
    ax.axhline(0.0, color=INK, linewidth=0.8)
    if np.isfinite(local.threshold):
        ax.axhline(local.threshold, color=MUTED, linewidth=1.0, linestyle=(0, (4, 3)))
        _over(ax, local.threshold, "believed above this line")
    top = float(np.max(band[1]))
    if np.isfinite(local.threshold):
        top = max(top, local.threshold + 0.1 * (top - float(np.min(band[0]))))
    for k, cut in enumerate(cuts):
        ax.axvline(cut, color=SYNTHETIC, linewidth=1.4)
        place = ax.get_xaxis_transform()
        ax.text(
            cut, 0.02, f" cut {k + 1}", transform=place, fontsize=TICK, color=SYNTHETIC
        )
    words = f"divergence, {local.k} series below to {local.k} above (nats)"
    title = title + "\n" if title else None
    dress(ax, xlabel=LEVEL, ylabel=words, title=title, flat=True)
    ax.set_ylim(top=1.08 * max(top, 1e-3))
    return ax


def plot_cut_tree(ax: Axes, tree: CutNode, *, title: str | None = None) -> Axes:
    """Draw the tree of cuts: each row halves the stretches of levels above it.

    A bar runs over the levels of a node; inside are its number of series and stability,
    on the joint below it the nats gained by the cut that split it.
    """
    leaves = tree.leaves()
    colors = {id(leaf): CLUSTERS[k % len(CLUSTERS)] for k, leaf in enumerate(leaves)}
    span = max(tree.upper - tree.lower, 1e-9)
    depth = _draw_node(ax, tree, 0, colors, span)
    dress(ax, xlabel=LEVEL, title=title, spines=("bottom",))
    ax.set_yticks([])
    ax.set_ylim(max(depth, 1) + 0.55, -0.55)
    ax.set_xlim(tree.lower - 0.04 * span, tree.upper + 0.04 * span)
    return ax


def _legend_above(ax: Axes) -> None:
    """Add a legend, last line first, in room made above the lines."""
    handles, texts = ax.get_legend_handles_labels()
    low, high = ax.get_ylim()
    ax.set_ylim(low, high + 0.13 * len(texts) * (high - low))
    style: dict[str, Any] = {"frameon": False, "fontsize": TICK, "handlelength": 2.2}
    ax.legend(handles[::-1], texts[::-1], loc="upper left", **style)


def _draw_node(
    ax: Axes, node: CutNode, row: int, colors: dict[int, str], span: float
) -> int:
    """Draw a node and all below it; return the deepest row."""
    width = max(node.upper - node.lower, 0.004 * span)
    style: dict[str, Any] = {"color": colors.get(id(node), REAL), "alpha": 0.85}
    ax.barh(row, width, 0.34, left=node.lower, **style)
    wide = width > 0.3 * span
    lines = [f"{len(node.members)} series", f"stability {node.stability:.2f}"]
    if not node.children and row == 0:
        lines = [f"one cluster of {lines[0]}", *lines[1:]]
        if np.isfinite(node.gain):
            lines.append(f"gain {node.gain:.1f} nats of {node.threshold:.1f} needed")
    ax.text(
        node.lower + width / 2,
        row if wide else row + 0.2,
        ", ".join(lines) if wide else "\n".join(lines),
        color="white" if wide else INK,
        fontsize=TICK,
        ha="center",
        va="center" if wide else "top",
        linespacing=1.1,
    )
    if not node.children:
        return row
    cut = 0.5 * (node.children[0].upper + node.children[1].lower)
    ax.plot([cut, cut], [row + 0.17, row + 0.83], color=SYNTHETIC, linewidth=1.4)
    _note(ax, cut, row + 0.5, f"gain {node.gain:.1f} nats", SYNTHETIC)
    return max(_draw_node(ax, part, row + 1, colors, span) for part in node.children)


def _scale_names(sizes: Sequence[int]) -> list[str]:
    """Words for the segments of each length."""
    names = []
    for before, size in zip([0, *sizes], sizes):
        if size == 1:
            names.append("between channels,\ninside a step")
        elif size == sizes[-1]:
            names.append(f"whole window,\n{size} steps")
        else:
            names.append(f"{before} step{'s' * (before > 1)} with the next {before}")
    return names


def _note(ax: Axes, x: float, y: float, text: str, color: str = INK) -> None:
    """Write beside the end of a bar, away from zero."""
    left = x < 0
    ax.annotate(
        text,
        (x, y),
        xytext=(-4 if left and color == INK else 4, 0),
        textcoords="offset points",
        ha="right" if left and color == INK else "left",
        va="center",
        fontsize=TICK,
        color=color,
    )


def _over(ax: Axes, y: float, text: str) -> None:
    ax.annotate(
        text,
        (0.99, y),
        xycoords=("axes fraction", "data"),
        xytext=(0, 3),
        textcoords="offset points",
        fontsize=TICK,
        color=MUTED,
        ha="right",
        va="bottom",
        bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.6, "alpha": 0.7},
    )


def _bar(
    ax: Axes, picture: ScalarMappable, label: str, beside: Sequence[Axes] | None = None
) -> None:
    where: Any = list(beside) if beside is not None else ax
    bar = ax.get_figure(root=True).colorbar(picture, ax=where, shrink=0.7, aspect=25)  # type: ignore[union-attr]
    bar.set_label(label, fontsize=LABEL, color=INK)
    bar.ax.tick_params(labelsize=TICK, colors=MUTED, length=2)
    bar.outline.set_visible(False)
