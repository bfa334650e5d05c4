import logging
import math

import numpy as np
import pytest
import torch
from laws import ar1
from scipy.stats import norm

from gluonts_dualkl.laws.gaussian import CausalGaussian
from gluonts_dualkl.walks.annealing import anneal, resample_along_path, tempered
from gluonts_dualkl.walks.gradient_walk import GradientWalk
from gluonts_dualkl.walks.langevin import (
    MALA,
    GaussianPreconditioner,
    Langevin,
    run,
)

LENGTH, CHANNELS = 4, 2


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def ar_covariance(length, phi):
    t = torch.arange(length)
    return phi ** (t[:, None] - t).abs().double()


COVARIANCE = torch.kron(
    ar_covariance(LENGTH, 0.7), torch.tensor([[1.0, 0.5], [0.5, 2.0]]).double()
)


def normal(covariance, channels=CHANNELS):
    """Log-density of a centred normal over series flattened step by step."""
    precision = torch.linalg.inv(covariance).float()

    def log_density(z):
        x = z.flatten(1)
        return -0.5 * ((x @ precision) * x).sum(1)

    return log_density


def noise(n, length=LENGTH, channels=CHANNELS, seed=9):
    return torch.randn(n, length, channels, generator=seeded(seed))


def lag_correlation_z(x, covariance, lag):
    """Fisher's z of the correlations at a lag, a value a pair of pixels."""
    step = lag * CHANNELS
    table = np.corrcoef(x.T)
    scale = np.sqrt(np.diag(covariance))
    truth = covariance / np.outer(scale, scale)
    apart = np.arctanh(np.diag(table, step)) - np.arctanh(np.diag(truth, step))
    return apart * math.sqrt(len(x) - 3)


def z_scores(z, covariance):
    """Means, variances and correlations at lags 1 and 2 against a centred normal."""
    x, covariance = z.flatten(1).double().numpy(), covariance.numpy()
    n = len(x)
    variance = np.diag(covariance)
    return np.concatenate(
        [
            x.mean(0) / np.sqrt(variance / n),
            ((x**2).mean(0) / variance - 1) / math.sqrt(2 / n),
            lag_correlation_z(x, covariance, 1),
            lag_correlation_z(x, covariance, 2),
        ]
    )


def limit(count, level=0.01):
    """Two-sided Bonferroni limit of ``count`` z-scores."""
    return norm.isf(level / 2 / count)


def langevin_covariance(covariance, step_size, spread):
    """Stationary covariance of the unadjusted walk with ``B B' = spread``."""
    precision = torch.linalg.inv(covariance)
    return torch.linalg.inv(precision - step_size / 4 * precision @ spread @ precision)


def preconditioner(covariance):
    return GaussianPreconditioner(torch.linalg.cholesky(covariance))


@pytest.mark.parametrize("conditioned", [False, True])
def test_langevin_has_the_law_that_its_step_gives(conditioned):
    spread = COVARIANCE if conditioned else torch.eye(8).double()
    law = langevin_covariance(COVARIANCE, 0.1, spread)
    given = preconditioner(COVARIANCE) if conditioned else None
    walk = Langevin(normal(COVARIANCE), 0.1, given)
    z = run(walk, noise(4000), 400, seeded(1)).z
    scores = z_scores(z, law)
    assert np.abs(scores).max() < limit(len(scores))


def test_langevin_bias_shrinks_with_the_step():
    coarse = run(Langevin(normal(COVARIANCE), 0.4), noise(4000), 150, seeded(1)).z
    scores = z_scores(coarse, COVARIANCE)
    assert np.abs(scores).max() > 2 * limit(len(scores))  # the test sees the bias
    fine = run(
        Langevin(normal(COVARIANCE), 0.04, preconditioner(COVARIANCE)),
        noise(2000),
        300,
        seeded(1),
    ).z
    scores = z_scores(fine, COVARIANCE)  # of 1 %, a third of an error
    assert np.abs(scores).max() < limit(len(scores)) + 0.35


@pytest.mark.parametrize("conditioned", [False, True])
def test_mala_has_the_law_of_its_density(conditioned):
    given = preconditioner(COVARIANCE) if conditioned else None
    walk = MALA(normal(COVARIANCE), 0.05, given)
    walk, state = walk.adapted(walk.init(2 * noise(4000)), 100, seeded(1))
    result = run(walk, state, 200, seeded(2))
    scores = z_scores(result.z, COVARIANCE)
    assert np.abs(scores).max() < limit(len(scores))
    assert float(result.acceptance.mean()) == pytest.approx(0.57, abs=0.04)
    assert result.step_size == walk.step_size > 0.1


def test_preconditioner_mixes_where_the_plain_walk_does_not():
    covariance = ar_covariance(8, 0.99)
    start = torch.full((500, 8, 1), 3.0)
    ends = []
    for given in (preconditioner(covariance), None):
        walk = MALA(normal(covariance), 0.1, given)
        walk, state = walk.adapted(walk.init(start), 60, seeded(1))
        z = run(walk, state, 60, seeded(2)).z
        ends.append(abs(float(z.mean((1, 2)).mean())) * math.sqrt(500))
    assert ends[0] < 4
    assert ends[1] > 20


def test_pair_of_callables_and_object_agree():
    factor = torch.linalg.cholesky(COVARIANCE)
    whole = GaussianPreconditioner(factor)
    pair = (whole.apply, whole.transpose)
    ends = [
        run(MALA(normal(COVARIANCE), 0.3, b), noise(50), 20, seeded()).z
        for b in (whole, pair)
    ]
    assert torch.equal(*ends)
    left = (whole.apply(noise(5)) * noise(5, seed=2)).sum((1, 2))
    right = (noise(5) * whole.transpose(noise(5, seed=2))).sum((1, 2))
    torch.testing.assert_close(left, right)


def test_factor_of_the_gaussian_leg():
    z = torch.as_tensor(ar1(100, 6, 2, 0.6, seed=0))
    law = CausalGaussian.fit(z, 2, 100.0, 1e-2)
    factor = law.factor()
    covariance = factor @ factor.T
    torch.testing.assert_close(covariance.diagonal(), law.variances.flatten())
    correlations = (
        covariance / law.variances.flatten().outer(law.variances.flatten()).sqrt()
    )
    total = -0.5 * float(torch.logdet(correlations))
    assert total == pytest.approx(law.total_correlation(), rel=1e-6)
    lag = (factor @ noise(20000, 6).flatten(1).double().T)[[0, 2]]
    assert float((lag[0] * lag[1]).mean()) == pytest.approx(
        float(covariance[0, 2]), abs=0.05
    )


def test_guard_is_part_of_the_law():
    """A half of a normal has mean ``sqrt(2 / pi)``."""
    walk = MALA(normal(torch.eye(1).double()), 1.0, guard=lambda z: z[:, 0, 0] > 0)
    result = run(walk, torch.ones(4000, 1, 1), 60, seeded())
    x = result.z.flatten()
    error = math.sqrt((1 - 2 / math.pi) / 4000)
    assert (x > 0).all() and result.refused > 0
    assert abs(float(x.mean()) - math.sqrt(2 / math.pi)) < 3.3 * error
    free = run(
        Langevin(walk.log_density, 0.5, guard=walk.guard), x[:, None, None], 9, seeded()
    )
    assert (free.z > 0).all() and free.refused > 0


def test_places_that_are_not_finite_are_not_entered():
    walk = Langevin(lambda z: z.log().sum((1, 2)) - z.sum((1, 2)), 0.5)
    result = run(walk, torch.ones(200, 1, 1), 50, seeded())
    assert (result.z > 0).all() and result.acceptance.min() < 1


def test_walk_on_from_a_state_and_trajectory():
    walk = MALA(normal(COVARIANCE), 0.3)
    result = run(walk, noise(10), 7, seeded(), record_every=3)
    assert result.trajectory.shape == (3, 10, LENGTH, CHANNELS)
    assert torch.equal(result.trajectory[0], noise(10))
    levels = torch.stack([walk.log_density(z) for z in result.trajectory])
    torch.testing.assert_close(result.levels, levels)
    assert torch.equal(run(walk, noise(10), 7, seeded()).z, result.z)
    assert not torch.equal(run(walk, noise(10), 7, seeded(1)).z, result.z)
    assert torch.equal(run(walk, result.state, 0, seeded()).z, result.z)
    assert run(walk, noise(10), 7, seeded()).trajectory is None


def test_chains_that_never_move_are_counted(caplog):
    with caplog.at_level(logging.WARNING):
        result = run(MALA(normal(COVARIANCE), 1e6), noise(10), 5, seeded())
    assert torch.equal(result.z, noise(10))
    assert (result.acceptance == 0).all()
    assert "10 of 10 chains never moved" in caplog.text


# E exp(a z - b z^2 / 2) = exp(a^2 / 2 (1 + b)) / sqrt(1 + b) for each of the pixels
SHIFT, CURVE = 0.8, 1.5
PIXELS = LENGTH * CHANNELS
TRUTH = PIXELS * (SHIFT**2 / (2 * (1 + CURVE)) - 0.5 * math.log(1 + CURVE))


def standard(z):
    return -0.5 * z.square().sum((1, 2))


def tilt(z):
    return (SHIFT * z - 0.5 * CURVE * z.square()).sum((1, 2))


@pytest.mark.parametrize("resample_below", [0.0, 0.5, 1.0])
def test_both_normalisers_of_a_gaussian_tilt_are_right(resample_below):
    path = tempered(standard, tilt, np.linspace(0, 1, 7))
    runs = [
        anneal(
            path,
            noise(300, seed=100 + seed),
            seeded(seed),
            num_steps=8,
            resample_below=resample_below,
        )
        for seed in range(12)
    ]
    for name in ("log_normaliser", "log_normaliser_integrated"):
        found = np.array([getattr(result, name) for result in runs])
        error = found.std(ddof=1) / math.sqrt(len(found))
        assert error < 0.1
        assert abs(found.mean() - TRUTH) < 4.5 * error + 0.01  # t with 11 degrees
    assert runs[0].resamplings == {0.0: 0, 1.0: 6}.get(
        resample_below, runs[0].resamplings
    )
    assert len(runs[0].acceptance) == len(runs[0].effective_shares) == 6
    share = torch.softmax(runs[0].log_weights, 0)
    mean = float((share @ runs[0].z.flatten(1)).mean())
    assert mean == pytest.approx(SHIFT / (1 + CURVE), abs=0.1)


def test_legs_added_one_by_one():
    def half(z):
        return 0.5 * tilt(z)

    path = [standard, lambda z: standard(z) + half(z), lambda z: standard(z) + tilt(z)]
    result = anneal(path, noise(4000), seeded(), num_steps=20, resample_below=1)
    assert result.log_normaliser == pytest.approx(TRUTH, abs=0.15)
    assert result.log_normaliser_integrated == pytest.approx(TRUTH, abs=0.15)
    assert (result.log_weights == 0).all()


def test_normalisers_part_where_laws_lie_too_far_apart():
    result = anneal(
        tempered(standard, lambda z: 5 * z.sum((1, 2)), [0, 1]), noise(500), seeded()
    )
    truth = 12.5 * PIXELS
    assert result.log_normaliser < truth - 20
    apart = abs(result.log_normaliser_integrated - result.log_normaliser)
    assert apart > 5


def test_annealing_is_reproducible():
    path = tempered(standard, tilt, [0, 0.5, 1])
    first, again = (anneal(path, noise(50), seeded(3)) for _ in range(2))
    assert torch.equal(first.z, again.z)
    assert first.log_normaliser == again.log_normaliser


def test_gradient_walk_reaches_a_level_along_the_gradient():
    start = 3 * torch.nn.functional.normalize(noise(20).flatten(1)).reshape(20, 4, 2)
    target = torch.linspace(-8, -0.5, 20)
    walk = GradientWalk(standard, tolerance=1e-3)
    result = walk.walk(start, target, record_every=1)
    assert result.converged.all() and result.counts["converged"] == 20
    assert (result.levels - target).abs().max() < 1e-3
    radius = result.z.flatten(1).norm(dim=1)
    torch.testing.assert_close(radius, (-2 * target).sqrt(), atol=2e-3, rtol=0)
    torch.testing.assert_close(
        result.z / radius[:, None, None], start / 3, atol=1e-5, rtol=0
    )
    assert torch.equal(result.trajectory[0], start)
    assert torch.equal(result.trajectory[-1], result.z)
    assert len(result.trajectory) == int(result.steps.max()) + 1
    torch.testing.assert_close(result.trajectory_levels[-1], result.levels)


def test_linear_level_is_reached_in_one_step():
    walk = GradientWalk(lambda z: z.sum((1, 2)), step_size=1.0, tolerance=1e-4)
    result = walk.walk(torch.zeros(2, LENGTH, CHANNELS), torch.tensor([4.0, 12.0]))
    assert result.steps.tolist() == [1, 2]  # no step exceeds one gradient
    assert walk.walk(result.z, result.levels).steps.tolist() == [0, 0]


def test_gradient_walk_says_why_it_stopped():
    start = torch.cat([noise(5), torch.zeros(1, LENGTH, CHANNELS)])
    short = GradientWalk(standard, max_steps=4).walk(start, 1.0)
    assert short.counts == {
        "converged": 0,
        "max steps": 5,
        "zero gradient": 1,
        "guard": 0,
        "not finite": 0,
    }
    assert short.steps.tolist() == [4] * 5 + [0]
    assert not short.converged.any()
    assert GradientWalk(standard).walk(start, 1.0).counts["zero gradient"] == 6


def test_gradient_walk_stops_before_what_a_guard_refuses():
    start = torch.full((3, LENGTH, CHANNELS), 2.0)
    walk = GradientWalk(standard, step_size=0.1, guard=lambda z: z.amin((1, 2)) > 1)
    result = walk.walk(start, torch.tensor([-1.0, -12.0, -15.9999]))
    assert result.counts["guard"] == 1 and result.counts["converged"] == 2
    assert (result.z > 1).all()
    log = GradientWalk(lambda z: z.log().sum((1, 2)), step_size=5.0)
    result = log.walk(torch.full((1, 2, 1), 0.5), -30.0)
    assert result.counts["not finite"] == 1
    assert result.z.isfinite().all() and result.levels.isfinite().all()


def recombine(z, law, n, generator):
    """Draws with the groups of ``2**law`` steps taken from independent series."""
    size = 2**law
    groups = z.shape[1] // size
    rows = torch.randint(len(z), (n, groups), generator=generator)
    parts = [z[rows[:, g], g * size : (g + 1) * size] for g in range(groups)]
    return torch.cat(parts, 1)


def log_normal(z, covariance):
    x = z.flatten(1).double()
    law = torch.distributions.MultivariateNormal(x.new_zeros(x.shape[1]), covariance)
    return law.log_prob(x)


def tree_legs(phi):
    """Dual functions of the tree path of AR(1) over four steps."""
    one, two, four = (ar_covariance(k, phi) for k in (1, 2, 4))

    def pairs(z):
        return log_normal(z[:, :2], two) + log_normal(z[:, 2:], two)

    def pixels(z):
        return sum(log_normal(z[:, t : t + 1], one) for t in range(4))

    return [lambda z: pairs(z) - pixels(z), lambda z: log_normal(z, four) - pairs(z)]


@pytest.mark.parametrize("start", [0, 1])
def test_resampling_along_a_path_gives_draws_of_its_end(start):
    real = torch.as_tensor(ar1(20000, 4, 1, 0.6, seed=5))
    result = resample_along_path(
        recombine, tree_legs(0.6), real, 1000, seeded(), start=start
    )
    assert result.z.shape == (1000, 4, 1)
    assert len(result.effective_sizes) == 2 - start
    assert all(1 < size < 8000 for size in result.effective_sizes)
    assert 500 < result.distinct <= 1000
    x = result.z[:, :, 0].double()
    truth = ar_covariance(4, 0.6)
    products = (x[:, :, None] * x[:, None]).mean(0)
    errors = ((1 + truth**2) / 1000 * 2).sqrt()  # draws repeat proposals
    scores = ((products - truth) / errors).abs()
    assert float(scores.max()) < limit(10)
    assert float((x.mean(0) / math.sqrt(2 / 1000)).abs().max()) < limit(4)
    assert math.isnan(result.acceptance)


def test_walk_at_the_end_of_a_path():
    real = torch.as_tensor(ar1(100, 4, 1, 0.6, seed=5))
    legs = tree_legs(0.6)
    end = MALA(lambda z: log_normal(z, ar_covariance(4, 0.6)), 0.4)
    draws = [
        resample_along_path(recombine, legs, real, 50, seeded(), finish=finish)
        for finish in (None, end, end)
    ]
    assert torch.equal(draws[1].z, draws[2].z)
    assert 0.3 < draws[1].acceptance < 1
    assert draws[1].distinct == draws[0].distinct
    assert len(draws[1].z.unique(dim=0)) == 50 > len(draws[0].z.unique(dim=0))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: Langevin(standard, 0.0), "step_size is 0.0"),
        (lambda: MALA(standard, math.inf), "step_size is inf"),
        (lambda: MALA(standard, 0.1, torch.eye(2)), "preconditioner is a Tensor"),
        (lambda: MALA(standard, 0.1).init(torch.zeros(3, 4)), r"shape \(3, 4\)"),
        (lambda: MALA(lambda z: z.sum(), 0.1).init(noise(3)), "one number a series"),
        (
            lambda: MALA(lambda z: torch.zeros(len(z)), 0.1).init(noise(3)),
            "has no gradient",
        ),
        (lambda: GaussianPreconditioner(torch.zeros(2, 3)), "square matrix"),
        (
            lambda: MALA(standard, 0.1, GaussianPreconditioner(torch.eye(3))).step(
                MALA(standard, 0.1).init(noise(2)), seeded()
            ),
            "for 3 pixels",
        ),
        (lambda: run(MALA(standard, 0.1), noise(2), -1, seeded()), "num_steps is -1"),
        (
            lambda: run(MALA(standard, 0.1), noise(2), 1, seeded(), record_every=0),
            "record_every is 0",
        ),
        (
            lambda: MALA(standard, 0.1).adapted(
                MALA(standard, 0.1).init(noise(2)), 5, seeded(), target=1.0
            ),
            "target is 1.0",
        ),
        (
            lambda: MALA(standard, 0.1).adapted(
                MALA(standard, 0.1).init(noise(2)), 0, seeded()
            ),
            "num_steps is 0",
        ),
        (lambda: tempered(standard, tilt, [0, 0.5, 0.5]), "rising"),
        (lambda: anneal([standard], noise(2), seeded()), "path has 1 laws"),
        (
            lambda: anneal([standard] * 2, noise(2), seeded(), num_steps=0),
            "num_steps is 0",
        ),
        (
            lambda: anneal([standard] * 2, noise(2), seeded(), resample_below=2),
            "resample_below is 2",
        ),
        (lambda: GradientWalk(standard, step_size=-1), "step_size is -1"),
        (lambda: GradientWalk(standard, tolerance=0), "tolerance is 0"),
        (lambda: GradientWalk(standard, max_steps=0), "max_steps is 0"),
        (
            lambda: GradientWalk(standard).walk(noise(2), torch.zeros(3)),
            "target has shape",
        ),
        (
            lambda: GradientWalk(standard).walk(noise(2), 0.0, record_every=0),
            "record_every is 0",
        ),
        (
            lambda: GradientWalk(lambda z: z.sum()).walk(noise(2), 0.0),
            "level returned shape",
        ),
        (
            lambda: resample_along_path(recombine, [tilt], noise(9), 0, seeded()),
            "num_samples is 0",
        ),
        (
            lambda: resample_along_path(
                recombine, [tilt], noise(9), 1, seeded(), oversample=0
            ),
            "oversample is 0",
        ),
        (
            lambda: resample_along_path(
                recombine, [tilt], noise(9), 1, seeded(), start=1
            ),
            "start is 1",
        ),
    ],
)
def test_errors(call, message):
    with pytest.raises(ValueError, match=message):
        call()
