"""Errors against GluonTS's own, ridge against scikit-learn's, quiet training."""

import os

import numpy as np
import pandas as pd
import pytest
import torch
from gluonts.dataset.split import split
from gluonts.ev.metrics import MASE, MeanWeightedSumQuantileLoss
from gluonts.model.evaluation import evaluate_forecasts
from gluonts.model.forecast import QuantileForecast
from sklearn.linear_model import Ridge as SklearnRidge
from torch.optim.optimizer import register_optimizer_step_post_hook

from gluonts_dualkl.augmentation import augment
from gluonts_dualkl.data.windows import dataset_from_array
from gluonts_dualkl.evaluation.forecasting import forecasters_torch
from gluonts_dualkl.evaluation.forecasting.forecasters import (
    FORECASTERS,
    Ridge,
    SeasonalNaive,
    make_forecaster,
)
from gluonts_dualkl.evaluation.forecasting.scores import (
    LEVELS,
    ErrorScale,
    score_forecasts,
)

TORCH = ["deepar", "simple_feed_forward", "patch_tst", "i_transformer"]
HORIZON = 6


def walks(num, length=24, channels=1, seed=0):
    rng = np.random.default_rng([seed, num])
    return 50 + rng.standard_normal((num, length, channels)).cumsum(1)


def quantiles_around(windows, seed=1):
    truth = windows[:, -HORIZON:]
    noise = np.random.default_rng(seed).standard_normal((9, *truth.shape))
    return np.sort(truth + noise, axis=0).transpose(1, 0, 2, 3)


@pytest.mark.parametrize("season", [1, 4])
def test_errors_are_those_of_gluonts(season):
    windows = walks(20)
    quantiles = quantiles_around(windows)
    start = pd.Period("2024-01-01", "h")
    data = [{"start": start, "target": w[:, 0], "item_id": 0} for w in windows]
    test = split(data, offset=-HORIZON)[1].generate_instances(HORIZON)
    keys = [str(round(level, 1)) for level in LEVELS]
    forecasts = [
        QuantileForecast(q[..., 0], start + 24 - HORIZON, keys) for q in quantiles
    ]
    options = {"test_data": test, "seasonality": season}
    theirs = evaluate_forecasts(forecasts, metrics=[MASE()], axis=1, **options)
    metric = MeanWeightedSumQuantileLoss([float(key) for key in keys])
    total = evaluate_forecasts(forecasts, metrics=[metric], **options)
    scale = ErrorScale.fit(windows, windows, HORIZON, season)
    ours = score_forecasts(quantiles, windows, scale)
    np.testing.assert_allclose(ours["mase"], theirs.iloc[:, 0], rtol=1e-6)
    np.testing.assert_allclose(ours["wql"].mean(), total.iloc[0, 0], rtol=1e-6)


def test_errors_of_two_channels_are_their_mean_and_units_do_not_matter():
    windows = walks(9, channels=2)
    quantiles = quantiles_around(windows)
    parts = []
    for c in ([0], [1], [0, 1]):
        scale = ErrorScale.fit(windows[..., c], windows[..., c], HORIZON, 1)
        parts.append(score_forecasts(quantiles[..., c], windows[..., c], scale))
    scale = ErrorScale.fit(1000 * windows, 1000 * windows, HORIZON, 1)
    parts.append(score_forecasts(1000 * quantiles, 1000 * windows, scale))
    for metric in ("mase", "wql"):
        first, second, both, scaled = (part[metric] for part in parts)
        np.testing.assert_allclose(both, (first + second) / 2)
        np.testing.assert_allclose(both, scaled)


def test_flat_contexts_and_channels_do_not_decide():
    windows = walks(9, channels=2)
    windows[..., 1] = 0.0
    windows[0, :-HORIZON, 0] = 50.0
    quantiles = np.repeat(windows[:, None, -HORIZON:] + 1.0, 9, axis=1)
    scale = ErrorScale.fit(windows, windows, HORIZON, 1)
    found = score_forecasts(quantiles, windows, scale)["mase"]
    change = np.abs(np.diff(windows[:, :-HORIZON, 0], axis=1)).mean(1)
    expected = 1 / np.maximum(change, 0.1 * change.mean())
    np.testing.assert_allclose(found, expected)


@pytest.mark.parametrize("quantiles", [np.zeros((3, 9, 6, 2)), np.zeros((4, 5, 6, 1))])
def test_scores_refuse_other_shapes(quantiles):
    windows = walks(4)
    scale = ErrorScale.fit(windows, windows, HORIZON, 1)
    with pytest.raises(ValueError, match="quantiles: shape"):
        score_forecasts(quantiles, windows, scale)
    with pytest.raises(ValueError, match="NaN or infinite"):
        score_forecasts(np.full((4, 9, 6, 1), np.nan), windows, scale)


def test_ridge_is_sklearns():
    train, held = walks(30, channels=2), walks(12, channels=2, seed=1)
    ours = Ridge(penalties=(0.3,)).fit(train, held, HORIZON)
    unit = train / train.std((0, 1))
    change = unit[:, -HORIZON:] - unit[:, [-HORIZON - 1]]
    theirs = SklearnRidge(alpha=0.3 * len(train)).fit(
        unit[:, :-HORIZON].reshape(30, -1), change.reshape(30, -1)
    )
    past = held[:, :-HORIZON]
    rows = (past / train.std((0, 1))).reshape(len(held), -1)
    expected = theirs.predict(rows).reshape(len(held), HORIZON, 2)
    expected = past[:, [-1]] + expected * train.std((0, 1))
    np.testing.assert_allclose(ours.predict(past)[:, 4], expected, rtol=1e-9)


def test_copies_leave_ridge_as_it_was():
    train, held = walks(15), walks(12, seed=1)
    once = Ridge().fit(train, held, HORIZON)
    thrice = Ridge().fit(np.tile(train, (3, 1, 1)), held, HORIZON)
    past = held[:, :-HORIZON]
    np.testing.assert_allclose(once.predict(past), thrice.predict(past), rtol=1e-9)


def test_ridge_chooses_its_penalty_on_validation():
    line = np.arange(24)[None, :, None] * walks(200, 1)  # a line through 0
    noise = walks(200)
    steep = Ridge().fit(line[:100], line[100:], HORIZON)
    flat = Ridge().fit(noise[:100], noise[100:], HORIZON)  # no change is predictable
    assert steep.penalty == min(steep.penalties)
    assert flat.penalty > 10
    np.testing.assert_allclose(
        steep.predict(line[:5, :-HORIZON])[:, 4], line[:5, -HORIZON:], rtol=1e-2
    )


def test_intervals_cover():
    """Eight in ten truths lie between the outer quantiles; within 4 errors of 2000."""
    train, held, test = (walks(2000, seed=k) for k in range(3))
    found = Ridge().fit(train, held, HORIZON).predict(test[:, :-HORIZON])
    truth = test[:, -HORIZON:]
    inside = (found[:, 0] < truth) & (truth < found[:, -1])
    assert abs(inside.mean((0, 2)) - 0.8).max() < 4 * np.sqrt(2 * 0.16 / 2000)


@pytest.mark.parametrize("season", [1, 4, 50])
def test_seasonal_naive_repeats(season):
    train, held = walks(5), walks(4, seed=1)
    model = SeasonalNaive().fit(train, held, HORIZON, season)
    past = held[:, :-HORIZON]
    last = past[:, -4:] if season == 4 else past[:, -1:]
    expected = np.tile(last, (1, HORIZON, 1))[:, :HORIZON]
    np.testing.assert_array_equal(model.predict(past)[:, 4], expected)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"horizon": 0}, "horizon: 0, expected 1 to 22"),
        ({"horizon": 23}, "horizon: 23"),
        ({"season": 0}, "season: 0"),
        ({"train": walks(3)[0]}, "train: shape"),
        ({"validation": walks(3, 20)}, "validation: shape"),
        ({"validation": walks(3)[:0]}, "n > 0"),
    ],
)
def test_fit_errors(options, words):
    given = {"train": walks(9), "validation": walks(5), "horizon": 6, **options}
    with pytest.raises(ValueError, match=words):
        Ridge().fit(**given)


def test_unknown_and_unfitted_forecasters():
    with pytest.raises(ValueError, match="no forecaster 'x', choose from ridge"):
        make_forecaster("x")
    with pytest.raises(ValueError, match="this Ridge is not fitted"):
        Ridge().predict(walks(3))


@pytest.mark.parametrize("name", TORCH)
def test_torch_forecasters_are_quiet_and_repeatable(
    name, tmp_path, monkeypatch, capfd, recwarn
):
    monkeypatch.chdir(tmp_path)
    train, held = walks(6, channels=2), walks(3, channels=2, seed=1)
    states = np.random.get_state()[1].copy(), torch.random.get_rng_state()  # noqa: NPY002
    drawn = []
    for _ in range(2):
        model = make_forecaster(name)
        model.num_epochs, model.num_batches, model.batch_size = 1, 2, 4
        model.fit(train, held, HORIZON, season=4, seed=3)
        drawn.append(model.predict(held[:, :-HORIZON], seed=3))
    assert drawn[0].shape == (3, 9, HORIZON, 2)
    assert np.isfinite(drawn[0]).all()
    assert (np.diff(drawn[0], axis=1) >= 0).all()
    np.testing.assert_array_equal(*drawn)
    np.testing.assert_array_equal(states[0], np.random.get_state()[1])  # noqa: NPY002
    assert torch.equal(states[1], torch.random.get_rng_state())
    assert os.listdir(tmp_path) == []
    assert capfd.readouterr() == ("", "")
    assert not recwarn.list


@pytest.mark.parametrize("name", TORCH)
def test_every_arm_has_the_same_gradient_steps(name):
    """Three windows or thirty: as many steps, on batches of the same size."""
    counts = []
    for num in (3, 30):
        steps = []
        handle = register_optimizer_step_post_hook(
            lambda *_, found=steps: found.append(1)
        )
        model = make_forecaster(name)
        model.num_epochs, model.num_batches, model.batch_size = 2, 3, 4
        try:
            model.fit(walks(num), walks(3, seed=1), HORIZON)
        finally:
            handle.remove()
        counts.append(len(steps))
    assert counts == [6, 6]


def test_channels_come_back_in_their_order(monkeypatch):
    """A feed-forward net scales each item, so that levels tell the channels."""
    train = walks(6, channels=3) * [1.0, 100.0, 10_000.0]
    model = make_forecaster("simple_feed_forward")
    model.num_epochs, model.num_batches = 1, 2
    model.fit(train, train[:2], HORIZON)
    found = np.abs(model.predict(train[:4, :-HORIZON])).mean((0, 1, 2))
    assert found[0] * 5 < found[1] and found[1] * 5 < found[2]


def test_gluonts_trains_on_a_mixture(tmp_path):
    """A real estimator of GluonTS reads the dataset that `augment` gives."""
    from gluonts.torch import DeepAREstimator

    real = dataset_from_array(walks(5)[..., 0], "D")
    made = dataset_from_array(walks(9, seed=1)[..., 0], "D")
    mixed = augment(real, made, 1, prediction_length=HORIZON)
    with forecasters_torch._quiet(), forecasters_torch._seeded(0):
        estimator = DeepAREstimator(
            "D",
            HORIZON,
            lags_seq=[1, 2],
            num_batches_per_epoch=2,
            batch_size=4,
            trainer_kwargs={
                "max_epochs": 1,
                "accelerator": "cpu",
                "logger": False,
                "enable_progress_bar": False,
                "default_root_dir": tmp_path,
            },
        )
        predictor = estimator.train(mixed, real)
        names = {forecast.item_id for forecast in predictor.predict(mixed)}
    assert names == {entry["item_id"] for entry in mixed}
    assert len(names) == 10


def test_all_forecasters_are_known():
    assert set(FORECASTERS) == {"ridge", "seasonal_naive", *TORCH}
