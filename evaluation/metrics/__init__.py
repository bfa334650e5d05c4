"""The metrics: pure functions of series ``(n, T, C)``, and lists that name them.

``METRICS`` holds what is computed by default: the headline set and the cheap part of
the secondary one. ``ALL_METRICS`` adds the rest of the secondary set (slow, or kept for
comparison with published tables) and the packs ``"sdmetrics"``, ``"finance"`` and
``"environment"``; :func:`select` chooses by group.
"""

from __future__ import annotations

from collections.abc import Sequence

from gluonts_dualkl.evaluation.metrics import (
    dependence,
    diversity,
    embedding,
    environment,
    fidelity,
    finance,
    information,
    levels,
    membership,
    privacy,
    sdmetrics,
    timegan,
    transport,
    tsgbench,
    utility,
)
from gluonts_dualkl.evaluation.metrics._record import GROUPS, Metric

__all__ = ["ALL_METRICS", "GROUPS", "METRICS", "Metric", "by_name", "select"]

_SEED = ("train", "seed")
_FOLDS = "5-fold out-of-fold logits of an L2 logistic critic, clipped to +-5"
_PRDC = "k = 5 nearest neighbours in the feature table, equal n"

_BASE: list[Metric] = [
    Metric(
        "kl_real_synthetic", information.kl_real_synthetic, "lower", "nats", _SEED,
        f"Donsker-Varadhan, {_FOLDS}; at most ln n", "Donsker & Varadhan 1983",
        high="told apart", tolerance=0.15, group="headline",
    ),
    Metric(
        "kl_synthetic_real", information.kl_synthetic_real, "lower", "nats", _SEED,
        f"Donsker-Varadhan, {_FOLDS}; at most ln n", "Donsker & Varadhan 1983",
        high="told apart", tolerance=0.15, group="headline",
    ),
    Metric(
        "js_bound", information.js_bound, "lower", "nats", _SEED,
        f"ln 2 less cross-entropy, {_FOLDS}", "Goodfellow et al. 2014",
        high="told apart", tolerance=0.05, group="headline",
    ),
    Metric(
        "c2st_auc_logistic", information.c2st_auc_logistic, "lower", "AUC", _SEED,
        "out-of-fold AUC, mean of 3 fold seeds, duplicates in one fold",
        "Lopez-Paz & Oquab 2017",
        high="told apart", tolerance=0.05, group="headline",
    ),
    Metric(
        "c2st_auc_trees", information.c2st_auc_trees, "lower", "AUC", _SEED,
        "out-of-fold AUC, mean of 3 fold seeds, duplicates in one fold",
        "Lopez-Paz & Oquab 2017",
        high="told apart", tolerance=0.05, group="headline", costly=True,
    ),
    Metric(
        "c2st_p", information.c2st_p_value, "higher", "p", _SEED,
        "permutation test of the logistic AUC", "Kim et al. 2021",
        low="detected", group="headline",
    ),
    Metric(
        "mmd2", information.mmd2, "lower", "1", _SEED,
        "unbiased U-statistic, Gaussian kernel, median bandwidth",
        "Gretton et al. 2012",
        high="told apart", tolerance=0.005, group="headline",
    ),
    Metric(
        "mmd2_p", information.mmd2_p_value, "higher", "p", _SEED,
        "permutation test of the unbiased statistic", "Gretton et al. 2012",
        low="detected", group="headline",
    ),
    Metric(
        "coverage", diversity.coverage, "higher", "share", _SEED, _PRDC,
        "Naeem et al. 2020",
        ceiling="collapsed", low="misses real", tolerance=0.1, group="headline",
    ),
    Metric(
        "recall", diversity.recall, "higher", "share", _SEED, _PRDC,
        "Kynkaanniemi et al. 2019",
        ceiling="collapsed", low="misses real", tolerance=0.1, group="headline",
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
        ceiling="collapsed", low="less diverse", tolerance=0.2, group="headline",
    ),
    Metric(
        "spacing_ratio", diversity.spacing_ratio, "higher", "ratio", _SEED,
        "medians of nearest-neighbour distances, equal n", "this package",
        ceiling="collapsed", low="less diverse", far="collapsed", tolerance=0.25,
    ),
    Metric(
        "log_psd_distance", fidelity.log_psd_distance, "lower", "nats", (),
        "mean periodograms, Hann taper", "standard",
        ceiling="over_smoothed", high="off", tolerance=0.1, group="headline",
    ),
    Metric(
        "roughness_ratio", fidelity.roughness_ratio, "nominal", "ratio", (),
        "pooled variance of first differences", "standard",
        ceiling="over_smoothed", low="too smooth", high="too rough",
        tolerance=0.2, group="headline",
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
        far="copies train", tolerance=0.2, limit=0.85, group="headline",
    ),
    Metric(
        "copy_rate", privacy.copy_rate, "nominal", "share", ("train",),
        "5 % quantile of held-out distances to train", "this package",
        floor="halves", ceiling="training_copies", high="copies train",
        tolerance=0.15, group="headline",
    ),
    Metric(
        "copy_rate_shifted", privacy.copy_rate_shifted, "nominal", "share", ("train",),
        "as copy_rate, middle half of a series at any shift", "this package",
        floor="halves", ceiling="training_copies", high="copies train", tolerance=0.15,
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
        ceiling="shrunk_gaussian", high="off", tolerance=0.05, missing=True,
    ),
    Metric(
        "marginal_wasserstein", fidelity.marginal_wasserstein, "lower", "deviations",
        ("train",), "pooled values, mean over channels", "standard",
        ceiling="shrunk_gaussian", high="off", tolerance=0.05, missing=True,
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


_ADDED = (
    transport,
    dependence,
    levels,
    membership,
    embedding,
    tsgbench,
    timegan,
    sdmetrics,
    finance,
    environment,
)
ALL_METRICS: list[Metric] = _BASE + [m for module in _ADDED for m in module.METRICS]
METRICS: list[Metric] = [m for m in ALL_METRICS if m.default]


def by_name(name: str) -> Metric:
    """Record of the metric ``name``."""
    for metric in ALL_METRICS:
        if metric.name == name:
            return metric
    raise ValueError(f"name: no metric {name!r}, see ALL_METRICS for the names")


def select(packs: Sequence[str] | None = None) -> list[Metric]:
    """Metrics of some groups, in the order of ``ALL_METRICS``.

    Parameters
    ----------
    packs
        Among :data:`GROUPS`; all metrics of a group that is named, the slow ones too.
        By default ``METRICS``, less what needs a library that is not installed.

    Raises
    ------
    ValueError
        If there is no such group.
    ModuleNotFoundError
        If a group is named whose metrics need a library that is not installed.
    """
    if packs is None:
        return [m for m in METRICS if m.installed]
    packs = [packs] if isinstance(packs, str) else list(packs)
    unknown = [name for name in packs if name not in GROUPS]
    if unknown or not packs:
        raise ValueError(f"packs: {packs}, choose some of {list(GROUPS)}")
    chosen = [m for m in ALL_METRICS if m.group in packs]
    for metric in chosen:
        metric.check_installed()
    return chosen
