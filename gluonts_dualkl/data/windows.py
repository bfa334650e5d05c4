"""GluonTS datasets <-> windows of ``T`` time steps by ``C`` channels.

A dataset is any iterable of GluonTS entries: a list of dicts, ``ListDataset``,
``PandasDataset``, ``FileDataset``, the training part of ``split()`` or a one-shot
generator. It is read once and no entry is changed.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from gluonts.dataset.field_names import FieldName

from gluonts_dualkl.data.frames import dataset_from_frame, dataset_to_frame
from gluonts_dualkl.data.frequencies import (
    advance,
    as_period,
    canonical_freq,
    same_freq,
)
from gluonts_dualkl.types import DataEntry, Entries

__all__ = [
    "Windows",
    "cut_windows",
    "dataset_from_array",
    "dataset_from_frame",
    "dataset_to_array",
    "dataset_to_frame",
    "with_values",
]

logger = logging.getLogger(__name__)

STATIC_FIELDS = (FieldName.FEAT_STATIC_CAT, FieldName.FEAT_STATIC_REAL)
DYNAMIC_FIELDS = (FieldName.FEAT_DYNAMIC_CAT, FieldName.FEAT_DYNAMIC_REAL)


@dataclass(frozen=True)
class Windows:
    """Equally long windows of one dataset.

    Attributes
    ----------
    values
        Samples in original units, float32 ``(N, T, C)``; NaN is missing.
    starts
        First period of each window.
    item_ids
        ``"<item>"`` where the item gave one window, else ``"<item>#<k>"`` with ``k``
        counting from 0.
    freq
        Frequency, as :class:`pandas.Period` spells it.
    static
        ``feat_static_cat`` and ``feat_static_real`` where the dataset has them,
        ``(N, K)``.
    dynamic
        ``feat_dynamic_cat`` and ``feat_dynamic_real`` where the dataset has them,
        ``(N, K, T)``.
    univariate
        Whether the targets were 1-D; then ``C = 1``.
    """

    values: np.ndarray
    starts: tuple[pd.Period, ...]
    item_ids: tuple[str, ...]
    freq: str
    static: dict[str, np.ndarray]
    dynamic: dict[str, np.ndarray]
    univariate: bool

    def __len__(self) -> int:
        """Return the number of windows ``N``."""
        return len(self.values)

    @property
    def length(self) -> int:
        """Time steps ``T`` of a window."""
        return int(self.values.shape[1])

    @property
    def num_channels(self) -> int:
        """Channels ``C`` of a window."""
        return int(self.values.shape[2])


@dataclass(frozen=True)
class _Series:
    """One checked entry: ``target`` (C, T), ``static`` (K,), ``dynamic`` (K, T)."""

    item_id: str
    start: pd.Period
    target: np.ndarray
    univariate: bool
    static: dict[str, np.ndarray]
    dynamic: dict[str, np.ndarray]

    @property
    def length(self) -> int:
        return int(self.target.shape[1])


def cut_windows(
    dataset: Entries,
    freq: str | None = None,
    length: int | None = None,
    stride: int | None = None,
) -> Windows:
    """Cut every series of a dataset into windows of ``length`` steps.

    A series of exactly ``length`` steps is one window. A longer one gives a window
    every ``stride`` steps from its start; steps after the last whole window are not
    used. Shorter series are skipped, and a logged warning counts them.

    Parameters
    ----------
    dataset
        GluonTS entries; multivariate targets are ``(C, T)`` with time last.
    freq
        Frequency that all series must have; that of the first series by default.
        Needed when ``start`` is a timestamp or a string.
    length
        Steps of a window; by default the length that all series share.
    stride
        Steps between the starts of windows of one series, ``length`` by default.

    Raises
    ------
    ValueError
        For an empty dataset, missing fields, targets that are not numeric or hold
        infinities, a channel without any observed value, mixed channel counts,
        frequencies or features, and a ``length`` or ``stride`` that does not fit.
    """
    _check_cut(length, stride)
    freq = None if freq is None else canonical_freq(freq)
    series: list[_Series] = []
    for index, entry in enumerate(dataset):
        series.append(_read_entry(entry, index, freq))
        freq = freq or canonical_freq(series[0].start.freqstr)
    if freq is None:
        raise ValueError("the dataset is empty; give at least one series.")
    _check_same_channels(series)
    _check_same_features(series)
    length = _common_length(series) if length is None else length
    series = _long_enough(series, length)
    windows = _stack(series, freq, length, stride or length)
    _check_observed(windows.values)
    return windows


def dataset_from_array(
    values: np.ndarray,
    freq: str,
    start: Any = "2000-01-01",
    item_ids: Sequence[str] | None = None,
) -> list[DataEntry]:
    """GluonTS entries from an array.

    Parameters
    ----------
    values
        ``(N, T, C)`` for targets ``(C, T)``, or ``(N, T)`` for 1-D targets.
    freq
        Frequency of the time steps.
    start
        Period, timestamp or string: of all series, or a sequence with one per series.
    item_ids
        One name per series; running numbers by default.

    Raises
    ------
    ValueError
        If ``values`` has another number of axes or is not numeric, or a sequence has
        another length than ``values``.
    """
    array = _as_float32(values, "values")
    if array.ndim not in (2, 3):
        raise ValueError(
            f"values has shape {array.shape}; expected (N, T, C) or (N, T)."
        )
    freq = canonical_freq(freq)
    several = isinstance(start, Sequence | np.ndarray | pd.Index)
    starts = list(start) if several and not isinstance(start, str) else [start]
    starts = starts * len(array) if len(starts) == 1 else starts
    names = list(map(str, range(len(array)) if item_ids is None else item_ids))
    for argument, given in (("start", starts), ("item_ids", names)):
        if len(given) != len(array):
            raise ValueError(
                f"{argument} has {len(given)} values for {len(array)} series; give "
                "one per series."
            )
    return [
        {
            FieldName.ITEM_ID: name,
            FieldName.START: as_period(first, freq),
            FieldName.TARGET: np.array(sample.T, order="C"),
        }
        for name, first, sample in zip(names, starts, array)
    ]


def dataset_to_array(dataset: Entries) -> np.ndarray:
    """Targets of equally long series as one float32 array ``(N, T, C)``.

    Raises
    ------
    ValueError
        For an empty dataset and for series that differ in length or channels.
    """
    targets = [_target(e, _item_name(e, k)) for k, e in enumerate(dataset)]
    if not targets:
        raise ValueError("the dataset is empty; give at least one series.")
    shapes = Counter(target.shape for target in targets)
    if len(shapes) > 1:
        found = ", ".join(f"{n} of {shape}" for shape, n in shapes.items())
        raise ValueError(
            f"the series differ in shape (C, T): {found}; cut them with cut_windows."
        )
    return np.stack(targets).transpose(0, 2, 1)


def _check_cut(length: int | None, stride: int | None) -> None:
    if length is not None and length < 2:
        raise ValueError(f"length={length} is too short; a window needs 2 or more.")
    if stride is not None and stride < 1:
        raise ValueError(f"stride={stride} must be at least 1.")


def _read_entry(entry: Any, index: int, freq: str | None) -> _Series:
    name = _item_name(entry, index)
    target = _target(entry, name)
    _check_finite(target, name)
    return _Series(
        item_id=str(entry.get(FieldName.ITEM_ID, index)),
        start=_start(entry, name, freq),
        target=target,
        univariate=np.ndim(entry[FieldName.TARGET]) == 1,
        static=_static_features(entry, name),
        dynamic=_dynamic_features(entry, name, target.shape[1]),
    )


def _item_name(entry: Any, index: int) -> str:
    """How errors call the entry."""
    if not isinstance(entry, dict):
        raise ValueError(
            f"entry {index} of the dataset is a {type(entry).__name__}, not a GluonTS "
            "entry (a dict); build entries with dataset_from_array or "
            "dataset_from_frame."
        )
    if FieldName.ITEM_ID in entry:
        return f"item {str(entry[FieldName.ITEM_ID])!r} (entry {index})"
    return f"entry {index}"


def _field(entry: DataEntry, field: str, name: str) -> Any:
    if entry.get(field) is None:
        raise ValueError(
            f"{name} has no {field!r}; every entry needs 'start' and 'target'."
        )
    return entry[field]


def _as_float32(values: Any, what: str) -> np.ndarray:
    """Numeric values as float32, a view where they are already; None becomes NaN."""
    try:
        array = np.asarray(values)
        if array.dtype.kind not in "biufO":
            raise TypeError
        with np.errstate(over="ignore"):
            return array.astype(np.float32, copy=False)
    except (TypeError, ValueError):
        raise ValueError(
            f"{what} is not a numeric array; convert it to floats of equal shape with "
            "NaN for missing values."
        ) from None


def _target(entry: Any, name: str) -> np.ndarray:
    """Target as float32 ``(C, T)``."""
    target = _as_float32(_field(entry, FieldName.TARGET, name), f"the target of {name}")
    if target.ndim not in (1, 2):
        raise ValueError(
            f"the target of {name} has shape {target.shape}; expected (T,) or (C, T)."
        )
    return np.atleast_2d(target)


def _check_finite(target: np.ndarray, name: str) -> None:
    infinite = np.argwhere(np.isinf(target))
    if len(infinite):
        channel, step = infinite[0]
        raise ValueError(
            f"the target of {name} is infinite in float32 at step {step}, channel "
            f"{channel}; mark missing values with NaN and rescale larger ones."
        )


def _start(entry: DataEntry, name: str, freq: str | None) -> pd.Period:
    start = _field(entry, FieldName.START, name)
    if freq is None:
        if not isinstance(start, pd.Period):
            raise ValueError(
                f"the start of {name} is a {type(start).__name__} without a frequency; "
                "give freq, or a pandas Period as start."
            )
        freq = canonical_freq(start.freqstr)
    if isinstance(start, pd.Period) and not same_freq(start.freqstr, freq):
        raise ValueError(
            f"{name} has freq {start.freqstr!r}, expected {freq!r}; all series need "
            "one frequency, that of the freq argument."
        )
    return as_period(start, freq)


def _feature(entry: DataEntry, field: str, name: str) -> np.ndarray:
    """Feature as float32, or as int32 codes where the field is categorical."""
    what = f"{field} of {name}"
    array = _as_float32(entry[field], what)
    if not field.endswith("_cat"):
        return array
    codes = np.asarray(entry[field], dtype=float)
    if not np.array_equal(codes, np.round(codes)):
        raise ValueError(f"{what} holds values that are not integer codes.")
    return codes.astype(np.int32)


def _static_features(entry: DataEntry, name: str) -> dict[str, np.ndarray]:
    present = [field for field in STATIC_FIELDS if entry.get(field) is not None]
    return {field: np.atleast_1d(_feature(entry, field, name)) for field in present}


def _dynamic_features(
    entry: DataEntry, name: str, length: int
) -> dict[str, np.ndarray]:
    features = {}
    for field in DYNAMIC_FIELDS:
        if entry.get(field) is None:
            continue
        array = np.atleast_2d(_feature(entry, field, name))
        if array.ndim != 2 or array.shape[1] < length:
            raise ValueError(
                f"{field} of {name} has shape {array.shape}; expected (K, T) with at "
                f"least the {length} steps of the target."
            )
        features[field] = array[:, :length]
    return features


def _check_same_channels(series: list[_Series]) -> None:
    counts = Counter(s.target.shape[0] for s in series)
    if len(counts) > 1:
        usual = counts.most_common(1)[0][0]
        odd = next(s for s in series if s.target.shape[0] != usual)
        raise ValueError(
            f"the series have different numbers of channels: item {odd.item_id!r} has "
            f"{odd.target.shape[0]}, most have {usual}; give all series the same "
            "channels, as (C, T)."
        )


def _check_same_features(series: list[_Series]) -> None:
    for kind in ("static", "dynamic"):
        first = _feature_sizes(getattr(series[0], kind))
        for s in series:
            sizes = _feature_sizes(getattr(s, kind))
            if sizes != first:
                raise ValueError(
                    f"item {s.item_id!r} has {kind} features of sizes {sizes}, item "
                    f"{series[0].item_id!r} of sizes {first}; give every series the "
                    "same features."
                )


def _feature_sizes(features: dict[str, np.ndarray]) -> dict[str, int]:
    return {field: array.shape[0] for field, array in features.items()}


def _common_length(series: list[_Series]) -> int:
    counts = Counter(s.length for s in series)
    if len(counts) > 1:
        found = ", ".join(
            f"{n} of {length} steps" for length, n in counts.most_common(5)
        )
        more = ", ..." if len(counts) > 5 else ""
        raise ValueError(f"the series differ in length ({found}{more}); give length.")
    length = counts.popitem()[0]
    _check_cut(length, None)
    return length


def _long_enough(series: list[_Series], length: int) -> list[_Series]:
    kept = [s for s in series if s.length >= length]
    if not kept:
        longest = max(s.length for s in series)
        raise ValueError(
            f"length={length} is longer than the data: the longest of {len(series)} "
            f"series has {longest} steps; give a smaller length."
        )
    if len(kept) < len(series):
        logger.warning(
            "skipped %d of %d series shorter than length=%d (the first is item %r).",
            len(series) - len(kept),
            len(series),
            length,
            next(s.item_id for s in series if s.length < length),
        )
    return kept


def _cut(array: np.ndarray, length: int, stride: int) -> np.ndarray:
    """Windows ``(W, K, length)`` of ``(K, T)``."""
    views = np.lib.stride_tricks.sliding_window_view(array, length, axis=1)
    return views[:, ::stride].transpose(1, 0, 2)


def _stack(series: list[_Series], freq: str, length: int, stride: int) -> Windows:
    counts = [(s.length - length) // stride + 1 for s in series]
    static = {
        field: np.repeat([s.static[field] for s in series], counts, axis=0)
        for field in series[0].static
    }
    dynamic = {
        field: np.concatenate([_cut(s.dynamic[field], length, stride) for s in series])
        for field in series[0].dynamic
    }
    values = np.concatenate([_cut(s.target, length, stride) for s in series])
    return Windows(
        values=np.ascontiguousarray(values.transpose(0, 2, 1)),
        starts=tuple(
            start
            for s, n in zip(series, counts)
            for start in advance(s.start, range(0, n * stride, stride))
        ),
        item_ids=tuple(
            s.item_id if n == 1 else f"{s.item_id}#{k}"
            for s, n in zip(series, counts)
            for k in range(n)
        ),
        freq=freq,
        static=static,
        dynamic=dynamic,
        univariate=all(s.univariate for s in series),
    )


def _check_observed(values: np.ndarray) -> None:
    empty = np.flatnonzero(np.isnan(values).all(axis=(0, 1)))
    if len(empty):
        raise ValueError(
            f"channel {empty[0]} holds no observed value in any series (all NaN); "
            "drop the channel or fill it."
        )


def with_values(windows: Windows, values: np.ndarray) -> Windows:
    """The same windows with other values, ``(N, T, C)``."""
    return replace(windows, values=values)
