import math

import numpy as np
import pytest
import torch
from scipy.integrate import quad
from scipy.stats import norm

from gluonts_dualkl.critics.objectives import (
    OBJECTIVES,
    ORIENTATIONS,
    LocalTerm,
    RunningNormaliser,
    clipped_donsker_varadhan,
    donsker_varadhan,
    infonce,
    log_mean_exp,
    logistic,
    normaliser,
    nwj,
    orient,
    profiled_log_loss,
)

SHIFT = 1.0
KL = SHIFT**2 / 2
BOUNDS = {
    **OBJECTIVES,
    "clipped": lambda p, q: clipped_donsker_varadhan(p, q, clip=20.0),
}


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def optimal_scores(num_samples=2000, replicates=60, seed=0):
    """``log p/q`` of ``P = N(1, 1)``, ``Q = N(0, 1)`` on draws of both, ``(n, R)``."""
    x = torch.randn(2, num_samples, replicates, generator=seeded(seed))
    return SHIFT * (x[0] + SHIFT) - KL, SHIFT * x[1] - KL


def jensen_shannon():
    def integrand(x):
        p, q = norm.pdf(x, SHIFT), norm.pdf(x)
        return 0.5 * (p * np.log(2 * p / (p + q)) + q * np.log(2 * q / (p + q)))

    return quad(integrand, -12, 12)[0]


def z_score(values, truth):
    return float((values.mean() - truth) / (values.std() / math.sqrt(len(values))))


TRUTHS = dict.fromkeys(BOUNDS, KL) | {"logistic": jensen_shannon()}


@pytest.mark.parametrize("name", BOUNDS)
def test_value_at_the_optimum_is_the_divergence(name):
    positive, negative = optimal_scores()
    optimum = 1.0 if name == "nwj" else 0.0
    values = BOUNDS[name](positive + optimum, negative + optimum)
    assert abs(z_score(values, TRUTHS[name])) < 4


@pytest.mark.parametrize("name", OBJECTIVES)
@pytest.mark.parametrize("slope", [0.5, 1.5])
def test_other_scores_are_worth_less(name, slope):
    positive, negative = optimal_scores()
    optimum = 1.0 if name == "nwj" else 0.0
    best = OBJECTIVES[name](positive + optimum, negative + optimum)
    other = OBJECTIVES[name](slope * positive + optimum, slope * negative + optimum)
    assert z_score(best - other, 0.0) > 4


def test_infonce_is_at_most_the_log_of_all_draws():
    value = infonce(torch.full((3,), 500.0), torch.full((7,), -500.0))
    assert float(value) == pytest.approx(math.log(8))


def slow(name, p, q):
    """Float64 loops over one column of scores."""
    mean = sum(p) / len(p)
    if name == "donsker_varadhan":
        return mean - math.log(sum(math.exp(y) for y in q) / len(q))
    if name == "nwj":
        return mean - sum(math.exp(y - 1) for y in q) / len(q)
    if name == "clipped":
        clipped = [min(max(math.exp(y), math.exp(-1)), math.exp(1)) for y in q]
        return mean - math.log(sum(clipped) / len(q))
    if name == "logistic":
        loss = sum(math.log1p(math.exp(-x)) for x in p) / len(p)
        return math.log(2) - (loss + sum(math.log1p(math.exp(y)) for y in q) / 4) / 2
    total = sum(math.exp(y) for y in q)
    terms = [x - math.log((math.exp(x) + total) / (len(q) + 1)) for x in p]
    return sum(terms) / len(p)


@pytest.mark.parametrize("name", BOUNDS)
def test_equal_to_a_slow_reference(name):
    positive = 2 * torch.randn(6, 3, 2, generator=seeded(1))
    negative = 2 * torch.randn(4, 3, 2, generator=seeded(2))
    clip = {"clip": 1.0} if name == "clipped" else {}
    function = clipped_donsker_varadhan if clip else OBJECTIVES[name]
    value = function(positive, negative, **clip)
    assert value.shape == (3, 2)
    for i in range(3):
        for j in range(2):
            columns = positive[:, i, j].tolist(), negative[:, i, j].tolist()
            assert float(value[i, j]) == pytest.approx(slow(name, *columns), abs=1e-5)


@pytest.mark.parametrize("name", BOUNDS)
@pytest.mark.parametrize("high", ["positive", "negative"])
def test_stable_at_large_scores(name, high):
    sign = 1 if high == "positive" else -1
    positive = (sign * 1000 * torch.ones(4)).requires_grad_()
    negative = (-sign * 1000 * torch.ones(5)).requires_grad_()
    value = BOUNDS[name](positive, negative)
    value.backward()
    assert torch.isfinite(value)
    assert torch.isfinite(positive.grad).all()
    assert torch.isfinite(negative.grad).all()


def test_stable_with_a_running_normaliser_far_off():
    negative = (1000 * torch.ones(5)).requires_grad_()
    value = donsker_varadhan(torch.zeros(3), negative, torch.tensor(-1000.0))
    value.backward()
    assert float(value.detach()) == -1000
    assert torch.isfinite(negative.grad).all()


@pytest.mark.parametrize(
    ("function", "invariant"),
    [(donsker_varadhan, True), (infonce, True), (nwj, False), (logistic, False)],
)
def test_invariance_to_constants(function, invariant):
    positive, negative = optimal_scores(200, 1)
    moved = function(positive + 3, negative + 3)
    same = torch.allclose(moved, function(positive, negative), atol=1e-4)
    assert same == invariant


@pytest.mark.parametrize("name", OBJECTIVES)
def test_silence_is_worth_nothing(name):
    constant = 1.0 if name == "nwj" else 0.0
    scores = torch.full((5, 2), constant)
    assert OBJECTIVES[name](scores, scores[:3]).abs().max() < 1e-6


def test_log_mean_exp():
    scores = torch.tensor([[0.0, 1000.0], [math.log(3), 1000.0]])
    assert log_mean_exp(scores).tolist() == pytest.approx([math.log(2), 1000.0])


# The correction of MINE.


def slope_gradients(batches, log_normaliser):
    """Gradient in ``a`` of the second term for ``f = a x`` at ``a = 1``, per batch."""
    x = torch.randn(8, batches, generator=seeded(3))
    a = torch.ones(batches, requires_grad=True)
    value = donsker_varadhan(torch.zeros(1, batches), a * x, log_normaliser)
    value.sum().backward()
    return value.detach(), -a.grad


def test_corrected_gradient_is_unbiased_where_the_plain_one_is_not():
    """For ``Q = N(0, 1)`` the log-normaliser is ``a^2 / 2``, its gradient ``a``."""
    plain_value, plain = slope_gradients(20_000, None)
    value, corrected = slope_gradients(20_000, torch.tensor(0.5))
    assert torch.equal(value, plain_value)
    assert abs(z_score(corrected, 1.0)) < 4
    assert z_score(plain, 1.0) < -4


def test_corrected_gradient_is_the_plain_one_at_the_batch_normaliser():
    x = torch.randn(8, 50, generator=seeded(3))
    _, plain = slope_gradients(50, None)
    _, corrected = slope_gradients(50, log_mean_exp(x))
    assert torch.allclose(plain, corrected, atol=1e-6)


def test_running_normaliser_averages_in_logs():
    running = RunningNormaliser(rate=0.25)
    first, second = torch.tensor([[0.0], [2.0]]), torch.tensor([[5.0], [1.0]])
    assert torch.allclose(running.update(first), log_mean_exp(first))
    expected = 0.75 * log_mean_exp(first).exp() + 0.25 * log_mean_exp(second).exp()
    assert torch.allclose(running.update(second), expected.log())
    assert torch.isfinite(running.update(torch.full((2, 1), 1000.0))).all()


def test_running_normaliser_holds_no_graph():
    scores = torch.zeros(4, 2, requires_grad=True)
    assert not RunningNormaliser().update(scores).requires_grad


# Orientation and normalisation.


def test_orientation_exchanges_laws_and_sign():
    positive, negative = optimal_scores(10, 2)
    assert orient(positive, negative, "data||marginals") == (positive, negative)
    first, second = orient(positive, negative, "marginals||data")
    assert torch.equal(first, -negative)
    assert torch.equal(second, -positive)


def test_normaliser_makes_the_exponential_term_one():
    positive, negative = (5 * s for s in optimal_scores(300, 4))
    on_marginals = negative - normaliser(positive, negative, "data||marginals")
    on_data = positive - normaliser(positive, negative, "marginals||data")
    assert torch.allclose(on_marginals.exp().mean(0), torch.ones(4), atol=1e-3)
    assert torch.allclose((-on_data).exp().mean(0), torch.ones(4), atol=1e-3)


@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_normaliser_of_a_shifted_log_ratio_is_the_shift(orientation):
    positive, negative = optimal_scores()
    constant = normaliser(positive + 7, negative + 7, orientation)
    assert abs(z_score(constant, 7.0)) < 4


@pytest.mark.parametrize("scale", [1000.0, -1000.0])
@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_normaliser_is_stable(orientation, scale):
    scores = torch.full((3, 2), scale)
    constant = normaliser(scores, scores, orientation)
    assert constant.tolist() == pytest.approx([scale] * 2)


def test_profiled_log_loss_is_the_least_over_constants():
    positive, negative = (2 * s + 4 for s in optimal_scores(50, 3))
    shifts = torch.linspace(-20, 20, 4001)
    losses = torch.stack(
        [math.log(2) - logistic(positive - c, negative - c) for c in shifts]
    )
    loss = profiled_log_loss(positive, negative)
    assert torch.allclose(loss, losses.amin(0), atol=1e-4)
    assert torch.allclose(loss, profiled_log_loss(positive + 9, negative + 9))


def test_profiled_log_loss_lies_between_zero_and_ln_2():
    zeros = torch.zeros(4)
    silent = profiled_log_loss(zeros, zeros)
    perfect = profiled_log_loss(zeros + 1000, zeros - 1000)
    reversed_ = profiled_log_loss(zeros - 1, zeros + 1)
    assert float(silent) == pytest.approx(math.log(2))
    assert float(perfect) == pytest.approx(0, abs=1e-6)
    assert torch.isfinite(reversed_)


# Neighbourhoods.


def test_neighbourhoods_are_the_nearest():
    z = torch.tensor([0.0, 10.0, 1.0, 11.0, 2.5])[:, None, None].expand(-1, 2, 1)
    rows = LocalTerm(neighbours=2).neighbourhoods(z)
    assert rows.sort(1).values.tolist() == [[0, 2], [1, 3], [0, 2], [1, 3], [2, 4]]
    remainder = LocalTerm(neighbours=2, embedding=lambda z: z[:, 0] % 10)
    rows = remainder.neighbourhoods(z)
    assert rows.sort(1).values[:4].tolist() == [[0, 1], [0, 1], [2, 3], [2, 3]]


def test_local_draw_permutes_pixels_inside_a_neighbourhood():
    z = torch.randn(30, 3, 2, generator=seeded())
    term = LocalTerm(neighbours=5, num_anchors=7)
    rows = term.neighbourhoods(z)
    members, marginal = term.draw(z, rows, seeded(1))
    assert members.shape == marginal.shape == (5, 7, 3, 2)
    assert torch.equal(members.sort(0).values, marginal.sort(0).values)
    assert not torch.equal(members, marginal)
    table = {tuple(sorted(row)) for row in rows.tolist()}
    for a in range(7):
        found = (members[:, a, None] == z).all(3).all(2).float().argmax(1)
        assert tuple(sorted(found.tolist())) in table


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: clipped_donsker_varadhan(*optimal_scores(3, 1), clip=0), "clip is 0"),
        (lambda: RunningNormaliser(rate=0), "rate is 0"),
        (lambda: orient(*optimal_scores(3, 1), "upwards"), "orientation is 'upwards'"),
        (lambda: normaliser(*optimal_scores(3, 1), ""), "orientation is ''"),
        (lambda: LocalTerm(neighbours=1), "neighbours of LocalTerm is 1"),
        (lambda: LocalTerm(weight=0.0), "weight and num_anchors"),
        (lambda: LocalTerm(num_anchors=0), "weight and num_anchors"),
        (
            lambda: LocalTerm(neighbours=9).neighbourhoods(torch.zeros(4, 2, 1)),
            "there are 4 training series",
        ),
    ],
)
def test_errors(call, message):
    with pytest.raises(ValueError, match=message):
        call()
