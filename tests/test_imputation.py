import logging

import numpy as np
import pytest
import torch
from laws import ar1

from gluonts_dualkl.data.missing import fill_missing, interpolate_missing
from gluonts_dualkl.laws import imputation
from gluonts_dualkl.laws.gaussian import CausalGaussian
from gluonts_dualkl.laws.imputation import impute, impute_series

LENGTH, CHANNELS = 9, 2


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def fitted(order=3, channels=CHANNELS, length=LENGTH):
    z = torch.as_tensor(ar1(200, length, channels, 0.7, seed=1))
    z[:, :, -1] += 0.5 * z[:, :, 0]
    return CausalGaussian.fit(z, order, pseudo_count=100.0, ridge=1e-2)


def ar1_law(length, phi):
    """The stationary AR(1) law of unit variance itself."""
    coefficients = torch.full((length, 1, 1), phi, dtype=torch.float64)
    factors = torch.full_like(coefficients, (1 - phi**2) ** 0.5)
    factors[0] = 1.0
    ones = torch.ones(length, 1, dtype=torch.float64)
    return CausalGaussian(coefficients, factors, ones, torch.zeros(2))


def gaps(shape, kind, seed=0):
    """About 30 % missing: single steps, stretches or whole channels."""
    rng = np.random.default_rng(seed)
    num_series, length, channels = shape
    if kind == "steps":
        return rng.random(shape) < 0.3
    if kind == "channels":
        return np.repeat(rng.random((num_series, 1, channels)) < 0.3, length, 1)
    start = rng.integers(0, length - length // 3 + 1, (num_series, 1, channels))
    steps = np.arange(length)[None, :, None]
    return (steps >= start) & (steps < start + length // 3)


def with_gaps(values, missing):
    return np.where(missing, np.nan, values).astype(np.float32)


def errors(values, phi):
    """Errors of variance and lag-1 covariance in standard errors over the series."""
    values = np.asarray(values, np.float64)
    square = (values**2).mean((1, 2)) - 1
    product = (values[:, 1:] * values[:, :-1]).mean((1, 2)) - phi
    # A correlation too strong for the variance shows in their difference.
    excess = product - phi * square
    parts = np.stack([square, product, excess])
    return parts.mean(1) / (parts.std(1) / np.sqrt(len(values)))


def conditional(law, z, missing):
    """Mean and covariance of the missing pixels by the dense formula."""
    covariance, m = law.covariance(), missing.ravel()
    gain = torch.linalg.solve(covariance[~m][:, ~m], covariance[~m][:, m]).T
    mean = gain @ z.ravel()[~m]
    return mean, covariance[m][:, m] - gain @ covariance[~m][:, m]


@pytest.mark.parametrize(("order", "channels"), [(1, 1), (3, 2), (8, 3)])
def test_precision_is_the_inverse_of_the_covariance(order, channels):
    law = fitted(order, channels)
    columns = imputation._precision(imputation._whitening(law), law.order)
    size, width = LENGTH * channels, columns.shape[1]
    dense = columns.new_zeros(size + width, size)
    for t in range(LENGTH):
        rows = slice(t * channels, t * channels + width)
        dense[rows, t * channels : (t + 1) * channels] = columns[t]
    lower = dense[:size].tril()
    torch.testing.assert_close(
        lower + lower.tril(-1).T, torch.linalg.inv(law.covariance())
    )
    assert not dense[size:].any()


def patterns():
    """Missing pixels ``(T, C)``: scattered with a whole channel, a block, all."""
    scattered = torch.rand(LENGTH, CHANNELS, generator=seeded(5)) < 0.4
    scattered[:, 1] = True
    block = torch.zeros(LENGTH, CHANNELS, dtype=torch.bool)
    block[3:7] = True
    return torch.stack([scattered, block, torch.ones_like(block)])


@pytest.mark.parametrize("order", [1, 3])
def test_conditional_moments_are_those_of_the_dense_gaussian(order, monkeypatch):
    n, law = 10_000, fitted(order)
    z, missing = law.sample(3, seeded(1)), patterns()
    monkeypatch.setattr(imputation, "CHUNK_NUMBERS", 2**21)  # several chunks
    many = missing.repeat(n, 1, 1)
    drawn = impute(z.repeat(n, 1, 1).where(~many, torch.nan), many, law, seeded(2))
    for k, gap in enumerate(missing):
        sample = drawn[k::3].flatten(1)
        torch.testing.assert_close(
            sample[:, ~gap.ravel()],
            z[k].ravel()[~gap.ravel()].expand(n, -1),
            rtol=0,
            atol=0,
        )
        sample = sample[:, gap.ravel()]
        mean, covariance = conditional(law, z[k], gap)
        variance = covariance.diagonal()
        at_mean = (sample.mean(0) - mean) / (variance / n).sqrt()
        spread = (variance[:, None] * variance + covariance.square()) / n
        at_covariance = (torch.cov(sample.T) - covariance) / spread.sqrt()
        assert at_mean.abs().max() < 4.5
        assert at_covariance.abs().max() < 5


def test_single_precision_and_order_of_the_series():
    law = fitted()
    z = law.sample(6, seeded(1)).float()
    missing = torch.zeros(z.shape, dtype=torch.bool)
    missing[[1, 4], 2:5] = True
    drawn = impute(z, missing, law, seeded(2))
    assert drawn.dtype == torch.float32
    assert torch.equal(drawn[~missing], z[~missing])
    assert not torch.isclose(drawn[missing], z[missing]).any()
    again = impute(z, missing, law, seeded(2))
    assert torch.equal(drawn, again)
    assert not torch.equal(drawn, impute(z, missing, law, seeded(3)))


def test_long_series_need_no_dense_matrix():
    length, phi = 2500, 0.9
    law = ar1_law(length, phi)
    z = law.sample(4, seeded(1))
    missing = torch.as_tensor(gaps(z.shape, "steps"))
    drawn = impute(z.where(~missing, torch.nan), missing, law, seeded(2))
    innovations = law.innovations(drawn)
    spread = np.sqrt(2 / innovations.numel())
    assert abs(innovations.square().mean() - 1) < 4.5 * spread


@pytest.mark.parametrize("kind", ["steps", "stretches", "channels"])
def test_known_law_is_kept(kind):
    phi, shape = 0.6, (2000, 24, 1)
    law = ar1_law(shape[1], phi)
    x, missing = ar1(*shape, phi, seed=2), gaps(shape, kind)
    z = torch.as_tensor(with_gaps(x, missing))
    drawn = impute(z, torch.as_tensor(missing), law, seeded(1))
    assert np.abs(errors(drawn.numpy(), phi)).max() < 4
    filled = interpolate_missing(with_gaps(x, missing))
    if kind == "channels":  # a filled channel is the mean over series
        assert errors(filled, phi)[0] < -8
    else:
        assert errors(filled, phi)[0] < -5
        assert errors(filled, phi)[2] > 8


@pytest.mark.parametrize("kind", ["steps", "stretches"])
def test_learned_law_is_kept(kind):
    phi, shape = 0.6, (400, 24, 2)
    x = ar1(*shape, phi, seed=2)
    missing = gaps(shape, kind)
    values = with_gaps(x, missing)
    completed = impute_series(values, seeded(1), rounds=5)
    assert np.abs(errors(completed, phi)).max() < 4
    assert errors(interpolate_missing(values), phi)[2] > 8


def test_other_channels_tell_a_missing_one():
    x = ar1(300, 12, 2, 0.3, seed=3)
    x[:, :, 1] = 0.9 * x[:, :, 0] + np.sqrt(0.19) * x[:, :, 1]
    missing = np.zeros(x.shape, bool)
    missing[:60, :, 1] = True
    completed = impute_series(with_gaps(x, missing), seeded(1), rounds=6)
    pair = completed[:60].reshape(-1, 2)
    # Lag-free pairs of nearly independent steps: Fisher's z of the correlation.
    z = np.arctanh(np.corrcoef(pair.T)[0, 1]) - np.arctanh(0.9)
    assert abs(z) * np.sqrt(len(pair) / 1.2 - 3) < 4


def test_type_and_support_of_the_channels_are_kept():
    x = ar1(80, 16, 4, 0.7, seed=4).astype(np.float64)
    values = np.stack(
        [
            np.floor(np.exp(x[:, :, 0])),  # counts
            np.maximum(x[:, :, 1], 0),  # many zeros
            np.exp(2 * x[:, :, 2]),  # positive
            np.minimum(np.round(50 + 40 * x[:, :, 3]), 100),  # bounded, whole
        ],
        2,
    ).astype(np.float32)
    missing = gaps(values.shape, "steps")
    gappy = with_gaps(values, missing)
    completed = impute_series(gappy, seeded())
    assert completed.dtype == np.float32
    assert not np.isnan(completed).any()
    known, drawn = completed[~missing], completed[missing]
    assert known.tobytes() == values[~missing].tobytes()
    assert len(np.unique(drawn)) > 100
    counts, zeros, positive, bounded = (
        completed[:, :, c][missing[:, :, c]] for c in range(4)
    )
    assert (counts == np.round(counts)).all() and counts.min() >= 0
    assert zeros.min() == 0
    assert positive.min() > 0
    assert (bounded == np.round(bounded)).all() and bounded.max() <= 100


@pytest.mark.parametrize("grid", [0.0, 0.5])
def test_atoms_keep_their_share(grid):
    x = ar1(300, 16, 1, 0.7, seed=4)
    values = np.maximum(x + 0.3, 0)
    values = grid * np.round(values / grid) if grid else values
    missing = gaps(values.shape, "steps")
    drawn = impute_series(with_gaps(values, missing), seeded())[missing]
    truth = (values[missing] == 0).mean()
    # Scores with an atom are not quite Gaussian: 0.04 beside the sampling error.
    assert abs((drawn == 0).mean() - truth) < 0.04 + 4 * (0.25 / missing.sum()) ** 0.5
    if not grid:
        assert (drawn[drawn > 0] > 0.5 * values[values > 0].min()).all()


def test_nothing_missing_changes_nothing():
    values = ar1(20, 8, 2, 0.5, seed=1)
    generator = seeded(7)
    before = generator.get_state()
    assert impute_series(values, generator) is values
    z = torch.as_tensor(values)
    law = CausalGaussian.fit(z, 1, 100.0, 1e-2)
    assert impute(z, z.isnan(), law, generator) is z
    assert torch.equal(generator.get_state(), before)
    assert fill_missing(values) is values


def test_deterministic_given_the_generator():
    values = ar1(30, 10, 2, 0.5, seed=1)
    values = with_gaps(values, gaps(values.shape, "steps"))
    before = values.copy()
    state = torch.get_rng_state()
    first, again = (impute_series(values, seeded(3)) for _ in range(2))
    assert first.tobytes() == again.tobytes()
    assert first.tobytes() != impute_series(values, seeded(4)).tobytes()
    assert torch.equal(torch.get_rng_state(), state)
    np.testing.assert_array_equal(values, before)


def test_pixels_that_few_series_observe_stay_moderate():
    values = ar1(60, 12, 1, 0.7, seed=1)
    values[1:, 4] = np.nan  # one series observes the step
    values[:, 8] = np.nan  # none does
    completed = impute_series(values, seeded(), rounds=6)
    for step in (4, 8):
        neighbours = completed[:, [step - 2, step + 2], 0].var()
        ratio = completed[1:, step, 0].var() / neighbours
        assert 1 / 2.5 < ratio < 2.5  # F(59, 118) within four standard errors
    link = np.corrcoef(completed[:, 4, 0], completed[:, 5, 0])[0, 1]
    assert link > 0.25


def test_a_constant_channel_stays_constant():
    values = ar1(30, 10, 2, 0.5, seed=1)
    values[:, :, 1] = 3.0
    values = with_gaps(values, gaps(values.shape, "steps"))
    assert (impute_series(values, seeded())[:, :, 1] == 3.0).all()


def test_a_single_series_is_interpolated(caplog):
    values = np.array([[[1.0], [np.nan], [4.0]]], np.float32)
    with caplog.at_level(logging.WARNING):
        completed = impute_series(values, seeded())
    np.testing.assert_array_equal(completed.ravel(), [1, 2, 4])
    assert "a single series has no law" in caplog.text


def test_two_series_and_two_steps():
    values = np.array([[[1.0], [np.nan]], [[2.0], [3.5]]], np.float32)
    assert np.isfinite(impute_series(values, seeded())).all()


def test_shares_are_logged(caplog):
    values = ar1(20, 10, 1, 0.5, seed=1)
    values[:5, 3] = np.nan
    with caplog.at_level(logging.WARNING):
        impute_series(values, seeded())
    assert caplog.messages == [
        "2.5 % of the values are missing and were drawn given those observed."
    ]
    caplog.clear()
    fill_missing(values)
    assert "2.5 % of the values are missing and were filled by" in caplog.text


def test_interpolation():
    values = np.full((2, 5, 2), np.nan, np.float32)
    values[0, :, 0] = [np.nan, 1, np.nan, 4, np.nan]
    values[1, :, 0] = [0, 1, 2, 3, 4]
    values[0, [1, 3], 1] = [0.5, 1.5]
    filled = interpolate_missing(values)
    np.testing.assert_array_equal(filled[0, :, 0], [1, 1, 2, 4, 4])
    np.testing.assert_array_equal(filled[1, :, 1], [0.5, 0.5, 1.0, 1.5, 1.5])


SCORES = torch.zeros(2, LENGTH, CHANNELS)


@pytest.mark.parametrize(
    ("z", "missing", "message"),
    [
        (SCORES[0], SCORES[0] > 0, r"z has shape \(9, 2\); expected \(N, T, C\)"),
        (SCORES[:, 1:], SCORES[:, 1:] > 0, r"the \(T, C\) = \(9, 2\) of the law"),
        (SCORES, SCORES, "missing is torch.float32 of shape"),
        (SCORES, SCORES[:1] > 0, "expected a boolean tensor"),
        (SCORES / 0, SCORES > 0, "observed pixels that are not finite; mark them"),
    ],
)
def test_bad_scores(z, missing, message):
    with pytest.raises(ValueError, match=message):
        impute(z, missing, fitted(), seeded())


@pytest.mark.parametrize(
    ("values", "options", "message"),
    [
        (np.zeros((3, 4)), {}, r"values has shape \(3, 4\); expected \(N, T, C\)"),
        (np.zeros((3, 4, 1)), {"rounds": 0}, "rounds=0 must be at least 1"),
        (np.full((3, 4, 1), np.nan), {}, "channel 0 .* no observed value; leave it"),
        (
            np.array([[[1.0], [np.nan], [2.0]]] * 3),
            {"marginals": "odd"},
            "kind is 'odd'",
        ),
        (np.array([[[np.inf], [np.nan]]] * 3), {}, "infinite values"),
    ],
)
def test_bad_values(values, options, message):
    with pytest.raises(ValueError, match=message):
        impute_series(values, seeded(), **options)
