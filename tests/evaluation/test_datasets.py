from __future__ import annotations

import numpy as np
import pytest

from gluonts_dualkl.evaluation.datasets import (
    example_arrays,
    load_example,
    split_blocks,
    split_items,
)


def test_unknown_example():
    with pytest.raises(ValueError, match="no example 'stocks'"):
        load_example("stocks")


def test_storms():
    frame = load_example("storms_atlantic")
    assert list(frame.columns[:2]) == ["item_id", "timestamp"]
    assert frame["item_id"].nunique() == 366
    x, channels = example_arrays("storms_atlantic")
    assert x.shape == (366, 24, 4)
    assert channels == ["lat", "long", "wind", "pressure"]


def test_exchange_rates():
    frame = load_example("fx_ecb")
    assert len(frame) == 6983 and frame["item_id"].nunique() == 1
    x, channels = example_arrays("fx_ecb")
    assert x.shape == (218, 32, 6) and len(channels) == 6
    assert np.array_equal(x[1, 0], frame[channels].to_numpy()[32])


def test_length_longer_than_every_item():
    with pytest.raises(ValueError, match="no series of storms_atlantic has 99 steps"):
        example_arrays("storms_atlantic", length=99)


def test_split_items():
    x = np.arange(21.0)[:, None, None]
    train, test, i, j = split_items(x, test_share=1 / 3, seed=1)
    assert len(train) == 14 and len(test) == 7
    assert sorted([*i, *j]) == list(range(21))
    assert np.array_equal(train, x[i]) and np.array_equal(test, x[j])
    assert np.array_equal(split_items(x, 1 / 3, 1)[2], i)
    with pytest.raises(ValueError, match="test_share"):
        split_items(x, 1.0)
    with pytest.raises(ValueError, match="too few"):
        split_items(x[:1])


@pytest.mark.parametrize("gap", [0, 1, 3])
def test_split_blocks_keeps_the_gap(gap):
    x = np.arange(120.0)[:, None, None]
    for seed in range(10):
        train, test, i, j = split_blocks(x, num_blocks=8, gap=gap, seed=seed)
        assert np.abs(i[:, None] - j).min() > gap
        assert np.array_equal(train, x[i]) and np.array_equal(test, x[j])
        assert abs(len(i) - len(j)) <= 8 * gap
        assert len(i) + len(j) >= 120 - 7 * gap


def test_split_blocks_bad_input():
    x = np.zeros((20, 4, 1))
    with pytest.raises(ValueError, match="even number"):
        split_blocks(x, num_blocks=5)
    with pytest.raises(ValueError, match="too few"):
        split_blocks(x, num_blocks=12, gap=1)
    with pytest.raises(ValueError, match="gap"):
        split_blocks(x, num_blocks=2, gap=-1)
