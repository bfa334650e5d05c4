"""From a table of scores to words."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from gluonts_dualkl.evaluation.metrics import Metric

__all__ = ["describe", "findings", "row_verdict"]

AS_REAL = "as real"
_COPYING = {
    "dcr_share",
    "copy_rate",
    "copy_rate_shifted",
    "nearest_neighbour_ratio",
}
NOT_DETECTED = "not detected"
LEVEL = 0.05


def row_verdict(
    metric: Metric, value: float, floor: float, ceiling: float, margin: float
) -> str:
    """Word for one value: ``"as real"``, or the fault that the metric names.

    A fault needs a difference to the floor beyond the metric's tolerance and beyond the
    ``margin`` that chance explains (NaN if not known). Ratios are compared in
    logarithms.
    """
    if metric.is_p_value:
        return str(metric.low) if value <= LEVEL else NOT_DETECTED
    excess = float(metric.scale(value) - metric.scale(floor))
    word = metric.high if excess > 0 else metric.low
    margin = float(np.fmax(metric.tolerance, margin))
    if word is None or abs(excess) <= margin:
        return AS_REAL
    span = float(metric.scale(ceiling) - metric.scale(floor))
    beyond = excess * np.sign(span) > abs(span) / 2 and abs(span) > margin
    if metric.limit is not None:
        beyond = value > metric.limit
    return metric.far if metric.far and beyond else word


@dataclass(frozen=True)
class _Fault:
    """A fault, its sentence, and how many of its signs make it a finding.

    A sign that is named in ``alone`` needs no other.
    """

    name: str
    sentence: str
    signs: dict[str, tuple[str, ...]]
    needed: int = 1
    alone: str | None = None


_FAULTS = (
    _Fault(
        "memorisation",
        "the series copy the training set",
        {
            "dcr_share": ("copies train", "nearer to train"),
            "copy_rate": ("copies train",),
            "copy_rate_shifted": ("copies train",),
            "nearest_neighbour_ratio": ("close to train",),
        },
        needed=2,
        alone="copy_rate_shifted",
    ),
    _Fault(
        "collapse",
        "the series vary less than real ones or repeat a few patterns",
        {
            "vendi_ratio": ("less diverse",),
            "spacing_ratio": ("less diverse", "collapsed"),
        },
    ),
    _Fault(
        "over-smoothing",
        "the series are smoother than real ones",
        {"curvature_ratio": ("too smooth",), "roughness_ratio": ("too smooth",)},
    ),
    _Fault(
        "roughness",
        "the series are rougher than real ones",
        {"curvature_ratio": ("too rough",), "roughness_ratio": ("too rough",)},
    ),
    _Fault(
        "lost dependency",
        "dependency over time, between channels or between levels is gone or weak",
        {
            "pixel_dependency_ratio": ("weaker", "lost"),
            "temporal_dependency_ratio": ("weaker", "lost"),
            "channel_dependency_ratio": ("weaker", "lost"),
        },
    ),
    _Fault(
        "wrong dependency",
        "correlations over time or between channels differ from those of real series",
        {
            "acf_difference": ("off",),
            "cross_correlation_difference": ("off",),
            "pixel_correlation_difference": ("off",),
        },
    ),
    _Fault(
        "low coverage",
        "some kinds of real series are missing",
        {"coverage": ("misses real",), "recall": ("misses real",)},
    ),
    _Fault(
        "wrong marginals",
        "values are not distributed as in real series",
        {"marginal_ks": ("off",), "marginal_wasserstein": ("off",)},
    ),
    _Fault(
        "told apart",
        "a judge tells the series from real ones, better than real from real",
        {
            "c2st_auc_trees": ("told apart",),
            "c2st_auc_logistic": ("told apart",),
            "kl_real_synthetic": ("told apart",),
            "kl_synthetic_real": ("told apart",),
            "js_bound": ("told apart",),
            "mmd2": ("told apart",),
        },
        needed=2,
    ),
    _Fault(
        "stylised facts",
        "returns do not behave as real ones do",
        {
            "tail_index_ratio": ("tails too heavy", "tails too light"),
            "return_autocorrelation_difference": ("off",),
            "volatility_clustering_difference": ("weaker", "lost", "stronger"),
            "leverage_difference": ("off",),
            "return_correlation_difference": ("off",),
        },
    ),
    _Fault(
        "climatology",
        "cycles, extremes, spells or their links between sites differ",
        {
            "cycle_difference": ("off",),
            "exceedance_difference": ("off",),
            "extremes_distance": ("off",),
            "dry_spell_ratio": ("spells too short", "spells too long"),
            "wet_spell_ratio": ("spells too short", "spells too long"),
            "site_correlation_difference": ("off",),
            "joint_exceedance_difference": ("off",),
        },
    ),
)


def findings(scores: pd.DataFrame) -> dict[str, list[str]]:
    """Faults found in a table of scores, each with the metrics that show it.

    Parameters
    ----------
    scores
        Table of :func:`gluonts_dualkl.evaluation.evaluate_generator`.

    Returns
    -------
    dict
        Among ``"memorisation"``, ``"collapse"``, ``"over-smoothing"``, ``"roughness"``,
        ``"lost dependency"``, ``"wrong dependency"``, ``"low coverage"``,
        ``"wrong marginals"``, ``"told apart"``, and with their packs ``"stylised
        facts"`` and ``"climatology"``, most serious first; empty if nothing was found.
        Copying must show both in nearness against held-out series and in nearness as
        such, or in pieces that come back at another time, and being told apart in two
        scores.
    """
    words = dict(zip(scores["metric"], scores["verdict"], strict=True))
    found = {}
    for fault in _FAULTS:
        names = [name for name, bad in fault.signs.items() if words.get(name) in bad]
        if len(names) >= fault.needed or fault.alone in names:
            found[fault.name] = names
    if found.get("collapse") == ["vendi_ratio"] and _spread_out(scores):
        del found["collapse"]
    if "lost dependency" in found:
        found.pop("wrong dependency", None)
    return found


def _spread_out(scores: pd.DataFrame) -> bool:
    """Whether series lie farther apart than real ones: blurred, not collapsed."""
    row = scores[scores["metric"] == "spacing_ratio"]
    return bool((row["value"] > row["floor"]).any())


def describe(scores: pd.DataFrame) -> str:
    """The verdict of a table of scores in plain sentences, one a line.

    Each sentence names a fault and gives the value of each metric that shows it beside
    the value of real series. Fidelity is only worth something at novelty, so copying
    is mentioned first, found or not.
    """
    found = findings(scores)
    lines = [
        f"{fault.name.capitalize()}: {fault.sentence} "
        f"({_evidence(scores, found[fault.name])})."
        for fault in _FAULTS
        if fault.name in found
    ]
    if not _COPYING & set(scores["metric"]):
        lines.insert(0, "Copying of training series was not looked for.")
    elif "memorisation" not in found:
        lines.insert(0, "No detectable copying of training series.")
    if set(found) <= {"memorisation"}:
        lines.append(_otherwise(scores, found))
    size = scores.attrs.get("num_compared")
    if size is not None and size < 50:
        lines.append(
            f"Only {size} series were compared: only large faults can be seen."
        )
    return "\n".join(lines)


def _otherwise(scores: pd.DataFrame, found: dict[str, list[str]]) -> str:
    """What to say where no fault but copying has enough signs."""
    told = {name for names in found.values() for name in names}
    rows = scores[(scores["verdict"] != AS_REAL) & ~scores["metric"].isin(told)]
    if rows.empty:
        return "Otherwise no difference from held-out series was found."
    signs = ", ".join(f"{row.metric}: {row.verdict}" for row in rows.itertuples())
    return f"Single signs of a difference, too few to name a fault: {signs}."


def _evidence(scores: pd.DataFrame, names: list[str]) -> str:
    numbers = scores.set_index("metric")[["value", "floor"]]
    pairs = numbers.loc[names].itertuples()
    return "; ".join(f"{row[0]} {row[1]:.3g}, real {row[2]:.3g}" for row in pairs)
