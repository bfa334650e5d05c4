"""Conditions on static features: which donors, and what is drawn given them."""

import numpy as np
import pandas as pd
import pytest

from gluonts_dualkl import DualKLEstimator, dataset_to_array
from gluonts_dualkl.data.conditions import rows_of
from gluonts_dualkl.data.windows import cut_windows

LEVELS, ROUGHNESS = (-3.0, 0.0, 3.0), (0.95, 0.6, 0.1)
PER_STATION = 24


def stations(seed=0):
    """Three stations that differ in level and in memory, with an altitude each."""
    rng = np.random.default_rng(seed)
    data = []
    for station, (level, phi) in enumerate(zip(LEVELS, ROUGHNESS)):
        for _ in range(PER_STATION):
            x = rng.standard_normal((2, 16))
            for t in range(1, 16):
                x[:, t] = phi * x[:, t - 1] + np.sqrt(1 - phi**2) * x[:, t]
            data.append(
                {
                    "start": pd.Period("2020-01-01", "D"),
                    "target": (level + x).astype(np.float32),
                    "feat_static_cat": np.array([station, 5]),
                    "feat_static_real": np.array([100.0 * station + rng.normal()]),
                }
            )
    return data


@pytest.fixture(scope="module")
def windows():
    return cut_windows(stations())


@pytest.fixture(scope="module")
def generator():
    settings = {"max_rounds": 3, "num_walkers": 200, "num_folds": 2, "num_steps": 8}
    return DualKLEstimator(**settings).train(stations())


def test_categories_are_matched(windows):
    rows = rows_of(windows, {"feat_static_cat": [1, None]})
    np.testing.assert_array_equal(rows, np.arange(24, 48))
    np.testing.assert_array_equal(
        rows_of(windows, {"feat_static_cat": [None, 5]}), np.arange(72)
    )


def test_nearest_real_features(windows):
    rows = rows_of(windows, {"feat_static_real": [100.0]})
    assert len(rows) == 8
    assert set(rows) <= set(range(24, 48))
    inside = rows_of(windows, {"feat_static_cat": [2, 5], "feat_static_real": 0.0})
    features = windows.static["feat_static_real"][:, 0]
    np.testing.assert_array_equal(np.sort(48 + features[48:].argsort()[:8]), inside)


@pytest.mark.parametrize(
    ("condition", "message"),
    [
        ({"station": [1]}, "names 'station'; it may name 'feat_static_cat'"),
        ({"feat_static_cat": [1]}, r"is \[1\]; give 2 numbers"),
        ({"feat_static_cat": ["a", 1]}, "give 2 numbers, one a feature, None"),
        ({"feat_static_cat": [7, 5]}, r"0 training windows .* \[7, 5\] .* 24 of \[0"),
        ({"feat_static_real": [np.inf]}, "give 1 numbers"),
    ],
)
def test_bad_conditions(windows, generator, condition, message):
    with pytest.raises(ValueError, match=message):
        rows_of(windows, condition)
    with pytest.raises(ValueError, match=message):
        generator.generate(3, condition=condition)


def test_features_that_are_not_there(windows):
    bare = cut_windows([{**e, "feat_static_real": None} for e in stations()])
    with pytest.raises(ValueError, match="'feat_static_real', which the data do not"):
        rows_of(bare, {"feat_static_real": [1.0]})


def lag_one(x):
    """Mean autocorrelation at lag 1 of series about their station's level."""
    x = x - x.mean((0, 1))
    return (x[:, 1:] * x[:, :-1]).mean() / x.var()


def test_categories_differ_as_the_real_ones_do(generator):
    for station, (level, phi) in enumerate(zip(LEVELS, ROUGHNESS)):
        condition = {"feat_static_cat": [station, None]}
        drawn = list(generator.generate(200, seed=1, condition=condition))
        assert all(e["feat_static_cat"][0] == station for e in drawn)
        x = dataset_to_array(drawn)
        real = dataset_to_array(stations()[station * 24 :][:24])
        # of the mean of 24 real AR(1) series of 16 steps and 2 channels
        error = np.sqrt((1 + phi) / (1 - phi) / 16 / 48) if phi < 0.9 else 0.13
        assert abs(x.mean() - level) < 4 * error + 0.1
        assert abs(lag_one(x) - lag_one(real)) < 0.15
        assert 0.6 < x.std() / real.std() < 1.4


def test_a_condition_draws_the_same_again(generator):
    condition = {"feat_static_cat": [2, 5]}
    first, again = (generator.sample(5, seed=3, condition=condition) for _ in "ab")
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, generator.sample(5, seed=3))


def test_only_the_default_path_takes_conditions():
    generator = DualKLEstimator(
        path="noise", path_settings={"max_steps": 5}, num_folds=2
    ).train(stations()[::3])
    with pytest.raises(ValueError, match="needs the default path 'recombination'"):
        generator.generate(3, condition={"feat_static_cat": [0, 5]})
