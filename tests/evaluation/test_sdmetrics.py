from __future__ import annotations

import sys

import numpy as np
import pytest
import torch

from gluonts_dualkl.evaluation.metrics import METRICS, by_name, select
from gluonts_dualkl.evaluation.oracles import ORACLES

pytest.importorskip("sdmetrics")


def value(name, sets, synthetic, seed: int = 0):
    metric = by_name(name)
    given = {"train": sets.train, "seed": seed}
    return metric(sets.held_out, synthetic, **{k: given[k] for k in metric.needs})


def small(sets):
    """Fewer steps, as the library walks over columns in Python."""
    return type(sets)(*(x[:, :8, :2] for x in vars(sets).values()))


@pytest.fixture
def library_is_missing(monkeypatch):
    import gluonts_dualkl.evaluation.metrics._record as record

    found = record.find_spec
    without = {"sdmetrics", "ot"}
    monkeypatch.setattr(
        record, "find_spec", lambda name: None if name in without else found(name)
    )


def test_missing_library_is_named(library_is_missing, sets):
    with pytest.raises(ModuleNotFoundError, match=r"needs sdmetrics.*\[evaluation\]"):
        select(["sdmetrics"])
    with pytest.raises(ModuleNotFoundError, match="^sliced_wasserstein: needs ot"):
        value("sliced_wasserstein", sets, sets.fresh)
    expected = [m.name for m in METRICS if m.name != "sliced_wasserstein"]
    assert [m.name for m in select()] == expected


def test_library_is_not_imported_before_it_is_used():
    import subprocess

    code = (
        "import sys, gluonts_dualkl.evaluation.metrics; "
        "sys.exit('copulas' in sys.modules or 'ot' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_shares_of_the_breakdown(draw, autoregression):
    sets = small(draw(autoregression, num=30))
    from gluonts_dualkl.evaluation.metrics.sdmetrics import dcr_breakdown

    found = dcr_breakdown(sets.held_out, sets.fresh, sets.train)
    assert found["train"] + found["held_out"] == pytest.approx(1)
    assert found["score"] == pytest.approx(min(2 * found["held_out"], 1))
    assert found["train"] < 1
    assert value("sdmetrics_dcr_share", sets, sets.train) == 1.0


def test_statistics_of_series(draw, autoregression):
    sets = draw(autoregression, num=40)
    fresh = value("sdmetrics_msas", sets, sets.fresh)
    collapsed = value("sdmetrics_msas", sets, ORACLES["collapsed"](sets.train, 40, 0))
    assert fresh > 0.7
    assert collapsed < fresh - 0.1


def test_quality_of_features_and_the_global_state(draw, autoregression):
    sets = draw(autoregression, num=40)
    one = type(sets)(*(x[..., :1] for x in vars(sets).values()))
    before, torch_before = np.random.get_state()[1].copy(), torch.get_rng_state()  # noqa: NPY002
    fresh = value("sdmetrics_quality", one, one.fresh)
    assert np.array_equal(np.random.get_state()[1], before)  # noqa: NPY002
    assert torch.equal(torch.get_rng_state(), torch_before)
    independent = ORACLES["independent_marginals"](one.train, 40, 0)
    assert value("sdmetrics_quality", one, independent) < fresh - 0.1
    assert value("sdmetrics_quality", one, one.fresh.copy()) == fresh


@pytest.mark.slow
def test_recurrent_detection_passes_the_key(draw, autoregression):
    sets = draw(autoregression, num=60)
    fresh = value("sdmetrics_lstm_detection", sets, sets.fresh)
    assert fresh == value("sdmetrics_lstm_detection", sets, sets.fresh.copy())
    independent = ORACLES["independent_marginals"](sets.train, 60, 0)
    assert value("sdmetrics_lstm_detection", sets, independent) < min(fresh, 0.35)
