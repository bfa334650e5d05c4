r"""Cross-fitted divergences and two-sample tests on the feature table.

A critic that is scored on the series it was trained on reports thousands of nats where
the truth is zero. Here every score is out of fold, the critic is a regularised logistic
regression, and its scores are clipped; identical series share a fold, so that repeats
cannot be recognised.

References: Donsker & Varadhan (1983); Belghazi et al. (2018) for the bound; McAllester
& Stratos (AISTATS 2020) for the cap ``ln n``; Lopez-Paz & Oquab (ICLR 2017) and Kim,
Ramdas, Singh & Wasserman (2021) for classifier tests; Gretton et al. (JMLR 2012) for
the maximum mean discrepancy.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy.special import logsumexp
from scipy.stats import rankdata
from sklearn import config_context
from sklearn.ensemble import ExtraTreesClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

from gluonts_dualkl.evaluation.features import FeatureScaler
from gluonts_dualkl.evaluation.metrics._common import (
    distances,
    equal_size,
    features,
    remember,
)

__all__ = [
    "c2st_auc_logistic",
    "c2st_auc_trees",
    "c2st_p_value",
    "js_bound",
    "kl_real_synthetic",
    "kl_synthetic_real",
    "mmd2",
    "mmd2_p_value",
    "out_of_fold_logits",
]

_FOLDS = 5
_CLIP = 5.0


def _folds(labels: np.ndarray, groups: np.ndarray, seed: int) -> list[np.ndarray]:
    """Test rows of each stratified fold; rows of one group never part."""
    if len(np.unique(groups)) == len(groups):
        plain = StratifiedKFold(_FOLDS, shuffle=True, random_state=seed)
        return [test for _, test in plain.split(labels, labels)]
    grouped = StratifiedGroupKFold(_FOLDS, shuffle=True, random_state=seed)
    return [test for _, test in grouped.split(labels, labels, groups)]


def _groups(rows: np.ndarray) -> np.ndarray:
    """Label identical rows alike."""
    return np.unique(rows, axis=0, return_inverse=True)[1].ravel()


def _out_of_fold(
    table: np.ndarray,
    labels: np.ndarray,
    folds: list[np.ndarray],
    judge: Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray],
) -> np.ndarray:
    """Score each fold by ``judge(fit_table, fit_labels, test_table)``.

    A fold that takes a whole class away (all its series are one) scores zero.
    """
    scores = np.zeros(len(labels))
    for test in folds:
        fit = np.ones(len(labels), dtype=bool)
        fit[test] = False
        if 0 < labels[fit].sum() < fit.sum():
            scores[test] = judge(table[fit], labels[fit], table[test])
    return scores


def _logistic(fit: np.ndarray, labels: np.ndarray, test: np.ndarray) -> np.ndarray:
    model = LogisticRegression(C=0.05, class_weight="balanced", max_iter=200, tol=1e-3)
    with config_context(assume_finite=True, skip_parameter_validation=True):
        return model.fit(fit, labels).decision_function(test)


def _trees(num_trees: int, seed: int) -> Callable[..., np.ndarray]:
    model = ExtraTreesClassifier(num_trees, min_samples_leaf=2, random_state=seed)

    def judge(fit: np.ndarray, labels: np.ndarray, test: np.ndarray) -> np.ndarray:
        return model.fit(fit, labels).predict_proba(test)[:, 1]

    return judge


def _auc(scores: np.ndarray, labels: np.ndarray) -> float:
    ranks = rankdata(scores)
    positive = labels == 1
    num, rest = positive.sum(), (~positive).sum()
    return float((ranks[positive].sum() - num * (num + 1) / 2) / (num * rest))


def _pooled(
    real: np.ndarray, synthetic: np.ndarray, train: np.ndarray | None, seed: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Scaled feature table, labels (1 = real) and duplicate groups, equal sizes."""
    real, synthetic = equal_size(real, synthetic, seed=seed)
    table = np.concatenate(features(real, synthetic, train))
    labels = np.repeat([1, 0], len(real))
    both = np.concatenate([real, synthetic])
    return table, labels, _groups(both.reshape(len(both), -1))


def _fold_logits(
    table: np.ndarray, labels: np.ndarray, groups: np.ndarray, seed: int
) -> np.ndarray:
    return _out_of_fold(table, labels, _folds(labels, groups, seed), _logistic)


@remember
def out_of_fold_logits(
    real: np.ndarray,
    synthetic: np.ndarray,
    train: np.ndarray | None = None,
    seed: int = 0,
    repeats: int = 3,
) -> tuple[np.ndarray, np.ndarray]:
    """Out-of-fold scores ``log p_real / p_synthetic`` of a logistic critic, nats.

    Parameters
    ----------
    real, synthetic
        Series ``(n, T, C)``; the larger set is cut to the size of the smaller.
    train
        Series whose statistics scale the feature table; ``real`` where not given.
    seed, repeats
        Seed and number of independent fold assignments.

    Returns
    -------
    tuple
        Scores of real and of synthetic series, both ``(repeats, n)``.
    """
    table, labels, groups = _pooled(real, synthetic, train, seed)
    seeds = np.random.SeedSequence(seed).generate_state(repeats)
    logits = np.stack([_fold_logits(table, labels, groups, int(s)) for s in seeds])
    return logits[:, labels == 1], logits[:, labels == 0]


def _donsker_varadhan(above: np.ndarray, below: np.ndarray) -> float:
    """Mean over repeats of ``E_P[f] - ln E_Q[exp f]``, capped at ``ln n``."""
    num = above.shape[1]
    above, below = np.clip(above, -_CLIP, _CLIP), np.clip(below, -_CLIP, _CLIP)
    bound = above.mean(1) - (logsumexp(below, axis=1) - np.log(num))
    return float(min(bound.mean(), np.log(num)))


def kl_real_synthetic(
    real: np.ndarray,
    synthetic: np.ndarray,
    train: np.ndarray | None = None,
    seed: int = 0,
    repeats: int = 3,
) -> float:
    r"""Lower bound of ``KL(real || synthetic)`` of the features, nats.

    ``E_real[f] - ln E_synthetic[exp f]`` with out-of-fold scores ``f`` clipped to
    +-5 nats, averaged over fold seeds. Not above ``ln n``: no more can be certified
    from ``n`` series. Near or a little below zero for equal laws.
    """
    return _donsker_varadhan(*out_of_fold_logits(real, synthetic, train, seed, repeats))


def kl_synthetic_real(
    real: np.ndarray,
    synthetic: np.ndarray,
    train: np.ndarray | None = None,
    seed: int = 0,
    repeats: int = 3,
) -> float:
    """Lower bound of ``KL(synthetic || real)``, nats; see `kl_real_synthetic`."""
    above, below = out_of_fold_logits(real, synthetic, train, seed, repeats)
    return _donsker_varadhan(-below, -above)


def js_bound(
    real: np.ndarray,
    synthetic: np.ndarray,
    train: np.ndarray | None = None,
    seed: int = 0,
    repeats: int = 3,
) -> float:
    """Lower bound of the Jensen-Shannon divergence, nats, at most ``ln 2``.

    ``ln 2`` less the balanced out-of-fold cross-entropy of the clipped critic.
    """
    above, below = out_of_fold_logits(real, synthetic, train, seed, repeats)
    above, below = np.clip(above, -_CLIP, _CLIP), np.clip(below, -_CLIP, _CLIP)
    loss = np.logaddexp(0, -above).mean() + np.logaddexp(0, below).mean()
    return float(np.log(2) - loss / 2)


def c2st_auc_logistic(
    real: np.ndarray,
    synthetic: np.ndarray,
    train: np.ndarray | None = None,
    seed: int = 0,
    repeats: int = 3,
) -> float:
    """AUC of the out-of-fold logistic critic; 0.5 means it cannot tell them apart.

    The mean over fold seeds of the AUC over all series. A little below 0.5 is usual
    for equal laws: taking a series out of the fit moves the fit away from it.
    """
    above, below = out_of_fold_logits(real, synthetic, train, seed, repeats)
    labels = np.repeat([1, 0], above.shape[1])
    pairs = zip(above, below, strict=True)
    return float(np.mean([_auc(np.concatenate(pair), labels) for pair in pairs]))


def c2st_auc_trees(
    real: np.ndarray,
    synthetic: np.ndarray,
    train: np.ndarray | None = None,
    seed: int = 0,
    repeats: int = 3,
    num_trees: int = 100,
) -> float:
    """Out-of-fold AUC of extremely randomised trees on features and raw values.

    Columns: feature table, values and first differences. 5 folds that keep identical
    series together, leaves of at least 2, mean over ``repeats`` fold seeds.
    """
    table, labels, groups = _pooled(real, synthetic, train, seed)
    both = np.concatenate(equal_size(real, synthetic, seed=seed))
    steps = np.diff(both, axis=1)
    columns = (table, both.reshape(len(both), -1), steps.reshape(len(both), -1))
    wide = np.concatenate(columns, axis=1).astype(np.float32)
    aucs = []
    for state in map(int, np.random.SeedSequence(seed).generate_state(repeats)):
        folds, judge = _folds(labels, groups, state), _trees(num_trees, state)
        aucs.append(_auc(_out_of_fold(wide, labels, folds, judge), labels))
    return float(np.mean(aucs))


def c2st_p_value(
    real: np.ndarray,
    synthetic: np.ndarray,
    train: np.ndarray | None = None,
    seed: int = 0,
    num_permutations: int = 99,
) -> float:
    """Permutation p-value of the logistic AUC (one fold seed), in (0, 1].

    ``(1 + #{permuted AUC >= AUC}) / (1 + num_permutations)``. Exact for exchangeable
    series when ``train``, which scales the table, is a third sample.
    """
    table, labels, groups = _pooled(real, synthetic, train, seed)
    rng = np.random.default_rng(seed)
    observed = _auc(_fold_logits(table, labels, groups, seed), labels)
    above = 0
    for _ in range(num_permutations):
        shuffled = rng.permutation(labels)
        scores = _fold_logits(table, shuffled, groups, seed)
        above += _auc(scores, shuffled) >= observed
    return (1 + above) / (1 + num_permutations)


def _kernel(
    real: np.ndarray, synthetic: np.ndarray, train: np.ndarray | None, seed: int
) -> tuple[np.ndarray, int]:
    """Gaussian kernel on the pooled table; bandwidth the median distance in train."""
    real, synthetic = equal_size(real, synthetic, seed=seed)
    reference = real if train is None else train
    scaler = FeatureScaler(reference)
    base = scaler(reference)
    bandwidth = np.median(distances(base, base)[np.triu_indices(len(base), 1)])
    pooled = np.concatenate([scaler(real), scaler(synthetic)])
    squared = (distances(pooled, pooled) / max(float(bandwidth), 1e-12)) ** 2
    return np.exp(-squared / 2), len(real)


def _mmd2(kernel: np.ndarray, signs: np.ndarray) -> np.ndarray:
    """Unbiased statistic for columns of signs +1 (real) and -1 (synthetic)."""
    num = len(signs) // 2
    off = kernel - np.diag(np.diag(kernel))
    total = off.sum()
    within = (total + (signs * (off @ signs)).sum(0)) / 2
    return within / (num * (num - 1)) - (total - within) / num**2


def mmd2(
    real: np.ndarray,
    synthetic: np.ndarray,
    train: np.ndarray | None = None,
    seed: int = 0,
) -> float:
    """Unbiased squared maximum mean discrepancy on the feature table, no unit.

    U-statistic with a Gaussian kernel whose bandwidth is the median distance in
    ``train``; zero on average, and often below it, for equal laws.
    """
    kernel, num = _kernel(real, synthetic, train, seed)
    return float(_mmd2(kernel, np.repeat([1.0, -1.0], num)[:, None])[0])


def mmd2_p_value(
    real: np.ndarray,
    synthetic: np.ndarray,
    train: np.ndarray | None = None,
    seed: int = 0,
    num_permutations: int = 499,
) -> float:
    """Permutation p-value of :func:`mmd2`, in (0, 1]."""
    kernel, num = _kernel(real, synthetic, train, seed)
    rng = np.random.default_rng(seed)
    signs = np.repeat([1.0, -1.0], num)
    table = rng.permuted(np.tile(signs, (num_permutations, 1)), axis=1).T
    values = _mmd2(kernel, np.column_stack([signs, table]))
    above = np.sum(values[1:] >= values[0] - 1e-12)
    return float((1 + above) / (1 + num_permutations))
