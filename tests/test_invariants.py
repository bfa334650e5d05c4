import numpy as np
import torch
from laws import ar1

from gluonts_dualkl.laws.invariants import SeriesInvariants
from gluonts_dualkl.laws.marginals import MarginalMap
from gluonts_dualkl.models.recombination import DualModel


def mixed(num_series=60, seed=0):
    """A free, a centred (at 5) and a standardised channel, ``(n, 20, 3)``."""
    x = 1 + ar1(num_series, 20, 3, 0.7, seed).astype(float)
    x[:, :, 1:] -= x[:, :, 1:].mean(1, keepdims=True)
    x[:, :, 2] /= x[:, :, 2].std(1, keepdims=True)
    x[:, :, 1] += 5
    return x.astype(np.float32)


def test_what_series_share_is_found():
    found = SeriesInvariants.fit(mixed())
    assert found.channels.tolist() == [1, 2]
    assert np.allclose(found.means[1:], [5, 0], atol=1e-4)
    assert found.deviations.isnan().tolist() == [True, True, False]
    assert abs(float(found.deviations[2]) - 1) < 1e-4


def test_nothing_is_found_where_means_differ_a_little():
    x = mixed()
    x[:, :, 1] += 0.05 * np.random.default_rng(0).normal(size=(60, 1))
    assert SeriesInvariants.fit(x).channels.tolist() == [2]


def test_constant_series_and_missing_values_are_no_invariant():
    x = mixed(4)
    x[:, :, 1] = 3
    x[1:, 0, 2] = np.nan
    assert SeriesInvariants.fit(x).channels.tolist() == []


def test_imposing_keeps_the_shape():
    found = SeriesInvariants.fit(mixed())
    x = torch.randn(7, 20, 2, dtype=torch.float64)
    y = found.imposed(x)
    assert torch.allclose(y.mean(1), found.means[1:].expand(7, 2))
    assert torch.allclose(y[:, :, 1].std(1, correction=0), found.deviations[2])
    centred = x - x.mean(1, keepdim=True)
    assert torch.allclose(
        y[:, :, 0] - y[:, :1, 0], centred[:, :, 0] - centred[:, :1, 0]
    )
    again = found.imposed(y)
    assert torch.allclose(again, y)


def test_maps_impose_it_on_values_and_on_what_a_critic_sees():
    x = mixed()
    maps = MarginalMap.fit(x)
    z = torch.randn(50, 20, 3, generator=torch.Generator().manual_seed(0))
    drawn = maps.from_normal(z)
    assert (drawn[:, :, 1].mean(1) - 5).abs().max() < 1e-3
    assert drawn[:, :, 2].mean(1).abs().max() < 1e-3
    assert (drawn[:, :, 2].std(1, correction=0) - 1).abs().max() < 1e-2
    assert drawn[:, :, 0].mean(1).std() > 0.05
    seen = maps.channel_scores(z)
    same = maps._channel_scores(drawn)
    torch.testing.assert_close(seen[:, :, 1:], same[:, :, 1:], atol=0.02, rtol=0)


def test_real_series_stay_as_they_are():
    x = mixed()
    maps = MarginalMap.fit(x)
    back = maps.from_normal(maps.to_normal(torch.as_tensor(x))).numpy()
    assert np.abs(back - x).max() < 0.02


def test_draws_of_a_model_share_it_and_files_keep_it():
    generator = torch.Generator().manual_seed(0)
    quick = {"num_walkers": 100, "max_rounds": 2, "num_steps": 5, "draw_only": True}
    model = DualModel.fit(mixed(), generator, **quick)
    drawn = model.marginals.from_normal(model.draw(40, 5, generator).z)
    assert (drawn[:, :, 1].mean(1) - 5).abs().max() < 1e-3
    again = MarginalMap(**model.marginals.state())
    assert torch.equal(again.means, model.marginals.means) or again.means.isnan().any()
    assert torch.equal(again.means[1:], model.marginals.means[1:])
