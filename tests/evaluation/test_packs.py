"""Domain packs on laws whose facts are known."""

from __future__ import annotations

import numpy as np
import pytest

from gluonts_dualkl.evaluation import evaluate_generator, findings
from gluonts_dualkl.evaluation.metrics import by_name, environment, finance, select
from gluonts_dualkl.evaluation.oracles import ORACLES


def rain(num: int, seed: int, length: int = 30) -> np.ndarray:
    """Wet and dry days of two sites: a Markov chain of states, gamma amounts."""
    rng = np.random.default_rng([7, seed])
    wet = np.zeros((num, length), dtype=bool)
    wet[:, 0] = rng.random(num) < 0.5
    for t in range(1, length):
        wet[:, t] = rng.random(num) < np.where(wet[:, t - 1], 0.8, 0.2)
    amounts = rng.gamma(0.8, 5.0, (num, length, 1)) * rng.uniform(
        0.5, 1.5, (num, length, 2)
    )
    return wet[..., None] * amounts


def diurnal(num: int, seed: int, amplitude: float = 1.0) -> np.ndarray:
    rng = np.random.default_rng([8, seed])
    cycle = amplitude * np.sin(2 * np.pi * np.arange(24) / 24)
    return cycle[:, None] + rng.standard_normal((num, 24, 1))


def test_hill_index_of_pareto_and_student():
    rng = np.random.default_rng(0)
    pareto = rng.pareto(3.0, 20_000) + 1
    # standard error alpha / sqrt(k)
    assert finance.hill_tail_index(pareto) == pytest.approx(3, abs=4 * 3 / 1000**0.5)
    light = finance.hill_tail_index(rng.standard_normal(20_000))
    heavy = finance.hill_tail_index(rng.standard_t(3, 20_000))
    assert heavy < 3.5 < light
    assert finance.hill_tail_index(np.zeros(100)) == 1e3


def test_what_counts_as_returns():
    rng = np.random.default_rng(0)
    steps = 0.01 * rng.standard_normal((40, 20, 1))
    prices = 100 * np.exp(np.cumsum(steps, axis=1))
    walk = np.cumsum(steps, axis=1)
    assert np.allclose(finance.returns(prices, prices), steps[:, 1:])
    assert np.allclose(finance.returns(walk, walk), steps[:, 1:])
    assert np.array_equal(finance.returns(steps, steps), steps[:, 1:])
    broken = -prices
    assert np.isfinite(finance.returns(broken, prices)).all()
    still = np.zeros_like(walk)
    assert np.array_equal(finance.returns(still, still), still[:, 1:])


def test_tails_are_compared(draw, law):
    sets = draw(law, num=150)
    rng = np.random.default_rng(0)
    heavy = sets.fresh * rng.chisquare(2, sets.fresh.shape) ** -0.5
    metric = by_name("tail_index_ratio")
    assert metric(sets.held_out, heavy, train=sets.train) < 0.8
    clipped = np.clip(sets.fresh, *np.quantile(sets.fresh, [0.02, 0.98], axis=(0, 1)))
    assert metric(sets.held_out, clipped, train=sets.train) > 1.25


@pytest.mark.parametrize("seed", range(3))
def test_shuffled_volatility_is_lost_at_200_series(seed, draw, volatility):
    sets = draw(volatility, num=200, seed=50 + seed)
    pack = select(["finance"])
    shuffled = ORACLES["time_shuffled"](sets.train, 200, seed)
    real = (sets.train, sets.held_out)
    scores = evaluate_generator(*real, shuffled, seed=seed, fast=True, metrics=pack)
    word = scores.set_index("metric")["verdict"]["volatility_clustering_difference"]
    assert word == "lost"
    assert findings(scores)["stylised facts"] == ["volatility_clustering_difference"]
    fresh = evaluate_generator(*real, sets.fresh, seed=seed, fast=True, metrics=pack)
    assert findings(fresh) == {}


def test_leverage():
    """Volatility that follows losses only."""
    rng = np.random.default_rng(0)

    def draw(sign: float) -> np.ndarray:
        x = np.zeros((200, 24, 1))
        scale = np.ones((200, 1))
        for t in range(24):
            x[:, t] = scale * rng.standard_normal((200, 1))
            scale = np.where(sign * x[:, t] < -0.5, 2.5, 1.0)
        return x

    real = draw(1.0)
    metric = by_name("leverage_difference")
    assert metric(real, draw(1.0), train=real) < 0.03
    assert metric(real, draw(-1.0), train=real) > 0.06


def test_cycle():
    metric = by_name("cycle_difference")
    train, real = diurnal(100, 0), diurnal(100, 1)
    assert metric(real, diurnal(100, 2), train=train) < 0.2
    assert metric(real, diurnal(100, 2, 0.0), train=train) > 0.4
    shuffled = ORACLES["time_shuffled"](train, 100, 0)
    assert metric(real, shuffled, train=train) > 0.4
    shifted = np.roll(diurnal(100, 2), 6, axis=1)
    assert metric(real, shifted, train=train) > 0.6


def test_spells_of_rain():
    train, real = rain(150, 0), rain(150, 1)
    for name in ("dry_spell_ratio", "wet_spell_ratio"):
        metric = by_name(name)
        assert metric(real, rain(150, 2), train=train) == pytest.approx(1, abs=0.1)
        shuffled = ORACLES["time_shuffled"](train, 150, 0)
        assert metric(real, shuffled, train=train) < 0.85
    # at or below the lowest value is dry, as a tenth of the days are
    assert np.array_equal(environment._thresholds(train), [0.0, 0.0])


def test_mean_runs():
    state = np.array([[1, 1, 0, 1], [0, 0, 0, 0]], dtype=bool)[..., None]
    assert environment._mean_runs(state) == pytest.approx([1.5])
    assert environment._mean_runs(np.zeros_like(state)) == pytest.approx([1.0])


def test_drizzle_is_seen_in_the_exceedances_and_the_verdict():
    train, real = rain(150, 0), rain(150, 1)
    metric = by_name("exceedance_difference")
    assert metric(real, np.minimum(rain(150, 2), 8.0), train=train) > 0.5
    pack = select(["environment"])
    fresh = evaluate_generator(train, real, rain(150, 2), fast=True, metrics=pack)
    assert findings(fresh) == {}
    independent = ORACLES["independent_marginals"](train, 150, 0)
    scores = evaluate_generator(train, real, independent, fast=True, metrics=pack)
    assert set(findings(scores)["climatology"]) >= {
        "dry_spell_ratio", "site_correlation_difference", "joint_exceedance_difference",
    }  # fmt: skip
