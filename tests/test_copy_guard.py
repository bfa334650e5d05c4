import numpy as np
import pytest
import torch
from laws import ar1

from gluonts_dualkl.models import base
from gluonts_dualkl.models.base import (
    COPY_QUANTILE,
    CopyGuard,
    ValueSpace,
    copy_ratio,
)
from gluonts_dualkl.models.recombination import DualModel

QUICK = {"num_walkers": 150, "max_rounds": 2, "num_steps": 5, "draw_only": True}


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def series(*points):
    """Series of one step and two channels, ``(n, 1, 2)``."""
    return torch.tensor(points, dtype=torch.float32)[:, None]


def ratios(z, train=None):
    apart = torch.cdist(z.flatten(1), (z if train is None else train).flatten(1))
    if train is None:
        apart.fill_diagonal_(torch.inf)
    near = apart.sort(1).values
    return near[:, 0] / near[:, 1]


class TestGuard:
    train = series((0, 0), (10, 0))

    def test_between_two_series_is_free(self):
        guard = CopyGuard(self.train, 1.0, 0.5)
        assert guard(series((5, 0), (4, 0))).tolist() == [0.0, 0.0]

    def test_near_to_one_of_two_is_refused(self):
        guard = CopyGuard(self.train, 1.0, 0.5)
        assert (guard(series((2, 0), (0, 5), (12, 0))) < -50).all()

    def test_the_nearer_the_worse(self):
        penalty = CopyGuard(self.train, 1.0, 0.9)(series((1, 0), (2, 0), (3, 0)))
        assert (penalty.diff() > 0).all()

    def test_a_short_distance_is_refused_at_any_ratio(self):
        crowded = series((0, 0), (0, 0.1))
        assert CopyGuard(crowded, 1.0, 0.5)(series((0, 0.05))) < -50

    def test_without_a_ratio_the_distance_decides(self):
        guard = CopyGuard(self.train, 1.0)
        assert guard(series((2, 0)))[0] == 0
        assert guard(series((0.5, 0)))[0] < -50

    def test_a_copy_of_twins_is_no_division_by_zero(self):
        twins = series((0, 0), (0, 0), (5, 5))
        assert torch.isfinite(CopyGuard(twins, 1.0, 0.5)(series((0, 0)))).all()

    def test_one_series_has_no_second_neighbour(self):
        assert CopyGuard(series((0, 0)), 1.0, 0.5)(series((3, 0)))[0] == 0


class TestRatio:
    @pytest.mark.parametrize("numbers", [1, 300, 10**7])
    def test_is_the_quantile_among_the_others(self, numbers, monkeypatch):
        monkeypatch.setattr(base, "BLOCK_NUMBERS", numbers)
        z = torch.randn(40, 3, 2, generator=seeded())
        expected = np.quantile(ratios(z).numpy(), 0.3)
        assert copy_ratio(z, 0.3) == pytest.approx(expected, rel=1e-4)

    def test_no_share_or_too_few_series_is_no_limit(self):
        z = torch.randn(10, 3, 2, generator=seeded())
        assert copy_ratio(z, 0.0) == 0
        assert copy_ratio(z[:3], 0.3) == 0


@pytest.fixture(scope="module")
def values():
    return ar1(60, 12, 2, 0.7, seed=1)


def test_draws_keep_to_the_ratio(values):
    model = DualModel.fit(values, seeded(), **QUICK)
    seen = ValueSpace(model.marginals, model.train)
    limit = copy_ratio(seen(model.train), 0.3)
    assert model.copy_ratio == pytest.approx(limit)
    found = ratios(seen(model.draw(200, 10, seeded(1)).z), seen(model.train))
    assert float((found < limit - 1e-4).float().mean()) < 0.02
    free = DualModel.fit(values, seeded(), **QUICK, guard_share=0.0)
    assert free.copy_ratio == 0
    loose = ratios(seen(free.draw(200, 10, seeded(1)).z), seen(free.train))
    assert float((loose < limit).float().mean()) > 0.15


def test_distances_are_those_of_standardised_values(values):
    values = np.sinh(values) * [1, 300] + [0, 4000]
    model = DualModel.fit(values.astype(np.float32), seeded(), **QUICK)
    flat = ((values - values.mean((0, 1))) / values.std((0, 1))).reshape(60, -1)
    apart = np.linalg.norm(flat[:, None] - flat, axis=2)
    np.fill_diagonal(apart, np.inf)
    limit = np.quantile(apart.min(1), COPY_QUANTILE)
    assert model.copy_distance == pytest.approx(limit, rel=1e-3)
    z = model.draw(200, 10, seeded(1)).z
    assert model.count_near_copies(z) == 0
    x = model.marginals.from_normal(z).numpy()
    drawn = ((x - values.mean((0, 1))) / values.std((0, 1))).reshape(200, -1)
    nearest = np.linalg.norm(drawn[:, None] - flat, axis=2).min(1)
    assert (nearest > 0.99 * limit).all()
