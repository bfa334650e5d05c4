"""Tables of a report: every metric between its floor and its ceiling."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable

import numpy as np
import pandas as pd

from gluonts_dualkl.evaluation.pages import (
    Html,
    details,
    escape_text,
    facts,
    table,
    two_lines,
)
from gluonts_dualkl.evaluation.reporting import words

_MARKUP = re.compile(r":\w+:(?=`)|`")

__all__ = ["metric_notes", "metric_tables", "strip"]

COLUMNS = (
    "Metric",
    "Value",
    "Real (floor)",
    "Planted fault (ceiling)",
    Html(
        'Where it stands <span class="small">┃ real &nbsp;● value &nbsp;◇ fault</span>'
    ),
    "Verdict",
)
WIDTH, HEIGHT = 170.0, 22.0
_START, _SPAN = 52.0, 88.0


def metric_tables(scores: pd.DataFrame) -> list[Html]:
    """Return the headline metrics as a table, the others under a fold.

    Parameters
    ----------
    scores
        Columns ``metric, value, lower, upper, floor, ceiling, verdict``.
    """
    first = [_is_headline(name) for name in scores["metric"]]
    head, rest = scores[first], scores[np.logical_not(first)]
    if head.empty:
        head, rest = rest, head
    parts = [_metric_table(head, "Headline metrics, synthetic against held-out series")]
    if len(rest):
        faults = [
            words.label(name)
            for name, verdict in zip(rest["metric"], rest["verdict"], strict=True)
            if words.is_fault(verdict)
        ]
        found = f"faults in {words.join(faults)}" if faults else "no fault in them"
        summary = f"{len(rest)} further metrics: {found}"
        parts.append(details(summary, [_metric_table(rest, "Further metrics")]))
    return parts


def _is_headline(name: str) -> bool:
    metric = words.record(name)
    return metric is not None and metric.headline


def _metric_table(scores: pd.DataFrame, caption: str) -> Html:
    rows = [_metric_row(row) for row in scores.to_dict("records")]
    return table(COLUMNS, rows, caption=caption, kind="metrics")


def _metric_row(row: dict) -> list[object]:
    name = str(row["metric"])
    metric = words.record(name)
    value, floor = words.number(row["value"], name), words.number(row["floor"], name)
    interval = ""
    if np.isfinite([row["lower"], row["upper"]]).all():
        lower, upper = (words.number(row[end], name) for end in ("lower", "upper"))
        interval = f"{lower} to {upper}"
    fault = words.plain(metric.ceiling) if metric else ""
    if words.blind(name, row["floor"], row["ceiling"]):
        fault = f"{fault}: not seen here"
    known = np.isfinite(row["value"])
    return [
        two_lines(words.label(name), words.aim(name)),
        two_lines(value, interval),
        floor,
        two_lines(words.number(row["ceiling"], name), fault),
        strip(row),
        _verdict(row["verdict"]) if known else "not computed",
    ]


def _verdict(word: object) -> Html:
    text = escape_text(word if isinstance(word, str) else "")
    if words.is_fault(word):
        return Html(f'<strong class="fault">▲ {text}</strong>')
    return Html(f'<span class="fine">{text}</span>')


def strip(row: dict) -> Html:
    """Return a small drawing of a value and its interval between floor and ceiling.

    The floor stands at one third from the left and the ceiling at the right, on the
    scale of the metric; what lies beyond ends in an arrow. Nothing is drawn where the
    metric does not tell floor from ceiling.
    """
    metric = words.record(str(row["metric"]))
    numbers = [row[key] for key in ("value", "floor", "ceiling")]
    if words.blind(str(row["metric"]), row["floor"], row["ceiling"]):
        return Html("")
    if metric is None or metric.is_p_value or not np.isfinite(numbers).all():
        return Html("")
    low, high = metric.scale(row["floor"]), metric.scale(row["ceiling"])
    gap = float(high - low)

    def place(x: float) -> float:
        return _START + _SPAN * float(metric.scale(x) - low) / gap

    return _drawing(place(row["value"]), [place(row["lower"]), place(row["upper"])])


def _drawing(dot: float, ends: list[float]) -> Html:
    middle, right = HEIGHT / 2, _START + _SPAN
    shapes = [
        f'<line x1="2" y1="{middle}" x2="{WIDTH - 2:g}" y2="{middle}" class="rail"/>',
        f'<path d="M{_START:g} 2V{HEIGHT - 2:g}" class="floor"/>',
        f'<path d="M{right:g} {middle - 6:g}l6 6-6 6-6-6z" class="ceiling"/>',
    ]
    low, high = 6.0, WIDTH - 6.0
    if np.isfinite(ends).all():
        a, b = np.clip(sorted(ends), low, high)
        shapes.append(
            f'<line x1="{a:.1f}" y1="{middle}" x2="{b:.1f}" y2="{middle}" '
            'class="span"/>'
        )
    at = float(np.clip(dot, low, high))
    if at == dot:
        shapes.append(f'<circle cx="{at:.1f}" cy="{middle}" r="4.5" class="dot"/>')
    else:
        back = 9 if dot > at else -9
        shapes.append(
            f'<path d="M{at + back / 3:.1f} {middle}l{-back} -6v12z" class="dot"/>'
        )
    return Html(
        f'<svg viewBox="0 0 {WIDTH:g} {HEIGHT:g}" width="{WIDTH:g}" '
        f'height="{HEIGHT:g}" aria-hidden="true">{"".join(shapes)}</svg>'
    )


def metric_notes(names: Iterable[str]) -> Html:
    """Return what each metric computes, its estimator and its source, under a fold."""
    pairs = []
    for name in names:
        metric = words.record(name)
        if metric is None:
            pairs.append((words.label(name), "not known to this version"))
            continue
        summary = (inspect.getdoc(metric.function) or "").split("\n\n")[0]
        summary = " ".join(_MARKUP.sub("", summary).split())
        text = f"{summary} Estimator: {metric.estimator} ({metric.source})."
        text = text.replace("+-", "±")
        pairs.append((words.label(name), text[:1].upper() + text[1:]))
    return details("What each metric computes", [facts(pairs)])
