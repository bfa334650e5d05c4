"""What every generator of the benchmark offers: fit, sample, save and load."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import numpy as np

from gluonts_dualkl.data.destinations import atomic_path
from gluonts_dualkl.evaluation.oracles import snap_discrete

__all__ = ["Baseline", "draw_shrunk", "pixel_scale", "shrinkage_of"]

SIGN = "baseline.json"
STATE = "windows.npz"
_SPAN = 4.0
_MINIMUM = 4

Self = TypeVar("Self", bound="Baseline")


@dataclass(eq=False)
class Baseline(ABC):
    """A generator of windows, named and configured by its constructor arguments.

    A subclass is a dataclass whose fields are its hyperparameters. It implements
    ``_fit`` and ``_sample``; arguments are checked here. A subclass with a state that
    cannot be computed again from the windows overrides ``_save`` and ``_load``.

    Attributes
    ----------
    grid
        Arguments that :func:`~gluonts_dualkl.evaluation.baselines.tune` tries.
    windows
        Training windows ``(N, T, C)`` in original units, float64, once fitted.
    validation
        Validation windows ``(M, T, C)``, if there were any.
    """

    grid: ClassVar[tuple[Mapping[str, Any], ...]] = ()
    windows: np.ndarray | None = field(default=None, init=False, repr=False)
    validation: np.ndarray | None = field(default=None, init=False, repr=False)

    def fit(
        self: Self, windows: np.ndarray, validation: np.ndarray | None = None
    ) -> Self:
        """Learn from windows.

        Parameters
        ----------
        windows
            Training windows ``(N, T, C)`` in original units, at least 4 by 4 steps.
        validation
            Windows ``(M, T, C)`` for early stopping or for the choice of a
            hyperparameter, by those that make use of them; never trained on.

        Raises
        ------
        ValueError
            If the shape is another, or values are missing.
        """
        self.windows = _checked(windows, "windows")
        if validation is not None:
            validation = _checked(validation, "validation", 1)
            if validation.shape[1:] != self.windows.shape[1:]:
                raise ValueError(
                    f"validation: series of shape {validation.shape[1:]}, but windows "
                    f"have {self.windows.shape[1:]}; cut both alike"
                )
        self.validation = validation
        self._fit(self.windows, validation)
        return self

    def sample(self, num_samples: int, seed: int = 0) -> np.ndarray:
        """Draw windows ``(n, T, C)`` in original units; same seed, same windows.

        Channels of few distinct values return on the values that they take.
        """
        if num_samples < 1:
            raise ValueError(f"num_samples: {num_samples}, expected 1 or more")
        if seed < 0:
            raise ValueError(f"seed: {seed}, expected 0 or more")
        train = self._train
        drawn = self._sample(num_samples, np.random.default_rng([seed, 7]))
        return snap_discrete(_bounded(drawn, train), train)

    def save(self, path: str | Path, force: bool = False) -> None:
        """Write arguments and state to a new folder, complete or not at all."""
        self._train  # noqa: B018  raises before anything is written
        with atomic_path(path, force, SIGN) as folder:
            folder.mkdir()
            about = {"baseline": type(self).__name__, "arguments": self.arguments}
            (folder / SIGN).write_text(json.dumps(about, indent=2) + "\n")
            self._save(folder)

    @classmethod
    def load(cls: type[Self], path: str | Path) -> Self:
        """Read what :meth:`save` wrote; no code from the folder is run."""
        folder = Path(path)
        if not (folder / SIGN).is_file():
            raise FileNotFoundError(f"there is no saved baseline in {str(folder)!r}")
        about = json.loads((folder / SIGN).read_text())
        if about.get("baseline") != cls.__name__:
            raise ValueError(
                f"{str(folder)!r} holds a {about.get('baseline')}, not a {cls.__name__}"
            )
        baseline = cls(**about["arguments"])
        baseline._load(folder)
        return baseline

    @classmethod
    def lacks(cls) -> str:
        """What has to be installed before this baseline can be fitted, or ``""``."""
        return ""

    @property
    def arguments(self) -> dict[str, Any]:
        """Constructor arguments."""
        return {f.name: getattr(self, f.name) for f in fields(self) if f.init}

    @property
    def _train(self) -> np.ndarray:
        if self.windows is None:
            raise ValueError(
                f"this {type(self).__name__} is not fitted; call fit first"
            )
        return self.windows

    @abstractmethod
    def _fit(self, windows: np.ndarray, validation: np.ndarray | None) -> None:
        """Learn from checked windows ``(N, T, C)``."""

    @abstractmethod
    def _sample(self, num_samples: int, rng: np.random.Generator) -> np.ndarray:
        """Draw windows ``(n, T, C)``."""

    def _save(self, folder: Path) -> None:
        """Write the state: fitting is deterministic, so the windows are enough."""
        known = {"windows": self.windows, "validation": self.validation}
        arrays = {name: x for name, x in known.items() if x is not None}
        np.savez_compressed(folder / STATE, **arrays)  # type: ignore[arg-type]

    def _load(self, folder: Path) -> None:
        with np.load(folder / STATE, allow_pickle=False) as state:
            self.fit(state["windows"], state.get("validation"))


def _checked(windows: np.ndarray, name: str, minimum: int = _MINIMUM) -> np.ndarray:
    x = np.array(windows, dtype=float)
    if x.ndim != 3:
        raise ValueError(f"{name}: shape {x.shape}, expected (N, T, C)")
    if len(x) < minimum or x.shape[1] < 4 or not x.shape[2]:
        raise ValueError(
            f"{name}: {len(x)} series of {x.shape[1]} steps and {x.shape[2]} channels, "
            f"at least {minimum} series of 4 steps and one channel are needed"
        )
    if not np.isfinite(x).all():
        raise ValueError(f"{name}: NaN or infinite values; drop or fill them first")
    return x


def _bounded(x: np.ndarray, train: np.ndarray) -> np.ndarray:
    """Keep values within ``_SPAN`` ranges of the channel, whatever a model blew up to.

    No law that stays near the data is touched; a recursion that explodes would
    otherwise turn every later number into an overflow.
    """
    low, high = train.min((0, 1)), train.max((0, 1))
    reach = _SPAN * (high - low)
    return np.clip(x, low - reach, high + reach)


def pixel_scale(windows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and deviation ``(T, C)`` of every pixel; 1 where it is constant."""
    mean, deviation = windows.mean(0), windows.std(0)
    return mean, np.where(deviation > 1e-12 * (1 + np.abs(mean)), deviation, 1.0)


def shrinkage_of(unit: np.ndarray) -> float:
    """Ledoit-Wolf weight of the identity for rows ``(N, d)`` of mean zero.

    Ledoit & Wolf (2004), "A well-conditioned estimator for large-dimensional
    covariance matrices".
    """
    from sklearn.covariance import ledoit_wolf_shrinkage

    return float(ledoit_wolf_shrinkage(unit, assume_centered=True))


def draw_shrunk(
    unit: np.ndarray, num_samples: int, rng: np.random.Generator
) -> np.ndarray:
    """Normal rows ``(n, d)`` with the shrunk covariance of the rows ``unit``.

    ``(1 - s) S + s tr(S)/d I`` is drawn as ``sqrt(1 - s) G unit / sqrt(N)`` plus white
    noise, without forming the matrix ``S`` of rank ``N``.
    """
    shrinkage = shrinkage_of(unit)
    mixed = rng.standard_normal((num_samples, len(unit))) @ unit / np.sqrt(len(unit))
    noise = rng.standard_normal((num_samples, unit.shape[1]))
    spread = np.sqrt(shrinkage * (unit**2).mean())
    return np.sqrt(1 - shrinkage) * mixed + spread * noise
