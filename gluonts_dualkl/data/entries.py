"""Fields of GluonTS entries: typed alike in every format, checked to fit together."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd
from gluonts.dataset.field_names import FieldName

from gluonts_dualkl.types import DataEntry, Entries

__all__ = [
    "as_array",
    "blocks",
    "check_names",
    "checked_entries",
    "is_array_field",
    "peek",
]

_SERIES_PER_BLOCK = 512
_VALUES_PER_BLOCK = 2**22
_ARRAYS = ("feat_", "past_feat_")
_LARGEST_CODE = np.iinfo(np.int32).max


def is_array_field(key: str) -> bool:
    """Whether a field is the target or a feature, and so an array."""
    return key == FieldName.TARGET or key.startswith(_ARRAYS)


def as_array(value: Any, key: str, where: str) -> np.ndarray:
    """Copy a field as float32, or int32 for codes (``..._cat``).

    Parameters
    ----------
    value
        Array, or nested lists of numbers; texts such as ``"NaN"`` count as numbers.
    key
        Name of the field.
    where
        Words for the message, such as ``"entry 3"``.

    Raises
    ------
    ValueError
        If the values are not numeric, or do not fit the type: fractions and NaN as
        codes, numbers beyond float32.
    """
    is_code = key.endswith("_cat")
    array: np.ndarray
    try:
        with np.errstate(over="ignore", invalid="ignore"):
            array = np.array(value, dtype=np.float64 if is_code else np.float32)
    except (ValueError, TypeError, OverflowError):
        raise ValueError(f"field {key!r} of {where} is not a numeric array.") from None
    if is_code:
        bad = ~((array == np.round(array)) & (np.abs(array) <= _LARGEST_CODE))
    else:
        bad = np.isinf(array)
        bad = bad & np.isfinite(np.array(value, dtype=np.float64)) if bad.any() else bad
    if bad.any():
        wrong = np.array(value, dtype=np.float64)[bad].flat[0]
        limit = "a whole number of 32 bits" if is_code else "within float32"
        raise ValueError(
            f"field {key!r} of {where} holds {wrong:g}, which is not {limit}."
        )
    return array.astype(np.int32) if is_code else array


def checked_entries(entries: Entries) -> Iterator[DataEntry]:
    """Copies of entries with typed arrays, one at a time, checked against the first.

    Raises
    ------
    ValueError
        If a start is no Period, a field is not numeric, or fields, frequencies,
        numbers of channels or dimensions differ from those of the first entry.
    """
    first: DataEntry | None = None
    for number, entry in enumerate(entries):
        where = f"entry {number}"
        _check_required(entry, where)
        entry = {
            key: as_array(value, key, where) if is_array_field(key) else value
            for key, value in entry.items()
        }
        if FieldName.ITEM_ID in entry:
            entry[FieldName.ITEM_ID] = str(entry[FieldName.ITEM_ID])
        first = first or entry
        _check_alike(first, entry, where)
        yield entry


def blocks(entries: Iterable[DataEntry]) -> Iterator[list[DataEntry]]:
    """Successive lists of entries: up to 512 series or about 4 million values."""
    block: list[DataEntry] = []
    num_values = 0
    for entry in entries:
        block.append(entry)
        num_values += entry[FieldName.TARGET].size
        if len(block) >= _SERIES_PER_BLOCK or num_values >= _VALUES_PER_BLOCK:
            yield block
            block, num_values = [], 0
    if block:
        yield block


def check_names(channels: Sequence[str], count: int) -> list[str]:
    """Names of channels as texts, checked to be as many as channels and distinct."""
    names = [str(name) for name in channels]
    if len(names) != count:
        raise ValueError(
            f"channels={names} names {len(names)} channels, but the series have "
            f"{count}; give one name per channel."
        )
    if len(set(names)) < count or "" in names:
        raise ValueError(
            f"channels={names} are not distinct names; give each channel its own."
        )
    return names


def _check_required(entry: DataEntry, where: str) -> None:
    for key in (FieldName.START, FieldName.TARGET):
        if entry.get(key) is None:
            raise ValueError(f"{where} has no field {key!r}; every series needs one.")
    start = entry[FieldName.START]
    if not isinstance(start, pd.Period):
        raise ValueError(
            f"start={start!r} of {where} is not a pandas Period; convert it with "
            "pd.Period(start, freq)."
        )


def _check_alike(first: DataEntry, entry: DataEntry, where: str) -> None:
    if entry.keys() != first.keys():
        raise ValueError(
            f"{where} has the fields {sorted(entry)}, the first has {sorted(first)}; "
            "all entries of a dataset need the same fields."
        )
    freq, first_freq = (e[FieldName.START].freqstr for e in (entry, first))
    if freq != first_freq:
        raise ValueError(
            f"{where} has freq {freq!r}, the first has {first_freq!r}; write one file "
            "per frequency."
        )
    target = entry[FieldName.TARGET]
    if target.ndim not in (1, 2):
        raise ValueError(
            f"the target of {where} has shape {target.shape}; expected (T,) or (C, T)."
        )
    if target.shape[:-1] != first[FieldName.TARGET].shape[:-1]:
        counts = [np.atleast_2d(e[FieldName.TARGET]).shape[0] for e in (entry, first)]
        raise ValueError(
            f"{where} has {counts[0]} channels in {target.ndim} dimensions, the first "
            f"has {counts[1]} in {first[FieldName.TARGET].ndim}; write one file per "
            "number of channels."
        )
    for key in filter(is_array_field, entry):
        if entry[key].ndim != first[key].ndim:
            raise ValueError(
                f"field {key!r} of {where} has {entry[key].ndim} dimensions, that of "
                f"the first has {first[key].ndim}; give all the same."
            )


def peek(entries: Iterator[DataEntry]) -> tuple[DataEntry, Iterator[DataEntry]]:
    """Return the first entry, and all entries again.

    Raises
    ------
    ValueError
        If there is none.
    """
    first = next(entries, None)
    if first is None:
        raise ValueError("there is no series to write: the dataset is empty.")
    return first, itertools.chain([first], entries)
