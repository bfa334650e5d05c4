r"""Entropy of dual levels, synthetic against real.

The levels are those of the harness's own critic between the two sets, cross-fitted, so
that no generator's model takes part.
"""

from __future__ import annotations

import numpy as np
from scipy.stats import entropy

from gluonts_dualkl.evaluation.metrics._record import Metric
from gluonts_dualkl.evaluation.metrics.information import out_of_fold_logits

__all__ = ["METRICS", "level_entropy_difference"]

_EDGES = np.linspace(-5, 5, 21)


def level_entropy_difference(
    real: np.ndarray,
    synthetic: np.ndarray,
    train: np.ndarray | None = None,
    seed: int = 0,
) -> float:
    r"""Entropy of the levels of synthetic series less that of real ones, nats.

    ``H(s(X_syn)) - H(s(X_real))`` with ``s`` the out-of-fold log-ratio of a logistic
    critic and ``H`` the plug-in entropy over 20 equal bins of [-5, 5], mean of 3 fold
    seeds. 0 is nominal; a set with few kinds of series has fewer levels.

    Parameters
    ----------
    real, synthetic
        Series ``(n, T, C)``; the larger set is cut to the size of the smaller.
    train
        Series whose statistics scale the feature table; ``real`` where not given.
    seed
        Seed of the folds.
    """
    above, below = out_of_fold_logits(real, synthetic, train, seed)
    gaps = [_entropy(b) - _entropy(a) for a, b in zip(above, below, strict=True)]
    return float(np.mean(gaps))


def _entropy(levels: np.ndarray) -> float:
    return float(entropy(np.histogram(levels, _EDGES)[0]))


METRICS = [
    Metric(
        "level_entropy_difference", level_entropy_difference, "nominal", "nats",
        ("train", "seed"), "plug-in entropy of out-of-fold logits, 20 bins of [-5, 5]",
        "our construction, after arXiv 2404.07377",
        low="fewer levels", high="more levels", far="fewer levels", ceiling="collapsed",
        tolerance=0.5, costly=True, default=False,
    ),
]  # fmt: skip
