"""NaN and several lengths: left out where that is meaningful, else named."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from gluonts_dualkl.evaluation import evaluate_generator
from gluonts_dualkl.evaluation.inputs import as_sets, fill_missing
from gluonts_dualkl.evaluation.metrics import ALL_METRICS

TOLERANT = [m for m in ALL_METRICS if m.missing]
STRICT = [m for m in ALL_METRICS if not m.missing and m.installed]


def with_gaps(x: np.ndarray, seed: int = 0) -> np.ndarray:
    out = x.copy()
    out[np.random.default_rng(seed).random(x.shape) < 0.1] = np.nan
    return out


@pytest.mark.parametrize("metric", STRICT, ids=lambda m: m.name)
@pytest.mark.parametrize("place", ["real", "synthetic", "train"])
def test_error_names_the_metric(metric, place, sets):
    given = {"train": sets.train, "seed": 0}
    given = {k: given[k] for k in metric.needs}
    real, synthetic = sets.held_out, sets.fresh
    if place == "real":
        real = with_gaps(real)
    elif place == "synthetic":
        synthetic = with_gaps(synthetic)
    elif "train" in given:
        given["train"] = with_gaps(sets.train)
    else:
        return
    with pytest.raises(ValueError, match=f"^{metric.name}: {place} holds NaN"):
        metric(real, synthetic, **given)


def test_tolerant_metrics():
    assert {m.name for m in TOLERANT} == {
        "marginal_ks", "marginal_wasserstein", "marginal_js", "marginal_kl", "sd",
        "kd", "cycle_difference", "exceedance_difference",
    }  # fmt: skip


@pytest.mark.parametrize("metric", TOLERANT, ids=lambda m: m.name)
def test_gaps_hardly_move_the_value(metric, draw, law):
    sets = draw(law, num=200)
    needed = {"train": sets.train} if "train" in metric.needs else {}
    plain = metric(sets.held_out, sets.fresh, **needed)
    needed = {k: with_gaps(x, 1) for k, x in needed.items()}
    gappy = metric(with_gaps(sets.held_out, 2), with_gaps(sets.fresh, 3), **needed)
    assert gappy == pytest.approx(plain, rel=0.6, abs=0.05)


def test_table_with_gaps(sets):
    given = [with_gaps(x, k) for k, x in enumerate(vars(sets).values())]
    scores = evaluate_generator(*given, metrics=TOLERANT, fast=True)
    assert np.isfinite(scores[["value", "floor", "ceiling"]].to_numpy()).all()
    assert (scores["verdict"] == "as real").all()
    with pytest.raises(ValueError, match="^train: .*NaN.*Metric.missing"):
        evaluate_generator(*given, fast=True)


def test_series_of_several_lengths(sets):
    cut = [[s[: 12 + k % 13] for k, s in enumerate(x)] for x in vars(sets).values()]
    start = pd.Period("2024-01-01", "D")
    entries = [[{"start": start, "target": s.T} for s in x] for x in cut]
    from_lists = evaluate_generator(*cut, metrics=TOLERANT[:3], fast=True)
    from_entries = evaluate_generator(*entries, metrics=TOLERANT[:3], fast=True)
    pd.testing.assert_frame_equal(from_lists, from_entries)
    with pytest.raises(ValueError, match="^train: "):
        evaluate_generator(*cut, fast=True)


def test_padding_and_filling():
    short, long = [np.ones((3, 2))] * 2, [np.zeros(2)[None].repeat(5, 0)] * 2
    sets = as_sets(short, long, long, missing=True)
    assert [x.shape for x in sets] == [(2, 5, 2)] * 3
    assert np.isnan(sets[0][:, 3:]).all() and not np.isnan(sets[0][:, :3]).any()
    assert np.array_equal(fill_missing(sets[0]), np.ones((2, 5, 2)))


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ([np.zeros((5, 2)), np.zeros((5, 3))], "one number of channels"),
        ([], "one number of channels"),
        ([{"start": None}], "one number of channels"),
    ],
)
def test_what_cannot_be_padded(bad, message, sets):
    with pytest.raises(ValueError, match=f"^held_out: .*{message}"):
        as_sets(sets.train, bad, sets.fresh, missing=True)


def test_infinite_values_and_empty_channels_are_errors(sets):
    infinite, empty = sets.fresh.copy(), sets.fresh.copy()
    infinite[0, 0, 0], empty[..., 1] = np.inf, np.nan
    for bad, message in ((infinite, "NaN or infinite"), (empty, "no value in ch")):
        with pytest.raises(ValueError, match=f"^synthetic: .*{message}"):
            evaluate_generator(sets.train, sets.held_out, bad, metrics=TOLERANT)
