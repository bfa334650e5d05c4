"""The metrics: pure functions of series ``(n, T, C)``, and one list that names them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from gluonts_dualkl.evaluation.metrics import (
    diversity,
    fidelity,
    information,
    privacy,
    utility,
)

__all__ = ["METRICS", "Metric", "by_name"]


@dataclass(frozen=True)
class Metric:
    """What is known about a metric beside its function.

    Attributes
    ----------
    name
        Identifier, the ``metric`` column of a table of scores.
    function
        ``function(real, synthetic, **needs)`` on arrays ``(n, T, C)``; ``real`` is held
        out, never the training set.
    direction
        Which way is better; ``"nominal"`` means the value of fresh series is.
    unit
        Unit of the value, ``"1"`` for none.
    needs
        Further arguments of the function: ``"train"``, ``"seed"``.
    estimator
        The finite-sample estimator by name.
    source
        Where it was defined.
    floor
        Real series in place of the synthetic ones: the ``"train"`` set, or one of two
        ``"halves"`` of the held-out set where the function compares with train itself.
    ceiling
        The oracle with the fault that this metric is meant to see.
    low, high
        Word for a value below or above the floor; ``None`` where that is no fault.
    far
        Word for a fault beyond the limit, or more than half way to the ceiling.
    tolerance
        Smallest difference from the floor that deserves a word, on the `scale`.
    limit
        Value beyond which the fault is ``far``, where one is known from calibration.
    headline
        Whether it belongs to the headline set.
    costly
        Whether intervals must do with few repeats.
    min_channels
        Fewest channels for which it says anything.
    """

    name: str
    function: Callable[..., float]
    direction: Literal["lower", "higher", "nominal"]
    unit: str
    needs: tuple[str, ...]
    estimator: str
    source: str
    floor: Literal["train", "halves"] = "train"
    ceiling: str = "independent_marginals"
    low: str | None = None
    high: str | None = None
    far: str | None = None
    tolerance: float = 0.0
    limit: float | None = None
    headline: bool = False
    costly: bool = False
    min_channels: int = 1

    @property
    def is_p_value(self) -> bool:
        """Whether the value is a p-value, which has no interval."""
        return self.unit == "p"

    def scale(self, value: np.ndarray | float) -> np.ndarray:
        """Value on the scale on which differences are read: logarithms of ratios."""
        if self.unit == "ratio":
            return np.log(np.maximum(value, 1e-3))
        return np.asarray(value, dtype=float)

    def unscale(self, value: np.ndarray | float) -> np.ndarray:
        """Inverse of :meth:`scale`."""
        return np.exp(value) if self.unit == "ratio" else np.asarray(value, dtype=float)


_SEED = ("train", "seed")
_FOLDS = "5-fold out-of-fold logits of an L2 logistic critic, clipped to +-5"
_PRDC = "k = 5 nearest neighbours in the feature table, equal n"

METRICS: list[Metric] = [
    Metric(
        "kl_real_synthetic", information.kl_real_synthetic, "lower", "nats", _SEED,
        f"Donsker-Varadhan, {_FOLDS}; at most ln n", "Donsker & Varadhan 1983",
        high="told apart", tolerance=0.15, headline=True,
    ),
    Metric(
        "kl_synthetic_real", information.kl_synthetic_real, "lower", "nats", _SEED,
        f"Donsker-Varadhan, {_FOLDS}; at most ln n", "Donsker & Varadhan 1983",
        high="told apart", tolerance=0.15, headline=True,
    ),
    Metric(
        "js_bound", information.js_bound, "lower", "nats", _SEED,
        f"ln 2 less cross-entropy, {_FOLDS}", "Goodfellow et al. 2014",
        high="told apart", tolerance=0.05, headline=True,
    ),
    Metric(
        "c2st_auc_logistic", information.c2st_auc_logistic, "lower", "AUC", _SEED,
        "out-of-fold AUC, mean of 3 fold seeds, duplicates in one fold",
        "Lopez-Paz & Oquab 2017",
        high="told apart", tolerance=0.05, headline=True,
    ),
    Metric(
        "c2st_auc_trees", information.c2st_auc_trees, "lower", "AUC", _SEED,
        "out-of-fold AUC, mean of 3 fold seeds, duplicates in one fold",
        "Lopez-Paz & Oquab 2017",
        high="told apart", tolerance=0.05, headline=True, costly=True,
    ),
    Metric(
        "c2st_p", information.c2st_p_value, "higher", "p", _SEED,
        "permutation test of the logistic AUC", "Kim et al. 2021",
        low="detected", headline=True,
    ),
    Metric(
        "mmd2", information.mmd2, "lower", "1", _SEED,
        "unbiased U-statistic, Gaussian kernel, median bandwidth",
        "Gretton et al. 2012",
        high="told apart", tolerance=0.005, headline=True,
    ),
    Metric(
        "mmd2_p", information.mmd2_p_value, "higher", "p", _SEED,
        "permutation test of the unbiased statistic", "Gretton et al. 2012",
        low="detected", headline=True,
    ),
    Metric(
        "coverage", diversity.coverage, "higher", "share", _SEED, _PRDC,
        "Naeem et al. 2020",
        ceiling="collapsed", low="misses real", tolerance=0.1, headline=True,
    ),
    Metric(
        "recall", diversity.recall, "higher", "share", _SEED, _PRDC,
        "Kynkaanniemi et al. 2019",
        ceiling="collapsed", low="misses real", tolerance=0.1, headline=True,
    ),
    Metric(
        "precision", diversity.precision, "higher", "share", _SEED, _PRDC,
        "Kynkaanniemi et al. 2019",
        low="off the data", tolerance=0.1,
    ),
    Metric(
        "density", diversity.density, "higher", "1", _SEED, _PRDC,
        "Naeem et al. 2020",
        low="off the data", tolerance=0.2,
    ),
    Metric(
        "vendi_ratio", diversity.vendi_ratio, "higher", "ratio", _SEED,
        "Gaussian kernel on the feature table, equal n", "Friedman & Dieng 2023",
        ceiling="collapsed", low="less diverse", tolerance=0.2, headline=True,
    ),
    Metric(
        "spacing_ratio", diversity.spacing_ratio, "higher", "ratio", _SEED,
        "medians of nearest-neighbour distances, equal n", "this package",
        ceiling="collapsed", low="less diverse", far="collapsed", tolerance=0.25,
    ),
    Metric(
        "log_psd_distance", fidelity.log_psd_distance, "lower", "nats", (),
        "mean periodograms, Hann taper", "standard",
        ceiling="over_smoothed", high="off", tolerance=0.1, headline=True,
    ),
    Metric(
        "roughness_ratio", fidelity.roughness_ratio, "nominal", "ratio", (),
        "pooled variance of first differences", "standard",
        ceiling="over_smoothed", low="too smooth", high="too rough",
        tolerance=0.2, headline=True,
    ),
    Metric(
        "curvature_ratio", fidelity.curvature_ratio, "nominal", "ratio", (),
        "mean log ratio of second to first differences", "von Neumann 1941",
        ceiling="over_smoothed", low="too smooth", high="too rough", tolerance=0.2,
    ),
    Metric(
        "dcr_share", privacy.dcr_share, "nominal", "share", ("train",),
        "odds corrected for set sizes, ties half", "sdmetrics; Meehan et al. 2020",
        floor="halves", ceiling="training_copies", high="nearer to train",
        far="copies train", tolerance=0.2, limit=0.85, headline=True,
    ),
    Metric(
        "copy_rate", privacy.copy_rate, "nominal", "share", ("train",),
        "5 % quantile of held-out distances to train", "this package",
        floor="halves", ceiling="training_copies", high="copies train",
        tolerance=0.15, headline=True,
    ),
    Metric(
        "nearest_neighbour_ratio", privacy.nearest_neighbour_ratio, "nominal", "ratio",
        ("train",), "ratio of medians", "Meehan et al. 2020",
        floor="halves", ceiling="training_copies", low="close to train",
        high="far from train", tolerance=0.2,
    ),
    Metric(
        "marginal_ks", fidelity.marginal_ks, "lower", "share", (),
        "pooled values, largest over channels", "Kolmogorov-Smirnov",
        ceiling="shrunk_gaussian", high="off", tolerance=0.05,
    ),
    Metric(
        "marginal_wasserstein", fidelity.marginal_wasserstein, "lower", "deviations",
        ("train",), "pooled values, mean over channels", "standard",
        ceiling="shrunk_gaussian", high="off", tolerance=0.05,
    ),
    Metric(
        "acf_difference", fidelity.acf_difference, "lower", "correlation", (),
        "mean over series", "standard",
        high="off", tolerance=0.02,
    ),
    Metric(
        "cross_correlation_difference", fidelity.cross_correlation_difference, "lower",
        "correlation", (), "mean over series, lags 0-3", "standard",
        high="off", tolerance=0.02, min_channels=2,
    ),
    Metric(
        "pixel_correlation_difference", fidelity.pixel_correlation_difference, "lower",
        "correlation", (), "Spearman over series, at most 24 steps", "standard",
        high="off", tolerance=0.02,
    ),
    Metric(
        "pixel_dependency_ratio", fidelity.pixel_dependency_ratio, "nominal", "ratio",
        (), "mean squared Spearman less 1 / (n - 1)", "this package",
        low="weaker", far="lost", tolerance=0.3,
    ),
    Metric(
        "temporal_dependency_ratio", fidelity.temporal_dependency_ratio, "nominal",
        "ratio", (), "sum of squared mean lagged correlations", "this package",
        low="weaker", far="lost", tolerance=0.3,
    ),
    Metric(
        "channel_dependency_ratio", fidelity.channel_dependency_ratio, "nominal",
        "ratio", (), "sum of squared mean correlations", "this package",
        low="weaker", far="lost", tolerance=0.3, min_channels=2,
    ),
    Metric(
        "linear_predictive_ratio", utility.linear_predictive_ratio, "lower", "ratio",
        _SEED, "ridge on min(8, T/2) lags, one step ahead", "Kollovieh et al. 2023",
        floor="halves", high="worse forecasts", tolerance=0.1,
    ),
]  # fmt: skip


def by_name(name: str) -> Metric:
    """Record of the metric ``name``."""
    for metric in METRICS:
        if metric.name == name:
            return metric
    raise ValueError(f"name: no metric {name!r}, see METRICS for the names")
