import numpy as np
import pytest
import torch

from gluonts_dualkl.data.grids import decimal_resolution
from gluonts_dualkl.laws.marginals import MarginalMap


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def round_trip(values):
    maps = MarginalMap.fit(values)
    return maps.from_normal(maps.to_normal(torch.as_tensor(values))).numpy()


def beyond(values, score):
    maps = MarginalMap.fit(values)
    shape = (1, *values.shape[1:])
    return maps.from_normal(torch.full(shape, score)).numpy()


@pytest.mark.parametrize(
    "make",
    [
        lambda rng: rng.standard_normal((60, 8, 3)),
        lambda rng: rng.lognormal(0, 3, (60, 8, 1)),
        lambda rng: rng.integers(0, 5, (60, 8, 2)),
        lambda rng: np.round(rng.gamma(2, 20, (60, 8, 1)) / 5) * 5,
        lambda rng: np.maximum(0, rng.standard_normal((60, 8, 1))),
        lambda rng: 1e6 + rng.standard_normal((60, 8, 1)),
    ],
    ids=["normal", "lognormal", "counts", "steps of five", "zero inflated", "offset"],
)
def test_round_trip(make, rng):
    values = make(rng).astype(np.float32)
    scale = values.std()
    np.testing.assert_allclose(round_trip(values), values, atol=2e-2 * scale, rtol=1e-3)


def test_discrete_round_trip_is_exact(rng):
    values = (5 * rng.integers(2, 30, (50, 10, 1))).astype(np.float32)
    assert (round_trip(values) == values).all()


def test_scores_are_standard_normal(rng):
    values = rng.lognormal(2, 1, (400, 6, 2)).astype(np.float32)
    z = MarginalMap.fit(values).to_normal(torch.as_tensor(values)).numpy()
    np.testing.assert_allclose(z.mean(0), 0, atol=1e-5)
    np.testing.assert_allclose(z.std(0), 1, atol=1e-4)
    assert abs((z > 1.645).mean() - 0.05) < 0.01


def test_map_is_monotone(rng):
    values = np.round(rng.standard_normal((40, 5, 1)), 1).astype(np.float32)
    maps = MarginalMap.fit(values)
    x = torch.linspace(-6, 6, 500)[:, None, None].expand(-1, 5, 1)
    z = maps.to_normal(x)[:, 0, 0]
    assert (z.diff() >= 0).all()


def test_tails_go_on_without_piling_up_or_exploding(rng):
    values = rng.standard_normal((100, 6, 1)).astype(np.float32)
    far, farther = beyond(values, 4.5), beyond(values, 5.0)
    assert (far > values.max()).all()
    assert (farther > far).all()
    assert (farther < 3 * values.max()).all()


def test_positive_channels_stay_positive(rng):
    values = (0.5 + rng.lognormal(0, 0.3, (100, 6, 1))).astype(np.float32)
    low = beyond(values, -6.0)
    assert (low > 0).all()
    assert (low < values.min()).all()


def test_atoms_at_the_ends_are_bounds(rng):
    values = np.clip(120 * rng.random((80, 6, 1)) - 10, 0, 100).astype(np.float32)
    assert (beyond(values, -6.0) == 0).all()
    assert (beyond(values, 6.0) == 100).all()


@pytest.mark.parametrize("kind", ["rank", "power"])
def test_rare_levels_stay_rare(rng, kind):
    """Whole degrees, and half ones in one value of twenty."""
    values = np.round(rng.normal(20, 5, (100, 24, 1)))
    values += 0.5 * (rng.uniform(size=values.shape) < 0.05)
    maps = MarginalMap.fit(values.astype(np.float32), kind)
    z = torch.as_tensor(rng.normal(size=(400, 24, 1)), dtype=torch.float32)
    drawn = maps.from_normal(z).numpy()
    assert np.isin(drawn % 1, (0, 0.5)).all()
    assert 0.03 < (drawn % 1 == 0.5).mean() < 0.08
    back = maps.from_normal(maps.to_normal(torch.as_tensor(values)))
    np.testing.assert_array_equal(back.numpy(), values.astype(np.float32))


def test_discrete_channel_may_go_beyond_what_was_seen(rng):
    values = (5 * rng.binomial(40, 0.5, (100, 6, 1))).astype(np.float32)
    top = beyond(values, 4.5)
    assert (top > values.max()).all()
    assert (top % 5 == 0).all()


def test_channel_scores_show_the_ties_of_the_data(rng):
    values = rng.integers(0, 4, (50, 6, 1)).astype(np.float32)
    maps = MarginalMap.fit(values)
    assert len(np.unique(maps.channel_scores(torch.randn(200, 6, 1)).numpy())) <= 10


def test_constant_channel_comes_back(rng):
    values = np.full((30, 5, 1), 7.0, np.float32)
    assert (beyond(values, 2.0) == 7).all()


def test_values_far_outside_map_to_finite_scores(rng):
    values = rng.random((30, 5, 1)).astype(np.float32)
    z = MarginalMap.fit(values).to_normal(torch.tensor([[[1e9], [-1e9]] * 2 + [[0.5]]]))
    assert torch.isfinite(z).all()


@pytest.mark.parametrize(
    ("values", "step"),
    [
        ([5, 10, 25], 5),
        ([0.1, 0.2, 0.7], 0.1),
        ([1.0, 3.0, 100.0], 1),
        ([0.02, 0.06], 0.02),
        ([np.pi, np.e], 0),
        ([0.0, 0.0], 5e6),
    ],
)
def test_decimal_resolution(values, step):
    assert decimal_resolution(np.float32(values)) == pytest.approx(step)


def levels_over_decades(rng):
    """Positive random walks whose levels span decades, ``(80, 12, 1)``."""
    level = rng.uniform(-3, 3, (80, 1, 1))
    return np.exp(level + 0.02 * rng.standard_normal((80, 12, 1)).cumsum(1))


def test_relative_steps_are_as_long_at_every_level(rng):
    maps = MarginalMap.fit(levels_over_decades(rng).astype(np.float32))
    x = torch.tensor([0.1, 1.0, 10.0])[:, None, None].expand(3, 12, 1)
    step = maps.to_normal(1.05 * x) - maps.to_normal(x)
    np.testing.assert_allclose(step[1:, 0], step[:1, 0].expand(2, 1), rtol=0.05)


def test_level_channels_round_trip(rng):
    values = levels_over_decades(rng).astype(np.float32)
    np.testing.assert_allclose(round_trip(values), values, rtol=2e-3)


def test_level_channels_keep_their_bounds(rng):
    level = rng.uniform(-0.3, 1.3, (80, 1, 1))
    noise = 0.02 * rng.standard_normal((80, 12, 1))
    values = np.clip(level + noise, 0, 1).astype(np.float32)
    assert (beyond(values, -5.5) == 0).all()
    assert (beyond(values, 5.5) == 1).all()
    np.testing.assert_allclose(round_trip(values), values, atol=1e-3)


def test_missing_values_are_left_out():
    rng = np.random.default_rng(0)
    values = rng.gamma(2.0, size=(300, 6, 2)).astype(np.float32)
    holes = values.copy()
    holes[rng.random(values.shape) < 0.2] = np.nan
    holes[:, 3, 1] = np.nan
    maps, whole = MarginalMap.fit(holes), MarginalMap.fit(values)
    z = maps.to_normal(torch.as_tensor(holes))
    assert (z.isnan().numpy() == np.isnan(holes)).all()
    known = torch.as_tensor(values)
    apart = maps.to_normal(known)[:, :3] - whole.to_normal(known)[:, :3]
    assert float(apart.abs().mean()) < 0.1
    back = maps.from_normal(maps.to_normal(known)).numpy()
    np.testing.assert_allclose(back, values, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("fault", [np.nan, np.inf])
def test_channels_without_values(fault):
    values = np.random.default_rng(0).normal(size=(30, 4, 2))
    values[:, :, 1] = fault
    with pytest.raises(ValueError, match="channel 1 of values"):
        MarginalMap.fit(values)


def test_kinds_of_maps():
    values = 100 + np.random.default_rng(0).normal(size=(50, 1, 1)).repeat(5, 1)
    values = values + 0.01 * np.random.default_rng(1).normal(size=values.shape)
    auto, power = MarginalMap.fit(values), MarginalMap.fit(values, "power")
    assert torch.equal(auto.knots_x, power.knots_x)
    assert not torch.equal(MarginalMap.fit(values, "rank").knots_x, power.knots_x)
    with pytest.raises(ValueError, match="kind is 'spline'; choose from auto, rank"):
        MarginalMap.fit(values, "spline")
