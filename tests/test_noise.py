import math

import pytest
import torch
from laws import ar1, ar1_total_correlation

from gluonts_dualkl.laws import noise
from gluonts_dualkl.laws.noise import NoisePath
from gluonts_dualkl.walks.reverse_diffusion import reverse_diffusion

LENGTH, PHI = 10, 0.8
LAG = (torch.arange(LENGTH)[:, None] - torch.arange(LENGTH)).abs()
AR1 = PHI ** LAG.double()


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def series(num_series, seed):
    return torch.as_tensor(ar1(num_series, LENGTH, 1, PHI, seed))


def gaussian_log_ratio(z, covariance):
    """``log N(z; 0, S) / N(z; 0, I)``, ``(n,)``."""
    flat = z.double().flatten(1)
    joint = torch.distributions.MultivariateNormal(
        torch.zeros(len(covariance)).double(), covariance
    )
    white = torch.distributions.Normal(flat.new_tensor(0.0), flat.new_tensor(1.0))
    return joint.log_prob(flat) - white.log_prob(flat).sum(1)


def noised(covariance, s):
    a, b = math.cos(math.pi * s / 2), math.sin(math.pi * s / 2)
    return a**2 * covariance + b**2 * torch.eye(len(covariance)).double()


class Modes:
    """Two modes ``+-0.9`` common to all pixels, with noise of variance 0.19."""

    shape, level = (6, 2), 0.9
    variance = 1 - level**2
    covariance = level**2 + variance * torch.eye(12).double()

    @classmethod
    def draw(cls, num_series, generator):
        sign = torch.randint(2, (num_series, 1, 1), generator=generator) * 2 - 1
        white = torch.randn((num_series, *cls.shape), generator=generator)
        return cls.level * sign + math.sqrt(cls.variance) * white

    @classmethod
    def log_ratio(cls, z, s):
        """``log p_s(z)/q(z)``."""
        a, b = math.cos(math.pi * s / 2), math.sin(math.pi * s / 2)
        scale = math.sqrt(a**2 * cls.variance + b**2)
        flat = z.double().flatten(1)
        modes = torch.stack(
            [
                torch.distributions.Normal(sign * a * cls.level, scale)
                .log_prob(flat)
                .sum(1)
                for sign in (-1.0, 1.0)
            ]
        )
        white = torch.distributions.Normal(0.0, 1.0).log_prob(flat).sum(1)
        return modes.logsumexp(0) - math.log(2) - white


@pytest.fixture
def quick(monkeypatch):
    """Few levels of the annealed chains, where the normaliser does not matter."""
    monkeypatch.setattr(noise, "LEVELS", 1)


@pytest.fixture(scope="module")
def exact():
    """The Gaussian base of the truth, no network."""
    return NoisePath.fit(
        series(50, 1), series(50, 2), AR1, seeded(), max_steps=0, width=8
    )


@pytest.fixture(scope="module")
def learned():
    """An AR(1) learned from nothing."""
    return NoisePath.fit(
        series(500, 1), series(300, 2), None, seeded(), max_steps=300, width=24
    )


@pytest.fixture(scope="module")
def modes():
    draws = [Modes.draw(n, seeded(n)) for n in (500, 300)]
    return NoisePath.fit(*draws, Modes.covariance, seeded(), max_steps=250, width=24)


@pytest.mark.parametrize("s", [0.03, 0.2, 0.7, 1.0])
def test_the_gaussian_base_is_the_closed_form(exact, s):
    z = series(40, 3)
    expected = gaussian_log_ratio(z, noised(AR1, s)).float()
    torch.testing.assert_close(exact.log_ratio(z, s), expected, atol=2e-3, rtol=1e-3)
    assert exact.log_normalisers.abs().max() < 1e-3


def test_gaussian_data_leave_the_exact_base_as_it_is(quick):
    path = NoisePath.fit(
        series(500, 1), series(300, 2), AR1, seeded(), max_steps=100, width=16
    )
    z = series(500, 3)
    expected = gaussian_log_ratio(z, noised(AR1, path.smallest))
    assert (path.log_ratio(z) - expected).square().mean().sqrt() < 0.3
    assert path.losses.min() > 0.97 * path.losses[0]


def test_an_ar1_is_learned_from_nothing(learned):
    z = series(2000, 3)
    truth = ar1_total_correlation(LENGTH, 1, PHI)
    scores = learned.log_ratio(z)
    assert abs(float(scores.mean()) - truth) < 0.25 * truth
    expected = gaussian_log_ratio(z, noised(AR1, learned.smallest)).float()
    assert torch.corrcoef(torch.stack([scores, expected]))[0, 1] > 0.9
    loss = learned.denoising_loss(z, seeded(5))
    assert loss < 0.85 * float(learned.losses[0])


@pytest.mark.parametrize("corrector_steps", [0, 1])
def test_samples_of_a_learned_ar1(learned, corrector_steps):
    z = reverse_diffusion(learned, 600, 50, seeded(4), corrector_steps=corrector_steps)[
        :, :, 0
    ]
    lagged = (z[:, 1:] * z[:, :-1]).mean() / z.square().mean()
    assert abs(float(lagged) - PHI) < 0.12
    assert 0.7 < float(z.var()) < 1.3


def test_modes_are_read_beyond_their_covariance(modes):
    z = Modes.draw(2000, seeded(3))
    truth = Modes.log_ratio(z, modes.smallest)
    gaussian = gaussian_log_ratio(z, noised(Modes.covariance, modes.smallest))
    scores = modes.log_ratio(z).double()
    gain = float((truth - gaussian).mean())
    assert float((scores - gaussian).mean()) == pytest.approx(gain, abs=0.5 * gain)
    assert (scores - truth).square().mean() < 0.75 * (gaussian - truth).square().mean()


def test_the_normaliser_is_that_of_the_model(modes):
    """By importance weights on draws of the Gaussian base, another way than chains."""
    covariance = noised(Modes.covariance, modes.smallest)
    root = torch.linalg.cholesky(covariance)
    white = torch.randn(20_000, 12, generator=seeded(6)).double()
    z = (white @ root.T).view(-1, *Modes.shape).float()
    weights = (modes.log_ratio(z).double() - gaussian_log_ratio(z, covariance)).exp()
    error = weights.std() / math.sqrt(len(weights))
    assert error < 0.05
    assert abs(float(weights.mean()) - 1) < 4 * float(error) + 0.15
    ends = modes.log_normalisers[-1], modes.log_normalisers_integrated[-1]
    assert abs(float(ends[0] - ends[1])) < 0.2


def test_samples_of_both_modes(modes):
    means = reverse_diffusion(modes, 400, 50, seeded(4)).mean((1, 2))
    upper = float((means > 0).float().mean())
    assert abs(upper - 0.5) < 4 * 0.5 / math.sqrt(400)
    assert abs(float(means.abs().mean()) - Modes.level) < 0.15


def test_the_corrector_leaves_the_law_of_the_base(exact):
    n, s = 3000, exact.smallest
    z = reverse_diffusion(exact, n, 60, seeded(4), final_steps=12).double().flatten(1)
    # E[x | z] shrinks a draw of N(0, S_s) by a S S_s^-1.
    spread = noised(AR1, s)
    shrunk = math.cos(math.pi * s / 2) * AR1 @ torch.linalg.inv(spread)
    expected = shrunk @ spread @ shrunk.T
    whitened = torch.linalg.solve(torch.linalg.cholesky(expected), z.T)
    ratio = whitened.square().mean(1)
    assert (ratio - 1).abs().max() < 4.5 * math.sqrt(2 / n) + 0.02


def test_no_noise_left_out_and_none_known_at_the_end(learned):
    z = series(20, 3)
    half_square = 0.5 * z.square().sum((1, 2))
    torch.testing.assert_close(learned.potential(z, 1.0), half_square)
    assert learned.log_ratio(z, 1.0).abs().max() < 1e-4


@pytest.mark.parametrize("s", [0.05, 0.3, 0.9])
def test_the_score_is_the_gradient_of_the_potential(modes, s):
    z, step = Modes.draw(20, seeded(7)), 2e-3
    direction = torch.randn(z.shape, generator=seeded(8))
    ends = [modes.potential(z + sign * step * direction, s) for sign in (1, -1)]
    slope = (ends[0] - ends[1]) / (2 * step)
    along = -(modes.score(z, s) * direction).sum((1, 2))
    torch.testing.assert_close(slope, along, rtol=2e-2, atol=0.1)


def test_wells_away_from_the_data_are_limited():
    """Whatever the network, ``U`` is at most so much below its Gaussian part."""
    path = NoisePath(LENGTH, 1, 8, 0.03)
    path.requires_grad_(False).energy.reset(seeded(1))
    torch.nn.init.normal_(path.energy.outlet.weight, generator=seeded(2))
    z = 30 * torch.randn(500, LENGTH, 1, generator=seeded(3))
    base = 0.5 * z.square().sum((1, 2))
    assert (path.potential(z, 0.1) - base).min() < -1000
    path._limit(series(50, 1), seeded(4))
    floor = float(path.floors.min())
    assert (path.potential(z, 0.1) - base).min() > floor - 0.1


def test_the_score_is_conservative(modes):
    """Its integral along a detour is the difference of the potential."""
    a, b, c = (Modes.draw(5, seeded(k)) for k in range(3))
    shares = (torch.arange(100) + 0.5) / 100
    total = torch.zeros(5)
    for start, end in ((a, b), (b, c), (c, a)):
        for share in shares.tolist():
            score = modes.score(torch.lerp(start, end, share), 0.3)
            total += (score * (end - start)).sum((1, 2)) / 100
    assert total.abs().max() < 0.05


def test_legs_sum_to_the_log_ratio(modes):
    z = Modes.draw(30, seeded(9))
    legs = modes.log_ratio_by_scale(z, edges=5)
    assert len(legs) == 5
    assert list(legs)[0].startswith("noise 1.00 to ")
    torch.testing.assert_close(
        torch.stack(list(legs.values())).sum(0), modes.log_ratio(z)
    )
    assert len(modes.log_ratio_by_scale(z, edges=8)) == 8


def test_levels_may_differ_by_row(modes):
    z = Modes.draw(3, seeded(9))
    levels = torch.tensor([0.1, 0.5, 0.9])
    together = modes.potential(z, levels)
    alone = [modes.potential(z[[k]], float(levels[k]))[0] for k in range(3)]
    torch.testing.assert_close(together, torch.stack(alone))


def test_every_parameter_receives_a_gradient(modes):
    path = NoisePath.from_state(modes.state()).requires_grad_(True)
    path.potential(Modes.draw(8, seeded(9)), 0.3).sum().backward()
    for name, weight in path.named_parameters():
        assert weight.grad is not None, name
        assert weight.grad.abs().sum() > 0, name


def test_fit_is_deterministic_and_leaves_the_global_state(quick):
    before = torch.get_rng_state()
    one, two = (
        NoisePath.fit(
            series(30, 1), series(30, 2), None, seeded(3), max_steps=20, width=8
        )
        for _ in range(2)
    )
    assert torch.equal(torch.get_rng_state(), before)
    for name, tensor in one.state().items():
        assert torch.equal(tensor, two.state()[name]), name
    draws = [
        reverse_diffusion(path, 3, 5, seeded(1), final_steps=2) for path in (one, two)
    ]
    assert torch.equal(*draws)
    assert len(one.losses) == 2


def test_training_stops_when_held_out_data_do_not_gain(quick):
    path = NoisePath.fit(
        series(4, 1),
        series(50, 2),
        AR1,
        seeded(),
        max_steps=2000,
        width=8,
        patience=1,
        learning_rate=0.02,
    )
    assert len(path.losses) < 40
    assert path.denoising_loss(series(500, 3), seeded(1)) < 1.1 * path.losses.min()


def test_state_round_trip(modes):
    back = NoisePath.from_state(modes.state())
    z = Modes.draw(10, seeded(9))
    assert torch.equal(back.log_ratio(z), modes.log_ratio(z))
    assert torch.equal(back.losses, modes.losses)
    draws = [reverse_diffusion(path, 4, 10, seeded(2)) for path in (back, modes)]
    assert torch.equal(*draws)
    assert all(isinstance(tensor, torch.Tensor) for tensor in modes.state().values())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"train": torch.zeros(5, 4)}, "train has shape"),
        ({"held_out": torch.zeros(5, 4, 2)}, "held_out has shape"),
        ({"held_out": torch.zeros(0, 4, 1)}, "held_out has shape"),
        ({"train": torch.full((5, 4, 1), torch.nan)}, "train has values"),
        ({"covariance": torch.eye(5)}, "covariance has shape"),
        ({"covariance": torch.full((4, 4), torch.nan)}, "covariance has shape"),
        ({"max_steps": -1}, "max_steps is -1"),
        ({"batch_size": 0}, "batch_size 0"),
        ({"smallest": 0.0}, "smallest 0.0"),
    ],
)
def test_wrong_fits_are_refused(changes, message):
    given = {
        "train": torch.zeros(5, 4, 1),
        "held_out": torch.zeros(5, 4, 1),
        "covariance": None,
        "generator": seeded(),
        **changes,
    }
    with pytest.raises(ValueError, match=message):
        NoisePath.fit(**given)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda path: path.potential(torch.zeros(2, 9, 1), 0.5), "z has shape"),
        (lambda path: path.log_ratio(torch.zeros(10, 1)), "z has shape"),
        (lambda path: path.score(torch.zeros(2, 10, 1), 1.5), "s must lie"),
        (lambda path: path.score(torch.zeros(2, 10, 1), 0.01), "s must lie"),
        (
            lambda path: path.score(torch.zeros(2, 10, 1), torch.ones(3)),
            "s has shape",
        ),
        (
            lambda path: path.log_ratio_by_scale(torch.zeros(2, 10, 1), edges=0),
            "edges is 0",
        ),
        (
            lambda path: path.log_ratio_by_scale(torch.zeros(2, 10, 1), edges=9),
            "edges is 9",
        ),
        (lambda path: reverse_diffusion(path, 0, 5, seeded()), "num_samples is 0"),
        (lambda path: reverse_diffusion(path, 5, 0, seeded()), "num_steps 0"),
    ],
)
def test_wrong_calls_are_refused(exact, call, message):
    with pytest.raises(ValueError, match=message):
        call(exact)
