from __future__ import annotations

from functools import partial

import numpy as np
import pandas as pd
import pytest

from gluonts_dualkl.evaluation import describe, evaluate_generator, findings
from gluonts_dualkl.evaluation.metrics import METRICS, by_name
from gluonts_dualkl.evaluation.oracles import ORACLES
from gluonts_dualkl.evaluation.verdict import row_verdict

QUICK = [m for m in METRICS if not m.costly and m.name != "c2st_p"]


def with_value(x: np.ndarray, index: tuple[int, ...], value: float) -> np.ndarray:
    out = x.copy()
    out[index] = value
    return out


BAD = {
    "series of 20 steps": lambda s: s[:, :20],
    "1 channels": lambda s: s[..., :1],
    "3 series": lambda s: s[:3],
    "NaN or infinite": lambda s: with_value(s, (2, 3, 0), np.nan),
    "same units": lambda s: 1000 * s,
    "expected \\(n, T, C\\)": lambda s: s[0, 0],
    "cannot be read": lambda s: ["a", "b"],
}


@pytest.mark.parametrize("message", BAD)
@pytest.mark.parametrize("place", [1, 2])
def test_bad_input_gives_one_clear_sentence(message, place, sets):
    given = [sets.train, sets.held_out, sets.fresh]
    given[place] = BAD[message](given[place])
    name = ["train", "held_out", "synthetic"][place]
    with pytest.raises(ValueError, match=f"^{name}: .*{message}") as caught:
        evaluate_generator(*given)
    assert "\n" not in str(caught.value)


def test_short_series(sets):
    with pytest.raises(ValueError, match="train: series of 4 steps, at least 6"):
        evaluate_generator(*(x[:, :4] for x in (sets.train, sets.held_out, sets.fresh)))


def test_table(draw, autoregression):
    sets = draw(autoregression, num=30)
    scores = evaluate_generator(sets.train, sets.held_out, sets.fresh, fast=True)
    columns = ["metric", "value", "lower", "upper", "floor", "ceiling", "verdict"]
    assert list(scores.columns) == columns
    assert list(scores["metric"]) == [m.name for m in METRICS]
    assert np.isfinite(scores[["value", "floor", "ceiling"]].to_numpy()).all()
    held = scores.dropna()
    assert len(held) == len(METRICS) - 3
    assert (held["lower"] <= held["value"] + 1e-9).all()
    assert (held["value"] <= held["upper"] + 1e-9).all()
    assert scores.attrs["num_compared"] == 30


def test_datasets_and_arrays_agree(draw, law):
    sets = draw(law, num=20)
    arrays = [x.astype(np.float32) for x in (sets.train, sets.held_out, sets.fresh)]
    start = pd.Period("2024-01-01", "D")
    entries = [[{"start": start, "target": s.T} for s in x] for x in arrays]
    from_arrays = evaluate_generator(*arrays, metrics=QUICK, fast=True)
    from_entries = evaluate_generator(*entries, metrics=QUICK, fast=True)
    pd.testing.assert_frame_equal(from_arrays, from_entries)


def test_one_channel_drops_what_needs_two(draw, law):
    sets = draw(law, num=20)
    one = [x[..., 0] for x in (sets.train, sets.held_out, sets.fresh)]
    scores = evaluate_generator(*one, metrics=QUICK, fast=True)
    dropped = {"cross_correlation_difference", "channel_dependency_ratio"}
    assert {m.name for m in QUICK} - set(scores["metric"]) == dropped


def test_entries_of_two_lengths():
    start = pd.Period("2024-01-01", "D")
    entries = [{"start": start, "target": np.zeros(10 + k % 2)} for k in range(20)]
    with pytest.raises(ValueError, match="^train: "):
        evaluate_generator(entries, entries, entries)


@pytest.mark.parametrize(
    ("oracle", "fault"),
    [
        ("training_copies", "memorisation"),
        ("jittered_copies", "memorisation"),
        ("collapsed", "collapse"),
        ("over_smoothed", "over-smoothing"),
        ("independent_marginals", "lost dependency"),
        ("independent_marginals", "told apart"),
    ],
)
def test_faults_are_called_by_name(oracle, fault, sets):
    faulty = ORACLES[oracle](sets.train, 60, 1)
    scores = evaluate_generator(
        sets.train, sets.held_out, faulty, metrics=QUICK, fast=True
    )
    assert fault in findings(scores)
    word = describe(scores).replace("-", " ").lower()
    assert fault.replace("-", " ") in word


def test_shifted_copies_are_memorisation(draw, autoregression):
    drawn = draw(partial(autoregression, length=27), num=80)
    train, real = drawn.train[:, :24], drawn.held_out[:, :24]
    rates = [by_name("copy_rate"), by_name("copy_rate_shifted")]
    shown = []
    for series in (drawn.train[:, 3:], drawn.fresh[:, 3:]):
        scores = evaluate_generator(train, real, series, metrics=rates, fast=True)
        shown.append(findings(scores))
    assert shown == [{"memorisation": ["copy_rate_shifted"]}, {}]


def test_fresh_series_pass(sets):
    scores = evaluate_generator(
        sets.train, sets.held_out, sets.fresh, metrics=QUICK, fast=True
    )
    assert findings(scores) == {}
    assert describe(scores).startswith("No detectable copying")
    words = describe(scores)
    assert "no difference" in words or "too few to name a fault" in words


def test_few_series_are_mentioned(draw, law):
    sets = draw(law, num=12)
    quick = [by_name("copy_rate")]
    scores = evaluate_generator(
        sets.train, sets.held_out, sets.fresh, metrics=quick, fast=True
    )
    assert "Only 12 series" in describe(scores)


def test_words_of_one_row():
    share, ratio = by_name("dcr_share"), by_name("roughness_ratio")
    assert row_verdict(share, 0.95, 0.5, 1.0, 0.05) == "copies train"
    assert row_verdict(share, 0.8, 0.5, 1.0, 0.05) == "nearer to train"
    assert row_verdict(share, 0.95, 0.5, 1.0, 0.5) == "as real"
    assert row_verdict(ratio, 0.4, 1.0, 0.3, 0.1) == "too smooth"
    assert row_verdict(ratio, 2.5, 1.0, 0.3, 0.1) == "too rough"
    assert row_verdict(ratio, 0.9, 1.0, 0.3, 0.0) == "as real"
    lost = by_name("temporal_dependency_ratio")
    assert row_verdict(lost, 0.1, 1.0, 0.05, 0.01) == "lost"
    assert row_verdict(lost, 0.5, 1.0, 0.05, 0.01) == "weaker"
    assert row_verdict(lost, 0.5, 1.0, 0.9, 0.01) == "weaker"
    assert row_verdict(by_name("mmd2_p"), 0.03, 0.5, 0.01, np.nan) == "detected"


@pytest.mark.slow
def test_fresh_series_pass_as_a_rule(law, draw):
    alarms = 0
    for k in range(20):
        sets = draw(law, num=50, seed=10 + k)
        scores = evaluate_generator(
            sets.train, sets.held_out, sets.fresh, seed=k, metrics=QUICK, fast=True
        )
        alarms += bool(findings(scores))
    assert alarms <= 4


@pytest.mark.slow
def test_intervals_cover_the_value_of_large_sets(law, draw):
    """Of metrics without bias from the number of series."""
    unbiased = [by_name(n) for n in ("mmd2", "dcr_share", "curvature_ratio")]
    covered = np.zeros(3)
    train = law(50, 999)
    for k in range(25):
        sets = draw(law, num=50, seed=200 + k)
        scores = evaluate_generator(
            train, sets.held_out, sets.fresh, seed=k, metrics=unbiased
        )
        truth = np.array([0.0, 0.5, 1.0])
        inside = (scores["lower"] <= truth) & (truth <= scores["upper"])
        covered += inside.to_numpy()
    # 95 % nominal; 19 of 25 is the 1e-3 quantile of the binomial
    assert covered.min() >= 19


def test_lazy_names():
    import gluonts_dualkl.evaluation as evaluation

    assert "evaluate_generator" in dir(evaluation)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        evaluation.nothing  # noqa: B018


def test_single_signs_are_told():
    rows = [
        ("c2st_auc_trees", 0.99, 0.5, "told apart"),
        ("vendi_ratio", 1.0, 1.0, "as real"),
    ]
    scores = pd.DataFrame(rows, columns=["metric", "value", "floor", "verdict"])
    lines = describe(scores).splitlines()
    assert lines[0] == "Copying of training series was not looked for."
    assert lines[1].endswith("too few to name a fault: c2st_auc_trees: told apart.")
