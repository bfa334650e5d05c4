"""Series of GluonTS entries read one by one: what each must hold, what all share.

An entry becomes a :class:`Series` of arrays, or an error that names the item and says
how to mend it. A :class:`Census` counts channels, lengths and features while series
pass, so that they can be compared at the end without being kept; a :class:`Reservoir`
keeps their windows, all or a sample.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from gluonts.dataset.field_names import FieldName

from gluonts_dualkl.data.frequencies import (
    advance,
    as_period,
    canonical_freq,
    same_freq,
)
from gluonts_dualkl.types import DataEntry

__all__ = [
    "Census",
    "Cut",
    "Reservoir",
    "Series",
    "as_float32",
    "item_name",
    "read_entry",
    "read_target",
]

STATIC_FIELDS = (FieldName.FEAT_STATIC_CAT, FieldName.FEAT_STATIC_REAL)
DYNAMIC_FIELDS = (FieldName.FEAT_DYNAMIC_CAT, FieldName.FEAT_DYNAMIC_REAL)


@dataclass(frozen=True)
class Series:
    """One checked entry.

    Attributes
    ----------
    item_id
        Its name, or its place in the dataset.
    start
        First period.
    target
        Values in original units, float32 ``(C, T)``; NaN is missing.
    univariate
        Whether the target of the entry was 1-D.
    static, dynamic
        Its features by field, ``(K,)`` and ``(K, T)``.
    """

    item_id: str
    start: pd.Period
    target: np.ndarray
    univariate: bool
    static: dict[str, np.ndarray]
    dynamic: dict[str, np.ndarray]

    @property
    def length(self) -> int:
        """Time steps ``T``."""
        return int(self.target.shape[1])


class Census:
    """What the series of a dataset must share, counted while they are read."""

    def __init__(self) -> None:
        self.lengths: Counter[int] = Counter()
        self._channels: Counter[int] = Counter()
        self._first_of_length: dict[int, str] = {}
        self._first_of_channels: dict[int, str] = {}
        self._features: dict[str, tuple[str, dict[str, int]]] = {}
        self._odd_features: dict[str, tuple[str, dict[str, int]]] = {}

    def __len__(self) -> int:
        """Return the number of series counted."""
        return self.lengths.total()

    def add(self, series: Series) -> None:
        """Count one series."""
        channels = series.target.shape[0]
        self.lengths[series.length] += 1
        self._channels[channels] += 1
        self._first_of_length.setdefault(series.length, series.item_id)
        self._first_of_channels.setdefault(channels, series.item_id)
        for kind in ("static", "dynamic"):
            sizes = {f: array.shape[0] for f, array in getattr(series, kind).items()}
            _, expected = self._features.setdefault(kind, (series.item_id, sizes))
            if sizes != expected:
                self._odd_features.setdefault(kind, (series.item_id, sizes))

    @property
    def agrees(self) -> bool:
        """Whether the series so far share their channels and features."""
        return len(self._channels) < 2 and not self._odd_features

    def check(self) -> None:
        """Raise ValueError unless the series share their channels and features."""
        if len(self._channels) > 1:
            usual = self._channels.most_common(1)[0][0]
            odd = next(n for n in self._first_of_channels if n != usual)
            raise ValueError(
                "the series have different numbers of channels: item "
                f"{self._first_of_channels[odd]!r} has {odd}, most have {usual}; give "
                "all series the same channels, as (C, T)."
            )
        for kind in sorted(self._odd_features, reverse=True):  # static first
            first, expected = self._features[kind]
            item, sizes = self._odd_features[kind]
            raise ValueError(
                f"item {item!r} has {kind} features of sizes {sizes}, item {first!r} "
                f"of sizes {expected}; give every series the same features."
            )

    def common_length(self) -> int:
        """Length that all series share; raises ValueError where they differ."""
        if len(self.lengths) > 1:
            found = ", ".join(
                f"{n} of {length} steps" for length, n in self.lengths.most_common(5)
            )
            more = ", ..." if len(self.lengths) > 5 else ""
            raise ValueError(
                f"the series differ in length ({found}{more}); give length."
            )
        return next(iter(self.lengths))

    def shorter_than(self, length: int) -> tuple[int, str | None]:
        """How many series have fewer steps, and the name of the first of them."""
        names = [item for n, item in self._first_of_length.items() if n < length]
        count = sum(c for n, c in self.lengths.items() if n < length)
        return count, next(iter(names), None)


class Cut(NamedTuple):
    """One window: ``values`` ``(T, C)`` of its own, features as in :class:`Series`.

    ``number`` is its place among all windows of the dataset, from 0.
    """

    number: int
    item_id: str
    start: pd.Period
    values: np.ndarray
    static: dict[str, np.ndarray]
    dynamic: dict[str, np.ndarray]


class Reservoir:
    """Windows of a stream: all of them, or a uniform sample of at most ``size``.

    Window ``i``, counting from 0, takes place ``j`` uniform on ``0..i`` where
    ``j < size`` and is passed over elsewhere (algorithm R of Vitter 1985).

    Attributes
    ----------
    seen
        Number of windows offered.
    univariate
        Whether all series that offered windows have 1-D targets.
    """

    def __init__(self, size: int | None, seed: int) -> None:
        self.size = size
        self.seen = 0
        self.univariate = True
        self._places: dict[int, Cut] = {}
        self._rng = np.random.default_rng(seed)

    def __len__(self) -> int:
        """Return the number of windows kept."""
        return len(self._places)

    def add(self, series: Series, length: int, stride: int) -> None:
        """Offer the windows of a series of ``length`` steps or more."""
        first = self.seen
        places = self._draw((series.length - length) // stride + 1)
        taken = np.flatnonzero(places >= 0).tolist()
        self.univariate &= series.univariate
        starts = advance(series.start, [k * stride for k in taken])
        for k, start in zip(taken, starts):
            steps = slice(k * stride, k * stride + length)
            self._places[int(places[k])] = Cut(
                first + k,
                series.item_id if len(places) == 1 else f"{series.item_id}#{k}",
                start,
                series.target[:, steps].T.copy(),
                {field: a.copy() for field, a in series.static.items()},
                {field: a[:, steps].copy() for field, a in series.dynamic.items()},
            )

    def cuts(self) -> list[Cut]:
        """The windows kept, in the order of the stream."""
        return sorted(self._places.values(), key=lambda cut: cut.number)

    def clear(self) -> None:
        """Forget the windows kept."""
        self._places.clear()

    def _draw(self, count: int) -> np.ndarray:
        """Places of the next ``count`` windows, ``(count,)``; -1 for none."""
        numbers = np.arange(self.seen, self.seen + count)
        self.seen += count
        if self.size is None:
            return numbers
        drawn = self._rng.integers(0, numbers + 1)
        places = np.where(numbers < self.size, numbers, drawn)
        return np.where(places < self.size, places, -1)


def read_entry(entry: Any, index: int, freq: str | None) -> Series:
    """Check and convert one entry, the ``index``-th of its dataset.

    Raises
    ------
    ValueError
        For missing fields, targets that are not numeric or hold infinities, another
        frequency than ``freq``, and features that are not numeric or too short.
    """
    name = item_name(entry, index)
    target = read_target(entry, name)
    _check_finite(target, name)
    return Series(
        item_id=str(entry.get(FieldName.ITEM_ID, index)),
        start=_start(entry, name, freq),
        target=target,
        univariate=np.ndim(entry[FieldName.TARGET]) == 1,
        static=_static_features(entry, name),
        dynamic=_dynamic_features(entry, name, target.shape[1]),
    )


def item_name(entry: Any, index: int) -> str:
    """How errors call the entry; raises ValueError where it is no GluonTS entry."""
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


def as_float32(values: Any, what: str) -> np.ndarray:
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


def read_target(entry: Any, name: str) -> np.ndarray:
    """Target of an entry as float32 ``(C, T)``; ``name`` is what errors call it."""
    target = as_float32(_field(entry, FieldName.TARGET, name), f"the target of {name}")
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
    array = as_float32(entry[field], what)
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
