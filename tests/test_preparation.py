"""Scaling, joined features, constant channels, grids: in, and back again."""

import numpy as np
import pytest
import torch
from conftest import entries

from gluonts_dualkl.data.preparation import Preparation, join_dynamic
from gluonts_dualkl.data.scaling import SCALINGS, scale_windows, unscale_windows
from gluonts_dualkl.data.windows import cut_windows
from gluonts_dualkl.models.completion import complete_training


def positive(num=30, length=12, channels=3, seed=0, top=4):
    """Positive paths whose levels span five orders of magnitude."""
    rng = np.random.default_rng(seed)
    level = 10.0 ** rng.uniform(-1, top, (num, 1, channels))
    steps = 0.02 * rng.standard_normal((num, length, channels))
    return (level * np.exp(np.cumsum(steps, 1))).astype(np.float32)


@pytest.mark.parametrize("scaling", SCALINGS)
def test_scaling_comes_back(scaling):
    x = positive()
    scaled, scales = scale_windows(x, scaling)
    assert scaled.shape == (30, 11 if scaling == "returns" else 12, 3)
    np.testing.assert_allclose(unscale_windows(scaled, scales, scaling), x, rtol=1e-5)


def test_mean_scaling_has_mean_size_one():
    x = positive() - 1.0
    x[3, :, 1] = 0
    x[4, 2:5, 0] = np.nan
    scaled, scales = scale_windows(x, "mean")
    size = np.nanmean(np.abs(scaled), axis=1)
    size[3, 1] += 1
    np.testing.assert_allclose(size, 1, rtol=1e-5)
    assert scales[3, 1] == 1
    assert np.isnan(scaled[4, 2:5, 0]).all()


def test_returns_are_logarithmic():
    x = np.exp(np.arange(5.0))[None, :, None]
    scaled, scales = scale_windows(x, "returns")
    np.testing.assert_allclose(scaled, 1, rtol=1e-6)
    assert scales == 1


def test_bad_scalings():
    x = positive()
    x[2, 3, 1] = 0
    with pytest.raises(ValueError, match="window 2 is 0 at step 3, channel 1"):
        scale_windows(x, "returns")
    with pytest.raises(ValueError, match="'log'; choose from none, mean, returns"):
        scale_windows(x, "log")


@pytest.mark.parametrize("scaling", SCALINGS)
def test_preparation_is_undone(scaling):
    x = np.round(positive(top=1.5), 2)
    x[x < 0.01] = 0.01
    x[:, :, 1] = 7
    prepared, values = Preparation.fit(x, np.zeros(x.shape, bool), scaling)
    assert values.shape[2] == 2
    assert list(prepared.varying) == [True, False, True]
    back = prepared.backward(values, prepared.scales)
    np.testing.assert_allclose(back, x, rtol=1e-5)
    np.testing.assert_array_equal(prepared.forward(x), values)
    if scaling != "none":
        assert list(prepared.resolution) == pytest.approx([0.01, 1, 0.01])
        np.testing.assert_allclose(back * 100, np.round(back * 100), rtol=1e-5)


def test_returns_stay_positive_on_the_grid():
    x = np.round(positive(top=1.5), 2) + np.float32(0.01)
    prepared, values = Preparation.fit(x, np.zeros(x.shape, bool), "returns")
    fallen = prepared.backward(values - 2, prepared.scales)
    assert fallen.min() >= 0.01 - 1e-6


def test_nothing_varies():
    x = np.ones((5, 6, 2), np.float32)
    with pytest.raises(ValueError, match="every channel is constant"):
        Preparation.fit(x, np.zeros(x.shape, bool), "none")


def test_gaps_are_those_of_the_donor():
    x = positive()
    missing = np.random.default_rng(0).uniform(size=x.shape) < 0.2
    prepared, _ = Preparation.fit(x, missing, "none")
    np.testing.assert_array_equal(prepared.mask_of([4, 2]), missing[[4, 2]])
    complete, _ = Preparation.fit(x, missing & False, "none")
    assert complete.mask_of([4, 2]) is None


def test_joined_features_are_channels():
    data = entries(6)
    for k, entry in enumerate(data):
        entry["feat_dynamic_real"] = np.full((2, entry["target"].shape[1]), k)
    windows, number = join_dynamic(cut_windows(data))
    assert number == 2
    assert windows.num_channels == data[0]["target"].shape[0] + 2
    assert not windows.dynamic
    assert (windows.values[:, :, -1] == np.arange(6)[:, None]).all()
    with pytest.raises(ValueError, match="no feat_dynamic_real to model"):
        join_dynamic(cut_windows(entries(6)))


def test_gaps_of_scaled_channels_are_filled_inside_their_support():
    rng = np.random.default_rng(0)
    x = (80 + 30 * rng.standard_normal((40, 10, 1)).cumsum(1)).clip(0, 100)
    x = x.astype(np.float32)
    gappy = np.where(rng.uniform(size=x.shape) < 0.3, np.float32(np.nan), x)
    source = torch.Generator().manual_seed(0)
    complete = complete_training(gappy, "mean", "auto", source)
    assert complete.min() >= 0 and complete.max() <= 100
    prepared, _ = Preparation.fit(complete, np.isnan(gappy), "mean")
    assert prepared.limits[:, 0].tolist() == [0, 100]
