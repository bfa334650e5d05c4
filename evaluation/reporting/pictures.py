"""Pictures of a report, composed on the Axes of :mod:`gluonts_dualkl.plotting.plots`.

Real held-out series are dark grey, synthetic ones orange, training ones blue; shapes
and dashes repeat what the colours say. Series are arrays ``(N, T, C)`` without NaN;
only lines may have gaps.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import MaxNLocator, NullFormatter

from gluonts_dualkl.evaluation.metrics._common import distances, flat
from gluonts_dualkl.plotting.plot_style import (
    CLUSTERS,
    INK,
    LABEL,
    MUTED,
    REAL,
    SYNTHETIC,
    TICK,
    dress,
    legend,
    name_channels,
    new_figure,
    time_label,
)
from gluonts_dualkl.plotting.plots import plot_series

__all__ = [
    "draw_correlations",
    "draw_embedding",
    "draw_nearest",
    "draw_rows",
    "draw_spectra",
]

TRAIN = CLUSTERS[0]
WIDTH = 10.0
MAX_CHANNELS = 8
MAX_POINTS = 200


def draw_rows(sets: dict[str, np.ndarray]) -> Figure:
    """Return lines of several sets (n, T, C), a row a set, the first four channels.

    The first set is the real one and gives every column its scale: all but one in a
    hundred of its values on either side, with as much room again around them.
    """
    real = next(iter(sets.values()))
    columns = min(real.shape[2], 4)
    limits = [_limits(real[:, :, c]) for c in range(columns)]
    figure, axes = new_figure(
        len(sets), columns, width=WIDTH, height=0.4 + 1.5 * len(sets)
    )
    for row, (name, x) in zip(axes, sets.items(), strict=True):
        color = REAL if x is real else SYNTHETIC
        plot_series(row, x[:, :, :columns], color=color, num_series=20)
        for c, ax in enumerate(row):
            ax.set_ylim(*limits[c])
            ax.set_xlabel("")
            ax.set_ylabel("")
            if x is real and c:
                ax.set_title(f"channel {c}", fontsize=LABEL, loc="left", color=INK)
        weight: dict[str, Any] = {"fontsize": LABEL, "fontweight": "bold", "color": INK}
        row[0].set_title(name, loc="left", **weight)
    return figure


def _limits(x: np.ndarray) -> tuple[float, float]:
    low, high = np.nanquantile(x, [0.01, 0.99])
    room = 0.5 * (high - low or 1.0)
    return float(low - room), float(high + room)


def draw_spectra(
    real: np.ndarray,
    synthetic: np.ndarray,
    channel_names: Sequence[str] | None = None,
    freq: str | None = None,
) -> Figure:
    """Return the mean power spectrum of each channel, real and synthetic.

    Periodograms of centred series under a Hann taper, in the channel's real variance;
    the band holds the middle half of the real series.
    """
    names = name_channels(channel_names, real.shape[2])[:MAX_CHANNELS]
    columns = min(4, len(names))
    rows = -(-len(names) // columns)
    figure, axes = new_figure(rows, columns, width=WIDTH, height=2.6 * rows)
    for c, (ax, name) in enumerate(zip(axes.ravel(), names)):
        _plot_spectrum(ax, real[:, :, c], synthetic[:, :, c])
        step = time_label(freq, "").strip(" ()").replace("steps", "step")
        xlabel = f"cycles per {step}"
        dress(ax, xlabel=xlabel, ylabel=f"power, {name}", flat=True)
        ax.yaxis.set_minor_formatter(NullFormatter())
        ax.xaxis.set_major_locator(MaxNLocator(3))
    legend(axes[0, 0])
    for ax in axes.ravel()[len(names) :]:
        ax.set_visible(False)
    return figure


def _plot_spectrum(ax: Axes, real: np.ndarray, synthetic: np.ndarray) -> None:
    variance = real.var() or 1.0
    frequencies = np.fft.rfftfreq(real.shape[1])[1:]
    own, other = _periodograms(real) / variance, _periodograms(synthetic) / variance
    tiny = 1e-8
    low, high = np.quantile(own, [0.25, 0.75], axis=0) + tiny
    ax.fill_between(frequencies, low, high, color=REAL, alpha=0.15, linewidth=0)
    ax.plot(frequencies, own.mean(0) + tiny, color=REAL, linewidth=1.8, label="real")
    ax.plot(
        frequencies,
        other.mean(0) + tiny,
        color=SYNTHETIC,
        linewidth=1.8,
        linestyle=(0, (4, 1.5)),
        label="synthetic",
    )
    ax.set_yscale("log")


def _periodograms(x: np.ndarray) -> np.ndarray:
    """Periodograms of series (n, T), frequency zero left out."""
    taper = np.hanning(x.shape[1] + 2)[1:-1]
    centred = (x - x.mean(1, keepdims=True)) * taper
    return np.abs(np.fft.rfft(centred, axis=1)[:, 1:]) ** 2 / (taper**2).sum()


def draw_correlations(
    real: np.ndarray,
    synthetic: np.ndarray,
    channel_names: Sequence[str] | None = None,
) -> Figure:
    """Return correlation matrices of time steps and of channels, and differences.

    Steps: correlation over series, mean over channels; channels: pooled over series and
    steps. One channel has a matrix of steps only.
    """
    names = name_channels(channel_names, real.shape[2])
    kinds = [("time step", _step_correlation)]
    if real.shape[2] > 1:
        kinds.append(("channel", _channel_correlation))
    figure, axes = new_figure(len(kinds), 3, width=WIDTH, height=3.3 * len(kinds))
    for row, (kind, function) in zip(axes, kinds):
        a, b = function(real), function(synthetic)
        titles = (f"Real, by {kind}", f"Synthetic, by {kind}", "Difference")
        for ax, matrix, title in zip(row, (a, b, b - a), titles):
            ax.imshow(matrix, cmap="RdBu_r", vmin=-1, vmax=1)
            dress(ax, title=title, spines=())
            ax.tick_params(length=0)
            _label_matrix(ax, names if kind == "channel" else None, ax is row[0])
        if len(a) <= 6:
            for ax, matrix in zip(row, (a, b, b - a)):
                _write_numbers(ax, matrix)
    bar = figure.colorbar(
        axes[0, 0].images[0], ax=axes, shrink=0.5, aspect=30, pad=0.02
    )
    bar.set_label("correlation", fontsize=LABEL, color=INK)
    bar.ax.tick_params(labelsize=TICK, colors=MUTED, length=2)
    bar.outline.set_visible(False)
    return figure


def _label_matrix(ax: Axes, names: Sequence[str] | None, first: bool) -> None:
    if names is None:
        ax.xaxis.set_major_locator(MaxNLocator(5, integer=True))
        ax.yaxis.set_major_locator(MaxNLocator(5, integer=True))
        return
    short = [name.split(" (")[0] for name in names]
    turn = 0 if max(map(len, short)) * len(short) <= 34 else 90
    ax.set_xticks(range(len(short)), short, rotation=turn)
    ax.set_yticks(range(len(short)), short if first else [""] * len(short))


def _write_numbers(ax: Axes, matrix: np.ndarray) -> None:
    for (i, j), value in np.ndenumerate(matrix):
        if np.isfinite(value):
            text = f"{round(value, 2) + 0.0:.2f}".replace("-", "\N{MINUS SIGN}")
            color = "white" if abs(value) > 0.6 else INK
            ax.text(j, i, text, ha="center", va="center", fontsize=TICK, color=color)


def _correlation(rows: np.ndarray) -> np.ndarray:
    """Correlation of the columns of rows; NaN for constant columns."""
    centred = rows - rows.mean(0)
    deviation = centred.std(0)
    deviation[deviation < 1e-12] = np.nan
    return centred.T @ centred / len(rows) / np.outer(deviation, deviation)


def _step_correlation(x: np.ndarray) -> np.ndarray:
    each = np.stack([_correlation(x[:, :, c]) for c in range(x.shape[2])])
    known = np.isfinite(each)
    total = np.where(known, each, 0.0).sum(0)
    return np.where(known.any(0), total / np.maximum(known.sum(0), 1), np.nan)


def _channel_correlation(x: np.ndarray) -> np.ndarray:
    return _correlation(x.reshape(-1, x.shape[2]))


def draw_embedding(
    train: np.ndarray, held_out: np.ndarray, synthetic: np.ndarray, seed: int = 0
) -> Figure:
    """Return PCA and t-SNE of the feature table, of three sets without NaN."""
    from gluonts_dualkl.evaluation.features import FeatureScaler

    scaler = FeatureScaler(train)
    tables = [_thin(scaler(x), seed) for x in (train, held_out, synthetic)]
    maps = {"PCA": _pca(tables), "t-SNE": _tsne(tables, seed)}
    figure, axes = new_figure(1, 2, width=WIDTH, height=4.6)
    for ax, (name, places) in zip(axes[0], maps.items()):
        _plot_sets(ax, places)
        dress(ax, title=name, spines=())
        ax.set_xticks([])
        ax.set_yticks([])
    legend(axes[0, 0])
    return figure


def _thin(rows: np.ndarray, seed: int) -> np.ndarray:
    order = np.random.default_rng(seed).permutation(len(rows))
    return rows[np.sort(order[:MAX_POINTS])]


def _pca(tables: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Places on the first two components of the real tables."""
    from sklearn.decomposition import PCA

    real = np.concatenate(tables[:2])
    model = PCA(n_components=2, random_state=0).fit(real)
    return [model.transform(rows) for rows in tables]


def _tsne(tables: Sequence[np.ndarray], seed: int) -> list[np.ndarray]:
    from sklearn.manifold import TSNE
    from threadpoolctl import threadpool_limits

    rows = np.concatenate(tables)
    perplexity = float(np.clip(len(rows) / 10, 2, 30))
    model = TSNE(perplexity=perplexity, init="pca", random_state=seed, max_iter=500)
    with threadpool_limits(1):
        places = model.fit_transform(rows.astype(np.float32))
    return np.split(places, np.cumsum([len(t) for t in tables])[:-1])


def _plot_sets(ax: Axes, places: Sequence[np.ndarray]) -> None:
    sets = (
        ("training", TRAIN, "+", 26.0),
        ("real, held out", REAL, "o", 22.0),
        ("synthetic", SYNTHETIC, "^", 24.0),
    )
    for points, (name, color, marker, size) in zip(places, sets):
        hollow = marker == "o"
        ax.scatter(
            points[:, 0],
            points[:, 1],
            s=size,
            marker=marker,
            facecolors="none" if hollow else color,
            edgecolors=color if hollow else None,
            linewidths=1.0 if marker != "^" else 0.0,
            alpha=0.75,
            label=name,
        )


def draw_nearest(
    train: np.ndarray,
    held_out: np.ndarray,
    synthetic: np.ndarray,
    channel_names: Sequence[str] | None = None,
    freq: str | None = None,
    num_pairs: int = 3,
) -> Figure:
    """Return distances to the nearest training series, and the closest pairs drawn.

    Distances are Euclidean on values in channel deviations of the training set, as in
    the memorisation metrics. Pairs have different training series.
    """
    names = name_channels(channel_names, train.shape[2])[:4]
    reference = flat(train, train)
    own = distances(flat(held_out, train), reference).min(1)
    near = distances(flat(synthetic, train), reference)
    pairs = _closest(near, num_pairs)
    figure = Figure(
        figsize=(WIDTH, 2.6 + 1.9 * len(pairs)),
        layout=ConstrainedLayoutEngine(h_pad=0.1, w_pad=0.06),
        facecolor="white",
    )
    heights = [2.6, 1.9 * len(pairs)]
    top, below = figure.subfigures(2, 1, squeeze=False, height_ratios=heights)[:, 0]
    _plot_distances(top.subplots(squeeze=False)[0, 0], own, near.min(1))
    axes = below.subplots(len(pairs), len(names), squeeze=False)
    for row, (i, j) in zip(axes, pairs):
        _plot_pair(row, train[j], synthetic[i], names, freq, near[i, j])
    legend(axes[0, 0])
    return figure


def _closest(near: np.ndarray, num: int) -> list[tuple[int, int]]:
    """Closest pairs (row, column), each row and each column once."""
    pairs: list[tuple[int, int]] = []
    for k in np.argsort(near, axis=None, kind="stable"):
        i, j = divmod(int(k), near.shape[1])
        if all(i != a and j != b for a, b in pairs):
            pairs.append((i, j))
        if len(pairs) == min(num, *near.shape):
            break
    return pairs


def _plot_distances(ax: Axes, own: np.ndarray, near: np.ndarray) -> None:
    edges = np.histogram_bin_edges(np.concatenate([own, near, [0.0]]), 40)
    for x, color, fill, name in (
        (own, REAL, True, "real, held out"),
        (near, SYNTHETIC, False, "synthetic"),
    ):
        share = np.histogram(x, edges)[0] * 100.0 / len(x)
        style: dict[str, Any] = {"alpha": 0.35} if fill else {"linewidth": 1.8}
        ax.stairs(share, edges, color=color, fill=fill, label=name, **style)
    dress(
        ax,
        xlabel="distance to the nearest training series (channel deviations)",
        ylabel="share of series (%)",
        flat=True,
    )
    ax.set_xlim(left=0.0)
    legend(ax)


def _plot_pair(
    axes: Sequence[Axes],
    train: np.ndarray,
    synthetic: np.ndarray,
    names: Sequence[str],
    freq: str | None,
    distance: float,
) -> None:
    for c, (ax, name) in enumerate(zip(axes, names)):
        ax.plot(train[:, c], color=TRAIN, linewidth=2.6, alpha=0.55, label="training")
        ax.plot(
            synthetic[:, c],
            color=SYNTHETIC,
            linewidth=1.5,
            linestyle=(0, (4, 1.5)),
            label="synthetic",
        )
        dress(ax, xlabel=time_label(freq), ylabel=name, flat=True)
        ax.set_xlim(0, max(len(train) - 1, 1))
        ax.xaxis.set_major_locator(MaxNLocator(4, integer=True))
    axes[0].set_title(
        f"distance {distance:.2f}\n", fontsize=TICK, color=INK, loc="left"
    )
