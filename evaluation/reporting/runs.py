"""What the runs of a benchmark cost, which failed, and with which versions."""

from __future__ import annotations

import json

import pandas as pd

from gluonts_dualkl.evaluation import pages
from gluonts_dualkl.evaluation.pages import Html
from gluonts_dualkl.evaluation.reporting import words
from gluonts_dualkl.evaluation.reporting.ranks import (
    costs,
    failures,
    metric_names,
    unique,
)

__all__ = ["cost_section", "failure_section", "settings_section"]

COST_NAMES = {
    "seconds_fit": "Seconds to fit",
    "seconds_sample": "Seconds to draw",
    "peak_memory_mb": "Peak memory (MB)",
}


def cost_section(table: pd.DataFrame) -> list[str]:
    """Return what the generators cost."""
    spent = costs(table)
    columns = ["Generator", *(COST_NAMES[str(name)] for name in spent)]
    rows = [
        [words.plain(g), *(words.number(value) for value in row)]
        for g, row in zip(spent.index, spent.to_numpy(), strict=True)
    ]
    caption = "Median over data sets and seeds"
    return [
        pages.section("cost", "Cost"),
        pages.table(columns, rows, caption=caption),
    ]


def failure_section(table: pd.DataFrame) -> list[str]:
    """Return every run that failed, with its last line and the whole text."""
    parts: list[str] = [pages.section("failures", "Failures")]
    found = failures(table)
    if found.empty:
        return [*parts, pages.paragraph("No run failed.")]
    for row in found.to_dict("records"):
        last = str(row["failure"]).strip().splitlines()[-1]
        where = f"{row['generator']} on {row['dataset']}, seed {row['seed']}"
        whole = Html(f"<pre>{pages.escape_text(row['failure'])}</pre>")
        parts.append(pages.details(f"{where}: {last[:160]}", [whole]))
    return parts


def settings_section(table: pd.DataFrame, version: str) -> list[str]:
    """Return seeds, numbers and the versions that were used."""
    seeds = sorted(map(str, table["seed"].dropna().unique()))
    pairs: list[tuple[str, object]] = [
        ("data sets", ", ".join(map(words.plain, unique(table, "dataset")))),
        ("generators", ", ".join(map(words.plain, unique(table, "generator")))),
        ("seeds", ", ".join(seeds)),
        ("metrics", str(len(metric_names(table)))),
        ("page written by", f"gluonts-dualkl {version}"),
    ]
    if "versions" in table:
        found = table["versions"].dropna().map(_versions).unique()
        pairs += [("versions of the runs", text) for text in found if text]
    return [
        pages.section("settings", "Settings and versions"),
        pages.facts(pairs),
    ]


def _versions(value: object) -> str:
    """Return versions as text, from text, JSON or a mapping."""
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except ValueError:
            return str(value)
    if isinstance(value, dict):
        return ", ".join(f"{name} {version}" for name, version in value.items())
    return str(value)
