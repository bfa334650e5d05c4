"""Reports: one self-contained HTML page from scores, for one generator or for many.

:func:`write_scores_page` shows one generator on one data set,
:func:`write_report` a benchmark, from its long table alone. Nothing is run again: pages
are rebuilt from saved numbers and, for the pictures, from arrays.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from gluonts_dualkl import __version__
from gluonts_dualkl.evaluation import pages
from gluonts_dualkl.evaluation.inputs import as_sets
from gluonts_dualkl.evaluation.reporting import words
from gluonts_dualkl.evaluation.reporting.benchmark import Benchmark
from gluonts_dualkl.evaluation.reporting.gallery import sample_sections, series_sections
from gluonts_dualkl.evaluation.reporting.novelty import scores_panel, table_panel
from gluonts_dualkl.evaluation.reporting.plane import draw_novelty
from gluonts_dualkl.evaluation.reporting.ranks import COLUMNS, metric_names
from gluonts_dualkl.evaluation.reporting.runs import (
    cost_section,
    failure_section,
    settings_section,
)
from gluonts_dualkl.evaluation.reporting.tables import metric_notes, metric_tables

__all__ = ["write_report", "write_scores_page"]

SECTIONS = (
    ("verdict", "What was found"),
    ("novelty", "Fidelity at novelty"),
    ("metrics", "The metrics"),
    ("series", "Real beside synthetic"),
    ("maps", "Maps of the sets"),
    ("memorisation", "Memorisation"),
    ("settings", "Settings and versions"),
)
READING = (
    "Each value stands between two yardsticks. The floor puts real series in the place "
    "of the synthetic ones; the ceiling is what a planted fault reads. Verdicts look "
    "at the difference to the floor, beyond chance and the metric's tolerance. "
    "Intervals come from half-samples of the series and do not hold the noise of "
    "training."
)
ATTRS = {"num_train": "training series", "num_compared": "series compared"}
SCORES = ["metric", "value", "lower", "upper", "floor", "ceiling", "verdict"]


def write_scores_page(
    scores: pd.DataFrame,
    train: Any,
    held_out: Any,
    synthetic: Any,
    path: str | Path,
    *,
    channel_names: Sequence[str] | None = None,
    title: str = "Synthetic series against held-out ones",
    freq: str | None = None,
    settings: Mapping[str, object] | None = None,
) -> Path:
    """Write the page of one generator on one data set.

    Parameters
    ----------
    scores
        Table of :func:`~gluonts_dualkl.evaluation.evaluate_generator`.
    train, held_out, synthetic
        Arrays ``(n, T, C)`` in original units, or GluonTS datasets, as scored. Series
        with NaN are drawn where a picture can show them and left out elsewhere.
    path
        File to write; its folder must exist.
    channel_names
        Names of the channels, with their units where known.
    title
        Line above the verdict, for instance data set and generator.
    freq
        Length of a time step, for the labels.
    settings
        Further lines of the section on settings and cost, such as
        ``{"seconds to fit": 26.6}``.

    Returns
    -------
    Path
        The file written.
    """
    _check_columns(scores, SCORES)
    sets = as_sets(train, held_out, synthetic, missing=True)
    names = [str(name) for name in channel_names] if channel_names else None
    body = [
        pages.paragraph(title, "kicker"),
        f"<h1>{pages.escape_text(words.headline(scores))}</h1>",
        pages.paragraph(_lead(scores, sets), "lead"),
        pages.findings(words.cells(scores)),
        *_verdict_section(scores),
        *_novelty_section(scores, sets),
        pages.section("metrics", "The metrics"),
        pages.paragraph(READING, "caption"),
        *metric_tables(scores),
        metric_notes(scores["metric"]),
        *series_sections(*sets, names, freq),
        pages.section("settings", "Settings and versions"),
        pages.facts(_settings(scores, sets, freq, settings or {})),
    ]
    return _write(path, title, body, SECTIONS, 4)


def write_report(
    table: pd.DataFrame | str | Path,
    path: str | Path,
    *,
    samples: str | Path | None = None,
    title: str = "Benchmark of generators",
) -> Path:
    """Write the page of a benchmark, from its long table alone.

    Parameters
    ----------
    table
        One row a data set, generator, seed and metric, with the columns ``dataset,
        generator, seed, metric, value, lower, upper, floor, ceiling, verdict`` and, as
        far as known, ``seconds_fit, seconds_sample, peak_memory_mb, versions,
        failure``; or the Parquet file that holds it. A run that failed has one row with
        ``failure`` and no metric.
    path
        File to write; its folder must exist.
    samples
        Folder of saved arrays ``(n, T, C)`` for pictures:
        ``DATASET/held_out.npy`` and ``DATASET/GENERATOR/SEED.npy``. Missing ones are
        left out.
    title
        Line above the verdict.

    Returns
    -------
    Path
        The file written.
    """
    if not isinstance(table, pd.DataFrame):
        table = pd.read_parquet(table)
    _check_columns(table, COLUMNS)
    found = Benchmark(table)
    keys = {name: f"data-{k}" for k, name in enumerate(found.datasets)}
    body = [
        pages.paragraph(title, "kicker"),
        f"<h1>{pages.escape_text(found.headline())}</h1>",
        pages.paragraph(found.lead(), "lead"),
        *found.overview(),
        *_maps(found),
        *found.tests(),
        *found.rank_table(),
        *(part for name in keys for part in found.dataset_section(name, keys[name])),
        *sample_sections(samples, found.datasets, found.order),
        *cost_section(table),
        *failure_section(table),
        *settings_section(table, __version__),
        metric_notes(metric_names(table)),
    ]
    links = [
        ("verdict", "Who counts"),
        ("novelty", "Fidelity at novelty"),
        ("tests", "Certainty"),
        ("ranks", "Mean ranks"),
        *((key, words.title(name)) for name, key in keys.items()),
        ("series", "Series"),
        ("cost", "Cost"),
        ("failures", "Failures"),
        ("settings", "Settings"),
    ]
    return _write(path, title, body, links, 3)


def _write(
    path: str | Path,
    title: str,
    body: list[str],
    links: Sequence[tuple[str, str]],
    place: int,
) -> Path:
    """Write the page, with links to the sections it has at ``place``."""
    whole = "".join(body)
    known = [link for link in links if f'<h2 id="{link[0]}">' in whole]
    body = [*body[:place], pages.contents(known), *body[place:]]
    path = Path(path)
    path.write_text(pages.document(title, body, pages.REPORT), encoding="utf-8")
    return path


def _maps(found: Benchmark) -> list[str]:
    panels = [table_panel(d, found.grid, found.generators) for d in found.datasets]
    known = [panel for panel in panels if panel is not None]
    if not known:
        return []
    caption = (
        "Likeness counts only for new series. Inside the shaded band they are as far "
        "from the training series as real ones are; the lower a point, the less a "
        "judge tells them from real ones. Hollow marks do not count, crosses are "
        "series with a planted fault, lines are intervals."
    )
    alt = "; ".join(
        f"{panel.title}: {point.name} novelty {point.novelty:.2f}, "
        f"AUC {point.fidelity:.2f}"
        for panel in known
        for point in panel.points
    )
    picture = pages.png(draw_novelty(known))
    return [
        pages.section("novelty", "Fidelity at novelty"),
        pages.figure(picture, "Fidelity at novelty", caption, alt=alt, level=0),
    ]


def _check_columns(table: pd.DataFrame, needed: Sequence[str]) -> None:
    missing = [name for name in needed if name not in table.columns]
    if missing:
        raise ValueError(
            f"table: columns {missing} are missing, got {list(table.columns)}; pass "
            "the table as it was computed"
        )


def _lead(scores: pd.DataFrame, sets: Sequence[np.ndarray]) -> str:
    train, held_out, synthetic = sets
    num = scores.attrs.get("num_compared", min(len(held_out), len(synthetic)))
    channels = train.shape[2]
    return (
        f"{num} synthetic series were compared with {num} real ones that the generator "
        f"never saw; it was given {len(train)}. Each has {train.shape[1]} time steps "
        f"and {channels} channel{'s' * (channels != 1)}."
    )


def _verdict_section(scores: pd.DataFrame) -> list[str]:
    items = [
        f"<li>{pages.escape_text(text)}"
        + (f'<span class="small">{pages.escape_text(proof)}</span>' if proof else "")
        + "</li>"
        for text, proof in words.fault_lines(scores)
    ]
    return [
        pages.section("verdict", "What was found"),
        f'<ul class="verdict">{"".join(items)}</ul>',
    ]


def _novelty_section(scores: pd.DataFrame, sets: Sequence[np.ndarray]) -> list[str]:
    panel = scores_panel(scores, sets)
    if panel is None:
        return []
    point = panel.points[0]
    alt = (
        f"Novelty {point.novelty:.2f}, real series {panel.band[0]:.2f} to "
        f"{panel.band[1]:.2f}; AUC {point.fidelity:.2f}, real series at most "
        f"{max(panel.floors):.2f}."
    )
    caption = (
        "Likeness counts only for new series: inside the shaded band they are as far "
        "from the training series as real ones are, and the lower the point, the less "
        "a judge tells them from real ones. Crosses are series with a planted fault; "
        "lines are intervals."
    )
    picture = pages.png(draw_novelty([panel]))
    return [
        pages.section("novelty", "Fidelity at novelty"),
        pages.figure(picture, "Fidelity at novelty", caption, alt=alt, level=0),
    ]


def _settings(
    scores: pd.DataFrame,
    sets: Sequence[np.ndarray],
    freq: str | None,
    settings: Mapping[str, object],
) -> list[tuple[str, object]]:
    counts = ("training", "held-out", "synthetic")
    known: dict[str, object] = {
        f"{name} series": len(x) for name, x in zip(counts, sets, strict=True)
    }
    known["time step"] = freq or "not given"
    for key, value in scores.attrs.items():
        name = ATTRS.get(str(key), str(key).replace("_", " "))
        known[name] = ("no", "yes")[value] if isinstance(value, bool) else value
    known["gluonts-dualkl"] = __version__
    known["numpy, pandas"] = f"{np.__version__}, {pd.__version__}"
    return [*known.items(), *settings.items()]
