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
from gluonts_dualkl.data.frequencies import as_period, canonical_freq
from gluonts_dualkl.data.series import (
    Census,
    Reservoir,
    Series,
    as_float32,
    item_name,
    read_entry,
    read_target,
)
from gluonts_dualkl.types import DataEntry, Entries

__all__ = [
    "Windows",
    "cut_windows",
    "dataset_from_array",
    "dataset_from_frame",
    "dataset_to_array",
    "dataset_to_frame",
    "item_of",
    "with_values",
]

logger = logging.getLogger(__name__)

SHORT = ("skip", "pad")


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


def cut_windows(
    dataset: Entries,
    freq: str | None = None,
    length: int | None = None,
    stride: int | None = None,
    *,
    short: str = "skip",
    max_windows: int | None = None,
    seed: int = 0,
) -> Windows:
    """Cut every series of a dataset into windows of ``length`` steps.

    A series of exactly ``length`` steps is one window. A longer one gives a window
    every ``stride`` steps from its start; steps after the last whole window are not
    used. Entries are read one by one and only their windows are kept.

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
    short
        What becomes of series shorter than ``length``: ``"skip"`` leaves them out;
        ``"pad"`` makes a window of those with at least half of the steps, with missing
        values (NaN) at its end and dynamic features that keep their last value. Logged
        warnings count both.
    max_windows
        Where the dataset gives more windows than that, use a uniform sample of so many
        without replacement, in their order in the dataset (algorithm R of Vitter 1985);
        a logged warning says how many of how many. Memory is bounded by the sample and
        one series. All windows by default.
    seed
        Seed of that sample.

    Raises
    ------
    ValueError
        For an empty dataset, missing fields, targets that are not numeric or hold
        infinities, a channel without any observed value, mixed channel counts,
        frequencies or features, and arguments that do not fit.
    """
    _check_cut(length, stride)
    _check_choice(short, max_windows, seed)
    freq = None if freq is None else canonical_freq(freq)
    census, kept = Census(), Reservoir(max_windows, seed)
    for index, entry in enumerate(dataset):
        series = read_entry(entry, index, freq)
        freq = freq or canonical_freq(series.start.freqstr)
        census.add(series)
        if census.agrees and (length or len(census.lengths) == 1):
            _offer(series, kept, length or series.length, stride, short)
        else:  # an error is certain: read on for what it says, keep nothing
            kept.clear()
    if freq is None:
        raise ValueError("the dataset is empty; give at least one series.")
    census.check()
    if length is None:
        length = census.common_length()
        _check_cut(length, None)
    _report_short(census, length, short)
    windows = _stack(kept, freq)
    _check_observed(windows.values, kept.seen)
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
    array = as_float32(values, "values")
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
    targets = [read_target(e, item_name(e, k)) for k, e in enumerate(dataset)]
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


def _check_choice(short: str, max_windows: int | None, seed: int) -> None:
    if short not in SHORT:
        raise ValueError(f"short={short!r} is unknown; choose from {', '.join(SHORT)}.")
    if max_windows is not None and max_windows < 1:
        raise ValueError(
            f"max_windows={max_windows} must be at least 1, or None for all windows."
        )
    if seed < 0:
        raise ValueError(f"seed={seed} must not be negative.")


def _stack(kept: Reservoir, freq: str) -> Windows:
    if len(kept) < kept.seen:
        logger.warning(
            "max_windows=%d: used %d of %d windows, drawn uniformly.",
            kept.size,
            len(kept),
            kept.seen,
        )
    cuts = kept.cuts()
    return Windows(
        values=np.stack([cut.values for cut in cuts]),
        starts=tuple(cut.start for cut in cuts),
        item_ids=tuple(cut.item_id for cut in cuts),
        freq=freq,
        static={f: np.stack([c.static[f] for c in cuts]) for f in cuts[0].static},
        dynamic={f: np.stack([c.dynamic[f] for c in cuts]) for f in cuts[0].dynamic},
        univariate=kept.univariate,
    )


def _offer(
    series: Series, kept: Reservoir, length: int, stride: int | None, short: str
) -> None:
    """Offer the windows of a series, padded where that is asked for."""
    if length < 2 or series.length < _shortest(length, short):
        return
    if series.length < length:
        series = _padded(series, length)
    kept.add(series, length, stride or length)


def _shortest(length: int, short: str) -> int:
    """Steps that a series must have to be used."""
    return length if short == "skip" else (length + 1) // 2


def _padded(series: Series, length: int) -> Series:
    """The series with missing values, and the last features, up to ``length``."""
    width = ((0, 0), (0, length - series.length))
    return replace(
        series,
        target=np.pad(series.target, width, constant_values=np.nan),
        dynamic={f: np.pad(a, width, mode="edge") for f, a in series.dynamic.items()},
    )


def _report_short(census: Census, length: int, short: str) -> None:
    """Warn of series skipped and padded; raise ValueError where none is left."""
    bound = "length" if short == "skip" else "half of length"
    skipped, first = census.shorter_than(_shortest(length, short))
    padded = census.shorter_than(length)[0] - skipped
    if skipped == len(census):
        raise ValueError(
            f"length={length} is longer than the data: the longest of {len(census)} "
            f"series has {max(census.lengths)} steps; give a smaller length."
        )
    if skipped:
        logger.warning(
            "skipped %d of %d series shorter than %s=%d (the first is item %r).",
            skipped,
            len(census),
            bound,
            length,
            first,
        )
    if padded:
        logger.warning(
            "padded %d of %d series shorter than length=%d with missing values.",
            padded,
            len(census),
            length,
        )


def _check_observed(values: np.ndarray, num_windows: int) -> None:
    empty = np.flatnonzero(np.isnan(values).all(axis=(0, 1)))
    if not len(empty):
        return
    if len(values) < num_windows:
        raise ValueError(
            f"channel {empty[0]} holds no observed value in the {len(values)} windows "
            "drawn (all NaN); raise max_windows, drop the channel or fill it."
        )
    raise ValueError(
        f"channel {empty[0]} holds no observed value in any series (all NaN); "
        "drop the channel or fill it."
    )


def item_of(name: str) -> str:
    """The item that the window ``"<item>"`` or ``"<item>#<k>"`` was cut from."""
    return name.rsplit("#", 1)[0]


def with_values(windows: Windows, values: np.ndarray) -> Windows:
    """The same windows with other values, ``(N, T, C)``."""
    return replace(windows, values=values)
