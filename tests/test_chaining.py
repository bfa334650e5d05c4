"""Long series: seams that no test finds, phases that are kept, values that fit."""

from dataclasses import dataclass
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.linalg import solve_discrete_lyapunov
from scipy.stats import norm

from gluonts_dualkl.evaluation.metrics.information import c2st_auc_logistic
from gluonts_dualkl.laws.gaussian import CausalGaussian
from gluonts_dualkl.laws.marginals import MarginalMap
from gluonts_dualkl.laws.recombination import Recombination
from gluonts_dualkl.models.base import PathModel
from gluonts_dualkl.models.chaining import (
    KrigedRest,
    Phases,
    RecombinedRest,
    chain,
    default_overlap,
)
from gluonts_dualkl.models.recombination import DualModel
from gluonts_dualkl.walks.copies import CopyGuard, CopyLimits, ValueSpace
from gluonts_dualkl.walks.samplers import metropolis

LENGTH, STEPS = 16, 10
MATRIX = np.array([[0.8, 0.3], [-0.2, 0.7]])
NOISE = np.array([[1.0, 0.4], [0.4, 0.5]])
STATIONARY = solve_discrete_lyapunov(MATRIX, NOISE)
LEVEL = 0.01
SMALL = {"max_rounds": 4, "num_walkers": 200, "num_steps": 5}


def source(seed=0):
    return torch.Generator().manual_seed(seed)


def autoregression(num_series, length, seed):
    """Stationary vector autoregression, ``(n, length, 2)``."""
    rng = np.random.default_rng(seed)
    noise = rng.standard_normal((num_series, length, 2)) @ np.linalg.cholesky(NOISE).T
    x = noise.copy()
    x[:, 0] = rng.standard_normal((num_series, 2)) @ np.linalg.cholesky(STATIONARY).T
    for t in range(1, length):
        x[:, t] = x[:, t - 1] @ MATRIX.T + noise[:, t]
    return x.astype(np.float32)


def cut(record, length, stride):
    views = np.lib.stride_tricks.sliding_window_view(record, length, 0)
    return np.ascontiguousarray(views[::stride].transpose(0, 2, 1))


def identity_map(length, channels):
    ends = torch.tensor([[-5.0, 5.0]], dtype=torch.float64).expand(channels, 2)
    tails = torch.tensor([[1.0, 1.0, -torch.inf, torch.inf]], dtype=torch.float64)
    nothing = torch.zeros(channels, 2, dtype=torch.float64)
    return MarginalMap(
        ends.contiguous(),
        ends.contiguous(),
        tails.expand(channels, 4),
        nothing,
        nothing,
        nothing,
        torch.zeros(channels, dtype=torch.long),
        torch.zeros(channels, 0, 4),
        torch.zeros(channels, dtype=torch.float64),
        *torch.full((2, channels), torch.nan, dtype=torch.float64),
        torch.zeros(length, channels),
        torch.ones(length, channels),
    )


def known_gaussian():
    """The law of :func:`autoregression` without estimation."""
    coefficients = torch.tensor(MATRIX.T).repeat(LENGTH, 1, 1)
    coefficients[0] = 0
    factors = torch.tensor(np.linalg.cholesky(NOISE)).repeat(LENGTH, 1, 1)
    factors[0] = torch.tensor(np.linalg.cholesky(STATIONARY))
    variances = torch.tensor(np.diag(STATIONARY)).repeat(LENGTH, 1)
    return CausalGaussian(coefficients, factors, variances, torch.zeros(2).double())


@dataclass(frozen=True)
class GaussianModel(PathModel):
    """A path that ends at the Gaussian leg."""

    kind = "gaussian"
    integrated_shift = 0.0
    losses = {}

    @classmethod
    def known(cls):
        train = torch.tensor(autoregression(60, LENGTH, 1))
        maps = identity_map(LENGTH, 2)
        limits = CopyGuard.fit(train, ValueSpace(maps, train)).limits
        return cls(maps, train, known_gaussian(), limits)

    def log_ratio_of_scores(self, z):
        return {"gaussian": self.gaussian.log_ratio(z)}

    def draw(self, num_samples, num_steps, generator):
        z = self.gaussian.sample(num_samples, generator).float()
        return self.with_nearest(z)

    walk = facts = tensors = restore = None


def largest_score(found, truth):
    """Largest |z| of means of ``found`` and its limit, Bonferroni for 12 such tests."""
    error = found.std(0, ddof=1) / np.sqrt(len(found))
    scores = np.abs(found.mean(0) - truth) / error
    return scores.max(), norm.isf(LEVEL / 2 / (12 * scores.size))


def products(x, lag):
    """Products of all channel pairs at a lag, ``(n, T - lag, C, C)``."""
    return x[:, lag:, :, None] * x[:, : x.shape[1] - lag, None, :]


@pytest.fixture(scope="module")
def model():
    """The default path, fitted to overlapping windows of one record."""
    record = autoregression(1, 1000, 2)[0]
    return DualModel.fit(cut(record, LENGTH, 4), source(), **SMALL)


@pytest.fixture(scope="module")
def series(model):
    """Long series, windows drawn at once, and fresh real windows."""
    long = chain(model, 500, 3 * LENGTH, STEPS, source(1))[0].numpy()
    drawn = model.draw(1000, STEPS, source(2)).z
    windows = model.marginals.from_normal(drawn).numpy()
    return long, windows, autoregression(500, LENGTH, 3)


@pytest.fixture(scope="module")
def daily():
    """A model of windows that begin at four times of the day, and its record."""
    rng = np.random.default_rng(5)
    hours = np.arange(24 * 60)
    cycle = np.sin(2 * np.pi * hours / 24)
    level = autoregression(1, len(hours), 6)[0, :, 0] / np.sqrt(STATIONARY[0, 0])
    record = np.stack([3 * cycle + 0.5 * level, rng.poisson(4 + 3 * cycle)], 1)
    windows = cut(record.astype(np.float32), 24, 6)
    return DualModel.fit(windows, source(), **SMALL), record


@pytest.mark.parametrize("overlap", [1, 5, 12])
def test_gaussian_windows_are_chained_exactly(overlap):
    x = chain(GaussianModel.known(), 1500, 26, 0, source(), overlap)[0].double().numpy()
    for lag in range(4):
        truth = np.linalg.matrix_power(MATRIX, lag) @ STATIONARY
        score, limit = largest_score(products(x, lag), truth)
        assert score < limit, lag


def test_kriging_keeps_heads_and_innovations():
    known = GaussianModel.known()
    law = KrigedRest(known, 5)
    z, heads = torch.randn(2, 8, LENGTH, 2, generator=source()).unbind()
    moved = law.moved(z, heads[:, :5])
    torch.testing.assert_close(moved[:, :5], heads[:, :5])
    before, after = known.gaussian.innovations(z), known.gaussian.innovations(moved)
    torch.testing.assert_close(before[:, 5:], after[:, 5:], atol=1e-5, rtol=1e-5)
    covariance = known.gaussian.covariance().float()
    weights = torch.linalg.solve(covariance[:10, :10], covariance[:10, 10:])
    wanted = z[:, 5:].flatten(1) + (heads - z)[:, :5].flatten(1) @ weights
    torch.testing.assert_close(moved[:, 5:].flatten(1), wanted, atol=1e-5, rtol=1e-4)


def test_kriging_spreads_candidates():
    known = GaussianModel.known()
    heads = torch.randn(400, 5, 2, generator=source())
    pool = torch.randn(1600, 5, 2, generator=source(1))
    pool[0] = 0.0  # near to all
    rows = KrigedRest(known, 5)._candidates(heads, pool, source(2))
    assert torch.bincount(rows.ravel()).max() <= 24
    ordered = rows.sort(1).values
    assert (ordered[:, 1:] > ordered[:, :-1]).all()


def test_kriged_rest_follows_what_is_beyond_the_gaussian(monkeypatch):
    """A leg ``b z_4 z_8`` tilts step 8 by ``b a_4`` given the head: known moments."""
    monkeypatch.setattr("gluonts_dualkl.models.chaining.CANDIDATES", 100)
    known, head, late, share = GaussianModel.known(), 2 * 4, 2 * 8, 0.12

    @dataclass(frozen=True)
    class Tilted(GaussianModel):
        def log_ratio_of_scores(self, z):
            leg = share * (z[:, 4, 0] * z[:, 8, 0]).double()
            return {**super().log_ratio_of_scores(z), "leg": leg}

        def draw(self, num_samples, num_steps, generator):
            precision = torch.linalg.inv(self.gaussian.covariance())
            precision[head, late] -= share
            precision[late, head] -= share
            factor = torch.linalg.cholesky(torch.linalg.inv(precision))
            noise = torch.randn(num_samples, 2 * LENGTH, generator=generator).double()
            return self.with_nearest((noise @ factor.T).reshape(-1, LENGTH, 2).float())

    model = Tilted(known.marginals, known.train, known.gaussian, (CopyLimits(1e-9),))
    heads = model.draw(500, 0, source(7)).z[:, :5]
    z = KrigedRest(model, 5).draw(heads, 0, source()).z.double()
    covariance = known.gaussian.covariance()
    weights = torch.linalg.solve(covariance[:10, :10], covariance[:10, late])
    own = covariance[late, late] - covariance[late, :10] @ weights
    left = z[:, 8, 0] - heads.flatten(1).double() @ weights
    at = heads[:, 4, 0].double()
    slope = (left * at).mean() / at.square().mean()
    error = (own / at.square().sum()).sqrt()
    assert abs(slope - share * own) < 3.3 * error
    assert share * own > 6 * error


@pytest.mark.parametrize("moves", [0, 30])
def test_recombination_given_a_head_has_its_law(moves):
    train = torch.tensor(autoregression(150, LENGTH, 4))
    reference = Recombination(train, known_gaussian(), 4.0)
    whole = reference.start(4000, source())
    stub = SimpleNamespace(reference=reference, rows=None)
    law = RecombinedRest(stub, 6)
    state = law.given(whole.z[:2000, :6], source(1))
    if moves:
        state, _, info = metropolis(
            law, lambda z: torch.zeros(len(z)), state, moves, source(2)
        )
        assert 0.1 < info.acceptance < 1
    assert torch.equal(state.z[:, :6], whole.z[:2000, :6])
    other = whole.z[2000:].double().numpy()
    drawn = state.z.double().numpy()
    for lag in range(3):
        found, wanted = products(drawn, lag)[:, 4:], products(other, lag)[:, 4:]
        score, limit = largest_score(found - wanted, 0.0)
        assert score < limit, lag


def auc_error(n, m):
    """Standard error of the AUC of equal laws (Mann & Whitney 1947)."""
    return np.sqrt((n + m + 1) / (12 * n * m))


def excess(series, windows):
    """How much more often windows are told from real ones than whole draws, and the
    largest excess that passes: .05 and two standard errors."""
    _, drawn, real = series
    found = c2st_auc_logistic(real, windows[:500], repeats=2)
    usual = c2st_auc_logistic(real, drawn[:500], repeats=2)
    return found - usual, 0.05 + 2 * np.sqrt(2) * auc_error(500, 500)


@pytest.mark.parametrize("start", [LENGTH // 2, 3 * LENGTH // 4, 7 * LENGTH // 4])
def test_no_judge_sees_a_seam(series, start):
    long, drawn, _ = series
    windows = long[:, start : start + LENGTH]
    found, limit = excess(series, windows)
    assert found < limit
    against_drawn = c2st_auc_logistic(drawn[:500], windows, repeats=2)
    assert against_drawn < 0.55 + 2 * auc_error(500, 500)


def test_the_judge_sees_windows_that_are_only_joined(series):
    drawn = series[1]
    joined = np.concatenate([drawn[:500], drawn[500:]], 1)
    windows = joined[:, LENGTH // 2 : LENGTH // 2 + LENGTH]
    found, limit = excess(series, windows)
    assert found > limit
    assert c2st_auc_logistic(drawn[:500], windows, repeats=2) > 0.65


def correlation(a, b):
    """Mean Fisher transform of the correlations of channels, and its error."""
    found = [np.corrcoef(x, y)[0, 1] for x, y in zip(a.T, b.T, strict=True)]
    return np.arctanh(found), 1 / np.sqrt(len(a) - 3)


def test_moments_across_the_seam_are_those_inside(series):
    long, drawn, _ = series
    seam, middle = LENGTH, LENGTH // 2
    limit = norm.isf(LEVEL / 2 / 6)
    for lag in (1, 2):
        there, error = correlation(long[:, seam], long[:, seam - lag])
        inside, other = correlation(drawn[:, middle], drawn[:, middle - lag])
        assert (np.abs(there - inside) < limit * np.hypot(error, other)).all()
    late, early = long[:, -LENGTH:].var((0, 1)), drawn.var((0, 1))
    assert np.allclose(late, early, rtol=0.25)


def test_chained_series_are_no_copies(model, series):
    long, starts = series[0], range(0, 2 * LENGTH, 3)
    windows = np.concatenate([long[:, k : k + LENGTH] for k in starts])
    copies = model.count_near_copies(model.marginals.to_normal(torch.tensor(windows)))
    limits = len(model.copy_limits)  # 3 % of training windows are under each
    assert copies / len(windows) < 0.06 * limits


def test_a_daily_cycle_stays_near_its_phase(daily):
    """Known phases bound how far the clock strays; without them it wanders on."""
    fitted, _ = daily
    wave = np.exp(-2j * np.pi * np.arange(240) / 24)
    strays = []
    for phases in (Phases(6 * torch.arange(len(fitted.train)) % 24, 24), None):
        x = chain(fitted, 60, 240, 4, source(), 12, phases)[0].numpy()
        by_day = (x[:, :, 0] * wave).reshape(60, 10, 24).mean(2)
        assert np.allclose(np.abs(by_day).mean(0), 1.5, atol=0.2)
        hours = np.angle(by_day / by_day[:, 1:2]) * 24 / (2 * np.pi)
        strays.append(np.sqrt((hours[:, -3:] ** 2).mean()))
    assert strays[0] < 4.0
    assert strays[0] < 0.85 * strays[1]


def test_chained_values_keep_type_and_support(daily):
    fitted, record = daily
    counts = chain(fitted, 100, 60, STEPS, source())[0][:, :, 1]
    assert torch.equal(counts, counts.round())
    assert counts.min() >= 0
    assert counts.max() <= 2 * record[:, 1].max()


@pytest.mark.parametrize("length", [7, LENGTH, LENGTH + 1, 41])
def test_shapes_and_repeatability(model, length):
    x, donors = chain(model, 5, length, 2, source(3))
    assert x.shape == (5, length, 2)
    assert x.dtype == torch.float32
    assert donors.shape == (5, length)
    assert 0 <= int(donors.min())
    assert int(donors.max()) < len(model.train)
    again = chain(model, 5, length, 2, source(3))
    assert torch.equal(x, again[0])
    assert torch.equal(donors, again[1])
    assert not torch.equal(x, chain(model, 5, length, 2, source(4))[0])


def test_no_series_can_be_asked_for(model):
    x, donors = chain(model, 0, 40, 2, source())
    assert x.shape == (0, 40, 2)
    assert donors.shape == (0, 40)
    assert donors.dtype == torch.long


def test_series_are_drawn_by_blocks(model, monkeypatch):
    monkeypatch.setattr("gluonts_dualkl.models.chaining.BLOCK", 3)
    x, donors = chain(model, 8, 30, 1, source())
    assert x.shape == (8, 30, 2)
    assert len(torch.unique(x[:, -1], dim=0)) == 8


def test_donors_of_a_conditioned_model(model):
    rows = torch.arange(20, 60)
    donors = chain(model.conditioned(rows), 30, 40, 3, source())[1]
    assert set(donors.unique().tolist()) <= set(rows.tolist())


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({"num_samples": -1}, "num_samples is -1"),
        ({"length": 0}, "length is 0"),
        ({"num_steps": -1}, "num_steps is -1"),
        ({"overlap": 0}, "overlap is 0"),
        ({"overlap": LENGTH}, "overlap is 16"),
    ],
)
def test_numbers_out_of_range(given, named):
    usual = {"num_samples": 2, "length": 20, "num_steps": 1, "overlap": None}
    with pytest.raises(ValueError, match=named):
        chain(GaussianModel.known(), generator=source(), **{**usual, **given})


def starts_of(stride, freq="h", number=5, item="a"):
    first = pd.Period("2024-01-01", freq)
    return [first + stride * k for k in range(number)], [
        f"{item}#{k}" for k in range(number)
    ]


@pytest.mark.parametrize(
    ("stride", "overlap"), [(1, 12), (5, 14), (6, 12), (7, 17), (12, 12), (18, 6)]
)
@pytest.mark.parametrize("freq", ["h", "15min", "M"])
def test_windows_move_on_by_a_multiple_of_the_stride(stride, overlap, freq):
    assert default_overlap(*starts_of(stride, freq), 24) == overlap


def test_strides_of_several_items_and_odd_windows():
    starts, names = starts_of(6)
    more, others = starts_of(4, item="b#1")
    late = [start + 3 for start in more]
    assert default_overlap(starts + late, names + others, 24) == 12
    assert default_overlap(*starts_of(1), 5) == 3


def test_windows_that_do_not_overlap_get_a_warning(caplog):
    assert default_overlap(*starts_of(24), 24) == 12
    assert "stride below length" in caplog.text
    caplog.clear()
    starts, _ = starts_of(3)
    assert default_overlap(starts, list("abcde"), 25) == 12
    assert "stride below length" in caplog.text
    caplog.clear()
    default_overlap(*starts_of(6), 24)
    assert not caplog.text


def test_starts_that_do_not_fit():
    starts, names = starts_of(6)
    with pytest.raises(ValueError, match="4 names"):
        default_overlap(starts, names[1:], 24)
    with pytest.raises(ValueError, match="0 periods"):
        default_overlap([], [], 24)
    with pytest.raises(ValueError, match="length is 1"):
        default_overlap(starts, names, 1)


def test_phases_of_periods():
    starts, _ = starts_of(7)
    found = Phases.of(starts)
    assert found.season == 24
    assert found.starts.diff().remainder(24).tolist() == [7] * 4
    assert Phases.of(starts_of(1, "D")[0]) is None
    assert Phases.of(starts_of(1, "D")[0], 7).season == 7
    assert Phases.of(starts_of(1, "15min")[0]).season == 96
    with pytest.raises(ValueError, match="starts is empty"):
        Phases.of([])


def test_like_phases_go_round_the_clock():
    like = Phases(torch.arange(24).repeat(10), 24).like(torch.tensor([0, 12]))
    assert like.sum(1).tolist() == [30, 30]
    assert set((torch.nonzero(like[0]).ravel() % 24).tolist()) == {23, 0, 1}
    assert Phases(torch.zeros(4).long(), 24).like(torch.tensor([12])).all()
