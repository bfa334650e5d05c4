"""Gaussian laws of the pixels, and copulas with the empirical marginals."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from scipy.special import ndtr, ndtri, stdtr
from scipy.stats import rankdata
from sklearn.decomposition import PCA
from sklearn.model_selection import cross_val_score

from gluonts_dualkl.evaluation.baselines.base import draw_shrunk
from gluonts_dualkl.evaluation.baselines.units import UnitBaseline

__all__ = ["GaussianCopula", "PCAGaussian", "ShrunkGaussian", "TCopula"]

Grid = tuple[Mapping[str, Any], ...]


@dataclass(eq=False)
class ShrunkGaussian(UnitBaseline):
    """Normal law with Ledoit-Wolf covariance of the ``T C`` standardised pixels.

    ``z ~ N(0, (1 - a) R + a I)``. Ledoit & Wolf (2004), "A well-conditioned estimator
    for large-dimensional covariance matrices". For ``differences`` see
    :class:`~gluonts_dualkl.evaluation.baselines.units.UnitBaseline`.
    """

    grid: ClassVar[Grid] = ({"differences": False}, {"differences": True})

    def _learn(self, unit: np.ndarray, validation: np.ndarray | None) -> None:
        self._rows = unit.reshape(len(unit), -1)

    def _draw(self, num_samples: int, rng: np.random.Generator) -> np.ndarray:
        return draw_shrunk(self._rows, num_samples, rng)


@dataclass(eq=False)
class GaussianCopula(UnitBaseline):
    """Normal scores with shrunk correlation, under the empirical marginals.

    ``g = Phi^-1((rank - 1/2) / N)`` a pixel, ``g* ~ N(0, (1 - a) R + a I)``, and back
    through the interpolated quantiles of the pixel, or of its increment where
    ``differences`` says so. Liu, Lafferty & Wasserman (2009), "The nonparanormal".
    """

    grid: ClassVar[Grid] = ({"differences": False}, {"differences": True})

    def _learn(self, unit: np.ndarray, validation: np.ndarray | None) -> None:
        rows = unit.reshape(len(unit), -1)
        self._sorted = np.sort(rows, axis=0)
        scores = ndtri((rankdata(rows, axis=0) - 0.5) / len(rows))
        spread = scores.std(0)
        self._scores = (scores - scores.mean(0)) / np.where(spread > 0, spread, 1.0)

    def _draw(self, num_samples: int, rng: np.random.Generator) -> np.ndarray:
        return self._quantile(ndtr(draw_shrunk(self._scores, num_samples, rng)))

    def _quantile(self, level: np.ndarray) -> np.ndarray:
        """Quantiles ``(n, T C)`` of the pixels, linear between order statistics."""
        size = len(self._sorted)
        place = np.clip(level * size - 0.5, 0, size - 1)
        below = np.minimum(place.astype(int), size - 2)
        low = np.take_along_axis(self._sorted, below, axis=0)
        high = np.take_along_axis(self._sorted, below + 1, axis=0)
        return low + (place - below) * (high - low)


@dataclass(eq=False)
class TCopula(GaussianCopula):
    """Gaussian copula whose windows share a random scale: joint extremes.

    ``t = g* / sqrt(w)`` with ``w ~ chi2(df) / df``, one a window, and levels
    ``u = F_df(t)``. The correlation is that of the normal scores, close to that of the
    latent law. Demarta & McNeil (2005), "The t copula and related copulas".

    Parameters
    ----------
    differences
        See :class:`GaussianCopula`.
    df
        Degrees of freedom: small is heavy-tailed, large is the Gaussian copula.
    """

    df: float = 3.0
    grid: ClassVar[Grid] = tuple(
        {"differences": taken, "df": df} for taken in (False, True) for df in (3.0, 8.0)
    )

    def _draw(self, num_samples: int, rng: np.random.Generator) -> np.ndarray:
        normal = draw_shrunk(self._scores, num_samples, rng)
        scale = np.sqrt(rng.chisquare(self.df, (num_samples, 1)) / self.df)
        return self._quantile(stdtr(self.df, normal / scale))


@dataclass(eq=False)
class PCAGaussian(UnitBaseline):
    """Probabilistic PCA of the standardised pixels.

    ``z = W f + e`` with ``f ~ N(0, I_k)`` and ``e ~ N(0, v I)``; ``k`` by the
    likelihood of validation windows or of five folds. Tipping & Bishop (1999),
    "Probabilistic principal component analysis".

    Parameters
    ----------
    differences
        See :class:`~gluonts_dualkl.evaluation.baselines.units.UnitBaseline`.
    num_components
        ``k``; by default the best of 1, 2, 4, ..., 64, at most half the windows.
    """

    num_components: int | None = None
    grid: ClassVar[Grid] = ({"differences": False}, {"differences": True})

    def _learn(self, unit: np.ndarray, validation: np.ndarray | None) -> None:
        rows = unit.reshape(len(unit), -1)
        held = None if validation is None else validation.reshape(len(validation), -1)
        most = min(rows.shape[1] - 1, len(rows) // 2)
        num = self.num_components or _best_components(rows, held, most)
        self._pca = PCA(min(num, most), svd_solver="full").fit(rows)

    def _draw(self, num_samples: int, rng: np.random.Generator) -> np.ndarray:
        pca = self._pca
        noise = float(pca.noise_variance_)
        scale = np.sqrt(np.maximum(pca.explained_variance_ - noise, 0))
        factors = rng.standard_normal((num_samples, len(scale))) * scale
        white = rng.standard_normal((num_samples, pca.n_features_in_))
        return factors @ pca.components_ + np.sqrt(noise) * white


def _best_components(rows: np.ndarray, held: np.ndarray | None, most: int) -> int:
    """Number of components with the highest held-out log-likelihood."""
    counts = [k for k in (1, 2, 4, 8, 16, 32, 64) if k <= most] or [1]
    scores = [_likelihood(PCA(k, svd_solver="full"), rows, held) for k in counts]
    return counts[int(np.argmax(scores))]


def _likelihood(pca: PCA, rows: np.ndarray, held: np.ndarray | None) -> float:
    if held is not None:
        return float(pca.fit(rows).score(held))
    return float(np.mean(cross_val_score(pca, rows, cv=min(5, len(rows) // 2))))
