"""Rival estimators of total correlation, to stand beside the path estimate.

Each takes series ``(n, T, C)`` and returns nats. They see what a user would give them:
the series alone.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch
from scipy.special import digamma
from scipy.stats import norm, rankdata
from sklearn.covariance import ledoit_wolf
from sklearn.neighbors import KDTree, NearestNeighbors
from torch import Tensor

__all__ = ["RIVALS", "gaussian_plug_in", "kraskov", "normal_scores", "single_step"]

_FOLDS = 2


def normal_scores(x: np.ndarray) -> np.ndarray:
    """Normal scores of every pixel by its ranks, ``(n, T C)``."""
    flat = x.reshape(len(x), -1)
    return norm.ppf((rankdata(flat, axis=0) - 0.5) / len(flat))


def gaussian_plug_in(x: np.ndarray, seed: int = 0) -> float:
    """Total correlation of a Gaussian copula, ``-1/2 ln det R``, nats.

    ``R`` is the Ledoit-Wolf (2004) estimate from normal scores.
    """
    covariance, _ = ledoit_wolf(normal_scores(x))
    deviation = np.sqrt(np.diag(covariance))
    sign, log_det = np.linalg.slogdet(covariance / np.outer(deviation, deviation))
    return float(-0.5 * log_det) if sign > 0 else math.inf


def kraskov(x: np.ndarray, seed: int = 0, neighbours: int = 3) -> float:
    """Nearest-neighbour estimate of Kraskov, Stoegbauer & Grassberger (2004), nats.

    Their second estimator for ``D`` variables, in normal scores and the maximum norm,

        psi(k) - (D - 1)/k + (D - 1) psi(n) - <psi(n_1) + ... + psi(n_D)>,

    where ``n_j`` counts series within the span of the ``k`` neighbours in pixel ``j``.
    """
    z = normal_scores(x)
    z = z + 1e-10 * np.random.default_rng(seed).standard_normal(z.shape)
    n, size = z.shape
    index = NearestNeighbors(n_neighbors=neighbours + 1, metric="chebyshev").fit(z)
    rows = index.kneighbors(z, return_distance=False)[:, 1:]
    spans = np.abs(z[rows] - z[:, None]).max(1)
    counts = np.zeros(n)
    for j in range(size):
        tree = KDTree(z[:, [j]], metric="chebyshev")
        inside = tree.query_radius(z[:, [j]], spans[:, j] + 1e-12, count_only=True)
        counts += digamma(np.maximum(inside - 1, 1))
    within = digamma(neighbours) - (size - 1) / neighbours
    return float(within + (size - 1) * digamma(n) - counts.mean())


def single_step(
    x: np.ndarray, seed: int = 0, objective: str = "donsker_varadhan"
) -> float:
    """One critic between data and independent pixels, Donsker-Varadhan, nats.

    A convolutional critic trained by ``objective`` on half of the series and stopped by
    its held-out loss; the bound is read on the other half, and the halves change sides.
    """
    from gluonts_dualkl.critics.networks import ConvCritic
    from gluonts_dualkl.critics.objectives import OBJECTIVES
    from gluonts_dualkl.critics.training import fit_critic
    from gluonts_dualkl.laws.partitions import single_step as single_path

    z = torch.as_tensor(normal_scores(x).reshape(x.shape), dtype=torch.float32)
    generator = torch.Generator().manual_seed(seed)
    order = torch.randperm(len(z), generator=generator)
    path = single_path(*z.shape[1:])
    bound: Callable[[Tensor, Tensor], Tensor] = OBJECTIVES["donsker_varadhan"]
    values = []
    for fold in range(_FOLDS):
        judged = z[order[fold::_FOLDS]]
        kept = z[order[1 - fold :: _FOLDS]]
        num_stop = max(2, len(kept) // 5)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            network = ConvCritic(z.shape[2], 1)
        fit = fit_critic(
            network,
            path,
            kept[num_stop:],
            kept[:num_stop],
            generator,
            objective=objective,
        )
        # as many draws of the marginals as series, each made from all judged series
        draws = path.draw(judged, 0, len(judged), generator)
        values.append(float(bound(fit.scores(judged), fit.scores(draws))))
    return float(np.mean(values))


RIVALS: dict[str, Callable[..., float]] = {
    "single-step DV": single_step,
    "KSG": kraskov,
    "Gaussian plug-in": gaussian_plug_in,
}
