import math

import numpy as np
import pytest
import torch
from laws import ar1

from gluonts_dualkl.critics.linear import StatisticsFeatures, fit_leg, log_loss
from gluonts_dualkl.laws.marginals import MarginalMap
from gluonts_dualkl.laws.statistics import series_statistics


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def test_log_loss_of_silence_is_ln_2():
    assert float(log_loss(torch.zeros(5), torch.zeros(9))) == pytest.approx(math.log(2))


@pytest.mark.parametrize("scale", [1e3, -1e3])
def test_log_loss_is_stable_at_large_scores(scale):
    loss = log_loss(scale * torch.ones(4), -scale * torch.ones(4))
    assert float(loss) == pytest.approx(max(0.0, -scale))


@pytest.mark.parametrize(
    ("length", "channels"), [(4, 1), (5, 2), (24, 3)], ids=["short", "pair", "usual"]
)
def test_statistics_are_finite(length, channels):
    x = torch.cat([torch.randn(5, length, channels), torch.ones(1, length, channels)])
    table = series_statistics(x)
    assert torch.isfinite(table).all()
    assert table.shape[0] == 6


def test_statistics_of_a_known_series():
    x = torch.tensor([0.0, 1.0, 0.0, 1.0, 0.0, 1.0])[None, :, None]
    names = ["mean", "log_sd", "log_step_sd", "max", "min", "end_minus_start", "step"]
    values = dict(zip(names, series_statistics(x)[0].tolist(), strict=False))
    assert values["mean"] == pytest.approx(0.5)
    assert values["log_sd"] == pytest.approx(math.log(0.5), abs=1e-4)
    assert values["max"] == 1
    assert values["min"] == 0
    assert values["end_minus_start"] == 1
    assert values["step"] == 1


def test_features_are_standardised_on_training():
    values = ar1(80, 12, 2, 0.5, seed=0)
    maps = MarginalMap.fit(values)
    z = maps.to_normal(torch.as_tensor(values))
    phi = StatisticsFeatures.fit(maps, z)(z)
    assert phi.mean(0).abs().max() < 0.2
    assert phi.abs().max() <= 8


def test_dual_function_of_shifted_normals_is_learned():
    """``log p/q = m . x - |m|^2 / 2`` for ``N(m, I)`` against ``N(0, I)``."""
    shift = torch.tensor([0.8, -0.4, 0.0, 0.0])
    negative = torch.randn(3000, 4, generator=seeded(1))
    positive = torch.randn(3000, 4, generator=seeded(2)) + shift
    leg = fit_leg(positive, negative, seeded())
    assert (leg.weights - shift).abs().max() < 0.15
    truth = shift.dot(shift)
    kl = float((positive @ leg.weights).mean() - 0.5 * truth)
    assert kl == pytest.approx(float(truth) / 2, abs=0.12)
    assert leg.held_out_loss < math.log(2)


def test_same_law_gives_no_support():
    """Few series, many statistics: what is not there is not learned."""
    slopes = []
    for seed in range(8):
        z = torch.randn(560, 60, generator=seeded(seed))
        leg = fit_leg(z[:60], z[60:], seeded(seed))
        slopes.append(leg.slope)
        assert leg.held_out_loss > math.log(2) - 0.03
    assert np.median(slopes) < 0.5


def test_fit_is_reproducible():
    z = torch.randn(200, 5, generator=seeded(3))
    a, b = (fit_leg(z[:80] + 0.3, z[80:], seeded(4)) for _ in range(2))
    assert torch.equal(a.weights, b.weights)
