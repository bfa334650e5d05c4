from __future__ import annotations

import numpy as np
import pytest

from gluonts_dualkl.evaluation.metrics import METRICS, Metric, by_name

CHEAP = [m for m in METRICS if not m.is_p_value and not m.costly]
COPYING = {
    "dcr_share",
    "copy_rate",
    "copy_rate_shifted",
    "membership_auc",
    "nearest_neighbour_ratio",
}

# where fresh series of the same law may lie at 60 against 60
FRESH = {
    "kl_real_synthetic": (-1.0, 0.25),
    "kl_synthetic_real": (-1.0, 0.25),
    "js_bound": (-0.2, 0.05),
    "c2st_auc_logistic": (0.3, 0.65),
    "c2st_auc_trees": (0.35, 0.65),
    "c2st_p": (0.01, 1.0),
    "mmd2": (-0.01, 0.01),
    "mmd2_p": (0.01, 1.0),
    "coverage": (0.85, 1.0),
    "recall": (0.8, 1.0),
    "precision": (0.8, 1.0),
    "density": (0.7, 1.4),
    "vendi_ratio": (0.8, 1.25),
    "spacing_ratio": (0.8, 1.25),
    "log_psd_distance": (0.0, 0.4),
    "roughness_ratio": (0.7, 1.4),
    "curvature_ratio": (0.85, 1.15),
    "dcr_share": (0.3, 0.7),
    "copy_rate": (0.0, 0.2),
    "copy_rate_shifted": (0.0, 0.2),
    "nearest_neighbour_ratio": (0.8, 1.25),
    "marginal_ks": (0.0, 0.15),
    "marginal_wasserstein": (0.0, 0.25),
    "acf_difference": (0.0, 0.06),
    "cross_correlation_difference": (0.0, 0.08),
    "pixel_correlation_difference": (0.0, 0.2),
    "pixel_dependency_ratio": (0.6, 1.7),
    "temporal_dependency_ratio": (0.6, 1.7),
    "channel_dependency_ratio": (0.6, 1.7),
    "linear_predictive_ratio": (0.9, 1.1),
    "sliced_wasserstein": (0.0, 0.5),
    "marginal_js": (0.0, 0.02),
    "total_correlation_difference": (-2.0, 2.0),
    "membership_auc": (0.35, 0.65),
}


QUICKER = {
    "c2st_p": {"num_permutations": 9},
    "c2st_auc_trees": {"repeats": 1, "num_trees": 30},
}


def score(metric: Metric, train, real, synthetic, seed: int = 0) -> float:
    given = {"train": train, "seed": seed}
    needed = {k: given[k] for k in metric.needs}
    return metric.function(real, synthetic, **needed, **QUICKER.get(metric.name, {}))


def names(metric: Metric) -> str:
    return metric.name


def test_every_record_is_complete():
    assert len({m.name for m in METRICS}) == len(METRICS)
    assert {m.name for m in METRICS} == set(FRESH)
    for metric in METRICS:
        assert metric.function.__doc__
        assert metric.estimator and metric.source and metric.unit
        assert metric.low or metric.high


def test_unknown_name():
    with pytest.raises(ValueError, match="no metric 'fid'"):
        by_name("fid")


@pytest.mark.parametrize("metric", METRICS, ids=names)
def test_fresh_series_are_near_nominal(metric, sets):
    value = score(metric, sets.train, sets.held_out, sets.fresh)
    lower, upper = FRESH[metric.name]
    assert isinstance(value, float)
    assert lower <= value <= upper


@pytest.mark.parametrize("metric", CHEAP, ids=names)
def test_free_of_units(metric, sets):
    channels = sets.train.shape[2]
    factor = np.array([4.0, 0.5, 16.0])[:channels]
    moved = [x * factor - 2.0 for x in (sets.train, sets.held_out, sets.fresh)]
    plain = score(metric, sets.train, sets.held_out, sets.fresh)
    assert score(metric, *moved) == pytest.approx(plain, abs=1e-3)


@pytest.mark.parametrize("metric", CHEAP, ids=names)
def test_free_of_the_order_of_train(metric, sets):
    plain = score(metric, sets.train, sets.held_out, sets.fresh)
    turned = score(metric, sets.train[::-1], sets.held_out, sets.fresh)
    assert turned == pytest.approx(plain, rel=1e-6, abs=1e-6)


@pytest.mark.parametrize("metric", METRICS, ids=names)
def test_seeded_and_leaves_the_global_state_alone(metric, draw, law):
    sets = draw(law, num=25)
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    first = score(metric, sets.train, sets.held_out, sets.fresh)
    copies = (x.copy() for x in (sets.train, sets.held_out, sets.fresh))
    assert score(metric, *copies) == first
    assert np.array_equal(np.random.get_state()[1], before)  # noqa: NPY002


@pytest.mark.parametrize("metric", METRICS, ids=names)
def test_sizes_may_differ(metric, sets):
    value = score(metric, sets.train[:30], sets.held_out[:40], sets.fresh)
    assert np.isfinite(value)


@pytest.mark.parametrize("metric", METRICS, ids=names)
def test_constant_series_give_a_number(metric, sets):
    constant = np.zeros_like(sets.fresh) + sets.train.mean((0, 1))
    assert np.isfinite(score(metric, sets.train, sets.held_out, constant))
    flat_train = sets.train.copy()
    flat_train[..., 0] = 1.0
    assert np.isfinite(score(metric, flat_train, flat_train, flat_train.copy()))


@pytest.mark.parametrize("metric", CHEAP, ids=names)
def test_single_channel(metric, sets):
    one = [x[..., :1] for x in (sets.train, sets.held_out, sets.fresh)]
    assert np.isfinite(score(metric, *one))


@pytest.mark.parametrize("name", sorted(COPYING))
def test_only_copying_metrics_see_copies(name, sets):
    metric = by_name(name)
    fresh = score(metric, sets.train, sets.held_out, sets.fresh)
    copies = score(metric, sets.train, sets.held_out, sets.train)
    assert abs(copies - fresh) > 0.3
    assert copies == pytest.approx(0 if name.startswith("nearest") else 1)
