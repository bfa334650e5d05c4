"""What is computed on request: the rest of the secondary set and the two packs."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from gluonts_dualkl.evaluation.metrics import (
    ALL_METRICS,
    GROUPS,
    METRICS,
    Metric,
    by_name,
    dependence,
    embedding,
    select,
    timegan,
    transport,
)
from gluonts_dualkl.evaluation.oracles import ORACLES

EXTRA = [m for m in ALL_METRICS if not m.default and m.group != "sdmetrics"]
QUICK = [m for m in EXTRA if not m.slow]
TORCH = {"context_fid": 30, "discriminative_score": 30, "predictive_score": 30}

# where fresh series of the same law may lie at 60 against 60
FRESH = {
    "level_entropy_difference": (-0.6, 0.6),
    "marginal_kl": (0.0, 0.08),
    "channel_information_difference": (0.0, 0.12),
    "lagged_information_difference": (0.0, 0.12),
    "context_fid": (0.0, 2.5),
    "mdd": (0.0, 3.0),
    "acd": (0.0, 1.2),
    "sd": (0.0, 1.5),
    "kd": (0.0, 12.0),
    "discriminative_score": (0.0, 0.3),
    "predictive_score": (0.0, 0.25),
    "tail_index_ratio": (0.7, 1.4),
    "return_autocorrelation_difference": (0.0, 0.08),
    "volatility_clustering_difference": (-0.06, 0.06),
    "leverage_difference": (0.0, 0.08),
    "return_correlation_difference": (0.0, 0.08),
    "cycle_difference": (0.0, 0.3),
    "exceedance_difference": (0.0, 0.6),
    "extremes_distance": (0.0, 0.5),
    "dry_spell_ratio": (0.8, 1.25),
    "wet_spell_ratio": (0.8, 1.25),
    "site_correlation_difference": (0.0, 0.12),
    "joint_exceedance_difference": (0.0, 0.15),
}


def score(
    metric: Metric, train, real, synthetic, seed: int = 0, full: bool = False
) -> float:
    given = {"train": train, "seed": seed}
    needed = {k: given[k] for k in metric.needs}
    if metric.name in TORCH and not full:
        needed["num_steps"] = TORCH[metric.name]
    return metric(real, synthetic, **needed)


def value(name: str, sets, synthetic) -> float:
    metric = by_name(name)
    return score(metric, sets.train, sets.held_out, synthetic, full=True)


def names(metric: Metric) -> str:
    return metric.name


def test_records_are_complete_and_grouped():
    assert {m.name for m in EXTRA} == set(FRESH)
    assert len({m.name for m in ALL_METRICS}) == len(ALL_METRICS)
    assert {m.group for m in ALL_METRICS} == set(GROUPS)
    for metric in ALL_METRICS:
        assert metric.function.__doc__
        assert metric.estimator and metric.source and metric.unit
        assert metric.low or metric.high
        assert metric.ceiling in ORACLES


def test_select():
    assert [m.name for m in select()] == [m.name for m in METRICS]
    assert {m.group for m in METRICS} == {"headline", "secondary"}
    assert {m.group for m in select(("headline", "finance"))} == {"headline", "finance"}
    assert {m.group for m in select("finance")} == {"finance"}
    assert by_name("context_fid") in select(["secondary"])
    with pytest.raises(ValueError, match="packs: .*'weather'.*'environment'"):
        select(["weather"])
    with pytest.raises(ValueError, match="packs: "):
        select([])


@pytest.mark.parametrize("metric", EXTRA, ids=names)
def test_fresh_series_are_near_nominal(metric, sets):
    value = score(metric, sets.train, sets.held_out, sets.fresh)
    lower, upper = FRESH[metric.name]
    assert isinstance(value, float)
    assert lower <= value <= upper


@pytest.mark.parametrize("metric", QUICK, ids=names)
def test_free_of_units(metric, sets):
    if metric.group == "finance" or metric.name == "channel_information_difference":
        moved_by = 0.0
    else:
        moved_by = 2.0
    factor = np.array([4.0, 0.5, 16.0])[: sets.train.shape[2]]
    moved = [x * factor - moved_by for x in (sets.train, sets.held_out, sets.fresh)]
    plain = score(metric, sets.train, sets.held_out, sets.fresh)
    assert score(metric, *moved) == pytest.approx(plain, rel=1e-3, abs=1e-3)


@pytest.mark.parametrize("metric", EXTRA, ids=names)
def test_seeded_and_leaves_the_global_state_alone(metric, draw, law):
    sets = draw(law, num=25)
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    torch_before = torch.get_rng_state()
    first = score(metric, sets.train, sets.held_out, sets.fresh)
    # other sets in between, so that nothing is read from memory
    score(metric, sets.fresh, sets.train, sets.held_out)
    copies = (x.copy() for x in (sets.train, sets.held_out, sets.fresh))
    assert score(metric, *copies) == first
    assert np.array_equal(np.random.get_state()[1], before)  # noqa: NPY002
    assert torch.equal(torch.get_rng_state(), torch_before)


@pytest.mark.parametrize("metric", EXTRA, ids=names)
def test_sizes_may_differ_and_constants_give_a_number(metric, sets):
    assert np.isfinite(score(metric, sets.train[:30], sets.held_out[:40], sets.fresh))
    constant = np.zeros_like(sets.fresh) + sets.train.mean((0, 1))
    assert np.isfinite(score(metric, sets.train, sets.held_out, constant))
    flat_train = sets.train.copy()
    flat_train[..., 0] = 1.0
    assert np.isfinite(score(metric, flat_train, flat_train, flat_train.copy()))


@pytest.mark.parametrize("metric", EXTRA, ids=names)
def test_single_channel(metric, sets):
    one = [x[..., :1] for x in (sets.train, sets.held_out, sets.fresh)]
    assert np.isfinite(score(metric, *one))


# oracle, metric that must see it, by how much the value changes
FAULTS = [
    ("collapsed", "level_entropy_difference", -0.1),
    ("collapsed", "sliced_wasserstein", 0.04),
    ("collapsed", "marginal_js", 0.004),
    ("collapsed", "marginal_kl", 0.01),
    ("independent_marginals", "total_correlation_difference", -0.3),
    ("independent_marginals", "channel_information_difference", 0.05),
    ("training_copies", "membership_auc", 0.3),
    ("jittered_copies", "membership_auc", 0.3),
    ("collapsed", "context_fid", 0.5),
    ("independent_marginals", "context_fid", 0.5),
    ("collapsed", "mdd", 0.1),
    ("collapsed", "sd", 0.0),
    ("collapsed", "discriminative_score", 0.0),
    ("independent_marginals", "return_correlation_difference", 0.15),
    ("independent_marginals", "site_correlation_difference", 0.15),
    ("independent_marginals", "joint_exceedance_difference", 0.1),
    ("over_smoothed", "exceedance_difference", 0.3),
    ("over_smoothed", "extremes_distance", 0.15),
    ("over_smoothed", "dry_spell_ratio", 0.2),
    ("over_smoothed", "wet_spell_ratio", 0.2),
    ("over_smoothed", "return_autocorrelation_difference", 0.05),
]


@pytest.mark.parametrize(("oracle", "name", "change"), FAULTS)
def test_every_fault_is_seen(oracle, name, change, sets):
    faulty = ORACLES[oracle](sets.train, 60, 0)
    difference = value(name, sets, faulty) - value(name, sets, sets.fresh)
    assert difference * np.sign(change or 1) >= abs(change)


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("lagged_information_difference", 0.05),
        ("acd", 0.3),
        ("predictive_score", 0.01),
        ("total_correlation_difference", -3.0),
    ],
)
def test_lost_order_is_seen(name, change, draw, autoregression):
    sets = draw(autoregression)
    faulty = ORACLES["independent_marginals"](sets.train, 60, 0)
    difference = value(name, sets, faulty) - value(name, sets, sets.fresh)
    assert difference / change > 1


def test_heavier_tails_are_seen(draw, autoregression):
    sets = draw(autoregression)
    heavy = sets.train.mean(0) + (sets.fresh - sets.train.mean(0)) ** 3
    assert value("kd", sets, heavy) > value("kd", sets, sets.fresh) + 1


def test_divergences_agree_with_closed_forms():
    """Shift of a standard normal: KL is half its square, W2 the shift itself."""
    rng = np.random.default_rng(0)
    a, b = rng.standard_normal((2, 2000, 10, 1))
    assert transport.marginal_kl(a, b + 0.5) == pytest.approx(0.125, rel=0.1)
    # all in the last of 20 bins, against a twentieth in each
    last = (np.log(2 / 1.05) + 0.95 * np.log(2) + 0.05 * np.log(0.1 / 1.05)) / 2
    assert transport.marginal_js(a, b + 9.0) == pytest.approx(last, rel=0.01)
    shift = transport.sliced_wasserstein(a[:, :1], b[:, :1] + 2.0)
    assert shift == pytest.approx(2.0, rel=0.05)


def test_total_correlation_of_an_autoregression():
    """AR(1): ``-(T - 1) / 2 ln(1 - phi^2)``; independent pixels have none."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((4000, 8, 1))
    assert dependence.total_correlation(x) == pytest.approx(0.0, abs=0.02)
    for t in range(1, 8):
        x[:, t] = 0.8 * x[:, t - 1] + 0.6 * x[:, t]
    truth = -3.5 * np.log(1 - 0.64)
    assert dependence.total_correlation(x) == pytest.approx(truth, rel=0.05)
    assert dependence.total_correlation(np.exp(x)) == pytest.approx(
        dependence.total_correlation(x)
    )


def test_frechet_distance_of_gaussians():
    rng = np.random.default_rng(0)
    a = rng.standard_normal((4000, 2))
    b = 2 * rng.standard_normal((4000, 2)) + [3.0, 0.0]
    # (2 - 1)^2 in each coordinate and the shift of 3
    assert embedding.frechet_distance(a, b) == pytest.approx(11, rel=0.05)
    assert embedding.frechet_distance(a, a) == pytest.approx(0, abs=1e-9)


def test_embedding_is_standardised_and_fits_all_parameters(sets):
    embed = embedding.fit_embedding(sets.train, seed=1, num_steps=20)
    rows = embed(sets.train)
    assert rows.shape == (60, 8)
    assert np.allclose(rows.mean(0), 0, atol=1e-5)
    assert np.allclose(rows.std(0), 1, atol=1e-4)
    encoder = embedding._Encoder(sets.train.shape[2])
    x = embedding._tensor(sets.train)
    embedding._step(encoder, x, torch.Generator().manual_seed(0)).backward()
    assert all(p.grad is not None and p.grad.any() for p in encoder.parameters())


def test_every_parameter_of_the_recurrent_judge_is_trained():
    judge = timegan._Judge(3, 4)
    judge(torch.randn(5, 7, 3)).sum().backward()
    assert all(p.grad is not None and p.grad.any() for p in judge.parameters())
