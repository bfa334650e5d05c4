"""Features of series <-> columns of a long table.

A long table holds component ``k`` of a feature in the column ``<field>_<k>``, such as
``feat_static_cat_0`` or ``feat_dynamic_real_2``. A static feature ``(K,)`` repeats in
every row of its series; a dynamic one ``(K, T)`` has a value a row. This layout is our
own: GluonTS names the fields, not the columns.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from gluonts.dataset.field_names import FieldName

from gluonts_dualkl.data.entries import as_array
from gluonts_dualkl.types import DataEntry

__all__ = [
    "feature_columns",
    "feature_values",
    "features_of_rows",
    "is_table_feature",
]

_FIELD = r"(?:past_)?feat_(?:static|dynamic)_(?:cat|real)"
_COLUMN = re.compile(rf"({_FIELD})_(\d+)")


def is_table_feature(field: str) -> bool:
    """Whether a long table holds this field in columns of its own."""
    return re.fullmatch(_FIELD, field) is not None


def feature_columns(columns: Iterable[Any]) -> dict[str, list[str]]:
    """Columns of a table that hold features, by field and in order of component."""
    found: dict[str, list[tuple[int, str]]] = {}
    for column in columns:
        if match := _COLUMN.fullmatch(str(column)):
            found.setdefault(match[1], []).append((int(match[2]), column))
    return {field: [name for _, name in sorted(c)] for field, c in found.items()}


def feature_values(
    entries: Sequence[DataEntry], lengths: Sequence[int]
) -> dict[str, np.ndarray]:
    """Columns of the features of entries, ``lengths`` rows a series.

    Raises
    ------
    ValueError
        If a feature has another shape than ``(K,)`` or ``(K, T)``, or another ``K``
        than that of the first entry.
    """
    columns: dict[str, np.ndarray] = {}
    for field in filter(is_table_feature, entries[0]):
        rows = _rows_of_field(entries, lengths, field)
        columns |= {f"{field}_{k}": rows[:, k] for k in range(rows.shape[1])}
    return columns


def features_of_rows(
    values: dict[str, np.ndarray], rows: np.ndarray, position: np.ndarray, item: str
) -> dict[str, np.ndarray]:
    """Features of one series of a table.

    Parameters
    ----------
    values
        Components of each field in all rows, ``(rows, K)``.
    rows
        Rows of the series by rising timestamp.
    position
        Time step of each of these rows; steps without a row become NaN.
    item
        Name of the series.

    Raises
    ------
    ValueError
        If a static feature changes within the series, or a dynamic code has gaps.
    """
    out = {}
    for field, components in values.items():
        own = components[rows]
        if "_static_" in field:
            same = (own == own[0]) | ((own != own) & (own[0] != own[0]))
            if not same.all():
                raise ValueError(
                    f"{field!r} of item {item!r} changes over time; a static feature "
                    "has one value a series: rename its column."
                )
            out[field] = as_array(own[0], field, f"item {item!r}")
        else:
            filled = np.full((position[-1] + 1, own.shape[1]), np.nan)
            filled[position] = own
            out[field] = as_array(filled.T, field, f"item {item!r}")
    return out


def _rows_of_field(
    entries: Sequence[DataEntry], lengths: Sequence[int], field: str
) -> np.ndarray:
    """Components of one field in every row of the table, ``(rows, K)``."""
    arrays = [as_array(entry[field], field, _name(entry)) for entry in entries]
    count = len(arrays[0]) if arrays[0].ndim else 1
    is_static = "_static_" in field
    for entry, array, length in zip(entries, arrays, lengths):
        expected = (count,) if is_static else (count, length)
        if array.shape != expected:
            raise ValueError(
                f"{field!r} of {_name(entry)} has shape {array.shape}, a table holds "
                f"{expected} there; change its shape or write .jsonl or .arrow."
            )
    if is_static:
        return np.repeat(np.stack(arrays), lengths, axis=0)
    return np.concatenate(arrays, axis=1).T


def _name(entry: DataEntry) -> str:
    return f"item {entry.get(FieldName.ITEM_ID, '')!r}"
