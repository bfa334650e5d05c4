"""Real series beside synthetic ones: the sections of pictures of a report."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from urllib.parse import quote

import numpy as np

from gluonts_dualkl.evaluation.pages import figure, paragraph, png, section
from gluonts_dualkl.evaluation.reporting import pictures as drawn
from gluonts_dualkl.evaluation.reporting.words import join, plain, title
from gluonts_dualkl.plotting import pictures

__all__ = ["sample_sections", "series_sections", "short_names"]

LEAST = 5
LONGEST = 16
MOST = 6
# characters of pictures of a benchmark, after which no more are added
BUDGET = 1_200_000


def series_sections(
    train: np.ndarray,
    held_out: np.ndarray,
    synthetic: np.ndarray,
    channel_names: Sequence[str] | None = None,
    freq: str | None = None,
) -> list[str]:
    """Return the pictures of series ``(N, T, C)``, of their statistics and maps."""
    channel_names = short_names(channel_names)
    titles = ("Real, held out", "Synthetic")
    shown = held_out, synthetic, channel_names, freq, titles
    return [
        section("series", "Real beside synthetic"),
        figure(
            png(pictures.draw_lines(*shown)),
            "As lines",
            "Thirty series of each set on the same scales"
            f"{_some_channels(train.shape[2])}.",
            alt="Lines of real and of synthetic series, a column for each channel.",
            level=3,
        ),
        figure(
            png(pictures.draw_images(*shown)),
            "As images",
            "Each small image is one series: a row for each channel, time from left to "
            "right, red above and blue below the channel's mean.",
            alt="Real and synthetic series as images of channels by time steps.",
            level=3,
        ),
        *_whole_sections((train, held_out, synthetic), channel_names, freq),
    ]


def short_names(names: Sequence[str] | None) -> list[str] | None:
    """Return names that fit above a small picture, and stay different.

    Long ones lose their unit in brackets, then their end; the beginning instead where
    the ends tell them apart.
    """
    if names is None:
        return None
    names = [str(name) for name in names]
    if max(map(len, names)) <= LONGEST:
        return names
    names = [name.split(" (")[0] for name in names]
    heads = [_cut(name, f"{name[: LONGEST - 1]}…") for name in names]
    tails = [_cut(name, f"…{name[1 - LONGEST :]}") for name in names]
    return tails if len(set(tails)) > len(set(heads)) else heads


def _cut(name: str, shorter: str) -> str:
    return shorter if len(name) > LONGEST else name


def _some_channels(channels: int) -> str:
    shown = drawn.MAX_CHANNELS
    return f"; the first {shown} of {channels} channels" if channels > shown else ""


def _whole_sections(
    sets: Sequence[np.ndarray], names: Sequence[str] | None, freq: str | None
) -> list[str]:
    """Return the pictures that need series without NaN, if five of each set are."""
    whole = [x[np.isfinite(x).all((1, 2))] for x in sets]
    if min(map(len, whole)) < LEAST:
        text = f"Other pictures need {LEAST} series of each set without missing values."
        return [paragraph(text, "caption")]
    parts = [*_statistics(whole[1], whole[2], names, freq), *_maps(whole, names, freq)]
    left_out = sum(map(len, sets)) - sum(map(len, whole))
    if left_out:
        text = f"The pictures below leave out {left_out} series with missing values."
        parts.insert(0, paragraph(text, "note"))
    return parts


def _statistics(
    real: np.ndarray,
    synthetic: np.ndarray,
    names: Sequence[str] | None,
    freq: str | None,
) -> list[str]:
    some = _some_channels(real.shape[2])
    return [
        figure(
            png(pictures.draw_statistics(real, synthetic, names, freq)),
            "Marginals and autocorrelations",
            "Grey is real, orange synthetic; the shaded stretch is two standard errors "
            f"of the real curve{some}.",
            alt="Distribution of values and autocorrelation of each channel.",
            level=3,
        ),
        figure(
            png(drawn.draw_spectra(real, synthetic, names, freq)),
            "Spectra",
            "Mean power by frequency in units of the channel's real variance; the "
            f"shaded stretch is the middle half of the real series{some}.",
            alt="Power spectra of real (solid) and synthetic (dashed) series.",
            level=3,
        ),
        figure(
            png(drawn.draw_correlations(real, synthetic, names)),
            "Correlations",
            "Between time steps, over series and averaged over channels; between "
            "channels, over series and steps.",
            alt="Correlation matrices of real and synthetic series and differences.",
            level=3,
        ),
    ]


def _maps(
    sets: Sequence[np.ndarray], names: Sequence[str] | None, freq: str | None
) -> list[str]:
    train, held_out, synthetic = sets
    return [
        section("maps", "Maps of the sets"),
        figure(
            png(drawn.draw_embedding(train, held_out, synthetic)),
            "Maps of the sets",
            "Each mark is one series, placed by its features. Where the sets mix, they "
            "are alike; PCA keeps large distances, t-SNE neighbourhoods.",
            alt="PCA and t-SNE of training, held-out and synthetic series.",
            level=0,
        ),
        section("memorisation", "Memorisation"),
        figure(
            png(drawn.draw_nearest(train, held_out, synthetic, names, freq)),
            "Memorisation",
            "Copies would heap up near zero, left of where real held-out series lie. "
            "Below, the synthetic series that come closest to a training series, each "
            "beside it. That no copy is detected is no proof of privacy.",
            alt="Distances to the nearest training series; the closest pairs drawn.",
            level=0,
        ),
    ]


def sample_sections(
    folder: str | Path | None, datasets: Sequence[str], generators: Sequence[str]
) -> list[str]:
    """Return lines of saved series, one picture a data set.

    Parameters
    ----------
    folder
        Folder of samples, or None.
    datasets
        Data sets, most important first.
    generators
        Generators, best first; the first six that have samples are drawn.

    Notes
    -----
    Arrays ``(n, T, C)`` lie in ``DATASET/held_out.npy`` and
    ``DATASET/GENERATOR/SEED.npy``, names quoted as in addresses; of several seeds the
    first is drawn.
    """
    if folder is None:
        return []
    parts: list[str] = []
    left_out = 0
    for dataset in datasets:
        if sum(map(len, parts)) > BUDGET:
            left_out += 1
            continue
        home = Path(folder) / quote(dataset, safe=" ")
        found = {"real, held out": home / "held_out.npy"}
        for name in generators:
            if len(found) > MOST:
                break
            files = sorted((home / quote(name, safe=" ")).glob("*.npy"))
            found |= {plain(name): path for path in files[:1]}
        sets = {n: np.load(path) for n, path in found.items() if path.is_file()}
        if len(sets) > 1:
            parts.append(_sample_figure(dataset, sets))
    if left_out:
        text = f"Pictures of {left_out} further data sets are left out, to keep the "
        parts.append(paragraph(f"{text}page small.", "caption"))
    return [section("series", "Real beside synthetic"), *parts] if parts else []


def _sample_figure(dataset: str, sets: dict[str, np.ndarray]) -> str:
    names = join(list(sets))
    return figure(
        png(drawn.draw_rows(sets), dpi=100, colours=32),
        title(dataset),
        "Twenty series of each set, a row for each set, the same scale in each column.",
        alt=f"Lines of series of {names}.",
        level=3,
    )
