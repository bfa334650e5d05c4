"""The protocol around the scores: oracle rows, admissible metrics, seeds, headline.

A table of scores says little by itself. Oracle rows show what planted faults read on
the same data set; a metric that cannot tell the fault it is meant for from real series
is not admissible there. Several training and drawing seeds are averaged before data
sets are compared (see :mod:`gluonts_dualkl.evaluation.comparison`), and the headline is
a pair: fidelity counts only at novelty.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import t as student

from gluonts_dualkl.evaluation.inputs import as_sets, check_sets, fill_missing
from gluonts_dualkl.evaluation.metrics import Metric, by_name, select
from gluonts_dualkl.evaluation.oracles import ORACLES
from gluonts_dualkl.evaluation.scoring import Scorer
from gluonts_dualkl.evaluation.verdict import AS_REAL, LEVEL, NOT_DETECTED

__all__ = [
    "FRESH",
    "NOVELTY",
    "admissibility",
    "aggregate_seeds",
    "fidelity_at_novelty",
    "fresh_halves",
    "oracle_table",
    "rank_generators",
]

FRESH = "fresh"
# the shares that real held-out series have to match before fidelity counts
NOVELTY = ("dcr_share", "copy_rate", "nearest_neighbour_ratio")
_COPYING = ("copies train", "nearer to train", "close to train")
_JUDGES = ("c2st_auc_trees", "c2st_auc_logistic")
_QUIET = (AS_REAL, NOT_DETECTED)
_NUMBERS = ["value", "floor", "ceiling"]


def fresh_halves(held_out: np.ndarray, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Two random halves of held-out series: one to judge by, one to be judged."""
    order = np.random.default_rng(seed).permutation(len(held_out))
    half = len(held_out) // 2
    return held_out[order[:half]], held_out[order[half : 2 * half]]


def oracle_table(
    train: Any,
    held_out: Any,
    seed: int = 0,
    fast: bool = True,
    metrics: Sequence[Metric] | None = None,
    packs: Sequence[str] | None = None,
    oracles: Sequence[str] | None = None,
) -> pd.DataFrame:
    """Scores of fresh real series and of every oracle on one data set.

    Parameters
    ----------
    train, held_out
        Real series, as in :func:`gluonts_dualkl.evaluation.evaluate_generator`.
    seed, fast, metrics, packs
        As there.
    oracles
        Names in :data:`gluonts_dualkl.evaluation.oracles.ORACLES`, by default all.

    Returns
    -------
    pandas.DataFrame
        ``oracle`` and the columns of a table of scores. The first rows, ``"fresh"``,
        compare two random halves of the held-out set (half as many series); the
        floor in all others is train against held-out, as everywhere. Copying is judged
        against the same halves.

    Raises
    ------
    ValueError
        If there is no such oracle, or the sets cannot be compared.
    """
    names = list(ORACLES if oracles is None else oracles)
    unknown = [name for name in names if name not in ORACLES]
    if unknown:
        raise ValueError(f"oracles: {unknown}, choose from {list(ORACLES)}")
    wanted = list(metrics or select(packs))
    missing = all(m.missing for m in wanted)
    train, held_out, _ = as_sets(train, held_out, held_out, missing)
    check_sets(train, held_out, held_out, missing)
    known = fill_missing(train)
    drawn = {name: ORACLES[name](known, len(held_out), seed) for name in names}
    tables = []
    if len(held_out) >= 20:
        reference, fresh = fresh_halves(held_out, seed)
        rows = Scorer(train, reference, wanted, seed, fast).score(fresh)
        tables.append(rows.assign(oracle=FRESH))
    scorer = Scorer(train, held_out, wanted, seed, fast)
    tables += [scorer.score(x).assign(oracle=name) for name, x in drawn.items()]
    table = pd.concat(tables, ignore_index=True)
    return table[["oracle", *table.columns.drop("oracle")]]


def admissibility(table: pd.DataFrame) -> pd.DataFrame:
    """Which metrics separate the fault they are meant for from real series here.

    Parameters
    ----------
    table
        Table of :func:`oracle_table`.

    Returns
    -------
    pandas.DataFrame
        One row a metric: ``metric, oracle`` (with the fault in question), ``floor,
        value`` (of the oracle), ``separates`` (the oracle gets another word than real
        series, beyond chance and tolerance; a p-value, if train against held-out is not
        significant as well), ``quiet`` (fresh series do not; true if
        they were too few to split), ``admissible`` (both) and ``caught``, the oracles
        that it separates.
    """
    rows = []
    for name, part in table.groupby("metric", sort=False):
        words = part.set_index("oracle")
        metric = by_name(str(name))
        caught = [k for k, word in words["verdict"].items() if word not in _QUIET]
        quiet = FRESH not in caught
        target = metric.ceiling
        if target not in words.index:
            continue
        floor, value = words.loc[target, ["floor", "value"]].to_numpy(float)
        separates = target in caught
        if metric.is_p_value:  # its word does not look at the floor
            separates = bool(value <= LEVEL < floor)
        others = ", ".join(str(k) for k in caught if k != FRESH)
        rows.append(
            (name, target, floor, value, separates, quiet, separates and quiet, others)
        )
    columns = ["metric", "oracle", "floor", "value"]
    columns += ["separates", "quiet", "admissible", "caught"]
    return pd.DataFrame(rows, columns=columns)


def _spread(values: pd.Series, confidence: float) -> float:
    """Half width of the t interval of a mean; NaN for a single value."""
    values = values.dropna()
    if len(values) < 2:
        return np.nan
    quantile = student.ppf((1 + confidence) / 2, len(values) - 1)
    return float(quantile * values.std(ddof=1) / np.sqrt(len(values)))


def aggregate_seeds(
    scores: pd.DataFrame,
    by: Sequence[str] = ("dataset", "generator", "metric"),
    confidence: float = 0.95,
) -> pd.DataFrame:
    """Mean over training and drawing seeds, with the spread over training seeds.

    Parameters
    ----------
    scores
        Long table with the columns of `by`, ``value, floor, ceiling, verdict`` and
        ``seed`` (of training); several rows of one seed are drawings of one model.
    by
        Columns that name a cell.
    confidence
        Nominal coverage of the t interval over training seeds; the drawings of one
        model are averaged first, as they share its training.

    Returns
    -------
    pandas.DataFrame
        `by`, ``value, floor, ceiling`` (means), ``lower, upper`` (NaN for one seed),
        ``deviation_training`` (between seeds), ``deviation_drawing`` (mean within
        a seed), ``num_seeds`` and ``verdict``, the most frequent one.

    Raises
    ------
    ValueError
        If a column is absent.
    """
    by = list(by)
    needed = [*by, "seed", *_NUMBERS, "verdict"]
    absent = [name for name in needed if name not in scores]
    if absent:
        raise ValueError(f"scores: no columns {absent}, expected {needed}")
    scores = scores.dropna(subset=["value"])
    within = scores.groupby([*by, "seed"], sort=False)
    models = within[_NUMBERS].mean().reset_index()
    models["drawing"] = within["value"].std(ddof=1).to_numpy()
    cells = models.groupby(by, sort=False)
    table = cells[_NUMBERS].mean()
    half = cells["value"].apply(_spread, confidence)
    table["lower"], table["upper"] = table["value"] - half, table["value"] + half
    table["deviation_training"] = cells["value"].std(ddof=1)
    table["deviation_drawing"] = cells["drawing"].mean()
    table["num_seeds"] = cells.size()
    words = scores.groupby(by, sort=False)["verdict"]
    table["verdict"] = words.agg(lambda x: x.mode().iloc[0])
    return table.reset_index()


def fidelity_at_novelty(scores: pd.DataFrame) -> dict[str, Any]:
    """Headline of a table of scores: is it new, and if so, how well is it told apart.

    Parameters
    ----------
    scores
        Table of :func:`gluonts_dualkl.evaluation.evaluate_generator`, or one cell of
        :func:`aggregate_seeds`, with the three shares of ``NOVELTY`` and a C2ST AUC.

    Returns
    -------
    dict
        ``"novel"``: fewer than two of copy rate, DCR share and nearest-neighbour ratio
        lie beyond what real held-out series show (one alone may be chance, as in the
        verdict); ``"copying"``: those that do; ``"excess"``: the AUC of the judge that
        tells apart best, less the AUC of real against real by the same judge, not below
        zero; ``"judge"``: its name.

    Raises
    ------
    ValueError
        If the shares or both judges are absent.
    """
    rows = scores.set_index("metric")
    absent = [name for name in NOVELTY if name not in rows.index]
    judges = [name for name in _JUDGES if name in rows.index]
    if absent or not judges:
        lacking = absent or list(_JUDGES)
        raise ValueError(f"scores: no rows {lacking}; evaluate the headline metrics")
    copying = [name for name in NOVELTY if rows.loc[name, "verdict"] in _COPYING]
    excess = rows.loc[judges, "value"] - rows.loc[judges, "floor"]
    judge = str(excess.idxmax())
    return {
        "novel": len(copying) < 2,
        "copying": copying,
        "excess": max(float(excess[judge]), 0.0),
        "judge": judge,
    }


def rank_generators(scores: pd.DataFrame) -> pd.DataFrame:
    """Rank generators on each data set by fidelity at novelty.

    Parameters
    ----------
    scores
        Table of :func:`aggregate_seeds`, or any with ``dataset, generator`` and the
        columns of a table of scores, one row a metric.

    Returns
    -------
    pandas.DataFrame
        ``dataset, generator, novel, copying, excess, judge, rank``. Those that copy
        share the last place of their data set; ties share the mean of their places.
    """
    rows = []
    for (dataset, generator), part in scores.groupby(["dataset", "generator"]):
        verdict = fidelity_at_novelty(part)
        rows.append({"dataset": dataset, "generator": generator} | verdict)
    table = pd.DataFrame(rows)
    order = table["excess"].where(table["novel"], np.inf)
    table["rank"] = order.groupby(table["dataset"]).rank(method="average")
    return table.sort_values(["dataset", "rank"], ignore_index=True)
