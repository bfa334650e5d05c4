"""Diffusion baselines: exact cases of their parts, then one body for the three."""

import math

import numpy as np
import pytest
import torch

from gluonts_dualkl.evaluation.baselines.classical import IndependentMarginals
from gluonts_dualkl.evaluation.baselines.diffusion import EDM, _Coordinates
from gluonts_dualkl.evaluation.baselines.diffusion_parts import (
    Averaged,
    LevelEmbedding,
    NoiseSchedule,
    spread_uniform,
)
from gluonts_dualkl.evaluation.baselines.diffusion_ts import (
    DiffusionTS,
    _Parts,
    _weights,
)
from gluonts_dualkl.evaluation.baselines.tsdiff import TSDiff, _StateSpace

KINDS = [EDM, DiffusionTS, TSDiff]
SMALL = {
    EDM: {"width": 16, "num_blocks": 2, "num_sampling_steps": 4},
    DiffusionTS: {"width": 16, "num_heads": 2, "num_sampling_steps": 4},
    TSDiff: {"width": 16, "num_layers": 2, "num_sampling_steps": 4},
}
LEARNING = {
    EDM: {"width": 32, "num_blocks": 3},
    DiffusionTS: {"width": 32, "num_decoders": 1},
    TSDiff: {"width": 32, "num_layers": 2},
}
LENGTH = 16


def small(kind, **options):
    return kind(**{**SMALL[kind], "max_steps": 12, "device": "cpu", **options})


def sines(num, seed=0):
    """Sines of random phase and pitch."""
    rng = np.random.default_rng(seed)
    phase = rng.uniform(0, 2 * np.pi, (num, 1))
    angle = phase + rng.uniform(0.3, 0.6, (num, 1)) * np.arange(LENGTH)
    return 5 + 2 * np.sin(angle)[..., None]


def autoregression(num, seed=0, phi=0.8):
    """Stationary AR(1) of variance one."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((num, LENGTH, 1))
    for t in range(1, LENGTH):
        x[:, t] = phi * x[:, t - 1] + np.sqrt(1 - phi**2) * x[:, t]
    return x


def pair(num, seed=0):
    """Two AR(1) channels of correlation .9 on other scales, and a constant one."""
    first, noise = autoregression(num, seed), autoregression(num, seed + 1)
    second = 100 + 10 * (0.9 * first + np.sqrt(0.19) * noise)
    return np.concatenate([first, second, np.full_like(first, 3.0)], axis=2)


@pytest.fixture
def rng():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield


def close(values, truth, deviation, comparisons=1):
    """Whether a mean is within its Monte Carlo error, Bonferroni over comparisons."""
    bound = {1: 4.0, 2: 4.2}.get(comparisons, 4.8)
    return (np.abs(np.asarray(values) - truth) < bound * deviation).all()


# Parts


def test_uniform_draws_fill_every_cell(rng):
    cells = (spread_uniform(50, torch.device("cpu")) * 50).long()
    assert sorted(cells.tolist()) == list(range(50))
    assert cells.tolist() != list(range(50))


def test_the_average_of_weights():
    layer = torch.nn.Linear(1, 1, bias=False)
    averaged = Averaged(layer, decay=0.5)
    values = (2.0, 6.0, 14.0)
    for value in values:
        torch.nn.init.constant_(layer.weight, value)
        averaged.average.update_parameters(layer)
    expected = 2.0
    for k, value in enumerate(values[1:], start=1):
        past = min(0.5, (1 + k) / (10 + k))
        expected = past * expected + (1 - past) * value
    x = torch.ones(1, 1)
    assert averaged.train()(x).item() == 14.0
    assert averaged.eval()(x).item() == pytest.approx(expected, rel=1e-6)


def test_schedules():
    linear = NoiseSchedule.linear(100).retained
    assert linear[0].item() == pytest.approx(1 - 1e-4)
    assert (linear[-1] / linear[-2]).item() == pytest.approx(0.9, rel=1e-5)
    cosine = NoiseSchedule.cosine(10).retained
    curve = np.cos((np.arange(11) / 10 + 0.008) / 1.008 * np.pi / 2) ** 2
    np.testing.assert_allclose(cosine[:-1], (curve / curve[0])[1:-1], rtol=1e-5)
    for kept in (linear, cosine):
        assert (kept.diff() < 0).all()
        assert 0 < kept.min() and kept.max() < 1


def test_steps_are_drawn_evenly(rng):
    schedule = NoiseSchedule.linear(20)
    assert schedule.draw_steps(200).bincount().tolist() == [10] * 20
    levels = schedule.levels(torch.arange(20))
    assert 0 < levels.min() and levels.max() == 1


@pytest.mark.parametrize("eta", [0.0, 1.0])
def test_the_walk_of_an_exact_denoiser_ends_in_the_law(rng, eta):
    schedule, mean, spread = NoiseSchedule.linear(400, last=0.05), 2.0, 0.5

    def denoise(x, steps):
        signal, noise = schedule.shares(steps, x.ndim)
        gain = spread**2 * signal / (spread**2 * signal**2 + noise**2)
        return mean + gain * (x - signal * mean)

    num = 20_000
    x = schedule.sample(denoise, torch.randn(num, 1), 400, eta)
    assert close(x.mean(), mean, spread / math.sqrt(num), 2)
    assert x.std().item() == pytest.approx(spread, rel=0.035)


def test_the_level_is_told_apart(rng):
    told = LevelEmbedding(8, 100.0)(torch.tensor([0.1, 0.11, 0.9]))
    assert told.shape == (3, 8)
    assert torch.pdist(told).min() > 1e-4


# EDM


def test_white_coordinates(rng):
    x = torch.as_tensor(pair(300)[..., :2], dtype=torch.float32)
    coordinates = _Coordinates(LENGTH, 2)
    torch.testing.assert_close(
        coordinates.basis @ coordinates.basis.T, torch.eye(LENGTH), atol=1e-5, rtol=0
    )
    torch.testing.assert_close(coordinates.whiten(x), x, atol=1e-3, rtol=0)
    coordinates.measure(x)
    white = coordinates.whiten(x)
    power = (coordinates.basis @ white).square().mean(0)
    torch.testing.assert_close(power, torch.ones_like(power), atol=1e-3, rtol=0)
    back = coordinates.colour(white) + coordinates.mean
    torch.testing.assert_close(back, x, atol=1e-3, rtol=0)


def test_an_untrained_edm_draws_the_spectrum_of_the_data():
    """With ``F = 0`` the denoiser is exact for white noise of variance one."""
    train, num = autoregression(100), 2000
    model = EDM(max_steps=1, learning_rate=0.0, width=8, num_blocks=1, device="cpu")
    drawn = model.fit(train).sample(num)
    basis = _Coordinates(LENGTH, 1).basis.double().numpy()
    power = (basis @ (train - train.mean(0))).var(0)
    found = (basis @ (drawn - train.mean(0))).var(0)
    assert close(found / power, 1.0, math.sqrt(2 / num), LENGTH)
    error = drawn.mean(0) - train.mean(0)
    assert close(error / drawn.std(0), 0.0, 1 / math.sqrt(num), LENGTH)


# Diffusion-TS


def test_weights_of_the_loss():
    schedule = NoiseSchedule.cosine(50)
    kept = schedule.retained.double().numpy()
    alpha = kept / np.append(1.0, kept[:-1])
    expected = alpha * (1 - kept) / (1 - alpha) ** 2
    found = _weights(schedule).numpy()
    np.testing.assert_allclose(found, expected / expected.mean(), rtol=5e-3)


def test_a_season_keeps_the_strongest_frequency(rng):
    times = torch.arange(LENGTH) / LENGTH
    strong = 3 * torch.cos(2 * math.pi * 3 * times + 1)
    x = (5 + strong + torch.sin(2 * math.pi * 5 * times))[None, :, None]
    parts = _Parts(LENGTH, 2, 1, 1)
    torch.testing.assert_close(parts._strongest(x)[0, :, 0], strong)


def test_a_trend_is_a_cubic(rng):
    trend, _, left = _Parts(LENGTH, 8, 2, 2)(torch.randn(3, LENGTH, 8))
    fourth = trend.double().detach().numpy()
    assert np.abs(np.diff(fourth, 4, axis=1)).max() < 1e-5
    assert np.abs(np.diff(fourth, axis=1)).max() > 1e-3
    torch.testing.assert_close(left.mean(1), torch.zeros(3, 8), atol=1e-6, rtol=0)


# TSDiff


def test_a_state_space_layer_is_its_recursion(rng):
    layer, num = _StateSpace(3), 7
    h = torch.randn(2, num, 3)
    moved = torch.complex(-layer.rate.exp(), layer.pitch) * layer.step.exp()[:, None]
    inner = (moved.exp() - 1) / (moved / layer.step.exp()[:, None])
    gain = torch.view_as_complex(layer.weight) * inner

    def run(x, gain):
        state, out = torch.zeros(2, *moved.shape, dtype=torch.cfloat), []
        for t in range(num):
            state = moved.exp() * state + x[:, t, :, None]
            out.append(2 * (gain * state).sum(-1).real)
        return torch.stack(out, 1)

    back = run(h.flip(1), gain[1]).flip(1)
    later = torch.cat([back[:, 1:], torch.zeros(2, 1, 3)], 1)
    expected = run(h, gain[0]) + later + layer.direct * h
    torch.testing.assert_close(layer(h), expected, atol=1e-5, rtol=1e-4)


def test_tsdiff_draws_channels_independently():
    options = {"max_steps": 100, "learning_rate": 5e-3, "num_sampling_steps": 12}
    drawn = small(TSDiff, **options).fit(pair(60)).sample(400)
    across = np.corrcoef(drawn[:, 0, 0], drawn[:, 0, 1])[0, 1]
    assert close(across, 0.0, 1 / math.sqrt(400))
    np.testing.assert_allclose(drawn[..., 1].mean(), 100, atol=5)


# All three


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("length", "channels"), [(4, 1), (9, 24), (100, 2)])
def test_shapes(kind, length, channels):
    train = np.random.default_rng(0).normal(size=(12, length, channels))
    model = small(kind, max_steps=2).fit(train)
    for num in (1, 300 if length == 4 else 3):
        drawn = model.sample(num)
        assert drawn.shape == (num, length, channels)
        assert np.isfinite(drawn).all()


@pytest.fixture(scope="module", params=KINDS)
def fitted(request):
    torch.manual_seed(5)
    before = torch.random.get_rng_state()
    model = small(request.param).fit(pair(30))
    assert torch.equal(torch.random.get_rng_state(), before)
    return model


def test_the_seed_decides(fitted):
    before = torch.random.get_rng_state()
    first, again, other = (fitted.sample(20, seed) for seed in (3, 3, 4))
    np.testing.assert_array_equal(first, again)
    assert np.isclose(first[..., :2], other[..., :2]).mean() < 0.5
    assert torch.equal(torch.random.get_rng_state(), before)
    refitted = small(type(fitted)).fit(pair(30))
    np.testing.assert_array_equal(refitted.sample(5), fitted.sample(5))
    otherwise = small(type(fitted), seed=1).fit(pair(30))
    assert not np.allclose(otherwise.sample(5), fitted.sample(5))


def test_saved_and_loaded_it_draws_the_same(fitted, tmp_path):
    fitted.save(tmp_path / "saved")
    loaded = type(fitted).load(tmp_path / "saved")
    assert loaded.arguments == fitted.arguments
    np.testing.assert_array_equal(loaded.sample(7, 2), fitted.sample(7, 2))


def test_every_parameter_receives_a_gradient(fitted):
    names = dict(fitted.network.network.named_parameters())
    for name, value in names.items():
        assert value.grad is not None and value.grad.abs().max() > 0, name
    assert not any(p.requires_grad for p in fitted.network.average.parameters())


def test_a_constant_channel_stays(fitted):
    assert (fitted.sample(9)[..., 2] == 3.0).all()


def lag_one(x):
    x = (x - x.mean(0))[..., 0]
    return (x[:, 1:] * x[:, :-1]).mean() / (x**2).mean()


def distance(real, drawn):
    """Root mean square difference of the correlations of the steps."""
    first, second = (np.corrcoef(x[..., 0].T) for x in (real, drawn))
    return np.sqrt(np.mean((first - second) ** 2))


@pytest.mark.parametrize(
    "law", [pytest.param(sines, marks=pytest.mark.slow), autoregression]
)
@pytest.mark.parametrize("kind", KINDS)
def test_learns_more_than_independent_marginals(kind, law):
    train, fresh = law(120), law(300, seed=1)
    options = {"max_steps": 250, "learning_rate": 4e-3, "num_sampling_steps": 12}
    model = kind(**options, **LEARNING[kind], batch_size=32, device="cpu")
    drawn = model.fit(train).sample(300, seed=2)
    independent = IndependentMarginals().fit(train).sample(300, seed=2)
    error, without = (abs(lag_one(x) - lag_one(fresh)) for x in (drawn, independent))
    near, far = (distance(fresh, x) for x in (drawn, independent))
    assert error < 0.25 * without
    assert near < 0.5 * far


@pytest.mark.parametrize("kind", KINDS)
def test_validation_windows_stop_the_training(kind):
    model = small(kind, max_steps=40).fit(autoregression(20), autoregression(9, 3))
    trace = model.trace
    assert len(trace) == trace["step"].max() <= 40
    assert trace["held_out"].iloc[-1] < trace["held_out"].iloc[0]


@pytest.mark.parametrize(
    ("kind", "options", "message"),
    [
        (EDM, {"width": 20}, "width: 20, expected a multiple of 8"),
        (EDM, {"sigma_min": 0.0}, "sigma_min: 0.0, expected above 0"),
        (EDM, {"sigma_max": 0.001}, "below sigma_max"),
        (DiffusionTS, {"num_heads": 3}, "even multiple of num_heads"),
        (TSDiff, {"decay": 1.0}, "decay: 1.0, expected at least 0 and below 1"),
        (TSDiff, {"dropout": -0.1}, "dropout: -0.1, expected at least 0"),
        (EDM, {"num_sampling_steps": 1}, "num_sampling_steps: 1, expected 2"),
    ],
)
def test_bad_arguments(kind, options, message):
    with pytest.raises(ValueError, match=message):
        small(kind, **options).fit(autoregression(10))


@pytest.mark.parametrize("kind", KINDS)
def test_the_grid_is_made_of_arguments(kind):
    assert 3 <= len(kind.grid) <= 4
    for arguments in kind.grid:
        assert set(arguments) <= set(kind(**arguments).arguments)
