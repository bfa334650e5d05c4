"""Any valid dataset trains and generates; any invalid one is a sentence."""

import numpy as np
import pandas as pd
import pytest
from conftest import SMALL
from gluonts.env import env
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gluonts_dualkl import DualKLEstimator, dataset_to_array
from gluonts_dualkl.data.frequencies import advance, as_period

FREQS = ["h", "6h", "15min", "D", "B", "W", "M", "Q", "Y"]
KINDS = ["normal", "positive", "counts", "percent", "rounded", "zeros", "constant"]
QUICK = {**SMALL, "num_walkers": 50, "max_rounds": 1, "num_steps": 2}
CHECKS = [HealthCheck.too_slow, HealthCheck.data_too_large]
FEW = settings(
    max_examples=20, deadline=None, derandomize=True, suppress_health_check=CHECKS
)
MANY = settings(FEW, max_examples=200, derandomize=False)


def channel(kind, rng, shape):
    """Paths of a kind of channel, ``(N, T)``."""
    path = np.cumsum(rng.standard_normal(shape), 1) * 0.3
    return {
        "normal": path,
        "positive": 10.0 ** rng.uniform(-2, 5, (shape[0], 1)) * np.exp(0.1 * path),
        "counts": rng.poisson(np.exp(1 + 0.5 * path)),
        "percent": (50 + 40 * path).clip(0, 100),
        "rounded": np.round(path * 4) / 2,
        "zeros": np.where(path > 0.3, path, 0.0),
        "constant": np.full(shape, 3.5),
    }[kind].astype(np.float32)


@st.composite
def datasets(draw):
    """A dataset, the kinds of its channels and its estimator's settings."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    kinds = draw(st.lists(st.sampled_from(KINDS), min_size=1, max_size=4))
    if set(kinds) == {"constant"}:
        kinds.append("normal")
    shape = draw(st.integers(20, 30)), draw(st.integers(6, 16))
    x = np.stack([channel(kind, rng, shape) for kind in kinds], 1)
    share = draw(st.sampled_from([0.0, 0.0, 0.05, 0.3]))
    x[1:][rng.uniform(size=x[1:].shape) < share] = np.nan
    freq = draw(st.sampled_from(FREQS))
    longer = draw(st.booleans())
    cat, real, dynamic = (draw(st.booleans()) for _ in range(3))
    data = []
    for k, series in enumerate(x):
        if longer and k % 5 == 0:
            series = np.concatenate([series, series[:, ::-1]], 1)
        steps = series.shape[1]
        entry = {
            "item_id": f"item {k}",
            "start": advance(as_period("2021-03-05", freq), [int(rng.integers(20))])[0],
            "target": series[0] if len(kinds) == 1 and k % 2 else series,
        }
        if len(kinds) == 1:
            entry["target"] = series[0]
        if cat:
            entry["feat_static_cat"] = np.array([k % 2])
        if real:
            entry["feat_static_real"] = rng.standard_normal(2)
        if dynamic:
            entry["feat_dynamic_real"] = rng.standard_normal((1, steps))
        data.append(entry)
    options = {
        "length": shape[1],
        "short_series": draw(st.sampled_from(["skip", "pad"])),
    }
    if set(kinds) == {"positive"} and draw(st.booleans()):
        options["scaling"] = "returns"
    elif draw(st.booleans()):
        options["scaling"] = "mean"
    if dynamic and draw(st.booleans()):
        options["dynamic_features"] = "model"
    return data, kinds, options


def observed(data, c):
    values = np.concatenate([np.atleast_2d(e["target"])[c] for e in data])
    return values[~np.isnan(values)]


def check_support(kind, real, drawn):
    if kind in ("positive", "counts", "percent", "zeros"):
        assert drawn.min() >= 0
    if kind == "positive":
        assert drawn.min() > 0
    if kind == "percent" and (real == 100).mean() > 0.03:
        assert drawn.max() <= 100
    if kind == "counts":
        np.testing.assert_array_equal(drawn, np.round(drawn))
    if kind == "rounded":
        np.testing.assert_array_equal(2 * drawn, np.round(2 * drawn))
    if kind == "constant":
        np.testing.assert_array_equal(drawn, 3.5)


def check_contract(data, kinds, options):
    """Train, generate, and hold the entries against the data."""
    with env._let(use_tqdm=False):
        generator = DualKLEstimator(**QUICK, **options).train(data)
    drawn = list(generator.generate(7, seed=1))
    assert len(drawn) == 7
    starts = {e["start"].freqstr for e in data}
    for k, entry in enumerate(drawn):
        assert entry["item_id"] == f"synthetic-{k}"
        assert entry["start"].freqstr in starts
        assert entry["target"].dtype == np.float32
        assert entry["target"].ndim == data[0]["target"].ndim
        assert set(entry) == set(data[0])
        for name in set(entry) & {"feat_static_cat", "feat_static_real"}:
            assert any(np.allclose(entry[name], e[name]) for e in data)
        if "feat_dynamic_real" in entry:
            assert entry["feat_dynamic_real"].shape == (1, options["length"])
    x = dataset_to_array(drawn)
    assert x.shape == (7, options["length"], len(kinds))
    assert np.isfinite(x).all()
    for c, kind in enumerate(kinds):
        check_support(kind, observed(data, c), x[:, :, c])
    assert np.isfinite(generator.divergence().value)


@given(datasets())
@FEW
def test_valid_datasets(given_dataset):
    check_contract(*given_dataset)


@pytest.mark.slow
@given(datasets())
@MANY
def test_many_valid_datasets(given_dataset):
    check_contract(*given_dataset)


def good(num=22, length=8):
    rng = np.random.default_rng(0)
    return [
        {"start": pd.Period("2020", "D"), "target": rng.standard_normal((2, length))}
        for _ in range(num)
    ]


def broken(rule, rng):
    """A valid dataset with one fault."""
    data = good()
    k = int(rng.integers(len(data)))
    target = data[k]["target"]
    changes = {
        "text": {"target": [["a"] * 8] * 2},
        "infinite": {"target": np.where(target == target.max(), np.inf, target)},
        "cube": {"target": target[None]},
        "scalar": {"target": 3.0},
        "channels": {"target": target[:1]},
        "none": {"target": None},
        "start": {"start": None},
        "date": {"start": "no date"},
        "freq": {"start": pd.Period("2020", "h")},
        "static": {"feat_static_cat": [1]},
        "fraction": {"feat_static_cat": [0.5]},
        "dynamic": {"feat_dynamic_real": np.zeros((1, 3))},
    }
    if rule in changes:
        data[k] = {**data[k], **changes[rule]}
    if rule == "length":
        data[k] = {**data[k], "target": target[:, :5]}
    if rule == "entry":
        data[k] = target
    if rule == "nothing":
        return []
    if rule == "few":
        return data[:7]
    if rule == "short":
        return [{**e, "target": e["target"][:, :3]} for e in data]
    if rule == "empty":
        return [{**e, "target": e["target"][:, :0]} for e in data]
    if rule == "unseen":
        return [{**e, "target": e["target"] * [[1], [np.nan]]} for e in data]
    if rule == "same":
        return [{**e, "target": np.ones((2, 8))} for e in data]
    return data


RULES = [
    "text", "infinite", "cube", "scalar", "channels", "none", "start", "date", "freq",
    "static", "fraction", "dynamic", "length", "entry", "nothing", "few", "short",
    "empty", "unseen", "same",
]  # fmt: skip


@pytest.mark.parametrize("rule", RULES)
@given(seed=st.integers(0, 2**32 - 1))
@settings(FEW, max_examples=4)
def test_invalid_datasets(rule, seed):
    data = broken(rule, np.random.default_rng(seed))
    with pytest.raises(ValueError) as caught, env._let(use_tqdm=False):
        DualKLEstimator(**QUICK).train(data)
    sentence = str(caught.value)
    assert sentence.endswith(".")
    assert 20 < len(sentence) < 400


@given(
    st.dictionaries(
        st.sampled_from(
            ["length", "stride", "max_windows", "mean_block", "max_rounds", "step_size",
             "num_walkers", "num_steps", "num_folds", "seed"]
        ),
        st.integers(-5, 0),
        min_size=1,
        max_size=2,
    )
)  # fmt: skip
@settings(FEW, max_examples=30)
def test_settings_out_of_range(options):
    if set(options.items()) <= {("seed", 0)}:
        return
    with pytest.raises(ValueError) as caught:
        DualKLEstimator(**options).train(good())
    name = next(
        n
        for n in options
        if f"{n} is" in str(caught.value) or f"{n}=" in str(caught.value)
    )
    assert name
