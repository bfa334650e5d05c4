"""Averages of near training windows under dynamic time warping."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from gluonts_dualkl.evaluation.baselines.base import Baseline

__all__ = ["DtwBarycentres"]


@dataclass(eq=False)
class DtwBarycentres(Baseline):
    """Weighted barycentre, by dynamic time warping, of a window and some neighbours.

    A draw starts from a random training window and takes ``num_neighbors`` of its
    ``2 num_neighbors`` nearest ones by DTW. Weights fall with the distance,
    ``w_j = exp(log(1/2) d_j / d_1) u_j``, so that the nearest has half the weight of
    the window itself; ``u_j`` is exponential. The barycentre is that of DBA (Petitjean
    et al. 2011), channels warped together, in units of their deviations. Forestier,
    Petitjean, Dau, Webb & Keogh (2017), "Generating synthetic time series to augment
    sparse datasets", where this is ASD, "average selected with distance".

    The random choice and the factor ``u`` are our construction: ASD has one average a
    window. Distances and averages are those of ``tslearn``. What takes time is bounded
    by counts, not by a clock, so that draws stay reproducible: paths keep within
    ``band`` of the diagonal, and DBA stops after ``max_iterations``. An average lies
    among its members, so draws are too smooth where windows are noisy, and mostly
    nearer to training windows than real ones are: a copier by the harness's limit.

    Parameters
    ----------
    num_neighbors
        Neighbours averaged with a window.
    max_iterations
        Of DBA.
    band
        Share of the window by which steps may be moved (Sakoe & Chiba 1978).
    """

    grid: ClassVar[tuple[Mapping[str, Any], ...]] = tuple(
        {"num_neighbors": k} for k in (2, 5, 15)
    )

    num_neighbors: int = 2
    max_iterations: int = 5
    band: float = 0.15

    def _fit(self, windows: np.ndarray, validation: np.ndarray | None) -> None:
        self._check()
        spread = windows.std((0, 1))
        self._mean = windows.mean((0, 1))
        self._scale = np.where(spread > 1e-12 * (1 + np.abs(self._mean)), spread, 1.0)
        self._unit = (windows - self._mean) / self._scale
        distances = self._distances()
        num = min(2 * self.num_neighbors, len(windows) - 1)
        self._near = distances.argsort(axis=1, kind="stable")[:, :num]
        self._away = np.take_along_axis(distances, self._near, axis=1)

    def _check(self) -> None:
        if self.num_neighbors < 1:
            raise ValueError(f"num_neighbors: {self.num_neighbors}, expected 1 or more")
        if self.max_iterations < 1:
            raise ValueError(
                f"max_iterations: {self.max_iterations}, expected 1 or more"
            )
        if not 0 < self.band <= 1:
            raise ValueError(f"band: {self.band}, expected above 0 and at most 1")

    @property
    def _path(self) -> dict[str, Any]:
        """What warping is allowed."""
        radius = max(1, round(self.band * self._unit.shape[1]))
        return {"global_constraint": "sakoe_chiba", "sakoe_chiba_radius": radius}

    def _distances(self) -> np.ndarray:
        """DTW distances of all pairs, ``(N, N)``; infinite to itself."""
        distances = _tslearn().metrics.cdist_dtw(self._unit, **self._path)
        np.fill_diagonal(distances, np.inf)
        return distances

    def _sample(self, num_samples: int, rng: np.random.Generator) -> np.ndarray:
        drawn = np.stack([self._average(rng) for _ in range(num_samples)])
        return self._mean + self._scale * drawn

    def _average(self, rng: np.random.Generator) -> np.ndarray:
        """One barycentre ``(T, C)``."""
        first = rng.integers(len(self._unit))
        width = self._near.shape[1]
        taken = rng.permutation(width)[: self.num_neighbors]
        away = self._away[first]
        ratio = away[taken] / max(away.min(), 1e-12)
        weights = np.exp(np.log(0.5) * ratio) * rng.standard_exponential(len(taken))
        members = self._unit[[first, *self._near[first, taken]]]
        return _tslearn().barycenters.dtw_barycenter_averaging(
            members,
            init_barycenter=members[0],
            weights=np.array([1.0, *weights]),
            max_iter=self.max_iterations,
            metric_params=self._path,
        )


def _tslearn() -> Any:
    """The package; its remark that h5py is missing is none of the caller's business."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "h5py not installed", UserWarning)
        import tslearn.barycenters
        import tslearn.metrics
    return tslearn
