"""Forecasters to augment for: ``fit(train, validation, horizon)``, then ``predict``.

A window of ``T`` steps is a context of ``T - H`` and a horizon of ``H``. Ridge and
seasonal naive are closed-form and live here; those of GluonTS are in
:mod:`~gluonts_dualkl.evaluation.forecasting.forecasters_torch` and imported when they
are named.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib import import_module

import numpy as np
from scipy.stats import norm

from gluonts_dualkl.evaluation.forecasting.scores import LEVELS

__all__ = ["FORECASTERS", "Forecaster", "Ridge", "SeasonalNaive", "make_forecaster"]


@dataclass(eq=False)
class Forecaster(ABC):
    """A forecaster of the last steps of windows ``(N, T, C)`` from the steps before.

    A subclass is a dataclass whose fields are its hyperparameters.
    """

    horizon: int = field(default=0, init=False, repr=False)

    def fit(
        self,
        train: np.ndarray,
        validation: np.ndarray,
        horizon: int,
        season: int = 1,
        seed: int = 0,
    ) -> Forecaster:
        """Learn from windows.

        Parameters
        ----------
        train
            Windows ``(N, T, C)``, real, synthetic or both.
        validation
            Real windows ``(M, T, C)``, the same whatever is trained on: they choose
            hyperparameters or the checkpoint, and the width of the intervals.
        horizon
            Steps ``H`` to forecast, the last of every window.
        season
            Steps of a season.
        seed
            Seed of training.

        Raises
        ------
        ValueError
            If shapes or numbers do not fit.
        """
        for name, x in (("train", train), ("validation", validation)):
            if x.ndim != 3 or not len(x) or x.shape[1:] != train.shape[1:]:
                raise ValueError(
                    f"{name}: shape {x.shape}, expected (n, T, C) with n > 0 and the T "
                    "and C of train"
                )
        if not 1 <= horizon <= train.shape[1] - 2:
            raise ValueError(
                f"horizon: {horizon}, expected 1 to {train.shape[1] - 2} for windows "
                f"of {train.shape[1]} steps"
            )
        if season < 1:
            raise ValueError(f"season: {season}, expected 1 or more")
        self.horizon = horizon
        self._fit(train, validation, season, seed)
        return self

    def predict(self, past: np.ndarray, seed: int = 0) -> np.ndarray:
        """Quantiles ``(n, Q, H, C)`` at ``LEVELS`` after contexts ``(n, T - H, C)``."""
        if not self.horizon:
            raise ValueError(
                f"this {type(self).__name__} is not fitted; call fit first"
            )
        return self._predict(past, seed)

    @abstractmethod
    def _fit(
        self, train: np.ndarray, validation: np.ndarray, season: int, seed: int
    ) -> None:
        """Learn from checked windows."""

    @abstractmethod
    def _predict(self, past: np.ndarray, seed: int) -> np.ndarray:
        """Forecast."""


class _Normal(Forecaster):
    """Point forecasts with normal errors, whose deviations come from validation.

    With few validation windows the deviations are ``a_c b_h``: one for each channel
    times one for each step.
    """

    _deviation: np.ndarray

    @abstractmethod
    def _point(self, past: np.ndarray) -> np.ndarray:
        """Point forecasts ``(n, H, C)``."""

    def _learn_errors(self, validation: np.ndarray) -> None:
        error = validation[:, -self.horizon :] - self._point(
            validation[:, : -self.horizon]
        )
        channel = np.sqrt((error**2).mean((0, 1)))
        unit = error / np.where(channel > 0, channel, 1)
        step = np.sqrt((unit**2).mean((0, 2)))
        self._deviation = step[:, None] * channel

    def _predict(self, past: np.ndarray, seed: int) -> np.ndarray:
        shift = norm.ppf(LEVELS)[:, None, None] * self._deviation
        return self._point(past)[:, None] + shift


@dataclass(eq=False)
class SeasonalNaive(_Normal):
    """The last season again; the last value where the context is shorter.

    It learns nothing from train, so augmentation cannot change it: a check.
    """

    def _fit(
        self, train: np.ndarray, validation: np.ndarray, season: int, seed: int
    ) -> None:
        context = train.shape[1] - self.horizon
        self._season = season if season <= context else 1
        self._learn_errors(validation)

    def _point(self, past: np.ndarray) -> np.ndarray:
        steps = np.arange(self.horizon) % self._season - self._season
        return past[:, steps]


@dataclass(eq=False)
class Ridge(_Normal):
    r"""Linear vector autoregression over the whole context, all steps at once.

    The change of every channel from its last value to each step of the horizon is
    linear in all values of the context; coefficients minimise
    :math:`\frac1N\|Y - XB\|^2 + \lambda\|B\|^2` after centring, in deviations of the
    channels. The penalty is on the *mean* error, so that copies of the training windows
    leave the model exactly as it was. Closed form by the singular values of ``X``;
    :math:`\lambda` has the smallest error on validation.

    Parameters
    ----------
    penalties
        Values of :math:`\lambda` to choose from.
    """

    penalties: tuple[float, ...] = tuple(float(x) for x in np.logspace(-3, 3, 13))

    def _fit(
        self, train: np.ndarray, validation: np.ndarray, season: int, seed: int
    ) -> None:
        scale = train.std((0, 1))
        self._scale = np.where(scale > 0, scale, 1.0)
        x, y = self._pair(train)
        self._x_mean, self._y_mean = x.mean(0), y.mean(0)
        u, s, vt = np.linalg.svd(x - self._x_mean, full_matrices=False)
        aims = u.T @ (y - self._y_mean)
        held_x, held_y = self._pair(validation)
        held = (held_x - self._x_mean) @ vt.T
        shrunk = [
            (s / (s**2 + len(x) * penalty))[:, None] * aims
            for penalty in self.penalties
        ]
        errors = [((held @ b + self._y_mean - held_y) ** 2).mean() for b in shrunk]
        self.penalty = self.penalties[int(np.argmin(errors))]
        self._weights = vt.T @ shrunk[int(np.argmin(errors))]
        self._learn_errors(validation)

    def _pair(self, windows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Contexts ``(n, (T - H) C)`` and changes ``(n, H C)``, in deviations."""
        unit = windows / self._scale
        change = unit[:, -self.horizon :] - unit[:, [-self.horizon - 1]]
        past = unit[:, : -self.horizon]
        return past.reshape(len(unit), -1), change.reshape(len(unit), -1)

    def _point(self, past: np.ndarray) -> np.ndarray:
        rows = (past / self._scale).reshape(len(past), -1) - self._x_mean
        change = (rows @ self._weights + self._y_mean).reshape(
            len(past), self.horizon, -1
        )
        return past[:, [-1]] + change * self._scale


def _torch(name: str) -> Callable[[], Forecaster]:
    def make() -> Forecaster:
        home = "gluonts_dualkl.evaluation.forecasting.forecasters_torch"
        return getattr(import_module(home), name)()

    return make


FORECASTERS: dict[str, Callable[[], Forecaster]] = {
    "ridge": Ridge,
    "seasonal_naive": SeasonalNaive,
    "deepar": _torch("DeepAR"),
    "simple_feed_forward": _torch("SimpleFeedForward"),
    "patch_tst": _torch("PatchTST"),
    "i_transformer": _torch("ITransformer"),
}


def make_forecaster(name: str) -> Forecaster:
    """A forecaster with its default settings; ``ValueError`` for unknown names."""
    if name not in FORECASTERS:
        raise ValueError(
            f"no forecaster {name!r}, choose from {', '.join(FORECASTERS)}"
        )
    return FORECASTERS[name]()
