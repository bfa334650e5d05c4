"""STL bootstrap and DTW barycentres; the regression against that of statsmodels."""

import numpy as np
import pytest
from statsmodels.tsa.api import VAR

from gluonts_dualkl.evaluation.baselines.autoregressive import VARSimulation, _regress
from gluonts_dualkl.evaluation.baselines.barycentre import DtwBarycentres
from gluonts_dualkl.evaluation.baselines.decomposition import StlBootstrap, find_period

KINDS = {"stl_bootstrap": StlBootstrap, "dtw_barycentres": DtwBarycentres}


def sines(num, seed=0, length=24, period=8, noise=0.1):
    """Sines of one period and random phase, two channels in quadrature."""
    rng = np.random.default_rng(seed)
    phase = rng.uniform(0, 2 * np.pi, (num, 1))
    angle = phase + 2 * np.pi / period * np.arange(length)
    x = np.stack([np.sin(angle), 5 + 2 * np.cos(angle)], axis=2)
    return x + noise * rng.standard_normal(x.shape)


def autoregression(num, seed=0, length=24, phi=0.8):
    """Stationary AR(1) of variance one, one channel."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((num, length, 1))
    for t in range(1, length):
        x[:, t] = phi * x[:, t - 1] + np.sqrt(1 - phi**2) * x[:, t]
    return x


@pytest.fixture(scope="module", params=list(KINDS))
def fitted(request):
    return KINDS[request.param]().fit(sines(30))


def test_draws_are_windows(fitted):
    drawn = fitted.sample(50, seed=1)
    assert drawn.shape == (50, 24, 2)
    assert np.isfinite(drawn).all()
    assert len(np.unique(drawn[:, 3, 0])) == 50


def test_the_seed_decides(fitted):
    state = np.random.get_state()[1].copy()  # noqa: NPY002
    first, again, other = (fitted.sample(9, seed) for seed in (3, 3, 4))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)
    np.testing.assert_array_equal(state, np.random.get_state()[1])  # noqa: NPY002


def test_saved_and_loaded_it_draws_the_same(fitted, tmp_path):
    fitted.save(tmp_path / "saved")
    loaded = type(fitted).load(tmp_path / "saved")
    np.testing.assert_array_equal(loaded.sample(7, 2), fitted.sample(7, 2))


@pytest.mark.parametrize("kind", KINDS.values())
@pytest.mark.parametrize("law", [sines, autoregression])
def test_learns_more_than_independent_marginals(kind, law):
    train, fresh = law(60), law(400, seed=1)
    drawn = kind().fit(train).sample(200, seed=2)
    independent = np.random.default_rng(0).permuted(train, axis=0)
    assert distance(fresh, drawn) < 0.6 * distance(fresh, independent)


def distance(real, drawn):
    """Root mean square difference of the covariances of the pixels."""
    first, second = (np.cov(x.reshape(len(x), -1).T) for x in (real, drawn))
    scale = np.sqrt(np.outer(np.diag(first), np.diag(first)))
    return np.sqrt(np.mean(((first - second) / scale) ** 2))


@pytest.mark.parametrize("kind", KINDS.values())
@pytest.mark.parametrize("shape", [(25, 8, 1), (25, 61, 3), (4, 4, 2)])
def test_any_shape_and_constant_channels(kind, shape):
    windows = np.random.default_rng(0).standard_normal(shape)
    windows = np.concatenate([windows, np.full_like(windows[..., :1], 3)], axis=2)
    drawn = kind().fit(windows).sample(6)
    assert np.isfinite(drawn).all()
    np.testing.assert_allclose(drawn[..., -1], 3.0)


@pytest.mark.parametrize(("period", "length"), [(4, 24), (6, 24), (12, 48), (7, 20)])
def test_the_period_is_found(period, length):
    assert find_period(sines(20, period=period, length=length)) == period


def test_no_period_where_there_is_none():
    rng = np.random.default_rng(0)
    assert find_period(rng.standard_normal((50, 24, 3))) == 1
    assert find_period(rng.standard_normal((50, 24, 3)).cumsum(1)) == 1
    assert find_period(np.ones((5, 24, 1))) == 1
    assert find_period(sines(20, length=6, period=3)) == 1


@pytest.mark.parametrize("period", [1, 8])
def test_parts_and_remainder_add_up(period):
    train = sines(10)
    model = StlBootstrap(period=period).fit(train)
    np.testing.assert_allclose(model._smoothed + model._remainder, train)
    assert model._remainder.std() < 0.5 * train.std()


def test_own_blocks_are_those_of_the_same_window_in_all_channels():
    train = autoregression(12, length=20).reshape(2, 6, 20).transpose(1, 2, 0)
    model = StlBootstrap(pooled=False, period=1, block_length=5).fit(train)
    drawn = model.sample(40)
    taken = (drawn[:, None] - model._smoothed)[:, :, :, None]
    gaps = np.abs(taken - model._remainder[:, None]).max(4)
    own = gaps.min(3).max(2).argmin(1)
    gaps = gaps[np.arange(40), own]
    np.testing.assert_allclose(gaps.min(2), 0, atol=1e-9)
    follows = np.diff(gaps.argmin(2), axis=1) == 1
    assert 0.75 < follows.mean() < 0.9
    assert len(set(own)) == 6


def test_pooled_remainders_come_from_every_window():
    train = np.zeros((5, 16, 1))
    train[:, 8, 0] = 10.0 ** np.arange(5)
    model = StlBootstrap(period=1).fit(train)
    drawn = model.sample(400)
    chosen = model._remainder.max((1, 2))
    found = {int(np.abs(chosen - value).argmin()) for value in drawn.max((1, 2))}
    assert len(found) == 5


def test_barycentre_of_shifted_bumps_is_a_bump():
    time = np.arange(40.0)
    centres = np.random.default_rng(0).uniform(15, 25, (30, 1))
    bumps = np.exp(-0.5 * ((time - centres) / 2) ** 2)[..., None]
    drawn = DtwBarycentres(num_neighbors=3, band=0.4).fit(bumps).sample(30)
    assert drawn.max(1).mean() > 0.9
    assert bumps.mean(0).max() < 0.7


def test_near_windows_weigh_more():
    rng = np.random.default_rng(0)
    near = rng.normal(0, 0.1, (20, 10, 1))
    far = rng.normal(50, 0.1, (20, 10, 1))
    model = DtwBarycentres(num_neighbors=3).fit(np.concatenate([near, far]))
    drawn = model.sample(60).mean((1, 2))
    assert ((drawn < 1) | (drawn > 49)).all()
    assert 0.25 < (drawn < 1).mean() < 0.75


def test_the_regression_is_that_of_statsmodels_on_one_record():
    rng = np.random.default_rng(0)
    phi = np.array([[0.7, 0.2], [-0.3, 0.4]])
    record = np.zeros((300, 2))
    for t in range(1, 300):
        record[t] = phi @ record[t - 1] + rng.standard_normal(2)
    for order in (1, 2):
        reference = VAR(record).fit(order, trend="n")
        coefficients, residuals = _regress(record[None], order, 1e-12, order)
        np.testing.assert_allclose(coefficients, reference.coefs, atol=1e-6)
        gap = reference.resid - reference.resid.mean(0)
        np.testing.assert_allclose(residuals[0], gap, atol=1e-6)


def test_windows_joined_in_one_record_would_mislead_it():
    """Why the panel is pooled here: one step in six of a joined record is a seam."""
    train = np.concatenate(
        [autoregression(2000, seed, length=6) for seed in (0, 1)], axis=2
    )
    joined = VAR(train.reshape(-1, 2)).fit(1, trend="n").coefs[0]
    np.testing.assert_allclose(joined, 0.8 * 5 / 6 * np.eye(2), atol=0.03)
    pooled = VARSimulation(order=1).fit(train)._coefficients[0]
    np.testing.assert_allclose(pooled, 0.8 * np.eye(2), atol=0.03)


@pytest.mark.parametrize(
    ("kind", "options", "message"),
    [
        (StlBootstrap, {"period": 13}, "period: 13"),
        (StlBootstrap, {"period": -1}, "period: -1"),
        (StlBootstrap, {"span": 0.0}, "span: 0.0"),
        (StlBootstrap, {"block_length": 25}, "block_length: 25"),
        (DtwBarycentres, {"num_neighbors": 0}, "num_neighbors: 0"),
        (DtwBarycentres, {"max_iterations": 0}, "max_iterations: 0"),
        (DtwBarycentres, {"band": 0.0}, "band: 0.0"),
    ],
)
def test_bad_settings(kind, options, message):
    with pytest.raises(ValueError, match=message):
        kind(**options).fit(sines(10))
