"""Door checks of the harness: series in, arrays ``(n, T, C)`` out, or one sentence."""

from __future__ import annotations

from typing import Any

import numpy as np

from gluonts_dualkl.data.windows import dataset_to_array
from gluonts_dualkl.types import DataEntry

__all__ = ["as_series", "as_sets", "check_sets", "fill_missing"]

_MINIMUM = 10
_SHORTEST = 6
_FACTOR = 50.0


def as_sets(
    train: Any, held_out: Any, synthetic: Any, missing: bool = False
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Three sets by :func:`as_series`; lengths made equal by NaN if ``missing``.

    Shorter series are padded with NaN at their end, to the longest of the three sets.
    """
    named = {"train": train, "held_out": held_out, "synthetic": synthetic}
    sets = [as_series(x, name, missing) for name, x in named.items()]
    if missing:
        length = max(x.shape[1] for x in sets)
        sets = [
            np.pad(
                x, ((0, 0), (0, length - x.shape[1]), (0, 0)), constant_values=np.nan
            )
            for x in sets
        ]
    first, second, third = sets
    return first, second, third


def fill_missing(x: np.ndarray) -> np.ndarray:
    """Series ``(n, T, C)`` with NaN replaced by the mean of their channel."""
    gaps = np.isnan(x)
    return np.where(gaps, np.nanmean(x, axis=(0, 1)), x) if gaps.any() else x


def as_series(data: Any, name: str, missing: bool = False) -> np.ndarray:
    """Array ``(n, T, C)`` in float64 from an array or a GluonTS dataset.

    Parameters
    ----------
    data
        Array ``(n, T, C)`` or ``(n, T)``, or an iterable of entries whose ``"target"``
        is ``(C, T)`` or ``(T,)``, all of one length.
    name
        Argument name that errors carry.
    missing
        Whether series of several lengths are padded with NaN at their end.
    """
    if not isinstance(data, np.ndarray):
        data = list(data)
        if missing:
            data = _padded(data, name)
        elif data and isinstance(data[0], dict):
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


def _padded(data: list[Any], name: str) -> np.ndarray:
    """Array ``(n, T, C)`` of entries, or of series ``(T, C)`` or ``(T,)``."""
    try:
        if data and isinstance(data[0], dict):
            series = [np.atleast_2d(np.asarray(e["target"], float)).T for e in data]
        else:
            series = [np.asarray(x, dtype=float) for x in data]
            series = [x[:, None] if x.ndim == 1 else x for x in series]
        out = np.full((len(series), max(map(len, series)), series[0].shape[1]), np.nan)
        for k, x in enumerate(series):
            out[k, : len(x)] = x
    except (IndexError, KeyError, TypeError, ValueError) as error:
        raise ValueError(
            f"{name}: cannot be read as series of one number of channels: {error}"
        ) from error
    return out


def check_sets(
    train: np.ndarray,
    held_out: np.ndarray,
    synthetic: np.ndarray,
    missing: bool = False,
    same_units: bool = False,
) -> None:
    """Raise a ``ValueError`` that says which set cannot be compared, and why.

    NaN are an error unless ``missing``; infinite values and channels without a value
    always are. Scales that are far apart are an error unless sets are known to have
    the ``same_units``.
    """
    sets = {"train": train, "held_out": held_out, "synthetic": synthetic}
    for name, x in sets.items():
        _check_one(x, name, missing)
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
    for name in () if same_units else ("held_out", "synthetic"):
        _check_units(sets[name], train, name)


def _check_one(x: np.ndarray, name: str, missing: bool) -> None:
    if len(x) < _MINIMUM:
        raise ValueError(
            f"{name}: {len(x)} series, at least {_MINIMUM} are needed to say anything; "
            "cut long series into windows"
        )
    if x.shape[1] < _SHORTEST:
        raise ValueError(
            f"{name}: series of {x.shape[1]} steps, at least {_SHORTEST} are needed"
        )
    bad = np.isinf(x) if missing else ~np.isfinite(x)
    if bad.any():
        channels = np.flatnonzero(bad.any(axis=(0, 1))).tolist()
        raise ValueError(
            f"{name}: {bad.any(axis=(1, 2)).sum()} of {len(x)} series hold NaN or "
            f"infinite values (channels {channels}); drop or fill them first, or "
            "choose metrics that leave NaN out (Metric.missing)"
        )
    empty = np.isnan(x).all(axis=(0, 1))
    if empty.any():
        raise ValueError(
            f"{name}: no value in channels {np.flatnonzero(empty).tolist()}; drop them"
        )


def _check_units(x: np.ndarray, train: np.ndarray, name: str) -> None:
    mean, own_mean = np.nanmean(x, axis=(0, 1)), np.nanmean(train, axis=(0, 1))
    spread, own = np.nanstd(x, axis=(0, 1)), np.nanstd(train, axis=(0, 1))
    offset = np.abs(mean - own_mean)
    for c in np.flatnonzero(own > 0):
        factor = spread[c] / own[c]
        if factor > _FACTOR or 0 < factor < 1 / _FACTOR or offset[c] > _FACTOR * own[c]:
            raise ValueError(
                f"{name}: channel {c} has mean {mean[c]:.4g} and deviation "
                f"{spread[c]:.4g}, train has {own_mean[c]:.4g} and "
                f"{own[c]:.4g}; pass both in the same units"
            )
