"""A small fixed search over the hyperparameters of a baseline."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from gluonts_dualkl.evaluation.baselines import baseline_class
from gluonts_dualkl.evaluation.metrics.information import c2st_auc_trees, mmd2
from gluonts_dualkl.evaluation.metrics.privacy import dcr_share

__all__ = ["MOST_COPIES", "Tuned", "divided", "trial", "tune"]

_SHARE = 0.3
_DRAWS = 3
MOST_COPIES = 0.85


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
    limit of the harness is, the one with the lowest C2ST AUC of trees wins, floored at
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
    The grids are the class attributes ``grid``: noise of jitter, alpha of mixup,
    neighbours of SMOTE and of barycentres, block lengths, levels or increments for the
    Gaussian laws, bandwidth and memory of the Schroedinger bridge; for the deep ones
    regularisation, width, learning rate or critic steps, three each. Trees judge, not
    the logistic classifier: among deep models of few series the latter is always sure.
    Components of PCA, bandwidth of kernel density and order of a VAR are chosen inside
    ``fit``.
    """
    grid = baseline_class(name).grid
    if not grid:
        return Tuned({}, pd.DataFrame())
    kept, held = divided(train, seed)
    trials = pd.DataFrame(
        [
            {**arguments, **trial(name, dict(arguments), kept, held, seed)}
            for arguments in grid
        ]
    )
    return Tuned(dict(grid[_best(trials)]), trials)


def divided(train: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Windows to fit on and 30 % to validate by, at random."""
    num = round(_SHARE * len(train))
    if num < 10:
        raise ValueError(
            f"train: {len(train)} windows are too few to keep {_SHARE:.0%} for tuning; "
            "at least 34 are needed"
        )
    order = np.random.default_rng(seed).permutation(len(train))
    return train[order[num:]], train[order[:num]]


def trial(
    name: str, arguments: dict[str, Any], kept: np.ndarray, held: np.ndarray, seed: int
) -> dict[str, float]:
    """Scores of a candidate, means over three draws."""
    baseline = baseline_class(name)(**arguments).fit(kept)
    found = []
    for k in range(_DRAWS):
        drawn = baseline.sample(len(held), seed + k)
        found.append(
            (
                c2st_auc_trees(held, drawn, kept, seed, repeats=1),
                mmd2(held, drawn, kept, seed),
                dcr_share(held, drawn, kept),
            )
        )
    auc, mmd, share = map(float, np.mean(found, axis=0))
    return {"c2st_auc_trees": auc, "mmd2": mmd, "dcr_share": share}


def _best(trials: pd.DataFrame) -> int:
    novel = trials[trials["dcr_share"] <= MOST_COPIES]
    if novel.empty:
        return int(trials["dcr_share"].to_numpy().argmin())
    ranked = novel.assign(auc=novel["c2st_auc_trees"].clip(lower=0.5).round(2))
    return int(ranked.sort_values(["auc", "mmd2"], kind="stable").index[0])
