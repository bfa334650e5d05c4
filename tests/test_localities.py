"""Neighbourhoods of donors: series of one kind are recombined among themselves."""

import numpy as np
import pytest
import torch
from conftest import SMALL
from laws import ar1
from sklearn.decomposition import PCA

from gluonts_dualkl import DualKLEstimator, DualKLGenerator, dataset_from_array
from gluonts_dualkl.laws.gaussian import CausalGaussian
from gluonts_dualkl.laws.localities import Profile, distinct_shares
from gluonts_dualkl.laws.recombination import Recombination
from gluonts_dualkl.models.chaining import RecombinedRest
from gluonts_dualkl.models.recombination import DualModel
from gluonts_dualkl.walks.samplers import metropolis

QUICK = {"num_walkers": 200, "max_rounds": 2, "num_steps": 5, "draw_only": True}


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def two_kinds(num_series, seed=0):
    """Two peaks that share a valley: high or low both times, ``(n, 36, 1)``."""
    rng = np.random.default_rng(seed)
    bumps = np.exp(-0.5 * ((np.arange(36) - np.array([[6], [29]])) / 3) ** 2)
    kind = np.where(np.arange(num_series) % 2, 4.0, 1.0)
    heights = kind[:, None] + 0.6 * rng.normal(size=(num_series, 2))
    noise = 0.2 * ar1(num_series, 36, 1, 0.0, seed)[:, :, 0]
    return (heights @ bumps + noise)[:, :, None].astype(np.float32)


def peaks(x):
    return x[:, 6, 0], x[:, 29, 0]


@pytest.fixture(scope="module")
def train():
    x = torch.as_tensor(two_kinds(80))
    return (x - x.mean(0)) / x.std(0)


def strangers(train, share):
    return Profile.fit(train).strangers(train, share)


class TestProfile:
    def test_scores_are_principal_components(self, train):
        found = Profile.fit(train).scores(train)
        expected = PCA(5).fit_transform(train.flatten(1).double().numpy())
        np.testing.assert_allclose(
            found.flip(1).abs(), np.abs(expected), rtol=1e-6, atol=1e-8
        )

    def test_table_is_standardised(self, train):
        table = Profile.fit(train).table(train)
        assert table.shape == (80, 10)
        torch.testing.assert_close(table[:, 5:].mean(0), torch.ones(5))

    def test_of_fewer_series_than_components(self, train):
        assert Profile.fit(train[:3]).table(train).isfinite().all()


class TestStrangers:
    def test_are_none_where_the_neighbourhood_holds_all(self, train):
        assert strangers(train, 1.0) is None
        assert strangers(train[:20], 0.1) is None

    def test_leave_the_nearest_and_the_series_itself(self, train):
        apart = strangers(train, 0.25)
        assert apart.shape == (80, 80)
        assert (~apart).sum(1).tolist() == [20] * 80
        assert not apart.diagonal().any()

    def test_neighbours_are_of_one_kind(self, train):
        kind = torch.arange(80) % 2
        near = ~strangers(train, 0.25)
        assert (kind[:, None] == kind)[near].float().mean() > 0.99

    def test_do_not_change_with_the_order_of_series(self, train):
        order = torch.randperm(80, generator=seeded())
        again = strangers(train[order], 0.25)
        assert torch.equal(again, strangers(train, 0.25)[order][:, order])

    @pytest.mark.parametrize(
        "number, shares",
        [(10, [1.0]), (30, [1.0, 0.5]), (40, [1.0, 0.5]), (200, [1.0, 0.5, 0.25])],
    )
    def test_shares_differ_in_size(self, number, shares):
        assert distinct_shares(number) == shares


class TestRecombination:
    def test_draws_stay_in_the_neighbourhood_of_their_first_donor(self, train):
        law = CausalGaussian.fit(train, 1, 100.0, 1e-2)
        reference = Recombination(train, law, 4.0, locality=0.25)
        state = reference.start(300, seeded())
        apart = strangers(train, 0.25)
        homes = state.donors[:, :1]
        assert not apart[homes, state.donors].any()
        assert (state.donors != homes).float().mean() > 0.5

    def test_moves_keep_to_it_and_leave_the_law_invariant(self, train):
        law = CausalGaussian.fit(train, 1, 100.0, 1e-2)
        reference = Recombination(train, law, 4.0, locality=0.25)
        state = reference.start(4000, seeded(1))
        moved, _, info = metropolis(
            reference, lambda z: torch.zeros(len(z)), state, 10, seeded(2)
        )
        assert not strangers(train, 0.25)[moved.donors[:, :1], moved.donors].any()
        assert 0.3 < info.acceptance < 1
        for before, after in zip(peaks(state.z), peaks(moved.z)):
            error = (before.var() / 4000 + after.var() / 4000).sqrt()
            assert abs(before.mean() - after.mean()) < 4 * error

    def test_of_all_is_what_it_was(self, train):
        law = CausalGaussian.fit(train, 1, 100.0, 1e-2)
        whole = Recombination(train, law, 4.0).start(50, seeded())
        again = Recombination(train, law, 4.0, locality=1.0).start(50, seeded())
        assert torch.equal(whole.z, again.z)


class TestModel:
    def test_chooses_neighbourhoods_where_there_are_kinds(self):
        values = two_kinds(120)
        assert np.corrcoef(*peaks(values))[0, 1] > 0.85
        assert DualModel.fit(values, seeded(), **QUICK).locality < 1

    @pytest.mark.parametrize("locality, low, high", [(0.25, 0.7, 1), (1.0, 0.0, 0.6)])
    def test_kinds_are_mixed_without_neighbourhoods(self, locality, low, high):
        model = DualModel.fit(two_kinds(120), seeded(), locality=locality, **QUICK)
        drawn = model.marginals.from_normal(model.draw(240, 5, seeded(1)).z).numpy()
        assert low < np.corrcoef(*peaks(drawn))[0, 1] < high

    def test_takes_all_where_one_law_made_the_series(self):
        model = DualModel.fit(ar1(80, 16, 2, 0.7, seed=3), seeded(), **QUICK)
        assert model.locality == 1.0
        assert model.facts()["locality"] == 1.0

    def test_a_narrower_guard_goes_with_neighbourhoods(self):
        values = two_kinds(120)
        limits = [
            DualModel.fit(values, seeded(), locality=0.25, guard_share=share, **QUICK)
            .copy_limits[0]
            .ratio
            for share in (None, 0.45, 0.3)
        ]
        assert limits[0] == limits[1] > limits[2]

    def test_the_rest_of_a_head_stays_in_the_neighbourhood_it_began_with(self):
        model = DualModel.fit(two_kinds(80), seeded(), locality=0.25, **QUICK)
        heads = model.reference.start(100, seeded()).z[:, :18]
        drawn = RecombinedRest(model, 18).draw(heads, 5, seeded(1)).donors
        assert not strangers(model.train, 0.25)[drawn[:, :1], drawn].any()

    def test_is_kept_in_the_folder(self, tmp_path):
        data = dataset_from_array(two_kinds(40), freq="h")
        generator = DualKLEstimator(**SMALL, locality=0.5).train(data)
        assert generator.info()["locality"] == 0.5
        generator.serialize(tmp_path / "model")
        again = DualKLGenerator.deserialize(tmp_path / "model")
        assert again.info()["locality"] == 0.5
        assert np.array_equal(again.sample(5, seed=1), generator.sample(5, seed=1))
