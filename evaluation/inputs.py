"""Door checks of the harness: series in, arrays ``(n, T, C)`` out, or one sentence."""

from __future__ import annotations

from typing import Any

import numpy as np

from gluonts_dualkl.types import DataEntry
from gluonts_dualkl.windows import dataset_to_array

__all__ = ["as_series", "check_sets"]

_MINIMUM = 10
_SHORTEST = 6
_FACTOR = 50.0


def as_series(data: Any, name: str) -> np.ndarray:
    """Array ``(n, T, C)`` in float64 from an array or a GluonTS dataset.

    Parameters
    ----------
    data
        Array ``(n, T, C)`` or ``(n, T)``, or an iterable of entries whose ``"target"``
        is ``(C, T)`` or ``(T,)``, all of one length.
    name
        Argument name that errors carry.
    """
    if not isinstance(data, np.ndarray):
        data = list(data)
        if data and isinstance(data[0], dict):
            data = _targets(data, name)
    try:
        x = np.asarray(data, dtype=float)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"{name}: cannot be read as an array (n, T, C) or as a GluonTS "
            f"dataset: {error}"
        ) from error
    if x.ndim == 2:
        x = x[..., None]
    if x.ndim != 3:
        raise ValueError(f"{name}: shape {x.shape}, expected (n, T, C)")
    return x


def _targets(entries: list[DataEntry], name: str) -> np.ndarray:
    try:
        return dataset_to_array(entries)
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from error


def check_sets(train: np.ndarray, held_out: np.ndarray, synthetic: np.ndarray) -> None:
    """Raise a ``ValueError`` that says which set cannot be compared, and why."""
    sets = {"train": train, "held_out": held_out, "synthetic": synthetic}
    for name, x in sets.items():
        _check_one(x, name)
        if x.shape[1] != train.shape[1]:
            raise ValueError(
                f"{name}: series of {x.shape[1]} steps, but train has "
                f"{train.shape[1]}; cut both into windows of one length"
            )
        if x.shape[2] != train.shape[2]:
            raise ValueError(
                f"{name}: {x.shape[2]} channels, but train has {train.shape[2]}; "
                "pass the same channels in the same order"
            )
    for name in ("held_out", "synthetic"):
        _check_units(sets[name], train, name)


def _check_one(x: np.ndarray, name: str) -> None:
    if len(x) < _MINIMUM:
        raise ValueError(
            f"{name}: {len(x)} series, at least {_MINIMUM} are needed to say anything; "
            "cut long series into windows"
        )
    if x.shape[1] < _SHORTEST:
        raise ValueError(
            f"{name}: series of {x.shape[1]} steps, at least {_SHORTEST} are needed"
        )
    bad = ~np.isfinite(x)
    if bad.any():
        channels = np.flatnonzero(bad.any(axis=(0, 1))).tolist()
        raise ValueError(
            f"{name}: {bad.any(axis=(1, 2)).sum()} of {len(x)} series hold NaN or "
            f"infinite values (channels {channels}); drop or fill them first"
        )


def _check_units(x: np.ndarray, train: np.ndarray, name: str) -> None:
    spread, own = x.std(axis=(0, 1)), train.std(axis=(0, 1))
    offset = np.abs(x.mean(axis=(0, 1)) - train.mean(axis=(0, 1)))
    for c in np.flatnonzero(own > 0):
        factor = spread[c] / own[c]
        if factor > _FACTOR or 0 < factor < 1 / _FACTOR or offset[c] > _FACTOR * own[c]:
            raise ValueError(
                f"{name}: channel {c} has mean {x[..., c].mean():.4g} and deviation "
                f"{spread[c]:.4g}, train has {train[..., c].mean():.4g} and "
                f"{own[c]:.4g}; pass both in the same units"
            )
