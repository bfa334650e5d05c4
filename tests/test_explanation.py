"""Nats by scale, channel and pixel against closed forms; places; the whole record."""

import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from conftest import SMALL
from laws import ar1, ar1_total_correlation

from gluonts_dualkl import DualKLEstimator, dataset_from_array
from gluonts_dualkl.analysis.dual_space import dual_features, embed
from gluonts_dualkl.analysis.explanation import (
    attribution,
    attribution_along,
    causal_nats,
    channel_dependency,
    explain,
    gap_of,
    innovation_attribution,
    log_ratio_by_scale,
    nats_by_scale,
    nearest_real,
    smooth_log_ratio,
)
from gluonts_dualkl.laws.gaussian import CausalGaussian


def law(length=7, channels=3, seed=0):
    """A causal Gaussian of order 1 with random coupled coefficients."""
    rng = torch.Generator().manual_seed(seed)
    z = torch.randn(200, length, channels, generator=rng).cumsum(1)
    z = z + 0.7 * z.roll(1, 2)
    return CausalGaussian.fit((z - z.mean(0)) / z.std(0), 1, 30.0, 1e-2)


def ar1_law(length, channels, phi):
    """The AR(1) law with independent channels of unit variance, exactly."""
    eye = torch.eye(channels, dtype=torch.float64)
    factors = math.sqrt(1 - phi**2) * eye.repeat(length, 1, 1)
    factors[0] = eye
    coefficients = phi * eye.repeat(length, 1, 1)
    coefficients[0] = 0
    variances = torch.ones(length, channels, dtype=torch.float64)
    shrinkage = torch.tensor([100.0, 0.01], dtype=torch.float64)
    return CausalGaussian(coefficients, factors, variances, shrinkage)


@pytest.fixture
def z():
    rng = torch.Generator().manual_seed(5)
    return torch.randn(4, 7, 3, generator=rng)


def test_covariance_is_that_of_the_law():
    covariance = ar1_law(6, 1, 0.8).covariance()
    steps = torch.arange(6)
    expected = 0.8 ** (steps[:, None] - steps).abs().double()
    assert torch.allclose(covariance, expected)
    own = law()
    assert torch.allclose(own.covariance().diagonal(), own.variances.ravel())


def test_ar1_nats_by_scale_and_channel():
    phi, length = 0.8, 8
    joint = -0.5 * math.log(1 - phi**2)  # what each neighbouring pair shares
    nats = nats_by_scale(ar1_law(length, 2, phi))
    expected = {1: 0.0, 2: 8 * joint, 4: 4 * joint, 8: 2 * joint}
    assert nats == pytest.approx(expected, abs=1e-9)
    dependency = channel_dependency(ar1_law(length, 2, phi))
    one = ar1_total_correlation(length, 1, phi)
    assert dependency.within == pytest.approx([one, one])
    assert dependency.pairs == pytest.approx(np.zeros((2, 2)), abs=1e-9)
    assert dependency.between == pytest.approx(0, abs=1e-9)


def test_coupled_channels_share_the_closed_form():
    rho, length = 0.6, 5
    base = ar1_law(length, 3, 0.5)
    mixed = torch.eye(3, dtype=torch.float64)
    mixed[1, :2] = torch.tensor([rho, math.sqrt(1 - rho**2)], dtype=mixed.dtype)
    factors = mixed @ base.factors  # channel 1 follows channel 0, channel 2 is alone
    dependency = channel_dependency(
        CausalGaussian(base.coefficients, factors, base.variances, base.shrinkage)
    )
    shared = -0.5 * length * math.log(1 - rho**2)
    expected = np.array([[0, shared, 0], [shared, 0, 0], [0, 0, 0]])
    assert dependency.pairs == pytest.approx(expected, abs=1e-9)
    assert dependency.between == pytest.approx(shared)


@pytest.mark.parametrize(("length", "channels"), [(7, 3), (8, 1), (4, 2), (12, 2)])
def test_parts_add_up_to_the_total(length, channels):
    own = law(length, channels)
    total = own.total_correlation()
    by_scale = nats_by_scale(own)
    assert list(by_scale)[0] == 1
    assert list(by_scale)[-1] == length
    assert sum(by_scale.values()) == pytest.approx(total)
    dependency = channel_dependency(own)
    assert dependency.within.sum() + dependency.between == pytest.approx(total)
    assert (dependency.pairs == dependency.pairs.T).all()
    assert (dependency.pairs >= 0).all()


def test_single_series_add_up(z):
    own = law()
    by_scale = log_ratio_by_scale(own, z)
    assert torch.stack(list(by_scale.values())).sum(0).numpy() == pytest.approx(
        own.log_ratio(z).numpy()
    )
    pixels = causal_nats(own, z)
    assert pixels.shape == z.shape
    assert pixels.sum((1, 2)).numpy() == pytest.approx(own.log_ratio(z).numpy())


def test_mean_nats_of_draws_are_those_of_the_law():
    own = law()
    draws = own.sample(4000, torch.Generator().manual_seed(0))
    expected = nats_by_scale(own)
    for size, nats in log_ratio_by_scale(own, draws).items():
        error = float(nats.std()) / math.sqrt(len(nats))
        assert abs(float(nats.mean()) - expected[size]) < 4 * error + 1e-9


def test_attribution_of_a_quadratic_is_exact(z):
    own = law()
    carried = attribution(own.log_ratio, z.double(), num_steps=4)
    rise = own.log_ratio(z) - own.log_ratio(torch.zeros_like(z))
    assert carried.sum((1, 2)).numpy() == pytest.approx(rise.numpy())
    base = torch.full((7, 3), 0.5)
    carried = attribution(own.log_ratio, z.double(), base)
    rise = own.log_ratio(z) - own.log_ratio(base.expand_as(z))
    assert carried.sum((1, 2)).numpy() == pytest.approx(rise.numpy())


def test_attribution_finds_the_pixels_that_count(z):
    def score(x):
        return {"one": x[:, 2, 1].pow(3), "two": 2.0 * x[:, 4, 0].sin()}

    carried = attribution(score, z, num_steps=64)
    expected = torch.zeros_like(z)
    expected[:, 2, 1], expected[:, 4, 0] = z[:, 2, 1] ** 3, 2 * z[:, 4, 0].sin()
    assert torch.allclose(carried, expected, atol=5e-3)


def test_attribution_along_a_walk_adds_up(z):
    def score(x):
        return (x.sin() * x.roll(1, 1)).sum((1, 2))

    carried = attribution_along(z, score, 32)
    assert carried.shape == (7, 3)
    rise = float(score(z[-1:]) - score(z[:1]))
    assert float(carried.sum()) == pytest.approx(rise, abs=1e-2)


def test_kinks_do_not_spoil_the_attribution(z):
    carried = attribution(lambda x: x.abs().sqrt().sum((1, 2)), z * 0.0)
    assert (carried == 0).all()


def test_innovations_carry_a_linear_level(z):
    own = law()
    draw = torch.Generator().manual_seed(0)
    weight = torch.randn(7, 3, generator=draw)

    def score(x):
        return (x * weight).sum((1, 2))

    carried, base = innovation_attribution(score, own, z, draw, 8, 2)
    total = carried.sum((1, 2)) + base
    assert total.numpy() == pytest.approx(score(z).numpy(), abs=1e-4)


def test_nearest_real_series():
    train = torch.arange(6.0)[:, None, None] * torch.ones(6, 4, 1)
    found = nearest_real(
        torch.tensor([0.2, 4.9]).reshape(2, 1, 1) * torch.ones(4, 1), train, 2
    )
    assert found.indices.tolist() == [[0, 1], [5, 4]]
    assert found.distances == pytest.approx(np.array([[0.4, 1.6], [0.2, 1.8]]))
    assert found.rank.tolist() == [0, 0]  # no two real series are that near
    assert found.reference == pytest.approx((2, 2, 2))
    far = nearest_real(train[:1] - 10, train, 1)
    assert far.rank.tolist() == [1]


def test_places_in_the_dual_space():
    rng = np.random.default_rng(0)
    levels = np.concatenate([rng.normal(0, 1, 60), rng.normal(20, 1, 60)])
    space = embed(levels, rng.standard_normal((120, 2)))
    assert len(space.clusters) == 2
    assert gap_of(0.0, space) == "cluster 1"
    assert gap_of(20.0, space) == "cluster 2"
    assert gap_of(10.0, space) == "gap between clusters 1 and 2"
    assert gap_of(-9.0, space) == "below all clusters"
    assert gap_of(99.0, space) == "above all clusters"
    with pytest.raises(ValueError, match="level is nan"):
        gap_of(math.nan, space)


@pytest.fixture(scope="module")
def discrete():
    """A generator of a rounded, a smooth and a constant channel."""
    values = np.concatenate([ar1(40, 12, 2, 0.7, 0), np.ones((40, 12, 1))], 2)
    values[:, :, 0] = np.round(3 * values[:, :, 0])
    values = values.astype(np.float32)
    return DualKLEstimator(length=12, **SMALL).train(
        dataset_from_array(values, freq="D")
    )


def test_smooth_log_ratio_equals_the_model_on_its_levels(discrete):
    x = discrete.sample(6, seed=1)[:, :, :2]
    model = discrete.model
    assert model.marginals.num_levels[0] > 0
    z = model.marginals.to_normal(torch.as_tensor(x))
    smooth = smooth_log_ratio(model)(z)
    for name, nats in model.log_ratio_of_scores(z).items():
        assert smooth[name].numpy() == pytest.approx(nats.numpy(), abs=1e-3)
    carried = attribution(smooth_log_ratio(model), z)
    assert torch.isfinite(carried).all()
    assert (carried.abs().amax((0, 1)) > 0).all()


def test_other_models_are_used_as_they_are():
    model = SimpleNamespace(log_ratio_of_scores=lambda z: {"leg": z.sum((1, 2))})
    assert smooth_log_ratio(model) is model.log_ratio_of_scores


def test_explanation_gathers_everything(discrete):
    x = discrete.sample(5, seed=2)
    found = explain(discrete, x, k=2)
    legs = np.sum(list(found.by_leg.values()), axis=0)
    assert found.levels == pytest.approx(legs)
    expected = discrete.log_ratio(dataset_from_array(x, freq="D"))
    assert found.levels == pytest.approx(expected, abs=1e-3)
    scales = np.sum(list(found.by_scale.values()), axis=0)
    assert scales == pytest.approx(found.by_leg["gaussian"], abs=1e-4)
    assert found.attribution.shape == x.shape
    assert (found.attribution[:, :, 2] == 0).all()
    total = found.baseline + found.attribution.sum((1, 2)) + found.remainder
    assert total == pytest.approx(found.levels)
    assert np.abs(found.remainder).max() < 0.5 * np.abs(found.levels).max() + 5
    assert found.nearest.indices.shape == (5, 2)
    names = discrete.windows.item_ids
    assert found.item_ids[0] == tuple(names[i] for i in found.nearest.indices[0])
    space = discrete.dual_space()
    assert found.places == tuple(gap_of(s, space) for s in found.levels)
    again = explain(discrete, x, k=2)
    assert np.array_equal(found.attribution, again.attribution)


def test_a_training_series_finds_itself(discrete):
    found = explain(discrete, discrete.train_values[3:4], k=1)
    assert found.nearest.indices.tolist() == [[3]]
    assert found.nearest.distances[0, 0] == pytest.approx(0, abs=1e-4)


def test_dual_features_are_white(discrete):
    table = dual_features(discrete.model, 4)
    assert table.shape == (40, 4)
    assert table.T @ table / 40 == pytest.approx(np.eye(4), abs=1e-6)


def test_bad_arguments(discrete, z):
    own = law()
    with pytest.raises(ValueError, match="num_steps is 0"):
        attribution(own.log_ratio, z, num_steps=0)
    with pytest.raises(ValueError, match="z has shape"):
        attribution(own.log_ratio, z[0])
    with pytest.raises(ValueError, match="trajectory has one state"):
        attribution_along(z[:1], own.log_ratio)
    with pytest.raises(ValueError, match="num_baselines is 0"):
        innovation_attribution(own.log_ratio, own, z, torch.Generator(), 0)
    with pytest.raises(ValueError, match="give the same steps and channels"):
        nearest_real(z, z[:, 1:], 1)
    with pytest.raises(ValueError, match="k is 5 with 4 training series"):
        nearest_real(z, z, 5)
    with pytest.raises(ValueError, match=r"values has shape \(4, 7, 3\)"):
        explain(discrete, z.numpy())
    with pytest.raises(ValueError, match="finite series"):
        explain(discrete, np.full((1, 12, 3), np.nan))
