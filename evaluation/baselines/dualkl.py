"""Our generator behind the interface of the baselines."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from gluonts_dualkl.evaluation.baselines.base import Baseline
from gluonts_dualkl.generator import DualKLGenerator
from gluonts_dualkl.models.base import NUM_STEPS

__all__ = ["DualKL"]

_FOLDER = "generator"


@dataclass(eq=False)
class DualKL(Baseline):
    """:class:`~gluonts_dualkl.DualKLEstimator` on windows of unknown frequency.

    Parameters
    ----------
    seed
        Seed of training.
    mean_block
        Mean steps of a donor, see the estimator.
    max_rounds
        Most boosting rounds of a leg of the path.
    num_walkers
        Walkers during training.
    num_steps
        Moves of the walk behind every series.
    num_folds
        Folds of the cross-fitted divergence. The series do not depend on it; two keep
        the time of training close to that of the generator alone.
    device
        ``"auto"``, ``"cpu"`` or ``"cuda"``.
    """

    seed: int = 0
    mean_block: float | None = None
    max_rounds: int = 16
    num_walkers: int = 600
    num_steps: int = NUM_STEPS
    num_folds: int = 2
    device: str = "cpu"

    def _fit(self, windows: np.ndarray, validation: np.ndarray | None) -> None:
        from gluonts.env import env

        from gluonts_dualkl import DualKLEstimator, dataset_from_array

        # any frequency will do: the model sees steps, not dates
        data = dataset_from_array(windows, freq="h")
        held = None if validation is None else dataset_from_array(validation, "h")
        with env._let(use_tqdm=False):
            estimator = DualKLEstimator(**self.arguments)
            self._generator: DualKLGenerator = estimator.train(data, held)

    def _sample(self, num_samples: int, rng: np.random.Generator) -> np.ndarray:
        seed = int(rng.integers(2**31))
        return self._generator.sample(num_samples, seed=seed).astype(float)

    def _save(self, folder: Path) -> None:
        self._generator.serialize(folder / _FOLDER)

    def _load(self, folder: Path) -> None:
        self._generator = DualKLGenerator.deserialize(
            folder / _FOLDER, device=self.device
        )
        self.windows = np.array(self._generator.train_values, dtype=float)
