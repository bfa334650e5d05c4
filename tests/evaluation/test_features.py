from __future__ import annotations

import numpy as np
import pytest

from gluonts_dualkl.evaluation.features import (
    FeatureScaler,
    feature_names,
    feature_table,
)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("length", [6, 7, 24, 50])
def test_shape(channels, length):
    x = np.random.default_rng(0).standard_normal((5, length, channels))
    table = feature_table(x)
    assert table.shape == (5, len(feature_names(channels)))
    assert np.isfinite(table).all()


def test_finite_where_nothing_moves():
    x = np.zeros((20, 12, 2))
    x[:, :, 1] = 7.0
    assert np.isfinite(feature_table(x)).all()
    assert np.isfinite(FeatureScaler(x)(x)).all()


def test_unit_free(sets):
    factor, offset = np.array([3.0, 0.02, 50.0]), np.array([-4.0, 1.0, 9.0])
    channels = sets.train.shape[2]
    factor, offset = factor[:channels], offset[:channels]
    plain = FeatureScaler(sets.train)(sets.fresh)
    moved = FeatureScaler(sets.train * factor + offset)(sets.fresh * factor + offset)
    np.testing.assert_allclose(moved, plain, atol=1e-7)


def test_each_series_on_its_own(sets):
    scaler = FeatureScaler(sets.train)
    np.testing.assert_allclose(scaler(sets.fresh)[3:4], scaler(sets.fresh[3:4]))


def test_known_values():
    x = np.array([0.0, 1.0, 0.0, -1.0] * 3)[None, :, None]
    row = dict(zip(feature_names(1), feature_table(x)[0], strict=True))
    assert row["mean, channel 0"] == 0
    assert row["minimum, channel 0"] == -1
    assert row["first, channel 0"] == 0
    assert row["last, channel 0"] == -1
    assert row["log deviation, channel 0"] == pytest.approx(np.log(0.5) / 2, abs=2e-3)
    assert row["autocorrelation 1, channel 0"] == pytest.approx(0, abs=1e-6)
