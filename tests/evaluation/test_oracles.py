from __future__ import annotations

import numpy as np
import pytest

from gluonts_dualkl.evaluation.metrics import by_name
from gluonts_dualkl.evaluation.oracles import (
    ORACLES,
    balanced_indices,
    snap_discrete,
)


def value(name, sets, synthetic):
    metric = by_name(name)
    given = {"train": sets.train, "seed": 0}
    needed = {k: given[k] for k in metric.needs}
    if metric.costly:
        needed |= {"repeats": 1, "num_trees": 50}
    return metric.function(sets.held_out, synthetic, **needed)


@pytest.mark.parametrize("name", ORACLES)
@pytest.mark.parametrize("num", [7, 60, 130])
def test_shape_and_seed(name, num, sets):
    drawn = ORACLES[name](sets.train, num, 3)
    assert drawn.shape == (num, *sets.train.shape[1:])
    assert np.isfinite(drawn).all()
    assert np.array_equal(drawn, ORACLES[name](sets.train, num, 3))
    assert not np.array_equal(drawn, ORACLES[name](sets.train, num, 4))


def test_copies_come_once_while_they_last(sets):
    copies = ORACLES["training_copies"](sets.train, 60, 0)
    assert len(np.unique(copies, axis=0)) == 60


def test_marginals_are_those_of_train(sets):
    drawn = ORACLES["independent_marginals"](sets.train, 60, 0)
    assert np.array_equal(np.sort(drawn, axis=0), np.sort(sets.train, axis=0))


def test_gaussian_has_the_moments_of_train(sets):
    drawn = ORACLES["shrunk_gaussian"](sets.train, 4000, 0)
    deviation = sets.train.std(0)
    gap = (drawn.mean(0) - sets.train.mean(0)) / deviation
    assert np.abs(gap).max() < 5 / np.sqrt(4000)
    np.testing.assert_allclose(drawn.std(0) / deviation, 1, atol=0.07)


def test_discrete_channels_keep_their_support():
    train = np.random.default_rng(0).integers(0, 4, (50, 10, 2)) * 5.0
    train[..., 1] += np.random.default_rng(1).standard_normal((50, 10))
    drawn = ORACLES["shrunk_gaussian"](train, 30, 0)
    assert set(np.unique(drawn[..., 0])) <= {0.0, 5.0, 10.0, 15.0}
    assert len(np.unique(drawn[..., 1])) > 100
    assert snap_discrete(np.array([[[2.4, 0.3]]]), train)[0, 0, 0] == 0.0


# oracle, metric that must see it, whether the value falls or rises, by how much
FAULTS = [
    ("training_copies", "dcr_share", 0.3),
    ("training_copies", "copy_rate", 0.7),
    ("training_copies", "copy_rate_shifted", 0.7),
    ("jittered_copies", "dcr_share", 0.3),
    ("jittered_copies", "copy_rate", 0.7),
    ("collapsed", "coverage", -0.2),
    ("collapsed", "recall", -0.2),
    ("collapsed", "vendi_ratio", -0.3),
    ("collapsed", "spacing_ratio", -0.7),
    ("over_smoothed", "roughness_ratio", -0.3),
    ("over_smoothed", "curvature_ratio", -0.25),
    ("over_smoothed", "log_psd_distance", 0.4),
    ("independent_marginals", "c2st_auc_trees", 0.2),
    ("independent_marginals", "c2st_auc_logistic", 0.2),
    ("independent_marginals", "kl_real_synthetic", 0.5),
    ("independent_marginals", "kl_synthetic_real", 0.5),
    ("independent_marginals", "cross_correlation_difference", 0.05),
    ("independent_marginals", "pixel_dependency_ratio", -0.4),
    ("independent_marginals", "channel_dependency_ratio", -0.6),
]


@pytest.mark.parametrize(("oracle", "name", "change"), FAULTS)
def test_every_fault_is_seen(oracle, name, change, sets):
    faulty = ORACLES[oracle](sets.train, 60, 0)
    difference = value(name, sets, faulty) - value(name, sets, sets.fresh)
    assert difference * np.sign(change) >= abs(change)


@pytest.mark.parametrize("oracle", ["training_copies"])
@pytest.mark.parametrize("name", ["c2st_auc_trees", "mmd2", "js_bound", "coverage"])
def test_distances_do_not_see_copies(oracle, name, sets):
    metric = by_name(name)
    copies = ORACLES[oracle](sets.train, 60, 0)
    gap = abs(value(name, sets, copies) - value(name, sets, sets.fresh))
    assert gap < max(metric.tolerance, 0.2)


def test_shuffling_weakens_dependency_over_time(draw, autoregression):
    sets = draw(autoregression)
    shuffled = ORACLES["time_shuffled"](sets.train, 60, 0)
    assert value("temporal_dependency_ratio", sets, shuffled) < 0.3
    assert value("temporal_dependency_ratio", sets, sets.fresh) > 0.7


@pytest.mark.parametrize("num", [1, 5, 12, 23])
def test_balanced_indices_come_equally_often(num):
    drawn = balanced_indices(10, num, np.random.default_rng(0))
    counts = np.bincount(drawn, minlength=10)
    assert len(drawn) == num and np.ptp(counts) <= 1
    assert np.ptp(np.bincount(drawn[:10], minlength=10)) <= 1
