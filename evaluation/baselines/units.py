"""The representation that most models work in: standardised levels or increments."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass

import numpy as np

from gluonts_dualkl.evaluation.baselines.base import Baseline, pixel_scale

__all__ = ["UnitBaseline"]

_PERSISTENT = 0.9


@dataclass(eq=False)
class UnitBaseline(Baseline):
    """A baseline that sees standardised pixels, of increments where levels persist.

    A channel is ``(x_1, ..., x_T)``, or ``(x_1, x_2 - x_1, ..., x_T - x_{T-1})`` if it
    is differenced; either way ``z = (x - m_t) / s_t`` pixel by pixel. White noise and
    joins, which shrinkage, kernels and blocks bring in, would make a persistent level
    far too rough, while in its increments they are small.

    Parameters
    ----------
    differences
        Whether to take increments; by default in the channels whose standardised
        levels have a lag-one autocorrelation above 0.9.
    """

    differences: bool | None = None

    def _fit(self, windows: np.ndarray, validation: np.ndarray | None) -> None:
        self._differenced = _persistent(windows, self.differences)
        self._mean, self._deviation = pixel_scale(self._encode(windows))
        held = None if validation is None else self._unit(validation)
        self._learn(self._unit(windows), held)

    def _sample(self, num_samples: int, rng: np.random.Generator) -> np.ndarray:
        drawn = self._draw(num_samples, rng).reshape(num_samples, *self._mean.shape)
        x = self._mean + self._deviation * drawn
        x[..., self._differenced] = x[..., self._differenced].cumsum(1)
        return x

    @abstractmethod
    def _learn(self, unit: np.ndarray, validation: np.ndarray | None) -> None:
        """Learn from standardised windows ``(N, T, C)``."""

    @abstractmethod
    def _draw(self, num_samples: int, rng: np.random.Generator) -> np.ndarray:
        """Draw standardised windows, ``(n, T, C)`` or rows ``(n, T C)``."""

    def _encode(self, windows: np.ndarray) -> np.ndarray:
        x = windows.copy()
        x[:, 1:, self._differenced] = np.diff(windows[..., self._differenced], axis=1)
        return x

    def _unit(self, windows: np.ndarray) -> np.ndarray:
        return (self._encode(windows) - self._mean) / self._deviation


def _persistent(windows: np.ndarray, differences: bool | None) -> np.ndarray:
    """Which channels are differenced, ``(C,)``."""
    if differences is not None:
        return np.full(windows.shape[2], differences)
    mean, deviation = pixel_scale(windows)
    z = (windows - mean) / deviation
    power = np.maximum((z**2).mean((0, 1)), 1e-12)
    return (z[:, 1:] * z[:, :-1]).mean((0, 1)) / power > _PERSISTENT
