from types import SimpleNamespace

import numpy as np
import pytest
import torch
from laws import ar1
from test_references import seeded, statistics, z_scores

from gluonts_dualkl.laws.gaussian import CausalGaussian
from gluonts_dualkl.laws.marginals import MarginalMap
from gluonts_dualkl.laws.recombination import Recombination
from gluonts_dualkl.laws.stillness import StillSteps
from gluonts_dualkl.models.chaining import RecombinedRest
from gluonts_dualkl.models.recombination import DualModel
from gluonts_dualkl.walks.samplers import metropolis


def carried_on(num_series=80, length=16, share=0.6, seed=0):
    """AR(1) series with a cycle; channel 0 keeps its value at ``share`` of steps."""
    values = ar1(num_series, length, 2, 0.7, seed)
    values += np.sin(np.arange(length) / 3)[:, None]
    values[:, :, 0] *= 1 + np.arange(length) / length
    still = np.random.default_rng(seed).uniform(size=(num_series, length)) < share
    for t in range(1, length):
        values[:, t, 0] = np.where(still[:, t], values[:, t - 1, 0], values[:, t, 0])
    return values.astype(np.float32)


def still_share(values):
    return float((np.diff(np.asarray(values), axis=1) == 0).mean((0, 1))[0])


@pytest.fixture(scope="module")
def parts():
    values = carried_on()
    maps = MarginalMap.fit(values)
    z = maps.to_normal(torch.as_tensor(values))
    law = CausalGaussian.fit(z, 2, 100.0, 1e-2)
    return values, maps, z, law, StillSteps.fit(maps, z)


def test_mask_is_where_values_repeat(parts):
    values, _, _, _, still = parts
    repeats = np.diff(values, axis=1) == 0
    assert not still.mask[0].any()
    np.testing.assert_array_equal(still.mask[1:].numpy(), repeats.transpose(1, 0, 2))
    assert repeats[:, :, 0].mean() > 0.5 and repeats[:, :, 1].mean() == 0


def test_nothing_where_all_move():
    values = ar1(30, 8, 1, 0.5, seed=1).astype(np.float32)
    maps = MarginalMap.fit(values)
    assert StillSteps.fit(maps, maps.to_normal(torch.as_tensor(values))) is None


def test_recombined_series_stand_still_with_their_donors(parts):
    values, maps, z, law, still = parts
    plain = Recombination(z, law, 3.0).start(300, seeded())
    holding = Recombination(z, law, 3.0, still=still).start(300, seeded())
    drawn = maps.from_normal(holding.z).numpy()
    at = torch.arange(1, 16)
    expected = still.mask[at[None], holding.donors[:, 1:]][:, :, 0].numpy()
    gaps = np.abs(np.diff(drawn[:, :, 0], axis=1))
    spread = values[:, :, 0].std()
    assert gaps[expected].max() < 1e-3 * spread
    assert np.median(gaps[~expected]) > 0.05 * spread
    moved = np.abs(np.diff(maps.from_normal(plain.z).numpy()[:, :, 0], axis=1))
    assert (moved < 1e-3 * spread).mean() < 0.8 * (gaps < 1e-3 * spread).mean()


def test_moves_leave_the_law_invariant(parts):
    *_, z, law, still = parts
    reference = Recombination(z, law, 4.0, still=still)
    fresh = statistics(reference.start(3000, seeded(1)).z)
    start = reference.start(3000, seeded(2))
    state, _, info = metropolis(
        reference, lambda z: z.new_zeros(len(z)), start, 15, seeded(4)
    )
    assert info.acceptance > 0.3
    assert z_scores(fresh, statistics(state.z)).abs().max() < 4


def test_the_reference_is_chosen_by_what_a_critic_sees():
    settings = {"num_walkers": 100, "max_rounds": 2, "num_steps": 5, "draw_only": True}
    model = DualModel.fit(carried_on(60), seeded(), **settings)
    assert model.holds_still and model.facts()["holds_still"]
    # values that repeat by rounding alone, each step on its own
    noise = np.random.default_rng(0).normal(size=(60, 16, 2))
    noise[:, :, 0] = noise[:, :, 0].round()
    rounded = DualModel.fit(noise.astype(np.float32), seeded(), **settings)
    real = still_share(noise)
    assert real > 0.2
    drawn = rounded.marginals.from_normal(rounded.draw(200, 5, seeded()).z)
    assert abs(still_share(drawn) - real) < 0.1


def test_the_rest_of_a_head_stands_still_too(parts):
    _, maps, z, law, still = parts
    reference = Recombination(z, law, 3.0, still=still)
    rest = RecombinedRest(SimpleNamespace(reference=reference, rows=None), 6)
    state = rest.given(reference.start(300, seeded()).z[:, :6], seeded(1))
    drawn = maps.from_normal(state.z).numpy()[:, 5:, 0]
    expected = still.mask[torch.arange(6, 16), state.donors[:, 6:]][:, :, 0].numpy()
    assert expected.mean() > 0.3
    assert np.abs(np.diff(drawn))[expected].max() < 1e-3 * drawn.std()


def test_conditioned_models_hold_still_too():
    settings = {"num_walkers": 100, "max_rounds": 2, "num_steps": 5, "draw_only": True}
    model = DualModel.fit(carried_on(60), seeded(), **settings)
    few = model.conditioned(torch.arange(10, 40))
    assert few.reference.still.mask.shape == (16, 30, 2)
    assert set(few.draw(20, 3, seeded()).donors.unique().tolist()) <= set(range(10, 40))
