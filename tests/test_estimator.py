import logging

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import SMALL, entries
from gluonts.core.component import equals
from gluonts.dataset.common import FileDataset, ListDataset
from gluonts.dataset.pandas import PandasDataset
from gluonts.dataset.split import split

from gluonts_dualkl import DualKLEstimator
from gluonts_dualkl.data.files import write_dataset


def train(data, **options):
    return DualKLEstimator(**{**SMALL, **options}).train(data)


def as_frame(data):
    frames = [
        pd.DataFrame(
            e["target"].T,
            index=pd.period_range(e["start"], periods=e["target"].shape[1]),
            columns=["a", "b"],
        ).assign(item_id=e["item_id"])
        for e in data
    ]
    return pd.concat(frames)


def test_every_kind_of_dataset_gives_the_same_model(generator, tmp_path):
    data = entries()
    write_dataset(data, tmp_path / "data.jsonl")
    kinds = {
        "one shot": (entry for entry in data),
        "ListDataset": ListDataset([dict(e) for e in data], "D", one_dim_target=False),
        "FileDataset": FileDataset(tmp_path / "data.jsonl", "D", one_dim_target=False),
        "PandasDataset": PandasDataset.from_long_dataframe(
            as_frame(data), item_id="item_id", target=["a", "b"], freq="D"
        ),
    }
    for name, dataset in kinds.items():
        trained = DualKLEstimator(freq="D", length=12, **SMALL).train(dataset)
        order = [trained.windows.item_ids.index(e["item_id"]) for e in data]
        assert np.array_equal(trained.train_values[order], generator.train_values), name
        if order == sorted(order):
            assert np.array_equal(trained.sample(4), generator.sample(4)), name


def test_training_part_of_a_split():
    part, _ = split(entries(length=16), offset=-4)
    assert train(part).length == 12


def test_univariate_targets_stay_one_dimensional():
    data = [{**e, "target": e["target"][0]} for e in entries()]
    trained = train(data)
    assert trained.num_channels == 1
    assert next(trained.generate(1))["target"].shape == (12,)


def test_long_series_are_cut_into_windows():
    trained = train(entries(3, length=120), length=12)
    assert trained.num_series == 30
    assert train(entries(3, length=120), length=12, stride=6).num_series == 57


def test_missing_values_are_filled_and_said(caplog):
    data = entries()
    for entry in data:
        entry["target"][0, 3:5] = np.nan
    with caplog.at_level(logging.WARNING):
        trained = train(data)
    assert "missing and were drawn" in caplog.text
    assert np.isfinite(trained.train_values).all()
    assert np.isnan(data[0]["target"][0, 3])


def test_constant_channels_are_carried_through(tmp_path):
    data = entries()
    for entry in data:
        entry["target"] = np.vstack([entry["target"][:1], np.full((1, 12), 3.5)])
    trained = train(data)
    x = trained.sample(20)
    assert (x[:, :, 1] == 3.5).all()
    assert x[:, :, 0].std() > 0
    assert trained.info()["constant_channels"] == ["c1"]
    assert np.isfinite(trained.log_ratio(data)).all()


def test_validation_data_take_the_report_over(generator):
    estimator = DualKLEstimator(freq="D", length=12, **SMALL)
    trained = estimator.train(entries(), entries(30, seed=5))
    assert trained.divergence().num_series == 30
    assert trained.dual_space().levels.shape == (40,)
    assert np.array_equal(trained.sample(3), generator.sample(3))


def test_same_seed_same_model(generator):
    again = DualKLEstimator(freq="D", length=12, **SMALL).train(entries())
    assert np.array_equal(again.sample(3), generator.sample(3))
    other = DualKLEstimator(freq="D", length=12, seed=1, **SMALL).train(entries())
    assert not np.array_equal(other.sample(3), generator.sample(3))


def test_incoming_entries_are_not_changed():
    data = entries()
    before = [{k: np.copy(v) for k, v in e.items() if k == "target"} for e in data]
    train(data)
    for entry, copy in zip(data, before, strict=True):
        assert np.array_equal(entry["target"], copy["target"])


def test_constructor_is_that_of_a_gluonts_component():
    estimator = DualKLEstimator(freq="h", length=24, seed=3)
    assert equals(estimator, DualKLEstimator(freq="h", length=24, seed=3))
    assert "seed=3" in repr(estimator)
    made = DualKLEstimator.from_hyperparameters(freq="h", length="24")
    assert made.length == 24


def constant(data):
    return [{**e, "target": np.ones((2, 12))} for e in data]


@pytest.mark.parametrize(
    ("make", "options", "message"),
    [
        (lambda: [], {}, "no series|empty"),
        (lambda: entries(19), {}, "19 windows of 12 steps and at least 20 are needed"),
        (lambda: entries(), {"length": 13}, "13"),
        (lambda: entries(), {"freq": "h"}, "freq"),
        (lambda: entries(20) + entries(20, channels=3), {}, "channels"),
        (lambda: constant(entries()), {}, "every channel is constant"),
        (lambda: entries(60, length=3), {}, "at least 4 are needed"),
        (lambda: entries(), {"channel_names": ["a"]}, "1 names and the data have 2"),
    ],
    ids=[
        "empty",
        "few",
        "long",
        "freq",
        "mixed",
        "constant",
        "short",
        "names",
    ],
)
def test_bad_data(make, options, message):
    with pytest.raises(ValueError, match=message):
        train(make(), **options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"step_size": 0.0}, "step_size is 0.0; it must be between"),
        ({"num_folds": 1}, "num_folds is 1"),
        ({"mean_block": 1.0}, "mean_block is 1.0; it must be at least 1.5"),
        ({"season": 0}, "season is 0; it must be at least 1"),
        ({"guard_share": 1}, "guard_share is 1.0; it must be between 0 and 0.9"),
        ({"balance": 0}, "balance is 0; it must be between 1 and 100"),
        ({"seed": -1}, "seed is -1"),
    ],
)
def test_bad_arguments(options, message):
    with pytest.raises(ValueError, match=message):
        DualKLEstimator(**options)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_cuda_round_trip(tmp_path):
    from gluonts_dualkl import DualKLGenerator

    trained = train(entries(), device="cuda")
    trained.serialize(tmp_path / "model")
    loaded = DualKLGenerator.deserialize(tmp_path / "model", device="cpu")
    assert loaded.sample(3).shape == trained.sample(3).shape


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", ["DeepAREstimator", "SimpleFeedForwardEstimator"])
def test_output_trains_a_forecaster(name, tmp_path):
    """Emitted series, alone and mixed with real ones, meet GluonTS's contract."""
    import gluonts.torch as models

    data = [
        {**e, "target": e["target"][0], "feat_static_cat": np.array([k % 2])}
        for k, e in enumerate(entries(40, length=40))
    ]
    synthetic = list(train(data).generate(40))
    options = {"max_epochs": 1, "logger": False, "default_root_dir": str(tmp_path)}
    options["enable_progress_bar"] = False
    arguments = {"prediction_length": 4, "context_length": 8, "batch_size": 8}
    if name == "DeepAREstimator":
        arguments |= {"freq": "D", "lags_seq": [1, 2, 7], "num_feat_static_cat": 1}
        arguments["cardinality"] = [2]
    for mixed in (synthetic, data + synthetic):
        estimator = getattr(models, name)(
            num_batches_per_epoch=2, trainer_kwargs=options, **arguments
        )
        predictor = estimator.train(mixed)
        forecasts = list(predictor.predict(mixed[-3:]))
        assert all(np.isfinite(f.mean).all() for f in forecasts)
