import logging

import numpy as np
import pytest
import torch
from laws import ar1, ar1_total_correlation

from gluonts_dualkl.analysis.divergence import (
    INTEGRATED,
    fold_labels,
    fold_training,
    held_out_ratios,
    summarise,
    warn_above_ceiling,
)
from gluonts_dualkl.models.recombination import DualModel


def ratios(num_series=200, gaussian=10.0, data=0.0, seed=0):
    rng = np.random.default_rng(seed)
    legs = {
        "gaussian": gaussian + rng.standard_normal(num_series),
        "data": data + rng.standard_normal(num_series),
    }
    return {**legs, INTEGRATED: sum(legs.values())}


@pytest.mark.parametrize(
    ("phi", "channels", "monotone"),
    [(0.8, 1, None), (0.8, 2, None), (0.8, 1, np.exp), (0.0, 3, None)],
    ids=["11.7 nats", "23.5 nats", "monotone map", "independent"],
)
def test_model_reads_the_truth_on_held_out_series(phi, channels, monotone):
    truth = ar1_total_correlation(24, channels, phi)
    train, held_out = (
        ar1(n, 24, channels, phi, seed) for n, seed in ((200, 1), (2000, 2))
    )
    if monotone:
        train, held_out = monotone(train), monotone(held_out)
    model = DualModel.fit(train, torch.Generator().manual_seed(0))
    estimate = summarise(held_out_ratios(model, held_out))
    assert estimate.value == pytest.approx(truth, abs=0.1 * truth + 0.2)
    assert estimate.integrated == pytest.approx(estimate.value, abs=0.2)
    assert sum(estimate.per_leg.values()) == pytest.approx(estimate.value)


@pytest.mark.slow
def test_interval_covers():
    """90 % intervals over replicates, with a binomial tolerance, cross-fitted."""
    truth, covered, replicates = ar1_total_correlation(12, 1, 0.8), 0, 40
    for seed in range(replicates):
        x = ar1(100, 12, 1, 0.8, seed)
        folds = fold_labels([str(k) for k in range(100)], 5, seed)
        held_out = {}
        for k in range(5):
            generator = torch.Generator().manual_seed(seed)
            model = DualModel.fit(x[folds != k], generator, num_walkers=300)
            for name, score in held_out_ratios(model, x[folds == k]).items():
                held_out.setdefault(name, np.zeros(100))[folds == k] = score
        estimate = summarise(held_out)
        covered += estimate.lower <= truth <= estimate.upper
    assert covered / replicates >= 0.9 - 2 * np.sqrt(0.09 / replicates)


def test_summary_adds_up():
    summary = summarise(ratios(data=1.0))
    assert summary.value == pytest.approx(sum(summary.per_leg.values()))
    assert summary.lower < summary.value < summary.upper
    assert summary.num_series == 200
    half = 1.6449 * summary.standard_error
    assert summary.upper - summary.value == pytest.approx(half, rel=1e-3)


def test_ceiling_is_the_closed_form_leg_plus_ln_n_a_learned_leg():
    summary = summarise(ratios())
    assert summary.ceiling == pytest.approx(
        summary.per_leg["gaussian"] + np.log(200), rel=1e-6
    )


@pytest.mark.parametrize(("data", "warned"), [(1.0, False), (9.0, True)])
def test_warning_above_what_n_certifies(data, warned, caplog):
    with caplog.at_level(logging.WARNING):
        warn_above_ceiling(summarise(ratios(data=data)))
    assert ("the data leg reads" in caplog.text) == warned


def test_folds_keep_items_whole():
    items = [f"item{k // 3}" for k in range(60)]
    folds = fold_labels(items, 5, seed=0)
    assert sorted(set(folds)) == [0, 1, 2, 3, 4]
    for k in range(0, 60, 3):
        assert len(set(folds[k : k + 3])) == 1


def test_windows_of_one_record_make_blocks_in_time():
    folds = fold_labels(["record"] * 50, 5, seed=0)
    assert (np.diff(folds) >= 0).all()
    assert (np.bincount(folds) == 10).all()


def test_windows_beside_the_held_out_ones_are_left_out():
    starts = list(range(0, 100, 2)) * 2
    items = ["a"] * 50 + ["b"] * 50
    folds = fold_labels(items, 5, seed=0)
    train = fold_training(folds, 5, items, starts, length=6)
    assert train.shape == (6, 100)
    assert train[5].all()
    for fold in range(5):
        for held in np.flatnonzero(folds == fold):
            for other in np.flatnonzero(train[fold]):
                apart = abs(starts[held] - starts[other]) >= 6
                assert items[held] != items[other] or apart
        # two windows on either side of a block share steps with it
        assert (~train[fold]).sum() <= (folds == fold).sum() + 8
        assert (~train[fold] & (folds != fold)).any()


def test_whole_items_leave_nothing_out():
    items = [str(k // 4) for k in range(80)]
    folds = fold_labels(items, 5, seed=0)
    train = fold_training(folds, 5, items, [0, 1, 2, 3] * 20, length=6)
    for fold in range(5):
        np.testing.assert_array_equal(train[fold], folds != fold)


def test_an_empty_fold_leaves_nothing_out():
    items = [str(k // 2) for k in range(8)]
    folds = np.array([0, 0, 2, 2, 0, 0, 2, 2])
    train = fold_training(folds, 4, items, [0, 1] * 4, length=2)
    assert train.shape == (5, 8)
    np.testing.assert_array_equal(train[0], folds != 0)
    assert train[[1, 3, 4]].all()


def test_too_much_overlap_is_allowed_and_said(caplog):
    folds = fold_labels(["a"] * 25, 5, seed=0)
    train = fold_training(folds, 5, ["a"] * 25, list(range(25)), length=24)
    assert "windows overlap so much" in caplog.text
    np.testing.assert_array_equal(train[0], folds != 0)
