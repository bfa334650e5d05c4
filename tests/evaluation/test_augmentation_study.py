"""Paired gains: truths planted, intervals that cover, the gate, and do no harm."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
import pytest
from scipy.stats import binom

from gluonts_dualkl.evaluation.baselines import (
    Baseline,
    IndependentMarginals,
    TrainingCopies,
)
from gluonts_dualkl.evaluation.forecasting.arms import (
    ARMS,
    CHOSEN,
    check_arms,
    check_ratios,
    draw_study,
)
from gluonts_dualkl.evaluation.forecasting.ours import DualKLDraws
from gluonts_dualkl.evaluation.forecasting.ratio import _decide, choose_ratio
from gluonts_dualkl.evaluation.forecasting.study import COLUMNS, evaluate_augmentation
from gluonts_dualkl.evaluation.forecasting.summary import (
    augmentation_gains,
    describe_augmentation,
    paired_log_ratio,
)


@dataclass(eq=False)
class Oracle(Baseline):
    """Fresh draws of the law that the windows came from."""

    law: object = None

    def _fit(self, windows, validation):
        """Nothing to learn."""

    def _sample(self, num_samples, rng):
        return self.law(num_samples, int(rng.integers(10**6, 2**31)))


@dataclass(eq=False)
class Recorder(Oracle):
    """Remembers what it was fitted to."""

    seen = []

    def _fit(self, windows, validation):
        type(self).seen.append(windows)


def factors(num, seed, length=24):
    """Sums of 25 fixed walks and noise, ``(num, length, 3)``: linear, wants data."""
    walks = np.random.default_rng(99).standard_normal((25, length, 3)).cumsum(1)
    rng = np.random.default_rng([3, seed])
    x = np.tensordot(rng.standard_normal((num, 25)), walks, 1)
    return x + 0.5 * rng.standard_normal(x.shape)


@pytest.fixture
def pool():
    return factors(160, 0)


@pytest.fixture
def test_windows():
    return factors(100, 1)


@pytest.fixture
def run(pool, test_windows):
    def call(forecaster="ridge", **options):
        given = {
            "seeds": 3,
            "sizes": (50,),
            "generators": {"dualkl": Oracle(law=factors)},
            **options,
        }
        return evaluate_augmentation(forecaster, pool, test_windows, **given)

    return call


def test_one_tidy_table_of_all_arms(run):
    table = run(["ridge", "seasonal_naive"], sizes=(25, 50, 500))
    assert list(table.columns) == COLUMNS
    assert (table["failure"] == "").all()
    assert list(table["arm"].unique()) == list(ARMS)
    assert len(table) == 2 * 2 * 3 * len(ARMS) * 100 * 2
    assert set(table["n_train"]) == {25, 50}
    rows = table[table["n_train"] == 50].groupby("arm")[["num_real", "num_added"]]
    assert (rows.max() == rows.min()).all(axis=None)
    assert rows.max().loc["real"].tolist() == [40, 0]
    assert rows.max().loc["real+ours"].tolist() == [40, 40]
    assert rows.max().loc["synthetic only"].tolist() == [0, 40]
    again = run(arms=["real+mixup", "real+ours"], seeds=2)
    keys = ["forecaster", "n_train", "arm", "seed", "series", "metric"]
    both = again.merge(table, on=keys, suffixes=("", "_first"))
    assert len(both) == len(again)
    assert (both["value"] == both["value_first"]).all()


def test_planted_truths(run):
    """Fresh windows and an oracle help, independent pixels harm, copies do nothing."""
    arms = ["real+copies", "real+independent_marginals", "real+fresh real", "real+ours"]
    gains = augmentation_gains(run(arms=arms, seeds=4))
    for metric in ("mase", "wql"):
        found = gains[gains["metric"] == metric].set_index("arm")
        assert found["gate"].all()
        assert found["verdict"].to_dict() == {
            "real": "",
            "real+copies": "no difference",
            "real+independent_marginals": "harms",
            "real+fresh real": "helps",
            "real+ours": "helps",
        }
        assert abs(found.loc["real+copies", "log_ratio"]) < 1e-9
        assert found.loc["real+fresh real", "recovered"] == 1
        assert 0.5 < found.loc["real+ours", "recovered"] < 1.5
    words = describe_augmentation(gains)
    assert "ridge, 50 windows, wql, 4 seeds: fresh real windows change" in words
    assert "of the gain of fresh real windows" in words


def test_where_fresh_data_do_not_help_nothing_is_judged(run):
    gains = augmentation_gains(run("seasonal_naive", arms=["real+ours", ARMS[-2]]))
    assert (gains["log_ratio"] == 0).all()
    assert not gains["gate"].any()
    assert set(gains["verdict"]) == {"", "not judged"}
    assert gains["recovered"].isna().all()
    words = describe_augmentation(gains)
    assert "even fresh real windows do not help" in words
    assert "cannot be judged here" in words


def test_without_the_gate_only_harm_is_judged(run):
    gains = augmentation_gains(run(arms=["real+independent_marginals", "real+ours"]))
    found = gains[gains["metric"] == "wql"].set_index("arm")["verdict"]
    assert found.to_dict() == {
        "real": "",
        "real+independent_marginals": "harms",
        "real+ours": "not judged",
    }
    assert "fresh real windows were not tried" in describe_augmentation(gains)


def test_ratios_share_one_fit_and_one_gate(run):
    Recorder.seen.clear()
    table = run(
        arms=["real+ours", "real+fresh real"],
        generators={"dualkl": Recorder(law=factors)},
        ratio=(4, 0.5, 1),
        seeds=1,
    )
    assert len(Recorder.seen) == 1
    first = table[table["metric"] == "wql"].groupby(["arm", "ratio"])["num_added"]
    assert first.unique().str[0].to_dict() == {
        ("real", 0): 0,
        ("real+fresh real", 1): 40,
        ("real+ours", 0.5): 20,
        ("real+ours", 1): 40,
        ("real+ours", 4): 160,
    }
    gains = augmentation_gains(table)
    wql = gains[gains["metric"] == "wql"].set_index(["arm", "ratio"])
    assert wql["mean_added"].loc["real+ours"].tolist() == [0.5, 1, 4]
    errors = wql["error"].loc["real+ours"]
    assert errors.is_monotonic_decreasing  # an oracle: more is better
    assert "real+ours x 4: " in describe_augmentation(gains)


def test_windows_of_a_smaller_ratio_are_the_first(pool):
    study = draw_study(pool, 50, 0, (1, 3))
    small, large = (study.added("real+jitter", ratio) for ratio in (1, 3))
    assert len(large) == 3 * len(small) == 120
    np.testing.assert_array_equal(large[:40], small)
    np.testing.assert_array_equal(study.added("real+jitter"), large)
    assert len(study.added("real+fresh real", 3)) == 40


@pytest.mark.parametrize(("law", "ratio"), [(factors, 2), (None, 0)])
def test_the_chosen_ratio_is_an_arm(run, law, ratio):
    """An oracle gets the most that may be given, independent pixels nothing."""
    generator = IndependentMarginals() if law is None else Oracle(law=law)
    table = run(
        arms=[CHOSEN, "real+ours"],
        generators={"dualkl": generator},
        ratio=(1, 2),
        seeds=1,
    )
    assert (table["failure"] == "").all()
    chosen = table[table["arm"] == CHOSEN]
    assert chosen["ratio"].isna().all()
    assert (chosen["num_added"] == 40 * ratio).all()
    same = table[table["ratio"] == ratio]
    assert chosen["value"].tolist() == same["value"].tolist()
    gains = augmentation_gains(table).set_index("arm")
    assert (gains.loc[CHOSEN, "mean_added"] == ratio).all()


def test_jobs_change_nothing(run):
    options = {"arms": ["real+ours"], "sizes": (25, 50), "seeds": 1}
    pd.testing.assert_frame_equal(run(**options), run(jobs=2, **options))


def test_a_failed_arm_is_a_row_and_the_others_go_on(run):
    class Broken(Oracle):
        def _fit(self, windows, validation):
            raise RuntimeError("no\nluck")

    table = run(arms=["real+ours", "real+jitter"], generators={"dualkl": Broken()})
    failed = table[table["failure"] != ""]
    assert failed["failure"].unique().tolist() == ["RuntimeError: no luck"]
    assert (failed["arm"] == "real+ours").all() and len(failed) == 3
    assert set(augmentation_gains(table)["arm"]) == {"real", "real+jitter"}
    assert "No arm could" in describe_augmentation(augmentation_gains(failed))


def test_generators_see_neither_validation_nor_test(run, pool, test_windows):
    Recorder.seen.clear()
    kept = Recorder(law=factors)
    table = run(
        arms=["real+ours", "synthetic only"], generators={"dualkl": kept}, seeds=2
    )
    assert (table["failure"] == "").all()
    assert kept.windows is None
    assert len(Recorder.seen) == 2  # once a seed
    for seed, windows in enumerate(Recorder.seen):
        study = draw_study(pool, 50, seed)
        np.testing.assert_array_equal(windows, study.train)
        sides = [windows, study.validation, study.fresh, test_windows]
        rows = np.concatenate([x.reshape(len(x), -1) for x in sides])
        assert len(np.unique(rows, axis=0)) == len(rows) == 40 + 10 + 40 + 100


def test_ours_itself(run):
    tiny = DualKLDraws(num_walkers=60, max_rounds=1, num_steps=2)
    given = {"sizes": (25,), "generators": {"dualkl": tiny}}
    table = run(arms=["real+ours"], seeds=1, **given)
    assert (table["failure"] == "").all()
    assert np.isfinite(augmentation_gains(table)["log_ratio"]).all()


def test_fewer_fresh_windows_than_asked_for_are_counted(run):
    table = run(arms=["real+fresh real"], sizes=(150,), seeds=1)
    fresh = table[table["arm"] == "real+fresh real"]
    assert (fresh["num_added"] == 10).all()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"seeds": 0}, "seeds: 0"),
        ({"horizon": 23}, "horizon: 23, expected 1 to 22"),
        ({"sizes": (500,)}, "train has only 160"),
        ({"sizes": (4,)}, "n_train: 4, expected 8"),
        ({"ratio": -1}, "ratio: -1"),
        ({"ratio": (1, float("nan"))}, "ratio: "),
        ({"jobs": 0}, "jobs: 0"),
        ({"validation_share": 1.0}, "validation_share: 1.0"),
        ({"arms": ["real+nonsense"]}, r"no arm 'real\+nonsense'"),
        ({"arms": ["jitter"]}, "no arm 'jitter'"),
        ({"baseline": "x"}, "no generator 'x'"),
        ({"forecaster": "x"}, "no forecaster 'x'"),
    ],
)
def test_errors(run, options, words):
    with pytest.raises(ValueError, match=words):
        run(**options)


def test_windows_are_checked(pool):
    for train, test, words in [
        (pool[0], pool, "train: shape"),
        (pool, pool[:, :10], "test: windows of shape"),
        (np.where(pool > 60, np.nan, pool), pool, "train: NaN"),
    ]:
        with pytest.raises(ValueError, match=words):
            evaluate_augmentation("ridge", train, test)


def test_ratios_come_once_in_rising_order():
    assert check_ratios((2, 1, 2)) == [1, 2]
    assert check_ratios(0) == [0]


def test_arms_may_name_any_generator():
    assert check_arms(["real+smote"], "smote") == ["real", "real+smote"]


def test_a_common_factor_is_found_exactly():
    real = np.random.default_rng(0).uniform(1, 2, (3, 20))
    mean, error, lower, upper = paired_log_ratio(0.9 * real, real)
    np.testing.assert_allclose([mean, lower, upper], np.log(0.9))
    assert error < 1e-12
    assert paired_log_ratio(real, real)[:2] == (0, 0)


def test_intervals_cover_seeds_and_windows():
    """95 % intervals of a mean with effects of seeds, windows and both."""
    rng = np.random.default_rng(5)
    hits = []
    for _ in range(400):
        gain = rng.normal(0, 0.1, (8, 1)) + rng.normal(0, 0.3, (1, 40))
        gain = gain + rng.normal(0, 0.3, (8, 40)) + 0.05
        real = rng.uniform(1, 2, (8, 40))
        _, _, lower, upper = paired_log_ratio(real * np.exp(gain), real)
        hits.append(lower < 0.05 < upper)
    assert binom.ppf(1e-4, 400, 0.95) <= sum(hits)
    assert sum(hits) < 400


def test_one_seed_or_one_window():
    real = np.random.default_rng(0).uniform(1, 2, (5, 9))
    other = real[::-1]
    for ours, base in ((other[:1], real[:1]), (other[:, :1], real[:, :1])):
        mean, error, lower, upper = paired_log_ratio(ours, base)
        values = np.log(ours / base).ravel()
        assert mean == pytest.approx(values.mean())
        expected = values.std(ddof=1) / np.sqrt(len(values))
        assert error == pytest.approx(expected)
        assert lower < mean < upper
    assert np.isnan(paired_log_ratio(real[:1, :1], other[:1, :1])[1])


@pytest.fixture
def choose(pool):
    def call(generator, **options):
        given = {"generators": {"dualkl": generator}, **options}
        return choose_ratio(pool[:50], "ridge", **given)

    return call


def test_an_oracle_is_worth_it(choose):
    choice = choose(Oracle(law=factors), num_errors=2)
    assert choice.worthwhile and choice.ratio >= 4
    assert choice.words.startswith("Augmentation is worth it")
    table = choice.table
    assert table["ratio"].tolist() == [0, 1, 2, 4, 8]
    assert table.loc[0, ["log_ratio", "standard_error"]].tolist() == [0, 0]
    best = table.loc[table["log_ratio"].idxmin()]
    assert choice.ratio == best["ratio"]
    assert best["log_ratio"] < -2 * best["standard_error"]


@pytest.mark.parametrize(("change", "chosen"), [(-0.02, 4), (0.02, 1), (np.nan, 4)])
def test_a_gain_that_harms_the_other_metric_is_declined(change, chosen):
    noise = np.random.default_rng(0).uniform(1, 2, 100)
    wql = noise * np.array([[1.0], [0.95], [0.9]])
    mase = noise * np.array([[1.0], [0.99], [1 + change]])
    mase[2, :50] = noise[:50] if np.isnan(change) else mase[2, :50]
    folds = np.arange(100) % 5
    errors = {"wql": wql, "mase": mase}
    choice = _decide([0.0, 1.0, 4.0], errors, folds, "wql", 1.0, "dualkl")
    assert choice.ratio == chosen
    assert choice.table["change"].tolist() == pytest.approx([0, -0.05, -0.1])
    assert choice.words.startswith("Augmentation is worth it")
    alone = {name: rows[[0, 2]] for name, rows in errors.items()}
    declined = _decide([0.0, 4.0], alone, folds, "wql", 1.0, "dualkl")
    assert declined.worthwhile == (chosen == 4)
    assert ("and that of mase by +2.0%" in declined.words) == (chosen == 1)


@pytest.mark.parametrize("generator", [IndependentMarginals(), TrainingCopies()])
def test_harm_and_nothing_are_declined(choose, generator):
    choice = choose(generator, ratios=(0.5, 1))
    assert (choice.ratio, choice.worthwhile) == (0, False)
    assert choice.words.startswith("Augmentation is not worth it")
    assert "train on the real windows alone" in choice.words


def test_more_standard_errors_are_stricter(choose):
    oracle = Oracle(law=factors)
    assert choose(oracle, ratios=(1,)).ratio == 1
    assert choose(oracle, ratios=(1,), num_errors=100).ratio == 0


def test_the_choice_is_repeatable(choose):
    first, again = (choose(TrainingCopies(), seed=4) for _ in range(2))
    pd.testing.assert_frame_equal(first.table, again.table)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"ratios": (-1, 1)}, "ratios: "),
        ({"ratios": (0,)}, "expected at least one above 0"),
        ({"metric": "rmse"}, "metric: 'rmse'"),
        ({"num_folds": 1}, "num_folds: 1"),
        ({"num_folds": 30}, "half of the 50"),
        ({"num_errors": -1}, "num_errors: -1"),
        ({"validation_share": 0}, "validation_share: 0"),
        ({"validation_share": 0.6}, "50 windows, but at least 62 are needed"),
    ],
)
def test_choice_errors(choose, options, words):
    with pytest.raises(ValueError, match=words):
        choose(TrainingCopies(), **options)


@pytest.mark.parametrize("num", [31, 32])
def test_the_least_number_of_windows_is_said_and_is_enough(num):
    """Ours learns from 20: 32 less a fold of 7, less a fifth of the 25 others."""
    tiny = DualKLDraws(num_walkers=50, max_rounds=1, num_steps=1)
    given = {"ratios": (1,), "generators": {"dualkl": tiny}}
    x = factors(num, 0)[:, :8]
    if num == 32:
        assert choose_ratio(x, "ridge", **given).table["ratio"].tolist() == [0, 1]
    else:
        with pytest.raises(ValueError, match="31 windows, but at least 32 are needed"):
            choose_ratio(x, "ridge", **given)
        choose_ratio(x, "ridge", generator="jitter", ratios=(1,))  # it needs fewer
