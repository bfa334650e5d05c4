"""Our generator for augmentation: what the draws need, and no divergence.

A series of the default path is a walk on the recombination reference under the tilt of
the last leg. The leg below it, from the Gaussian law to recombined series, the
normalisers and the cross-fitting serve nats and levels alone. Left out, a fit costs a
third to a seventh of one path, and the law of the draws is the same.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from gluonts_dualkl.devices import resolve_device
from gluonts_dualkl.estimator import MIN_SERIES
from gluonts_dualkl.evaluation.baselines import Baseline
from gluonts_dualkl.models.base import NUM_STEPS
from gluonts_dualkl.models.recombination import DualModel
from gluonts_dualkl.threads import single_threaded

__all__ = ["DualKLDraws"]


@dataclass(eq=False)
class DualKLDraws(Baseline):
    """The default path of :class:`~gluonts_dualkl.DualKLEstimator`, draws only.

    Parameters
    ----------
    seed
        Seed of training.
    mean_block, max_rounds, num_walkers, num_steps
        See the estimator.
    device
        ``"auto"``, ``"cpu"`` or ``"cuda"``.
    """

    seed: int = 0
    mean_block: float | None = None
    max_rounds: int = 16
    num_walkers: int = 600
    num_steps: int = NUM_STEPS
    device: str = "cpu"

    def _fit(self, windows: np.ndarray, validation: np.ndarray | None) -> None:
        if len(windows) < MIN_SERIES:
            raise ValueError(
                f"windows: {len(windows)}, but dualkl learns from at least "
                f"{MIN_SERIES}; give more series"
            )
        self._varies = np.ptp(windows, axis=(0, 1)) > 0
        if not self._varies.any():
            raise ValueError("windows: every channel is constant, nothing to learn")
        values = windows[:, :, self._varies].astype(np.float32)
        with single_threaded():
            self._model = DualModel.fit(
                values,
                self._source(self.seed),
                self.mean_block,
                self.max_rounds,
                num_walkers=self.num_walkers,
                draw_only=True,
            )

    def _sample(self, num_samples: int, rng: np.random.Generator) -> np.ndarray:
        source = self._source(int(rng.integers(2**31)))
        with single_threaded():
            z = self._model.draw(num_samples, self.num_steps, source).z
        drawn = np.tile(self._train[0], (num_samples, 1, 1))
        drawn[:, :, self._varies] = self._model.marginals.from_normal(z).cpu().numpy()
        return drawn

    def _source(self, seed: int) -> torch.Generator:
        return torch.Generator(resolve_device(self.device)).manual_seed(seed)
