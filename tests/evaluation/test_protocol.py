from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from gluonts_dualkl.evaluation import evaluate_generator
from gluonts_dualkl.evaluation.metrics import by_name
from gluonts_dualkl.evaluation.oracles import ORACLES
from gluonts_dualkl.evaluation.protocol import (
    FRESH,
    admissibility,
    aggregate_seeds,
    fidelity_at_novelty,
    fresh_halves,
    oracle_table,
    rank_generators,
)
from gluonts_dualkl.evaluation.scoring import Scorer

NOVELTY = ["dcr_share", "copy_rate", "nearest_neighbour_ratio"]
SOME = [
    by_name(name)
    for name in (*NOVELTY, "c2st_auc_logistic", "spacing_ratio", "curvature_ratio")
]


@pytest.fixture(scope="module")
def table():
    rng = np.random.default_rng(0)
    x = rng.standard_normal((2, 60, 24, 2))
    for t in range(1, 24):
        x[:, :, t] += 0.8 * x[:, :, t - 1]
    return oracle_table(*x, metrics=SOME)


def test_fresh_halves_are_disjoint():
    x = np.arange(21.0)
    first, second = fresh_halves(x, 3)
    assert len(first) == len(second) == 10
    assert not set(first) & set(second)
    assert np.array_equal(first, fresh_halves(x, 3)[0])


def test_oracle_table(table):
    assert list(table["oracle"].unique()) == [FRESH, *ORACLES]
    assert len(table) == len(SOME) * (1 + len(ORACLES))
    words = table.set_index(["oracle", "metric"])["verdict"]
    assert words["training_copies", "dcr_share"] == "copies train"
    assert words["over_smoothed", "curvature_ratio"] == "too smooth"
    assert words["collapsed", "spacing_ratio"] == "collapsed"
    assert (words[FRESH] == "as real").all()


def test_oracle_table_agrees_with_a_table_of_scores(draw, autoregression):
    sets = draw(autoregression, num=40)
    oracle = ORACLES["collapsed"](sets.train, 40, 5)
    single = evaluate_generator(
        sets.train, sets.held_out, oracle, seed=5, fast=True, metrics=SOME
    )
    many = oracle_table(
        sets.train, sets.held_out, seed=5, metrics=SOME, oracles=["collapsed"]
    )
    part = many[many["oracle"] == "collapsed"].drop(columns="oracle")
    pd.testing.assert_frame_equal(part.reset_index(drop=True), single)


def test_oracles_by_name(sets):
    with pytest.raises(ValueError, match="oracles: .*'perfect'"):
        oracle_table(sets.train, sets.held_out, oracles=["perfect"])


def test_few_series_have_no_fresh_row(sets):
    table = oracle_table(
        sets.train, sets.held_out[:15], metrics=SOME[:1], oracles=["training_copies"]
    )
    assert list(table["oracle"]) == ["training_copies"]
    assert admissibility(table)["quiet"].all()


def test_scorer_wants_equal_sizes(sets):
    scorer = Scorer(sets.train, sets.held_out, SOME[:1], fast=True)
    with pytest.raises(ValueError, match="synthetic: 59 series, expected 60"):
        scorer.score(sets.fresh[:59])


def test_admissibility(table):
    found = admissibility(table).set_index("metric")
    assert found["admissible"].all()
    assert found.loc["spacing_ratio", "oracle"] == "collapsed"
    assert "jittered_copies" in found.loc["dcr_share", "caught"]
    blind = table.copy()
    blind.loc[blind["metric"] == "curvature_ratio", "verdict"] = "as real"
    alarmed = blind["oracle"].eq(FRESH) & blind["metric"].eq("spacing_ratio")
    blind.loc[alarmed, "verdict"] = "less diverse"
    found = admissibility(blind).set_index("metric")
    assert not found.loc["curvature_ratio", "separates"]
    assert found.loc["spacing_ratio", "separates"]
    assert not found.loc["spacing_ratio", "quiet"]
    assert list(found.index[~found["admissible"]]) == [
        "spacing_ratio", "curvature_ratio",
    ]  # fmt: skip


def test_p_values_of_sets_that_drift_are_not_admissible():
    rows = {"metric": "mmd2_p", "floor": 0.005, "value": 0.005, "verdict": "detected"}
    table = pd.DataFrame([rows | {"oracle": "independent_marginals"}])
    assert not admissibility(table)["admissible"].item()
    assert admissibility(table.assign(floor=0.4))["admissible"].item()


def long_table(values: dict[tuple[int, int], float]) -> pd.DataFrame:
    rows = [
        ("a", "g", "mmd2", seed, draw, value, 0.0, 1.0, "as real")
        for (seed, draw), value in values.items()
    ]
    names = ["dataset", "generator", "metric", "seed", "draw", "value"]
    return pd.DataFrame(rows, columns=[*names, "floor", "ceiling", "verdict"])


def test_drawings_are_averaged_before_seeds():
    scores = long_table({(0, 0): 1.0, (0, 1): 3.0, (1, 0): 6.0})
    found = aggregate_seeds(scores).iloc[0]
    assert found["value"] == 4.0
    assert found["deviation_training"] == pytest.approx(np.sqrt(8))
    assert found["deviation_drawing"] == pytest.approx(np.sqrt(2))
    assert found["num_seeds"] == 2
    # 12.706 is the 97.5 % quantile of Student's t with one degree of freedom
    assert found["upper"] - 4.0 == pytest.approx(12.706 * 2, rel=1e-3)


def test_one_seed_has_no_interval_and_failures_are_left_out():
    scores = long_table({(0, 0): 1.0, (1, 0): np.nan})
    found = aggregate_seeds(scores).iloc[0]
    assert found["value"] == 1.0
    assert np.isnan(found["lower"])
    with pytest.raises(ValueError, match=r"scores: no columns \['seed'\]"):
        aggregate_seeds(scores.drop(columns="seed"))


def test_intervals_over_seeds_cover():
    """95 % nominal over 400 cells of 4 seeds: within 4 standard errors."""
    rng = np.random.default_rng(0)
    values = rng.standard_normal((400, 4))
    scores = pd.concat(
        [
            long_table({(s, 0): v for s, v in enumerate(row)}).assign(dataset=str(k))
            for k, row in enumerate(values)
        ]
    )
    found = aggregate_seeds(scores)
    covered = ((found["lower"] < 0) & (found["upper"] > 0)).mean()
    assert abs(covered - 0.95) < 4 * np.sqrt(0.95 * 0.05 / 400)


def cell(auc: float, copying: int = 0) -> pd.DataFrame:
    bad = ["copies train", "copies train", "close to train"][:copying]
    words = [*bad, *["as real"] * (3 - copying), "told apart", "as real"]
    return pd.DataFrame(
        {
            "metric": [*NOVELTY, "c2st_auc_trees", "c2st_auc_logistic"],
            "value": [0.5, 0.05, 1.0, auc, 0.45],
            "floor": [0.5, 0.05, 1.0, 0.6, 0.5],
            "verdict": words,
        }
    )


def test_fidelity_at_novelty():
    found = fidelity_at_novelty(cell(0.8))
    assert found["novel"] and found["copying"] == []
    assert found["judge"] == "c2st_auc_trees"
    assert found["excess"] == pytest.approx(0.2)
    assert fidelity_at_novelty(cell(0.4))["excess"] == 0.0
    assert fidelity_at_novelty(cell(0.8, copying=1))["novel"]
    copier = fidelity_at_novelty(cell(0.5, copying=2))
    assert not copier["novel"] and copier["copying"] == NOVELTY[:2]
    with pytest.raises(ValueError, match="no rows .*'dcr_share'"):
        fidelity_at_novelty(cell(0.5).iloc[3:])
    with pytest.raises(ValueError, match="no rows .*'c2st_auc_trees'"):
        fidelity_at_novelty(cell(0.5).iloc[:3])


def test_copiers_rank_last():
    cells = {"good": cell(0.65), "bad": cell(0.9), "copier": cell(0.5, 3)}
    cells["other copier"] = cell(0.99, 2)
    scores = pd.concat(
        [c.assign(dataset="a", generator=name) for name, c in cells.items()]
    )
    ranks = rank_generators(scores).set_index("generator")["rank"]
    assert dict(ranks) == {"good": 1, "bad": 2, "copier": 3.5, "other copier": 3.5}


def test_memoriser_is_not_novel_and_fresh_series_are(draw, autoregression):
    sets = draw(autoregression)
    scorer = Scorer(sets.train, sets.held_out, SOME, fast=True)
    copies = ORACLES["training_copies"](sets.train, 60, 0)
    assert fidelity_at_novelty(scorer.score(sets.fresh))["novel"]
    assert not fidelity_at_novelty(scorer.score(copies))["novel"]
