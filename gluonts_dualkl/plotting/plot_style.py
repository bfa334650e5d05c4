"""What the plotting modules share: colours, sizes, bare figures, labels, checks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import Colormap, LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

__all__ = [
    "CLUSTERS",
    "FAINT",
    "INK",
    "LABEL",
    "MUTED",
    "REAL",
    "SYNTHETIC",
    "TICK",
    "WALK_COLOURS",
    "as_series",
    "by_channel",
    "dress",
    "evenly",
    "legend",
    "name_channels",
    "new_figure",
    "time_label",
    "title_row",
]

REAL = "#3b4048"
SYNTHETIC = "#d55e00"
CLUSTERS = ("#0072b2", "#56b4e9", "#009e73", "#9467bd", "#8c7a4f", "#b0639b")
INK, MUTED, FAINT = "#22262c", "#6b727c", "#e4e7eb"
TITLE, LABEL, TICK = 11.0, 9.5, 8.5

WALK_COLOURS: Colormap = LinearSegmentedColormap.from_list(
    "walk", ["#d7dbe0", "#f2b27c", SYNTHETIC, "#7a3300"]
)


def new_figure(
    rows: int = 1,
    columns: int = 1,
    *,
    width: float = 7.0,
    height: float = 3.5,
) -> tuple[Figure, np.ndarray]:
    """Return a figure of ``width`` by ``height`` inches and its Axes.

    The Axes come as an object array ``(rows, columns)``. The figure belongs to no
    window system: ``figure.savefig`` writes it, nothing needs to be closed.
    """
    layout = ConstrainedLayoutEngine(w_pad=0.08, h_pad=0.06, wspace=0.03, hspace=0.03)
    figure = Figure(figsize=(width, height), layout=layout, facecolor="white")
    return figure, figure.subplots(rows, columns, squeeze=False)


def as_series(values: np.ndarray) -> np.ndarray:
    """Return the values as floats, checked to be series ``(N, T, C)``."""
    values = np.asarray(values, dtype=float)
    if values.ndim != 3 or 0 in values.shape:
        raise ValueError(
            f"values must hold series as an array (N, T, C), got shape {values.shape}"
        )
    return values


def by_channel(
    axes: Sequence[Axes], values: np.ndarray, names: Sequence[str] | None
) -> list[tuple[Axes, str]]:
    """Return Axes and name of each channel, checked to fit the values."""
    channels = values.shape[2]
    if len(axes) != channels:
        raise ValueError(
            f"axes must hold one Axes a channel, {channels}, got {len(axes)}"
        )
    return list(zip(axes, name_channels(names, channels), strict=True))


def name_channels(names: Sequence[str] | None, channels: int) -> list[str]:
    """Return one name for each channel, ``"channel 0", ...`` where none are given."""
    if names is None:
        return [f"channel {c}" for c in range(channels)]
    if len(names) != channels:
        raise ValueError(f"channel_names must hold {channels} names, got {len(names)}")
    return [str(name) for name in names]


def evenly(count: int, most: int) -> np.ndarray:
    """Return at most ``most`` evenly spaced indices below ``count``, ends included."""
    return np.unique(np.linspace(0, count - 1, min(count, most)).round().astype(int))


def time_label(freq: str | None, word: str = "time") -> str:
    """Return the label of a time axis with the length of its steps."""
    if not freq:
        return f"{word} (steps)"
    return f"{word} (steps of {freq if freq[0].isdigit() else '1' + freq})"


def title_row(axes: Sequence[Axes], title: str) -> None:
    """Set a title above the y label of the first of a row of Axes."""
    axes[0].set_title(
        title + "\n", fontsize=TITLE, color=INK, loc="left", fontweight="bold"
    )


def legend(ax: Axes) -> None:
    """Add a legend without frame where it covers least."""
    ax.legend(loc="best", frameon=False, fontsize=TICK, handlelength=1.6)


def dress(
    ax: Axes,
    *,
    xlabel: str | None = None,
    ylabel: str | None = None,
    title: str | None = None,
    spines: Sequence[str] = ("left", "bottom"),
    flat: bool = False,
) -> None:
    """Give the Axes the common restrained look; ``flat`` sets the y label on top."""
    for side, spine in ax.spines.items():
        spine.set_visible(side in spines)
        spine.set_color(MUTED)
        spine.set_linewidth(0.8)
    ax.tick_params(labelsize=TICK, colors=MUTED, labelcolor=INK, length=3, width=0.8)
    if xlabel is not None:
        ax.set_xlabel(xlabel, fontsize=LABEL, color=INK)
    if ylabel is not None:
        style: dict[str, Any] = {"rotation": 0, "ha": "left", "va": "bottom"}
        ax.set_ylabel(ylabel, fontsize=LABEL, color=INK, **(style if flat else {}))
        if flat:
            ax.yaxis.set_label_coords(0.0, 1.03)
    if title is not None:
        ax.set_title(title, fontsize=TITLE, color=INK, loc="left", fontweight="bold")
