"""Scores in the terminal."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import pandas as pd
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from gluonts_dualkl.evaluation.metrics import by_name
from gluonts_dualkl.evaluation.verdict import describe, findings

__all__ = ["print_benchmark", "print_scores", "progress_line", "standings"]

_GOOD = {"as real", "not detected", ""}
_SHOWN = {
    "c2st_auc_trees": "AUC",
    "mmd2": "MMD2",
    "coverage": "cover",
    "vendi_ratio": "Vendi",
    "roughness_ratio": "rough",
    "dcr_share": "DCR",
}
_LEGEND = (
    "AUC: of a tree classifier, real against synthetic. cover: coverage. Vendi, rough: "
    "diversity and roughness relative to real series. DCR: share nearer to train than "
    "to held-out. s: seconds to fit and draw."
)


def print_scores(
    scores: pd.DataFrame, out: Path, console: Console | None = None
) -> None:
    """Print the verdict in words, the headline and secondary tables, and the page."""
    console = console or Console(highlight=False)
    for line in describe(scores).splitlines():
        console.print(line, markup=False)
    headline = scores["metric"].map(_is_headline)
    for title, rows in (
        ("Headline", scores[headline]),
        ("Secondary", scores[~headline]),
    ):
        if len(rows):
            console.print(_score_table(title, rows))
    console.print(f"See {out / 'index.html'}", soft_wrap=True, markup=False)


def _is_headline(name: str) -> bool:
    try:
        return by_name(name).headline
    except ValueError:
        return False


def _score_table(title: str, scores: pd.DataFrame) -> Table:
    table = _table(title)
    for name in ("value", "95 % interval", "real"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("verdict", no_wrap=True)
    columns = ["metric", "value", "lower", "upper", "floor", "verdict"]
    for name, value, lower, upper, floor, verdict in scores[columns].to_numpy():
        ends = f"{_number(lower)} - {_number(upper)}" if np.isfinite(lower) else ""
        table.add_row(
            name,
            _number(value),
            ends,
            _number(floor),
            verdict,
            style="" if verdict in _GOOD else "bold",
        )
    return table


def _table(title: str) -> Table:
    """Table that fits a terminal of 80 columns, its first column for names."""
    table = Table(
        title=title,
        title_justify="left",
        box=SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
        show_edge=False,
    )
    table.add_column("", no_wrap=True)
    return table


def _number(value: Any) -> str:
    return f"{value:.3g}" if np.isfinite(value) else "-"


def _short(value: Any) -> str:
    if not np.isfinite(value):
        return "-"
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.2f}"


def progress_line() -> Callable[[Any, str, int, int], None]:
    """Print a line on stderr for each finished cell of a benchmark."""
    console = Console(stderr=True, highlight=False)
    begin = perf_counter()

    def show(cell: Any, failure: str, done: int, total: int) -> None:
        text = f"[{done}/{total}] {cell}, after {perf_counter() - begin:.0f} s"
        if failure:
            text += f", failed: {failure}"
        console.print(text, soft_wrap=True, markup=False)

    return show


def standings(table: pd.DataFrame) -> pd.DataFrame:
    """One row a data set and generator: means over seeds, and the faults of any seed.

    Parameters
    ----------
    table
        Table of :func:`~gluonts_dualkl.evaluation.runner.run_benchmark`.

    Returns
    -------
    pandas.DataFrame
        ``dataset, generator``, one column a metric shown, ``seconds``, ``copies``
        (whether any seed was found to memorise) and ``failed`` (number of seeds).
        Within a data set first those that do not copy, then by C2ST AUC.
    """
    rows = [
        {"dataset": dataset, "generator": generator, **_standing(cells)}
        for (dataset, generator), cells in table.groupby(["dataset", "generator"])
    ]
    order = ["dataset", "copies", "c2st_auc_trees"]
    found = pd.DataFrame(rows).reindex(
        columns=["dataset", "generator", *_SHOWN, "seconds", "copies", "failed"]
    )
    return found.sort_values(order, kind="stable", ignore_index=True)


def _standing(cells: pd.DataFrame) -> dict[str, Any]:
    done = cells[cells["failure"] == ""]
    means = done.groupby("metric")["value"].mean()
    memorised = ["memorisation" in findings(seed) for _, seed in done.groupby("seed")]
    cost = done.drop_duplicates("seed")[["seconds_fit", "seconds_sample"]]
    return {
        **{name: means.get(name, np.nan) for name in _SHOWN},
        "seconds": cost.sum(axis=1).mean() if len(cost) else np.nan,
        "copies": any(memorised),
        "failed": cells.loc[cells["failure"] != "", "seed"].nunique(),
    }


def print_benchmark(
    table: pd.DataFrame, out: Path, console: Console | None = None
) -> None:
    """Print the standings of each data set, the failures, and where the page is."""
    console = console or Console(highlight=False)
    floors = table.groupby(["dataset", "metric"])["floor"].mean()
    for dataset, rows in standings(table).groupby("dataset", sort=False):
        shown = _table(str(dataset))
        for name in (*_SHOWN.values(), "s"):
            shown.add_column(name, justify="right", no_wrap=True)
        shown.add_column("", no_wrap=True)
        real = [floors.get((dataset, name), np.nan) for name in _SHOWN]
        shown.add_row("real series", *map(_short, real), "", "", style="dim")
        for _, row in rows.iterrows():
            values = [_short(row[name]) for name in (*_SHOWN, "seconds")]
            shown.add_row(row["generator"], *values, _remark(row))
        console.print(shown)
    console.print(_LEGEND, style="dim")
    columns = ["dataset", "generator", "seed", "failure"]
    for *cell, failure in table.loc[table["failure"] != "", columns].to_numpy():
        console.print(
            f"Failed: {', '.join(map(str, cell))}: {failure}",
            soft_wrap=True,
            markup=False,
        )
    console.print(f"See {out / 'index.html'}", soft_wrap=True, markup=False)


def _remark(row: pd.Series) -> str:
    words = ["copies"] if row["copies"] else []
    if row["failed"]:
        words.append(f"{row['failed']} failed")
    return ", ".join(words)
