import numpy as np
import pytest
import torch
from laws import ar1, ar1_total_correlation

from gluonts_dualkl.laws.gaussian import CausalGaussian


@pytest.fixture
def generator():
    return torch.Generator().manual_seed(0)


@pytest.fixture
def law():
    z = torch.as_tensor(ar1(200, 12, 2, 0.7, seed=1))
    return CausalGaussian.fit(z, order=2, pseudo_count=100.0, ridge=1e-2)


def test_innovations_invert(law):
    z = torch.as_tensor(ar1(20, 12, 2, 0.3, seed=2)).double()
    back = law.from_innovations(law.innovations(z))
    torch.testing.assert_close(back, z)


def test_variances_are_those_of_draws(law, generator):
    n = 40_000
    z = law.sample(n, generator)
    error = (z.var(0) / law.variances - 1) / np.sqrt(2 / n)
    assert error.abs().max() < 4.5


def test_log_ratio_integrates_to_one_and_sums_to_total_correlation(generator):
    law = CausalGaussian.fit(torch.as_tensor(ar1(200, 4, 1, 0.5, seed=1)), 3, 1e6, 1e-3)
    noise = torch.randn(200_000, 4, 1, generator=generator).double()
    weights = law.log_ratio(noise * law.variances.sqrt()).exp()
    assert abs(weights.mean() - 1) < 4 * weights.std() / np.sqrt(len(weights))
    scores = law.log_ratio(law.sample(50_000, generator))
    error = scores.std() / np.sqrt(len(scores))
    assert abs(scores.mean() - law.total_correlation()) < 4 * error


def test_matches_the_unrestricted_gaussian():
    z = torch.as_tensor(ar1(500, 5, 2, 0.6, seed=3)).double()
    law = CausalGaussian.fit(z, order=4, pseudo_count=0.0, ridge=1e-10)
    flat = z.reshape(500, -1)
    covariance = flat.T @ flat / 500
    variance = covariance.diagonal()
    gaussian = torch.distributions.MultivariateNormal(flat.new_zeros(10), covariance)
    marginals = torch.distributions.Normal(0.0, variance.sqrt())
    expected = gaussian.log_prob(flat) - marginals.log_prob(flat).sum(1)
    torch.testing.assert_close(law.log_ratio(z), expected)


@pytest.mark.parametrize(("phi", "channels"), [(0.8, 1), (0.8, 2), (0.0, 3)])
def test_selected_law_reads_the_truth_on_held_out_series(phi, channels, generator):
    truth = ar1_total_correlation(24, channels, phi)
    train = torch.as_tensor(ar1(200, 24, channels, phi, seed=4))
    held_out = torch.as_tensor(ar1(4000, 24, channels, phi, seed=5))
    law = CausalGaussian.select(train, generator)
    scores = law.log_ratio(held_out)
    slack = 3 * float(scores.std()) / np.sqrt(len(scores))
    assert truth - 0.05 * truth - 0.3 - slack < scores.mean() < truth + slack


def test_high_order_variances_stay_finite():
    z = torch.as_tensor(ar1(40, 64, 8, 0.98, seed=6).cumsum(1))
    z = (z - z.mean(0)) / z.std(0)
    law = CausalGaussian.fit(z, order=8, pseudo_count=1e6, ridge=1e-3)
    assert torch.isfinite(law.variances).all()
    assert (law.variances > 0).all()


def test_order_is_capped_by_length():
    law = CausalGaussian.fit(torch.randn(30, 4, 1), 8, 10.0, 1e-2)
    assert law.order == 3
