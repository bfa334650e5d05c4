"""A small fixed search over the hyperparameters of a baseline."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from gluonts_dualkl.evaluation.baselines import baseline_class
from gluonts_dualkl.evaluation.metrics.information import c2st_auc_logistic, mmd2
from gluonts_dualkl.evaluation.metrics.privacy import dcr_share

__all__ = ["Tuned", "tune"]

_SHARE = 0.3
_DRAWS = 3
_NEAREST = 0.85


@dataclass(frozen=True)
class Tuned:
    """Arguments that won, and what every candidate of the grid scored."""

    arguments: dict[str, Any]
    trials: pd.DataFrame


def tune(name: str, train: np.ndarray, seed: int = 0) -> Tuned:
    """Choose the arguments of a baseline on a validation part of the training set.

    Each candidate of the class attribute ``grid`` is fitted to 70 % of the windows, in
    random order, and three draws are compared with the others. Fidelity counts only at
    novelty: among the candidates with a DCR share of at most 0.85, where the copying
    limit of the harness is, the one with the lowest logistic C2ST AUC wins, floored at
    chance, with MMD^2 for ties; if all copy, the one that copies least.

    Parameters
    ----------
    name
        Name in :data:`~gluonts_dualkl.evaluation.baselines.BASELINES`.
    train
        Training windows ``(N, T, C)``, at least 34.
    seed
        Seed of the split and the draws.

    Returns
    -------
    Tuned
        ``arguments`` is empty for a baseline without a grid.

    Notes
    -----
    The grids: jitter noise .03, .1, .3; mixup alpha .2, .5, 1; SMOTE 2, 5, 15
    neighbours; levels or increments for the Gaussian laws, kernel density, VAR and
    surrogates, with 3, 8 degrees of freedom for the t copula, residual blocks of 1, 4
    steps for the VAR bootstrap, and blocks of the rule's length, 4, 8 steps for moving
    and stationary blocks; Schroedinger bridge bandwidth .1, .2, .5 by memory 1, 3.
    Components of PCA, bandwidth of kernel density and order of a VAR are chosen inside
    ``fit``.
    """
    grid = baseline_class(name).grid
    if not grid:
        return Tuned({}, pd.DataFrame())
    num = round(_SHARE * len(train))
    if num < 10:
        raise ValueError(
            f"train: {len(train)} windows are too few to keep {_SHARE:.0%} for tuning; "
            "at least 34 are needed"
        )
    order = np.random.default_rng(seed).permutation(len(train))
    kept, held = train[order[num:]], train[order[:num]]
    trials = pd.DataFrame(
        [_trial(name, dict(arguments), kept, held, seed) for arguments in grid]
    )
    return Tuned(dict(grid[_best(trials)]), trials)


def _trial(
    name: str, arguments: dict[str, Any], kept: np.ndarray, held: np.ndarray, seed: int
) -> dict[str, Any]:
    baseline = baseline_class(name)(**arguments).fit(kept)
    found = []
    for k in range(_DRAWS):
        drawn = baseline.sample(len(held), seed + k)
        found.append(
            (
                c2st_auc_logistic(held, drawn, kept, seed),
                mmd2(held, drawn, kept, seed),
                dcr_share(held, drawn, kept),
            )
        )
    auc, mmd, share = np.mean(found, axis=0)
    return {**arguments, "c2st_auc": auc, "mmd2": mmd, "dcr_share": share}


def _best(trials: pd.DataFrame) -> int:
    novel = trials[trials["dcr_share"] <= _NEAREST]
    if novel.empty:
        return int(trials["dcr_share"].to_numpy().argmin())
    ranked = novel.assign(auc=novel["c2st_auc"].clip(lower=0.5).round(2))
    return int(ranked.sort_values(["auc", "mmd2"], kind="stable").index[0])
