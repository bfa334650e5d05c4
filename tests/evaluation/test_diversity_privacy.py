from __future__ import annotations

from functools import partial

import numpy as np
import pytest

from gluonts_dualkl.evaluation.metrics import diversity, privacy


def line(*values: float) -> np.ndarray:
    """Constant series at the given levels, ``(n, 6, 1)``."""
    return np.repeat(np.array(values, dtype=float)[:, None, None], 6, axis=1)


def test_vendi_score_counts_clusters():
    rows = np.array([0.0] * 5 + [100.0] * 5)[:, None]
    assert diversity.vendi_score(rows, 1.0) == pytest.approx(2.0)
    assert diversity.vendi_score(100 * np.arange(7.0)[:, None], 1.0) == pytest.approx(7)


def test_coverage_of_fresh_series_reaches_its_limit(draw, law):
    values = [
        diversity.coverage(s.held_out, s.fresh, s.train)
        for s in (draw(law, num=80, seed=k) for k in range(8))
    ]
    assert np.mean(values) == pytest.approx(1 - 2.0**-5, abs=0.03)


def test_half_of_the_law_is_half_covered(sets):
    middle = sets.train[..., 0].mean()
    upper = sets.fresh[sets.fresh[..., 0].mean(1) > middle]
    fewer = diversity.recall(sets.held_out, upper, sets.train)
    same = diversity.recall(sets.held_out, sets.fresh[: len(upper)], sets.train)
    assert fewer < same


def test_dcr_share_by_hand():
    train, real = line(0, 10), line(4, 20)
    assert privacy.dcr_share(real, line(1, 9, 19), train) == pytest.approx(2 / 3)
    assert privacy.dcr_share(line(0, 20), line(0), train) == pytest.approx(0.5)


def test_dcr_share_is_corrected_for_sizes(draw, law):
    values = []
    for k in range(20):
        sets = draw(law, num=60, seed=k)
        train, real = sets.train, sets.held_out[:20]
        values.append(privacy.dcr_share(real, sets.fresh, train))
        assert privacy.dcr_share(real, train[:20], train) == 1
    error = np.std(values) / np.sqrt(20)
    assert np.mean(values) == pytest.approx(0.5, abs=4 * error)


def test_copy_rate_is_nominal_for_fresh_series(draw, law):
    values = [
        privacy.copy_rate(s.held_out, s.fresh, s.train)
        for s in (draw(law, seed=k) for k in range(20))
    ]
    error = np.std(values) / np.sqrt(20)
    assert np.mean(values) == pytest.approx(0.05, abs=max(0.02, 4 * error))


def test_copies_count_where_held_out_repeats_train():
    train = line(*range(20))
    assert privacy.copy_rate(train.copy(), train.copy(), train) == 1.0


def test_shifted_copies_are_seen_at_their_own_time_only(draw, autoregression):
    """Windows cut from longer series, three steps before the training windows."""
    drawn = draw(partial(autoregression, length=27), num=80)
    train, real = drawn.train[:, :24], drawn.held_out[:, :24]
    shifted = drawn.train[:, 3:]
    assert privacy.copy_rate(real, shifted, train) < 0.2
    assert privacy.copy_rate_shifted(real, shifted, train) > 0.95
    fresh = drawn.fresh[:, :24]
    assert privacy.copy_rate_shifted(real, fresh, train) < 0.2


def test_copies_of_short_series_have_no_shift(sets):
    short = [x[:, :3] for x in (sets.held_out, sets.fresh, sets.train)]
    assert privacy.copy_rate_shifted(*short) == privacy.copy_rate(*short)
