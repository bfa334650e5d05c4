"""The plane of novelty and fidelity: a generator counts only if its series are new.

A vertical band holds the novelty that real held-out series show, a dashed line the
fidelity of real series against real ones, by each judge. Who does not count is drawn
hollow.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from gluonts_dualkl.plotting.plot_style import (
    FAINT,
    INK,
    LABEL,
    MUTED,
    REAL,
    SYNTHETIC,
    TICK,
    dress,
    new_figure,
)

__all__ = ["Panel", "Point", "draw_novelty", "styles"]

WIDTH = 10.0
SHAPES = "osD^vPX<>p"
CROSSES = "x+1234|_"
DASH = (0, (4, 3))
PALETTE = (SYNTHETIC, "#0072b2", "#009e73", "#9467bd", "#8c6d1f", "#b0639b", "#1f8a9e")


def styles(names: Sequence[str]) -> dict[str, tuple[str, str]]:
    """Return a colour and a shape for each generator, no pair twice."""
    return {
        name: (PALETTE[k % len(PALETTE)], SHAPES[k % len(SHAPES)])
        for k, name in enumerate(names)
    }


@dataclass(frozen=True)
class Point:
    """A generator in the plane of novelty and fidelity.

    Attributes
    ----------
    name
        What made the series.
    novelty, fidelity
        Values on the two axes.
    novelty_ends, fidelity_ends
        Ends of their intervals; NaN for none.
    counts
        Whether its series are new; others are drawn hollow.
    oracle
        Whether it is a yardstick and not a candidate.
    """

    name: str
    novelty: float
    fidelity: float
    novelty_ends: tuple[float, float] = (np.nan, np.nan)
    fidelity_ends: tuple[float, float] = (np.nan, np.nan)
    counts: bool = True
    oracle: bool = False


@dataclass(frozen=True)
class Panel:
    """One data set in the plane of novelty and fidelity.

    Attributes
    ----------
    title
        Name of the data set, empty for none.
    points
        Generators and yardsticks.
    band
        Novelty that real held-out series show.
    floors
        Fidelity of real series against real ones, one value a judge.
    styles
        Colour and shape of the generators by name.
    """

    title: str
    points: Sequence[Point]
    band: tuple[float, float]
    floors: Sequence[float]
    styles: dict[str, tuple[str, str]] = field(default_factory=dict)

    def style(self, point: Point) -> tuple[str, str]:
        """Colour and shape of a point; yardsticks are grey crosses."""
        if not point.oracle:
            return self.styles.get(point.name, (SYNTHETIC, "o"))
        if not self.styles:
            return MUTED, "x"
        names = [p.name for p in self.points if p.oracle]
        return MUTED, CROSSES[names.index(point.name) % len(CROSSES)]


def draw_novelty(panels: Sequence[Panel]) -> Figure:
    """Return the plane of novelty and fidelity, one Axes a data set.

    The target is where the band of real novelty meets the dashed floor. A single data
    set has names beside its points, several share a legend.
    """
    if len(panels) == 1 and not panels[0].styles:
        figure, axes = new_figure(width=WIDTH, height=4.3)
        _plot_panel(axes[0, 0], panels[0])
        _name_points(axes[0, 0], panels[0])
        _mark_target(axes[0, 0], panels[0])
        return figure
    columns = min(3, len(panels))
    rows = -(-len(panels) // columns)
    height = (4.6 if columns == 1 else 3.5) * rows + 0.6
    figure, axes = new_figure(rows, columns, width=WIDTH, height=height)
    for ax, panel in zip(axes.ravel(), panels):
        _plot_panel(ax, panel)
    for ax in axes.ravel()[len(panels) :]:
        ax.set_visible(False)
    _add_legend(figure, panels)
    return figure


def _plot_panel(ax: Axes, panel: Panel) -> None:
    _set_limits(ax, panel)
    if np.isfinite(panel.band).all():
        ax.axvspan(*panel.band, color=FAINT, alpha=0.75, linewidth=0, zorder=0)
    for floor in panel.floors:
        ax.axhline(floor, color=REAL, linewidth=1.0, linestyle=DASH, zorder=1)
    for point in panel.points:
        if np.isfinite([point.novelty, point.fidelity]).all():
            _draw_point(ax, point, *panel.style(point))
    first = ax.get_subplotspec()
    dress(
        ax,
        xlabel="distance to training series, relative to real",
        ylabel="AUC of the stronger judge" if first and first.is_first_col() else None,
        title=panel.title or None,
    )


def _set_limits(ax: Axes, panel: Panel) -> None:
    xs = [p.novelty for p in panel.points] + list(panel.band)
    ys = [p.fidelity for p in panel.points] + list(panel.floors)
    right = max([x for x in xs if np.isfinite(x)] + [0.1]) * 1.12
    low = min([y for y in ys if np.isfinite(y)] + [0.5])
    ax.set_xlim(-0.05 * right, right)
    ax.set_yticks(np.arange(0.0, 1.05, 0.1))
    ax.set_ylim(min(low, 0.5) - 0.09, 1.04)


def _draw_point(ax: Axes, point: Point, color: str, shape: str) -> None:
    x, y = point.novelty, point.fidelity
    for ends, xs, ys in (
        (point.novelty_ends, point.novelty_ends, (y, y)),
        (point.fidelity_ends, (x, x), point.fidelity_ends),
    ):
        if np.isfinite(ends).all() and not point.oracle:
            ax.plot(xs, ys, color=color, linewidth=1.2, alpha=0.7, zorder=3)
    ax.plot(x, y, zorder=4, clip_on=False, **_mark(color, shape, point))


def _mark(color: str, shape: str, point: Point) -> dict[str, Any]:
    return {
        "marker": shape,
        "markersize": 8,
        "color": color,
        "markerfacecolor": color if point.counts else "white",
        "markeredgewidth": 1.6,
        "linestyle": "",
    }


def _add_legend(figure: Figure, panels: Sequence[Panel]) -> None:
    """Add one legend below: generators, yardsticks, the floor."""
    handles: dict[str, Line2D] = {}
    for oracle in (False, True):
        for panel in panels:
            for point in panel.points:
                if point.oracle == oracle and point.name not in handles:
                    full = replace(point, counts=True)
                    style = _mark(*panel.style(point), full)
                    handles[point.name] = Line2D([], [], **style)
    handles["real against real"] = Line2D([], [], color=REAL, linestyle=DASH)
    figure.legend(
        list(handles.values()),
        list(handles),
        loc="outside lower center",
        ncols=4,
        frameon=False,
        fontsize=LABEL,
    )


def _name_points(ax: Axes, panel: Panel) -> None:
    """Write the names beside their points, below each other where these meet."""
    taken: list[tuple[float, float]] = []
    low, high = ax.get_ylim()
    right = ax.get_xlim()[1]
    step = 0.06 * (high - low)
    shown = [p for p in panel.points if np.isfinite([p.novelty, p.fidelity]).all()]
    for point in sorted(shown, key=lambda p: (p.oracle, -p.fidelity)):
        y = min(point.fidelity, high - step) + (0.0 if point.oracle else 0.45 * step)
        while any(
            abs(y - b) < step and abs(point.novelty - a) < 0.3 * right for a, b in taken
        ):
            y -= step
        taken.append((point.novelty, y))
        left = point.novelty > 0.7 * right
        ax.annotate(
            point.name,
            (point.novelty, y),
            xytext=(-9 if left else 9, 0),
            textcoords="offset points",
            ha="right" if left else "left",
            va="center",
            fontsize=LABEL,
            fontweight="normal" if point.oracle else "bold",
            color=MUTED if point.oracle else INK,
            zorder=5,
            bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.4, "alpha": 0.85},
        )


def _mark_target(ax: Axes, panel: Panel) -> None:
    style: dict[str, Any] = {"fontsize": TICK, "color": INK, "zorder": 6}
    at: dict[str, Any] = {"xycoords": ("data", "axes fraction")}
    at |= {"ha": "center", "va": "bottom"}
    if np.isfinite(panel.band).all():
        middle = sum(panel.band) / 2
        ax.annotate("as new as real series", (middle, 0.015), **at, **style)
    ax.annotate("copies", (0.0, 0.015), **at, **style)
    if panel.floors:
        ends = dict.fromkeys(f"{end:.2f}" for end in sorted(panel.floors))
        ax.annotate(
            f"real against real {' and '.join(ends)}",
            (0.5, max(panel.floors)),
            xycoords=("axes fraction", "data"),
            xytext=(0, 3),
            textcoords="offset points",
            ha="center",
            va="bottom",
            **style,
        )
