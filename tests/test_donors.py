import numpy as np
import pytest
import torch
from laws import ar1

from gluonts_dualkl.laws.donors import MAX_DONORS, Donors
from gluonts_dualkl.laws.gaussian import CausalGaussian
from gluonts_dualkl.laws.recombination import Recombination
from gluonts_dualkl.laws.seasonality import season_of
from gluonts_dualkl.models.phases import Phases
from gluonts_dualkl.models.recombination import DualModel
from gluonts_dualkl.walks.samplers import metropolis

QUICK = {"num_walkers": 100, "max_rounds": 2, "num_steps": 5, "draw_only": True}


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.fixture(scope="module")
def train():
    return torch.as_tensor(ar1(40, 12, 2, 0.7, seed=1))


@pytest.fixture(scope="module")
def law(train):
    return CausalGaussian.fit(train, 2, 100.0, 1e-2)


def daily(num_series, days=2, seed=0):
    """Windows of ``days`` days of 6 steps that begin at midnight, ``(n, T, 2)``."""
    cycle = np.cos(2 * np.pi * np.arange(6 * days) / 6)
    return 2 * cycle[:, None] + ar1(num_series, 6 * days, 2, 0.5, seed)


class TestSeason:
    def test_of_a_stationary_law_is_one_step(self):
        assert season_of(torch.as_tensor(ar1(60, 24, 2, 0.8, seed=0))) == 1

    def test_of_levels_that_differ_is_one_step(self):
        levels = 10 * np.random.default_rng(0).normal(size=(50, 1, 1))
        assert season_of(torch.as_tensor(levels + ar1(50, 24, 1, 0.9, seed=1))) == 1

    def test_of_days_is_a_day(self):
        assert season_of(torch.as_tensor(daily(60, days=4))) == 6

    @pytest.mark.parametrize("kind", ["trend", "walk from zero", "louder and louder"])
    def test_of_series_that_age_is_the_window(self, kind):
        x = ar1(60, 24, 2, 0.3, seed=2)
        time = np.linspace(0, 1, 24)[:, None]
        aged = {
            "trend": x + 3 * time,
            "walk from zero": x.cumsum(1) - x[:, :1],
            "louder and louder": x * (0.2 + 2 * time),
        }
        assert season_of(torch.as_tensor(aged[kind])) == 24

    def test_of_one_day_is_the_window(self):
        assert season_of(torch.as_tensor(daily(60, days=1))) == 6

    def test_of_two_series_is_the_window(self):
        assert season_of(torch.as_tensor(ar1(2, 24, 1, 0.8, seed=0))) == 24


class TestDonors:
    def test_are_shifted_series(self, train):
        donors = Donors.of(train, season=3, order=2)
        assert set(donors.shifts.tolist()) == {-6, -3, 0, 3, 6}
        for m in range(0, len(donors), 7):
            series, shift = train[donors.series[m]], int(donors.shifts[m])
            for t in range(12):
                inside = 0 <= t + shift < 12
                expected = series[t + shift] if inside else torch.zeros(2)
                assert torch.equal(donors.z[m, t], expected)
                lags = t + shift >= min(t, 2)
                assert bool(donors.valid[t, m]) == (inside and lags)

    def test_are_the_series_themselves_without_a_season(self, train):
        donors = Donors.of(train, season=12, order=2)
        assert torch.equal(donors.z, train)
        assert donors.valid.all()
        assert donors.starters == len(donors) == 40

    def test_starters_are_those_valid_at_the_first_step(self, train):
        donors = Donors.of(train, season=1, order=2)
        assert donors.valid[0, : donors.starters].all()
        assert not donors.valid[0, donors.starters :].any()

    @pytest.mark.parametrize("number", [10, 300, 500, 2000])
    def test_are_no_more_than_is_quick(self, number):
        donors = Donors.of(torch.randn(number, 40, 1), season=1, order=1)
        assert number <= len(donors) <= max(number, MAX_DONORS)


class Plain(Recombination):
    """Recombination whose first steps are those of the donors."""

    def _shifts(self, donors, generator):
        return torch.zeros(len(donors), self.train.shape[2])


class TestShiftedRecombination:
    def test_follows_a_shifted_donor_to_its_end(self, train, law):
        reference = Plain(train, law, mean_block=1e9, season=1)
        state = reference.start(400, seeded())
        donors = reference.donors
        first = state.donors[:, 0]
        assert (donors.shifts[first] > 0).any()
        followed = state.donors == first[:, None]
        assert torch.equal(followed, donors.valid[:, first].T)
        torch.testing.assert_close(
            state.z[followed], donors.z[first][followed], atol=1e-5, rtol=1e-5
        )

    def test_spreads_first_steps_to_all_sides(self, train, law):
        """Half of the mean square way to the neighbours, none of it on average."""
        reference = Recombination(train, law, mean_block=3, season=1)
        state = reference.start(20_000, seeded())
        z, donors = reference.donors.z[:, 0], state.donors[:, 0]
        ways = z[reference._near[donors]] - z[donors][:, None]
        expected = 0.5 * ways.square().sum(2).mean()
        found = state.starts.square().sum(1)
        assert abs(found.mean() - expected) < 4 * found.std() / 20_000**0.5
        error = state.starts.std(0) / 20_000**0.5
        assert (state.starts.mean(0).abs() < 4 * error).all()
        assert torch.allclose(state.z[:, 0], z[donors] + state.starts, atol=1e-5)

    def test_never_uses_a_donor_beyond_its_ends(self, train, law):
        reference = Recombination(train, law, mean_block=3, season=1)
        state = reference.start(300, seeded())
        steps = torch.arange(12).expand(300, 12)
        assert reference.donors.valid[steps, state.donors].all()
        series = reference.donors.series[state.donors]
        changed = state.donors.diff(dim=1) != 0
        assert (series.diff(dim=1) != 0)[changed].all()

    def test_moves_leave_the_law_invariant(self, train, law):
        reference = Recombination(train, law, mean_block=4, season=1)
        fresh = statistics(reference.start(3000, seeded(1)).z)
        start = reference.start(3000, seeded(2))
        state, _, info = metropolis(
            reference, lambda z: z.new_zeros(len(z)), start, 15, seeded(4)
        )
        assert info.acceptance > 0.3
        walked = statistics(state.z)
        error = (fresh.var(0) / len(fresh) + walked.var(0) / len(walked)).sqrt()
        assert ((fresh.mean(0) - walked.mean(0)) / error).abs().max() < 4

    def test_log_moves_are_those_of_a_fresh_evaluation(self, train, law):
        reference = Recombination(train, law, mean_block=3, season=1)
        state = reference.start(30, seeded(1))
        for k in range(5):
            state, _ = reference.propose(state, seeded(k))
        nothing = torch.zeros(30, dtype=torch.long)
        again, factor = reference._regrow(state, nothing, nothing, seeded(9))
        torch.testing.assert_close(again.z, state.z, atol=1e-4, rtol=1e-4)
        torch.testing.assert_close(again.log_moves, state.log_moves, atol=2e-3, rtol=0)


class TestModel:
    def test_knows_its_season_and_names_series_and_shifts(self):
        values = ar1(50, 16, 2, 0.7, seed=3)
        model = DualModel.fit(values, seeded(), **QUICK)
        assert model.season == model.facts()["season"] == 1
        assert (model.marginals.location == model.marginals.location[0]).all()
        draws = model.draw(60, 3, seeded(1))
        assert draws.donors.max() < 50
        assert (draws.shifts != 0).any()
        source = torch.arange(16) + draws.shifts
        assert 0 <= source.min() and source.max() < 16

    @pytest.mark.parametrize("season", [16, 1000])
    def test_shifts_nothing_where_that_is_asked_for(self, season):
        values = ar1(50, 16, 2, 0.7, seed=3)
        model = DualModel.fit(values, seeded(), season=season, **QUICK)
        assert model.season == 16
        assert (model.draw(60, 3, seeded(1)).shifts == 0).all()

    def test_keeps_the_phase_of_days(self):
        model = DualModel.fit(daily(60), seeded(), **QUICK)
        assert model.season == 6
        draws = model.draw(100, 3, seeded(1))
        assert set(draws.shifts.unique().tolist()) == {-6, 0, 6}
        x = model.marginals.from_normal(draws.z).numpy()
        assert np.abs(x.mean(0) - daily(2000, seed=9).mean(0)).max() < 0.5

    def test_of_few_categories_names_the_right_series(self):
        model = DualModel.fit(ar1(50, 16, 2, 0.7, seed=3), seeded(), **QUICK)
        rows = torch.tensor([4, 8, 15, 16, 23, 42])
        draws = model.conditioned(rows).draw(40, 2, seeded(1))
        assert set(draws.donors.unique().tolist()) <= set(rows.tolist())

    def test_chains_at_known_phases(self):
        """A shifted donor hands on the phase that its shift has moved it to."""
        from gluonts_dualkl.models.chaining import RecombinedRest

        model = DualModel.fit(ar1(50, 16, 2, 0.7, seed=3), seeded(), **QUICK)
        phases = Phases(torch.arange(50) % 5, 5)
        rest = RecombinedRest(model, 8, phases)
        donors = rest.donors
        expected = (phases.starts[donors.series] + donors.shifts) % 5
        assert torch.equal(rest.phases.starts, expected)
        heads = model.draw(20, 2, seeded(1)).z[:, :8]
        phase = torch.full((20,), 2)
        state = rest.draw(heads, 2, seeded(2), phase)
        late = (phases.starts[state.donors] + state.shifts)[:, 8:] % 5
        assert (late == late[:, :1]).all()


def statistics(z):
    return torch.cat(
        [z.mean(1), z.square().mean(1), (z[:, 1:] * z[:, :-1]).mean(1), z[:, -1]], 1
    )
