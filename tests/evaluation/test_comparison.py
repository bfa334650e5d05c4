from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
import pytest
from scipy.stats import kstest

from gluonts_dualkl.evaluation.comparison import (
    FewDataSetsWarning,
    _holm,
    compare_generators,
    draw_critical_difference,
    friedman_p,
    needed_data_sets,
    rank_biserial,
    smallest_p,
)


@pytest.fixture
def axes():
    import matplotlib

    matplotlib.use("agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots()
    yield axes
    plt.close(figure)


def values(num: int, shifts: tuple[float, ...], seed: int = 0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    level = rng.standard_normal((num, 1))
    noise = 0.1 * rng.standard_normal((num, len(shifts)))
    return pd.DataFrame(level + noise + shifts, columns=list("abcdef"[: len(shifts)]))


def test_smallest_p_is_reached():
    """One method always ahead on D data sets: exactly ``2^(1 - D)``."""
    table = values(9, (0.0, 5.0))
    found = compare_generators(table)
    assert found["p"].item() == pytest.approx(2.0**-8)
    assert found["p_holm"].item() == pytest.approx(smallest_p(2, 9))
    assert smallest_p(5, 9) == pytest.approx(10 * 2.0**-8)
    assert smallest_p(5, 2) == 1.0


def test_needed_data_sets():
    # two-sided with 2 methods: 2^(1 - 6) = 0.031; with 10 methods 45 pairs
    assert needed_data_sets(2) == 6
    assert needed_data_sets(10) == 11
    assert 45 * 2.0**-10 <= 0.05 < 45 * 2.0**-9
    with pytest.raises(ValueError, match="num_methods, num_data_sets: 1 and 3"):
        smallest_p(1, 3)


def test_warning_for_few_data_sets():
    with pytest.warns(FewDataSetsWarning, match="5 data sets .* 2 gen.*take 6"):
        compare_generators(values(5, (0.0, 1.0)))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        compare_generators(values(6, (0.0, 1.0)))


def test_pairs():
    found = compare_generators(values(12, (0.0, 0.02, 2.0))).set_index(
        ["first", "second"]
    )
    assert found.loc[("a", "c"), "effect"] == -1.0
    assert found.loc[("a", "c"), "wins"] == 12
    assert found.loc[("a", "c"), "median_difference"] == pytest.approx(-2, abs=0.2)
    assert found.loc[("a", "c"), "p_holm"] < 0.05 < found.loc[("a", "b"), "p_holm"]
    assert (found["p_holm"] >= found["p"]).all()


def test_bad_tables():
    with pytest.raises(ValueError, match="1 generators, expected at least 2"):
        compare_generators(values(6, (0.0,)))
    empty = values(6, (0.0, 1.0)) * np.nan
    with pytest.raises(ValueError, match="no data set has a finite value"):
        compare_generators(empty)
    gaps = values(8, (0.0, 1.0))
    gaps.iloc[0, 0] = np.nan
    assert compare_generators(gaps)["wins"].item() == 7


def test_holm_reference_numbers():
    p = np.array([0.01, 0.04, 0.03, 0.005])
    assert _holm(p) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert _holm(np.array([0.9, 0.8])) == pytest.approx([1.0, 1.0])


def test_rank_biserial():
    assert rank_biserial(np.array([1.0, 2.0, 3.0])) == 1.0
    # ranks 1 and 2 for, 3 against: (3 - 3) / 6
    assert rank_biserial(np.array([1.0, 2.0, -3.0])) == 0.0
    assert rank_biserial(np.zeros(4)) == 0.0


def test_equal_generators():
    table = values(8, (0.0, 0.0))
    table["b"] = table["a"]
    found = compare_generators(table).iloc[0]
    assert found["p"] == 1.0 and found["effect"] == 0.0


def test_p_values_are_not_too_small_under_the_null():
    p = [
        compare_generators(values(30, (0.0, 0.0), seed=k))["p"].item()
        for k in range(300)
    ]
    assert kstest(p, "uniform").pvalue > 1e-3


def test_friedman():
    assert friedman_p(values(12, (0.0, 0.5, 1.0))) < 1e-3
    assert friedman_p(values(12, (0.0, 0.0, 0.0))) > 0.05
    assert np.isnan(friedman_p(values(12, (0.0, 1.0))))


def test_picture(axes):
    table = values(14, (0.0, 0.01, 3.0, 3.01))
    ranks = draw_critical_difference(axes, table)
    assert set(ranks.index[:2]) == {"a", "b"} and ranks.is_monotonic_increasing
    written = {text.get_text().split()[0] for text in axes.texts}
    assert written >= set(table.columns)
    bars = [line for line in axes.lines if line.get_linewidth() == 4]
    assert len(bars) == 2
    apart = draw_critical_difference(axes, values(14, (0.0, 1.0, 2.0)))
    assert list(apart) == [1.0, 2.0, 3.0]
