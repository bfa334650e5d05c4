"""Whether the training series can be told from held-out ones by the synthetic set.

References: Hilprecht, Haerterich & Bernau (PoPETs 2019) for attacks by distance on
generators; Watson et al. (ICLR 2022) for the correction by difficulty.
"""

from __future__ import annotations

import numpy as np
from scipy.stats import rankdata

from gluonts_dualkl.evaluation.metrics._common import distances, flat
from gluonts_dualkl.evaluation.metrics._record import Metric

__all__ = ["METRICS", "membership_auc"]


def _nearest_other(rows: np.ndarray) -> np.ndarray:
    between = distances(rows, rows)
    np.fill_diagonal(between, np.inf)
    return between.min(1)


def membership_auc(real: np.ndarray, synthetic: np.ndarray, train: np.ndarray) -> float:
    r"""AUC of an attacker who guesses which real series were trained on.

    Series ``x`` of train and of held-out are scored by
    ``d(x, nearest other real series) / d(x, nearest synthetic series)``; the numerator
    corrects for series that are near to everything. 0.5 is nominal, 1 a memoriser. The
    attacker sees the synthetic set only: that it fails does not prove privacy.

    Parameters
    ----------
    real, synthetic, train
        Held-out, synthetic and training series ``(n, T, C)``, sizes may differ.
    """
    rows = np.concatenate([flat(train, train), flat(real, train)])
    own = np.maximum(distances(rows, flat(synthetic, train)).min(1), 1e-12)
    ranks = rankdata(np.log(np.maximum(_nearest_other(rows), 1e-12)) - np.log(own))
    num, rest = len(train), len(real)
    return float((ranks[:num].sum() - num * (num + 1) / 2) / (num * rest))


METRICS = [
    Metric(
        "membership_auc", membership_auc, "nominal", "AUC", ("train",),
        "distance to the nearest synthetic series, corrected for difficulty",
        "Hilprecht et al. 2019; Watson et al. 2022",
        floor="halves", ceiling="training_copies", high="members found",
        tolerance=0.1,
    ),
]  # fmt: skip
