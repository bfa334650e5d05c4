"""Metrics of the library sdmetrics on series: the pack ``"sdmetrics"``.

For comparison with other reports; they are nearly blind to order in time. The library
draws from the global generators of numpy and torch, which are seeded and put back here.
It is an optional dependency: ``pip install 'gluonts-dualkl[evaluation]'``.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pandas as pd
import torch

from gluonts_dualkl.evaluation.features import ChannelScaler, feature_names
from gluonts_dualkl.evaluation.metrics._common import equal_size, features, flat
from gluonts_dualkl.evaluation.metrics._record import Metric
from gluonts_dualkl.threads import single_threaded

__all__ = [
    "METRICS",
    "dcr_breakdown",
    "sdmetrics_dcr_share",
    "sdmetrics_lstm_detection",
    "sdmetrics_msas",
    "sdmetrics_quality",
]

_STATISTICS = ("mean", "median", "std", "min", "max")


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """Seed the global generators, silence the library, and put all back."""
    state = np.random.get_state()  # noqa: NPY002
    level = logging.root.manager.disable
    with (
        torch.random.fork_rng(devices=[]),
        single_threaded(),
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("ignore")
        logging.disable(logging.WARNING)
        np.random.seed(seed % 2**32)  # noqa: NPY002
        torch.manual_seed(seed)
        try:
            yield
        finally:
            np.random.set_state(state)  # noqa: NPY002
            logging.disable(level)


def _metadata(columns: list[str]) -> dict[str, Any]:
    described = {name: {"sdtype": "numerical"} for name in columns}
    return {"tables": {"series": {"columns": described}}, "relationships": []}


def dcr_breakdown(
    real: np.ndarray, synthetic: np.ndarray, train: np.ndarray, seed: int = 0
) -> dict[str, float]:
    """``DCROverfittingProtection.compute_breakdown`` on pixels.

    Sets ``(n, T, C)`` of any size; real and train are cut to equal size, as the share
    assumes it. L1 distances in units of the range of each pixel, which the library
    takes from train and from held-out separately: with 30 series of one law shares
    between 0.1 and 0.8 are usual.

    Returns
    -------
    dict
        ``"score"`` (min(1, 2 (1 - share))), ``"train"`` and ``"held_out"``: shares of
        synthetic series that are closer to each.
    """
    with _seeded(seed):
        from sdmetrics.single_table import DCROverfittingProtection

        real, own = equal_size(real, train, seed=seed)
        columns = [f"x{j}" for j in range(real[0].size)]
        tables = [pd.DataFrame(flat(x, train), columns=columns)
                  for x in (own, synthetic, real)]  # fmt: skip
        found = DCROverfittingProtection.compute_breakdown(
            *tables, _metadata(columns), "series"
        )
    shares = found["synthetic_data_percentages"]
    return {
        "score": float(found["score"]),
        "train": float(shares["closer_to_training"]),
        "held_out": float(shares["closer_to_holdout"]),
    }


def sdmetrics_dcr_share(
    real: np.ndarray, synthetic: np.ndarray, train: np.ndarray, seed: int = 0
) -> float:
    """Share of synthetic series closer to train than to held-out, by sdmetrics.

    The share behind ``DCROverfittingProtection``, see :func:`dcr_breakdown`; 0.5 is
    nominal. Compare ``dcr_share``, which uses Euclidean distances.
    """
    return dcr_breakdown(real, synthetic, train, seed)["train"]


def _rows(x: np.ndarray, scale: ChannelScaler) -> pd.DataFrame:
    """Long table of a set: ``item_id`` and one column a channel, no time stamp."""
    num, length, channels = x.shape
    table = pd.DataFrame(
        scale(x).reshape(-1, channels), columns=[f"c{j}" for j in range(channels)]
    )
    table.insert(0, "item_id", np.repeat(np.arange(num), length))
    return table


def sdmetrics_msas(real: np.ndarray, synthetic: np.ndarray, train: np.ndarray) -> float:
    """Mean ``StatisticMSAS`` over channels and statistics; 1 is best.

    Of the mean, median, deviation, minimum and maximum of each series: one less the
    Kolmogorov-Smirnov distance between sets.
    """
    with _seeded(0):
        from sdmetrics.column_pairs import StatisticMSAS

        ours, theirs = (_rows(x, ChannelScaler(train)) for x in (real, synthetic))
        found = [
            StatisticMSAS.compute(
                (ours["item_id"], ours[name]), (theirs["item_id"], theirs[name]), kind
            )
            for name in ours.columns[1:]
            for kind in _STATISTICS
        ]
    return float(np.nanmean(found))


def sdmetrics_quality(
    real: np.ndarray, synthetic: np.ndarray, train: np.ndarray, seed: int = 0
) -> float:
    """Overall score of ``QualityReport`` on the feature table; 1 is best.

    Mean of the similarity of columns (Kolmogorov-Smirnov) and of pairs of columns
    (correlation). On the values themselves it would not see time at all.
    """
    with _seeded(seed):
        from sdmetrics.reports import QualityReport

        columns = feature_names(real.shape[2])
        tables = (
            {"series": pd.DataFrame(x, columns=columns)}
            for x in features(real, synthetic, train)
        )
        report = QualityReport()
        report.generate(*tables, _metadata(columns), verbose=False)
        return float(report.get_score())


def sdmetrics_lstm_detection(
    real: np.ndarray, synthetic: np.ndarray, train: np.ndarray, seed: int = 0
) -> float:
    """``LSTMDetection``: one less the accuracy of a recurrent judge; 0.5 is nominal.

    The accuracy on one split of 25 %, after 1024 steps, several seconds a call; its
    deviation is 0.09 with 30 series to test on. The key of the sequences is passed, as
    the library else groups by time stamp.
    """
    with _seeded(seed):
        from sdmetrics.timeseries import LSTMDetection

        real, synthetic = equal_size(real, synthetic, seed=seed)
        tables = (_rows(x, ChannelScaler(train)) for x in (real, synthetic))
        return float(LSTMDetection.compute(*tables, sequence_key=["item_id"]))


_SOURCE = "sdmetrics"

METRICS = [
    Metric(
        "sdmetrics_dcr_share", sdmetrics_dcr_share, "nominal", "share",
        ("train", "seed"), "DCROverfittingProtection breakdown, equal sizes", _SOURCE,
        floor="halves", ceiling="training_copies", high="nearer to train",
        far="copies train", tolerance=0.2, limit=0.85, group="sdmetrics",
        default=False, slow=True, requires="sdmetrics",
    ),
    Metric(
        "sdmetrics_msas", sdmetrics_msas, "higher", "share", ("train",),
        "StatisticMSAS, 5 statistics", _SOURCE,
        ceiling="collapsed", low="off", tolerance=0.1, group="sdmetrics",
        default=False, slow=True, requires="sdmetrics",
    ),
    Metric(
        "sdmetrics_quality", sdmetrics_quality, "higher", "share", ("train", "seed"),
        "QualityReport on the feature table", _SOURCE,
        low="off", tolerance=0.05, group="sdmetrics", default=False, slow=True,
        requires="sdmetrics",
    ),
    Metric(
        "sdmetrics_lstm_detection", sdmetrics_lstm_detection, "higher", "share",
        ("train", "seed"), "one 75/25 split, 1024 steps", _SOURCE,
        low="told apart", tolerance=0.2, group="sdmetrics", default=False, slow=True,
        requires="sdmetrics",
    ),
]  # fmt: skip
