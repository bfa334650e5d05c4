"""Block bootstraps over the windows, and surrogates with the phases drawn anew."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from arch.bootstrap import (
    MovingBlockBootstrap,
    StationaryBootstrap,
    optimal_block_length,
)

from gluonts_dualkl.evaluation.baselines.units import UnitBaseline
from gluonts_dualkl.evaluation.oracles import balanced_indices

__all__ = ["MovingBlocks", "PhaseSurrogates", "StationaryBlocks"]

Grid = tuple[Mapping[str, Any], ...]
_GRID: Grid = tuple(
    {"differences": taken, "block_length": steps}
    for taken in (False, True)
    for steps in (None, 4, 8)
)


@dataclass(eq=False)
class MovingBlocks(UnitBaseline):
    """Blocks of fixed length from random windows, one after the other.

    ``aligned`` blocks keep their place in the window: steps ``t`` to ``t + l - 1`` come
    from the same steps of a random window, after a first block of random length, as in
    the local bootstrap for periodic data of Dudek et al. (2014). Otherwise the windows
    are put in one record and blocks start anywhere in it: Künsch (1989), "The jackknife
    and the bootstrap for general stationary observations".

    Parameters
    ----------
    differences
        See :class:`~gluonts_dualkl.evaluation.baselines.units.UnitBaseline`: blocks of
        increments join without a jump.
    block_length
        Steps ``l``; by default the rule of Politis & White (2004) for the pooled
        standardised windows, from 2 to half a window.
    aligned
        Whether blocks keep their place in the window.
    """

    block_length: int | None = None
    aligned: bool = True
    grid: ClassVar[Grid] = _GRID

    def _learn(self, unit: np.ndarray, validation: np.ndarray | None) -> None:
        self._windows = unit
        self._length = self.block_length or _block_length(unit, self._column)

    _column: ClassVar[str] = "circular"
    _pooled: ClassVar[type] = MovingBlockBootstrap

    def _draw(self, num_samples: int, rng: np.random.Generator) -> np.ndarray:
        if not self.aligned:
            return self._draw_record(num_samples, rng)
        length = self._windows.shape[1]
        begins = self._begins(num_samples, length, rng)
        begins[:, 0] = True
        donors = _balanced_donors(begins, len(self._windows), rng)
        return self._windows[donors, np.arange(length)]

    def _begins(
        self, num_samples: int, length: int, rng: np.random.Generator
    ) -> np.ndarray:
        """Whether a block begins at a step, ``(n, T)``."""
        offset = rng.integers(self._length, size=(num_samples, 1))
        return (np.arange(length) + offset) % self._length == 0

    def _draw_record(self, num_samples: int, rng: np.random.Generator) -> np.ndarray:
        """Windows of resampled records of all windows in a row."""
        windows = self._windows
        record = windows.reshape(-1, windows.shape[2])
        source = self._pooled(min(self._length, len(record) // 2), record, seed=rng)
        rounds = -(-num_samples // len(windows))
        drawn = [data[0][0] for data in source.bootstrap(rounds)]
        return np.concatenate(drawn).reshape(-1, *windows.shape[1:])[:num_samples]


@dataclass(eq=False)
class StationaryBlocks(MovingBlocks):
    """Blocks of geometric length: a new block begins with probability ``1 / l``.

    Politis & Romano (1994), "The stationary bootstrap". See :class:`MovingBlocks` for
    ``aligned``.

    Parameters
    ----------
    differences
        See :class:`~gluonts_dualkl.evaluation.baselines.units.UnitBaseline`: blocks of
        increments join without a jump.
    block_length
        Mean length ``l`` of a block, by default the rule of Politis & White (2004).
    aligned
        Whether blocks keep their place in the window.
    """

    _column: ClassVar[str] = "stationary"
    _pooled: ClassVar[type] = StationaryBootstrap

    def _begins(
        self, num_samples: int, length: int, rng: np.random.Generator
    ) -> np.ndarray:
        return rng.random((num_samples, length)) < 1 / self._length


def _balanced_donors(
    begins: np.ndarray, num: int, rng: np.random.Generator
) -> np.ndarray:
    """Window of every step, ``(n, T)``, where blocks begin as ``begins`` says.

    Among ``num`` draws every window has a part in each step once: where blocks begin,
    the draws exchange their windows.
    """
    size, length = begins.shape
    batch = np.arange(size) // num
    donors = np.empty((size, length), dtype=int)
    donors[:, 0] = balanced_indices(num, size, rng)
    for t in range(1, length):
        rows = np.flatnonzero(begins[:, t])
        order = np.lexsort((rng.random(len(rows)), batch[rows]))
        donors[:, t] = donors[:, t - 1]
        donors[rows, t] = donors[rows[order], t - 1]
    return donors


def _block_length(unit: np.ndarray, column: str) -> int:
    """Median over channels of the rule of Politis & White, 2 to T / 2 steps."""
    record = unit.reshape(-1, unit.shape[2])
    varying = record[:, record.std(0) > 0]
    if not varying.shape[1]:
        return 2
    best = np.median(optimal_block_length(varying)[column])
    return int(np.clip(round(float(best)), 2, max(2, unit.shape[1] // 2)))


@dataclass(eq=False)
class PhaseSurrogates(UnitBaseline):
    """A training window with one random phase a frequency, the same in all channels.

    ``Z_f -> Z_f exp(i phi_f)`` with ``phi_f`` uniform, on standardised pixels: the
    periodogram and the cross-spectra of the window stay, everything that is not linear
    goes. Each window keeps its own mean, of increments where ``differences`` says so.
    Prichard & Theiler (1994), "Generating surrogate data for time series with several
    simultaneously measured variables".
    """

    grid: ClassVar[Grid] = ({"differences": False}, {"differences": True})

    def _learn(self, unit: np.ndarray, validation: np.ndarray | None) -> None:
        self._length = unit.shape[1]
        self._spectra = np.fft.rfft(unit, axis=1)

    def _draw(self, num_samples: int, rng: np.random.Generator) -> np.ndarray:
        num, frequencies, _ = self._spectra.shape
        length = self._length
        phase = rng.uniform(0, 2 * np.pi, (num_samples, frequencies, 1))
        phase[:, 0] = 0
        if length % 2 == 0:
            phase[:, -1] = np.pi * rng.integers(2, size=(num_samples, 1))
        chosen = self._spectra[balanced_indices(num, num_samples, rng)]
        return np.fft.irfft(chosen * np.exp(1j * phase), n=length, axis=1)
