"""TimeVAE and Koopman VAE: their formulas, their promises, two laws to learn."""

import numpy as np
import pytest
import torch

from gluonts_dualkl.evaluation.baselines.koopman_vae import (
    KoopmanVAE,
    linear_map,
    normal_kl,
)
from gluonts_dualkl.evaluation.baselines.vae import TimeVAE, gaussian_kl, misfit

LENGTH = 12
KINDS = {
    "timevae": (TimeVAE, {"filters": (8, 16), "seasons": (4,)}),
    "koopman_vae": (KoopmanVAE, {"hidden": 16, "latent": 4, "stability": 0.1}),
}
STEPS = {"timevae": 400, "koopman_vae": 400}


def make(name, **options):
    kind, small = KINDS[name]
    return kind(**{"max_steps": 20, "device": "cpu", **small, **options})


def sines(num, seed=0):
    """Sines of random phase, two channels in quadrature."""
    rng = np.random.default_rng(seed)
    angle = rng.uniform(0, 2 * np.pi, (num, 1)) + 0.5 * np.arange(LENGTH)
    return np.stack([np.sin(angle), 5 + 2 * np.cos(angle)], axis=2)


def autoregression(num, seed=0, phi=0.8):
    """Stationary AR(1) of variance one, one channel."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((num, LENGTH, 1))
    for t in range(1, LENGTH):
        x[:, t] = phi * x[:, t - 1] + np.sqrt(1 - phi**2) * x[:, t]
    return x


@pytest.fixture(scope="module", params=list(KINDS))
def fitted(request):
    """A model after a few steps, the global state before, and after fitting it."""
    before = torch.random.get_rng_state()
    model = make(request.param).fit(sines(30))
    return request.param, model, before, torch.random.get_rng_state()


def test_draws_are_windows(fitted):
    _, model, _, _ = fitted
    drawn = model.sample(300, seed=1)
    assert drawn.shape == (300, LENGTH, 2)
    assert np.isfinite(drawn).all()
    assert len(np.unique(drawn[:, 0, 0])) == 300


def test_the_seed_decides_and_the_global_state_stays(fitted):
    name, model, before, after = fitted
    assert torch.equal(before, after)
    first, again, other = (model.sample(5, seed) for seed in (3, 3, 4))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)
    assert torch.equal(before, torch.random.get_rng_state())
    refitted = make(name, max_steps=2).fit(sines(30)).sample(5, 3)
    twin = make(name, max_steps=2).fit(sines(30)).sample(5, 3)
    other = make(name, max_steps=2, seed=1).fit(sines(30)).sample(5, 3)
    np.testing.assert_array_equal(refitted, twin)
    assert not np.array_equal(refitted, other)


def test_saved_and_loaded_it_draws_the_same(fitted, tmp_path):
    _, model, _, _ = fitted
    model.save(tmp_path / "saved")
    loaded = type(model).load(tmp_path / "saved")
    np.testing.assert_array_equal(loaded.sample(7, 2), model.sample(7, 2))


@pytest.mark.parametrize("name", list(KINDS))
@pytest.mark.parametrize("weight", [None, 2.0])
def test_every_parameter_receives_a_gradient(name, weight):
    torch.manual_seed(0)
    model = make(name, reconstruction_weight=weight, learning_rate=0.0)
    network = model._build(LENGTH, 2)
    (phase,) = model._phases(network)
    phase.step(torch.randn(16, LENGTH, 2))
    for parameter in network.parameters():
        assert parameter.grad is not None
        assert parameter.grad.abs().sum() > 0
    assert phase.share == 1
    assert phase.held_out(torch.randn(4, LENGTH, 2)).isfinite()


@pytest.mark.parametrize("name", list(KINDS))
@pytest.mark.parametrize("shape", [(25, 8, 1), (25, 13, 24), (25, 50, 3)])
def test_any_shape(name, shape):
    windows = np.random.default_rng(0).standard_normal(shape)
    drawn = make(name, max_steps=2).fit(windows).sample(3)
    assert drawn.shape == (3, *shape[1:])
    assert np.isfinite(drawn).all()


@pytest.mark.parametrize("name", list(KINDS))
def test_a_constant_channel_stays_so(name):
    windows = np.concatenate([sines(25), np.full((25, LENGTH, 1), 3.0)], axis=2)
    drawn = make(name, max_steps=5).fit(windows).sample(9)
    np.testing.assert_array_equal(drawn[..., 2], 3.0)


@pytest.mark.parametrize("name", list(KINDS))
@pytest.mark.parametrize("law", [sines, autoregression])
def test_learns_more_than_independent_marginals(name, law):
    train, fresh = law(100), law(400, seed=1)
    model = make(name, max_steps=STEPS[name], learning_rate=3e-3).fit(train)
    drawn = model.sample(300, seed=2)
    rng = np.random.default_rng(0)
    independent = rng.permuted(train, axis=0)
    assert distance(fresh, drawn) < 0.7 * distance(fresh, independent)


def distance(real, drawn):
    """Root mean square difference of the covariances of the pixels."""
    first, second = (np.cov(x.reshape(len(x), -1).T) for x in (real, drawn))
    scale = np.sqrt(np.outer(np.diag(first), np.diag(first)))
    return np.sqrt(np.mean(((first - second) / scale) ** 2))


@pytest.mark.parametrize("name", list(KINDS))
def test_noise_restores_the_roughness(name):
    noisy = np.random.default_rng(0).standard_normal((100, LENGTH, 1))
    smooth, rough = (
        make(name, max_steps=150, noise=noise).fit(noisy).sample(200)
        for noise in (False, True)
    )
    assert np.var(smooth) < 0.5
    assert 0.7 < np.var(rough) < 1.3


def test_divergence_of_normals():
    mean, log_variance = torch.tensor([0.7]), torch.tensor([-0.4])
    other = torch.tensor([-0.1]), torch.tensor([0.9])
    first = torch.distributions.Normal(mean, (0.5 * log_variance).exp())
    second = torch.distributions.Normal(other[0], (0.5 * other[1]).exp())
    exact = torch.distributions.kl_divergence(first, second)
    torch.testing.assert_close(normal_kl((mean, log_variance), other), exact)
    plain = torch.distributions.kl_divergence(first, torch.distributions.Normal(0, 1))
    torch.testing.assert_close(gaussian_kl(mean, log_variance), plain)


def test_misfit_without_a_weight_is_the_likelihood_at_its_best_variance():
    torch.manual_seed(0)
    x = torch.randn(50, 6, 2) * torch.tensor([0.3, 2.0])
    decoded = torch.zeros_like(x)
    variance = x.square().mean((0, 1))
    law = torch.distributions.Normal(0, variance.sqrt())
    nll = -law.log_prob(x).sum((1, 2)).mean()
    constant = 0.5 * 6 * 2 * (1 + np.log(2 * np.pi))
    torch.testing.assert_close(
        misfit(x, decoded, None) + constant, nll, atol=2e-3, rtol=0
    )
    torch.testing.assert_close(
        misfit(x, decoded, 3.0), 3 * x.square().sum((1, 2)).mean()
    )


def test_linear_map_finds_a_rotation():
    torch.manual_seed(0)
    angle = torch.tensor(0.4)
    turn = torch.stack(
        [
            torch.stack([angle.cos(), angle.sin()]),
            torch.stack([-angle.sin(), angle.cos()]),
        ]
    )
    path = [torch.randn(40, 2)]
    for _ in range(9):
        path.append(path[-1] @ turn)
    found = linear_map(torch.stack(path, dim=1))
    torch.testing.assert_close(found, turn, atol=1e-3, rtol=0)


def test_koopman_penalties():
    model = make("koopman_vae", consistency=2.0, stability=0.0)
    growing = 1.2 ** torch.arange(8.0).repeat(5, 1)[..., None]
    assert float(model._koopman(growing)) < 1e-4
    model.stability = 3.0
    assert float(model._koopman(growing)) == pytest.approx(3 * 0.2**2, rel=0.02)
    model.stability = 0.0
    torch.manual_seed(0)
    white = torch.randn(500, 8, 1)
    assert float(model._koopman(white)) == pytest.approx(2 * 7, rel=0.1)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("timevae", {"latent": 0}, "latent: 0"),
        ("timevae", {"reconstruction_weight": -1.0}, "reconstruction_weight: -1.0"),
        ("timevae", {"trend_order": -1}, "trend_order: -1"),
        ("timevae", {"seasons": (1,)}, "seasons: 1"),
        ("timevae", {"filters": ()}, "filters"),
        ("koopman_vae", {"hidden": 0}, "hidden: 0"),
        ("koopman_vae", {"latent": 0}, "latent: 0"),
        ("koopman_vae", {"reconstruction_weight": 0.0}, "reconstruction_weight: 0.0"),
        ("koopman_vae", {"consistency": -1.0}, "consistency: -1.0"),
        ("koopman_vae", {"stability": -0.1}, "stability: -0.1"),
    ],
)
def test_bad_settings(name, options, message):
    with pytest.raises(ValueError, match=message):
        make(name, **options).fit(sines(30))
