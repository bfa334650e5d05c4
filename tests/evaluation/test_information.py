from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import kstest

from gluonts_dualkl.evaluation.features import FeatureScaler
from gluonts_dualkl.evaluation.metrics import information


def test_bound_equals_kl_at_the_exact_log_ratio():
    """For N(1, 1) against N(0, 1) the log-ratio is x - 1/2 and the divergence 1/2."""
    rng = np.random.default_rng(0)
    above = rng.standard_normal((1, 200_000)) + 0.5
    below = rng.standard_normal((1, 200_000)) - 0.5
    bound = information._donsker_varadhan(above, below)
    error = np.sqrt((1 + np.e - 1) / 200_000)
    assert bound == pytest.approx(0.5, abs=4 * error)


def test_bound_ignores_a_constant_and_is_capped():
    above, below = np.full((1, 20), 3.0), np.full((1, 20), -4.0)
    assert information._donsker_varadhan(above, below) == pytest.approx(np.log(20))
    half = information._donsker_varadhan(above / 4 + 1, below / 4 + 1)
    assert half == pytest.approx(7 / 4)


def test_divergences_of_disjoint_laws(sets):
    far = sets.fresh + 8 * sets.train.std((0, 1))
    assert information.js_bound(sets.held_out, far, sets.train) > 0.55
    assert information.c2st_auc_logistic(sets.held_out, far, sets.train) > 0.999
    kl = information.kl_real_synthetic(sets.held_out, far, sets.train)
    assert 3.5 < kl <= np.log(60)


def test_mmd_equals_the_double_sum(sets):
    real, fake = sets.held_out[:20], sets.fresh[:20]
    scaler = FeatureScaler(sets.train)
    base, a, b = scaler(sets.train), scaler(real), scaler(fake)
    pairs = [np.linalg.norm(base[i] - base[j]) for i in range(60) for j in range(i)]
    width = np.median(pairs)

    def kernel(u, v):
        return np.exp(-(np.linalg.norm(u - v) ** 2) / (2 * width**2))

    within = sum(
        kernel(x[i], x[j]) / (20 * 19)
        for x in (a, b)
        for i in range(20)
        for j in range(20)
        if i != j
    )
    between = np.mean([kernel(u, v) for u in a for v in b])
    expected = within - 2 * between
    assert information.mmd2(real, fake, sets.train) == pytest.approx(expected)


def test_auc_with_ties():
    labels = np.array([1, 1, 0, 0])
    assert information._auc(np.array([2.0, 1.0, 1.0, 0.0]), labels) == 0.875


def test_duplicates_stay_in_one_fold(sets):
    """Copies of few fresh series must not be recognised from another fold."""
    repeated = np.repeat(sets.fresh[:30], 2, axis=0)
    auc = information.c2st_auc_trees(sets.held_out, repeated, sets.train)
    assert auc < 0.65
    groups = information._groups(repeated.reshape(60, -1))
    labels = np.repeat([1, 0], 30)
    for test in information._folds(labels, groups, 0):
        rest = np.setdiff1d(np.arange(60), test)
        assert not set(groups[test]) & set(groups[rest])


def test_one_series_over_and_over_is_told_apart(sets):
    alike = np.repeat(sets.fresh[:1], 60, axis=0)
    assert information.js_bound(sets.held_out, alike, sets.train) > 0
    assert information.mmd2_p_value(sets.held_out, alike, sets.train) <= 0.01


def _p_values(function, law, draw, repeats, num, **options):
    values = []
    for k in range(repeats):
        sets = draw(law, num=num, seed=100 + k)
        arguments = (sets.held_out, sets.fresh, sets.train, k)
        values.append(function(*arguments, **options))
    return np.array(values)


def test_kernel_p_value_is_uniform_for_equal_laws(law, draw):
    values = _p_values(information.mmd2_p_value, law, draw, 100, 20)
    assert kstest(values, "uniform").pvalue > 0.005


@pytest.mark.slow
def test_classifier_p_value_is_uniform_for_equal_laws(law, draw):
    values = _p_values(information.c2st_p_value, law, draw, 60, 20, num_permutations=39)
    assert kstest(values, "uniform").pvalue > 0.005


@pytest.mark.slow
def test_bounds_stay_below_the_truth_on_average(law, draw):
    values = [
        information.kl_real_synthetic(s.held_out, s.fresh, s.train, repeats=1)
        for s in (draw(law, num=40, seed=k) for k in range(30))
    ]
    assert np.mean(values) < 2 * np.std(values) / np.sqrt(30)
