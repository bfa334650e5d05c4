"""What a report says: names of metrics, readable numbers, verdicts in plain words.

Every sentence follows from the numbers it is given: what was not computed is said to be
untested, and copying is judged before likeness.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

import numpy as np
import pandas as pd

from gluonts_dualkl.evaluation.metrics import ALL_METRICS, Metric
from gluonts_dualkl.evaluation.verdict import (
    AS_REAL,
    NOT_DETECTED,
    describe,
    findings,
)

__all__ = [
    "ORDER",
    "aim",
    "blind",
    "cells",
    "computed",
    "fault_lines",
    "headline",
    "is_fault",
    "join",
    "label",
    "number",
    "plain",
    "record",
    "title",
]

RECORDS = {metric.name: metric for metric in ALL_METRICS}
ORDER = list(RECORDS)
NO_FAULT = {AS_REAL, NOT_DETECTED, ""}

_LABELS = {
    "kl_real_synthetic": "KL (real ‖ synthetic)",
    "kl_synthetic_real": "KL (synthetic ‖ real)",
    "js_bound": "Jensen-Shannon bound",
    "c2st_auc_logistic": "Judge's AUC (linear)",
    "c2st_auc_trees": "Judge's AUC (trees)",
    "c2st_p": "Judge's p-value",
    "mmd2": "MMD²",
    "mmd2_p": "MMD² p-value",
    "vendi_ratio": "Vendi ratio",
    "dcr_share": "Nearer to training (DCR share)",
    "mdd": "MDD, marginal distributions",
    "acd": "ACD, autocorrelations",
    "sd": "SD, skewness",
    "kd": "KD, kurtosis",
    "sdmetrics_lstm_detection": "sdmetrics: LSTM detection",
    "sdmetrics_dcr_share": "sdmetrics: DCR share",
    "sdmetrics_msas": "sdmetrics: MSAS",
    "sdmetrics_quality": "sdmetrics: quality",
    "marginal_js": "Marginals, Jensen-Shannon",
    "marginal_kl": "Marginals, KL",
    "marginal_ks": "Marginals, Kolmogorov-Smirnov",
    "marginal_wasserstein": "Marginals, Wasserstein",
    "log_psd_distance": "Spectral distance (log PSD)",
    "copy_rate_shifted": "Copy rate at any shift",
}
_ACRONYMS = re.compile(
    r"\b(kl|js|acf|dcr|psd|auc|c2st|mmd2?|ks|fid|mdd|acd|sd|kd|lstm|mia)\b"
)
_UNITS = {
    "1": "",
    "p": "p-value",
    "ratio": "ratio to real",
    "deviations^2": "deviations²",
}
_DECIMALS = {"p": 3, "AUC": 2, "ratio": 2, "nats": 2, "correlation": 3, "deviations": 3}
_AIMS = {
    "lower": "lower is better",
    "higher": "higher is better",
    "nominal": "best when as real",
}

# Concern -> the faults it covers, the metrics that show its number (first one found).
_CELLS = {
    "Novelty": (
        ("memorisation",),
        {
            "copy_rate": "copy rate",
            "copy_rate_shifted": "copy rate at any shift",
            "dcr_share": "nearer to training",
            "nearest_neighbour_ratio": "of the real distance to training",
        },
    ),
    "Fidelity": (
        (
            "told apart",
            "over-smoothing",
            "roughness",
            "wrong marginals",
            "stylised facts",
            "climatology",
        ),
        {
            "c2st_auc_trees": "AUC of the stronger judge",
            "c2st_auc_logistic": "AUC of the stronger judge",
            "js_bound": "nats, Jensen-Shannon bound",
            "log_psd_distance": "nats between spectra",
        },
    ),
    "Diversity": (
        ("collapse", "low coverage"),
        {
            "coverage": "of real series covered",
            "recall": "of real series recalled",
            "vendi_ratio": "Vendi ratio",
            "spacing_ratio": "ratio of spacings",
        },
    ),
    "Dependency": (
        ("lost dependency", "wrong dependency"),
        {
            "pixel_dependency_ratio": "dependency relative to real",
            "temporal_dependency_ratio": "dependency over time relative to real",
            "acf_difference": "off in autocorrelation",
        },
    ),
}
_PHRASES = {
    "memorisation": "copy the training set",
    "collapse": "vary too little",
    "over-smoothing": "are too smooth",
    "roughness": "are too rough",
    "lost dependency": "lose dependency",
    "wrong dependency": "have other correlations",
    "low coverage": "miss some kinds of real series",
    "wrong marginals": "have other values",
    "stylised facts": "do not behave like returns",
    "climatology": "have another climate",
}
_JUDGES = ("c2st_auc_trees", "c2st_auc_logistic")


def record(name: str) -> Metric | None:
    """Record of a metric, ``None`` for one that this version does not know."""
    return RECORDS.get(name)


def label(name: str) -> str:
    """Readable name of a metric."""
    if name in _LABELS:
        return _LABELS[name]
    text = _ACRONYMS.sub(lambda m: m[0].upper(), name.replace("_", " "))
    return text[:1].upper() + text[1:]


def plain(name: str) -> str:
    """Readable name of a generator, an oracle or a data set."""
    return str(name).replace("_", " ").replace("gaussian", "Gaussian")


def title(name: str) -> str:
    """Readable name with a capital, for headings."""
    text = plain(name)
    return text[:1].upper() + text[1:]


def aim(name: str) -> str:
    """Unit and direction of a metric, in words."""
    metric = record(name)
    if metric is None:
        return ""
    unit = _UNITS.get(metric.unit, metric.unit)
    return ", ".join(filter(None, [unit, _AIMS.get(metric.direction, "")]))


def number(value: float, name: str = "") -> str:
    """Write a value of a metric for reading: shares in percent, dashes for NaN."""
    value = float(value) if value is not None else np.nan
    if np.isnan(value):
        return "–"
    metric = record(name)
    unit = metric.unit if metric else ""
    if not np.isfinite(value):
        text = "∞" if value > 0 else "−∞"
    elif unit == "share":
        text = f"{100 * value:.0f}%"
    elif unit in _DECIMALS and abs(value) < 100:
        text = f"{round(value, _DECIMALS[unit]) + 0.0:.{_DECIMALS[unit]}f}"
    else:
        text = _significant(value)
    return text.replace("-", "−")


def _significant(value: float) -> str:
    """Two or three figures without exponents where possible."""
    size = abs(value)
    if size >= 1e5 or 0 < size < 1e-4:
        return f"{value:.1e}"
    decimals = 0 if size >= 100 else 1 if size >= 10 else 2 if size >= 0.1 else 4
    return f"{value:.{decimals}f}" if value else "0"


def join(words: Sequence[str]) -> str:
    """``"a, b and c"``."""
    if len(words) < 2:
        return "".join(words)
    return f"{', '.join(words[:-1])} and {words[-1]}"


def computed(scores: pd.DataFrame) -> pd.DataFrame:
    """Rows that have a value; only these can be judged."""
    kept = scores[np.isfinite(scores["value"].to_numpy(float))].copy()
    kept.attrs = dict(scores.attrs)
    return kept


def is_fault(word: object) -> bool:
    """Whether a verdict names a fault."""
    return isinstance(word, str) and word not in NO_FAULT


def blind(name: str, floor: float, ceiling: float) -> bool:
    """Whether a metric cannot tell the planted fault from real series here."""
    metric = record(name)
    if metric is None or metric.is_p_value or not np.isfinite([floor, ceiling]).all():
        return False
    gap = metric.scale(ceiling) - metric.scale(floor)
    return bool(abs(gap) <= max(metric.tolerance, 1e-12))


def headline(scores: pd.DataFrame) -> str:
    """Return the verdict of a table of scores in one sentence."""
    known = computed(scores)
    names = set(known["metric"])
    if not names:
        return "Nothing could be judged: no metric has a value."
    found = findings(known)
    if "memorisation" in found:
        return "These series copy the training set; their likeness is no merit."
    start = "New series" if _tests(names, "Novelty") else "Series of untested novelty"
    others = [fault for fault in found if fault != "told apart"]
    also = join([_PHRASES.get(fault, fault) for fault in others])
    if "told apart" in found:
        also = f"; they {also}" if also else ""
        return f"{start}, but {_telling(known)} from real ones{also}."
    if others:
        return f"{start}, but they {also}."
    if not _tests(names, "Fidelity"):
        return f"{start}; likeness to real ones was not tested."
    return f"{start}, and no fault was found against held-out real ones."


def _telling(scores: pd.DataFrame) -> str:
    auc = scores.loc[scores["metric"].isin(_JUDGES), "value"].max()
    if not np.isfinite(auc):
        return "told apart"
    share = "some" if auc < 0.75 else "many" if auc < 0.9 else "most"
    return f"a judge tells {share} of them"


def _tests(names: Iterable[str], concern: str) -> bool:
    return bool(set(names) & set(_CELLS[concern][1]))


def fault_lines(scores: pd.DataFrame) -> list[tuple[str, str]]:
    """Sentences of :func:`~gluonts_dualkl.evaluation.describe`, split from numbers.

    Returns
    -------
    list of tuple
        Sentence and evidence, the latter with readable names, empty if none is given.
    """
    known = computed(scores)
    lines = describe(known).splitlines() if len(known) else []
    if not _tests(known["metric"], "Novelty"):
        lines = [line for line in lines if not line.startswith("No detectable copying")]
        lines.insert(0, "Copying of training series was not tested.")
    missing = len(scores) - len(known)
    if missing:
        lines.append(f"{missing} of {len(scores)} metrics have no value.")
    found = findings(known) if len(known) else {}
    return [_with_evidence(line, known, found) for line in lines]


def _with_evidence(
    line: str, scores: pd.DataFrame, found: dict[str, list[str]]
) -> tuple[str, str]:
    names = found.get(line.split(":")[0].lower())
    if not names:
        return line, ""
    values = scores.set_index("metric").loc[names, ["value", "floor"]].to_numpy(float)
    evidence = [
        f"{label(name)} {number(value, name)}, real {number(floor, name)}"
        for name, (value, floor) in zip(names, values, strict=True)
    ]
    return re.sub(r" \(.*\)\.$", ".", line), "; ".join(evidence)


def cells(scores: pd.DataFrame) -> list[tuple[str, str, str, str]]:
    """Return one finding a concern: name, number, what it is, verdict."""
    known = computed(scores).set_index("metric")
    found = findings(known.reset_index()) if len(known) else {}
    return [_cell(concern, known, found) for concern in _CELLS]


def _cell(
    concern: str, known: pd.DataFrame, found: dict[str, list[str]]
) -> tuple[str, str, str, str]:
    faults, shown = _CELLS[concern]
    names = [name for name in shown if name in known.index]
    if not names:
        return concern, "–", "not computed", "Not tested."
    judges = [name for name in names if name in _JUDGES]
    excess = known["value"] - known["floor"]
    name = str(excess[judges].idxmax()) if judges else names[0]
    row = known.loc[[name], ["value", "floor"]].to_numpy(float)
    value, floor = (number(x, name) for x in row[0])
    unit = f"{shown[name]}, {floor} for real series"
    here = [fault for fault in faults if fault in found]
    text = f"Found: {join(here)}." if here else "No fault found."
    return concern, value, unit, text
