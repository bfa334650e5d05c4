"""Long pandas frames <-> GluonTS entries.

A long frame has one row per series and time step: a column that names the series, a
column of timestamps and one numeric column per channel. Features, where there are any,
have columns as well, see :mod:`gluonts_dualkl.data.features`.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence

import numpy as np
import pandas as pd
from gluonts.dataset.field_names import FieldName

from gluonts_dualkl.data.entries import check_names
from gluonts_dualkl.data.features import (
    feature_columns,
    feature_values,
    features_of_rows,
    is_table_feature,
)
from gluonts_dualkl.data.frequencies import (
    PeriodGrid,
    canonical_freq,
    period_timestamps,
)
from gluonts_dualkl.data.timestamps import (
    common_freq,
    parse_timestamps,
    steps_of_rows,
)
from gluonts_dualkl.types import DataEntry, Entries

__all__ = [
    "dataset_from_frame",
    "dataset_to_frame",
    "fields_left_out",
    "target_columns",
    "warn_left_out",
]

logger = logging.getLogger(__name__)

_DEFAULT_ITEM_ID = "item_id"


def dataset_from_frame(
    frame: pd.DataFrame,
    item_id: str | None = _DEFAULT_ITEM_ID,
    timestamp: str = "timestamp",
    channels: Sequence[str] | None = None,
    freq: str | None = None,
) -> list[DataEntry]:
    """GluonTS entries from a long frame, in the order the series first appear.

    Parameters
    ----------
    frame
        One row per series and time step, in any order.
    item_id
        Column that names the series. ``None``, or the default name when there is no
        such column: all rows are one series, named ``"0"``.
    timestamp
        Column of timestamps. Time zones are converted to UTC and dropped.
    channels
        Columns of the target, in this order; by default every other column that is
        not a feature. Columns such as ``feat_static_cat_0`` are features, unless they
        are named here.
    freq
        Frequency of the time steps. By default it is inferred; series with gaps take
        the most common step. Steps without a row become NaN.

    Returns
    -------
    list of DataEntry
        With ``item_id``, ``start``, a float32 ``target``, ``(C, T)``, or ``(T,)`` when
        there is one channel, and the features of the table.

    Raises
    ------
    ValueError
        For a missing column, an empty frame, missing, duplicated or unreadable
        timestamps, timestamps off the grid of ``freq``, a frequency that cannot be
        inferred, columns that are not numeric, static features that change over time
        and codes that are no whole numbers.
    """
    item_column = _item_column(frame, item_id)
    names = target_columns(frame, item_id, timestamp, channels)
    _check_not_empty(frame)
    stamps = parse_timestamps(frame[timestamp])
    values = _numeric_values(frame, names, np.float32)
    features = {
        field: _numeric_values(frame, columns, np.float64)
        for field, columns in feature_columns(frame.columns.drop(names)).items()
    }
    rows_of = _rows_by_item(frame, item_column, stamps)
    _check_no_duplicates(rows_of, stamps)
    if freq is None:
        freq = common_freq([stamps[rows] for rows in rows_of.values()])
    grid = PeriodGrid.of(stamps, canonical_freq(freq))
    entries = []
    filled = 0
    for item, rows in rows_of.items():
        position = steps_of_rows(item, stamps, rows, grid)
        target = np.full((len(names), position[-1] + 1), np.nan, dtype=np.float32)
        target[:, position] = values[rows].T
        filled += target.shape[1] - len(rows)
        entries.append(
            {
                FieldName.ITEM_ID: item,
                FieldName.START: grid.period(rows[0]),
                FieldName.TARGET: target if len(names) > 1 else target[0],
                **features_of_rows(features, rows, position, item),
            }
        )
    if filled:
        logger.info(
            "%d time steps without a row became NaN (freq %s).", filled, grid.freq
        )
    return entries


def dataset_to_frame(
    dataset: Entries,
    channels: Sequence[str] | None = None,
    item_id: str = _DEFAULT_ITEM_ID,
    timestamp: str = "timestamp",
    first_number: int = 0,
) -> pd.DataFrame:
    """Write entries as a long frame: item, timestamp and one float32 column a channel.

    Features follow as columns of their own: ``feat_static_cat_0``, ... Other fields
    have no place in the table; a logged warning names them.

    Parameters
    ----------
    dataset
        Entries with Period starts of one frequency and equally many channels.
    channels
        Names of the channel columns, ``"c0", "c1", ...`` by default.
    item_id, timestamp
        Names of the other two columns.
    first_number
        Number that names the first entry when entries have no ``item_id``; the next
        ones count on.

    Raises
    ------
    ValueError
        For no entries, a start that is no Period, mixed frequencies or channel counts,
        features of other shapes than ``(K,)`` or ``(K, T)`` and ``channels`` that are
        not distinct, not as many as the channels, or names of other columns.
    """
    entries = list(dataset)
    if not entries:
        raise ValueError("the dataset is empty: there is no series to write.")
    targets = [np.atleast_2d(np.asarray(e[FieldName.TARGET])) for e in entries]
    items = [
        str(e.get(FieldName.ITEM_ID, first_number + k)) for k, e in enumerate(entries)
    ]
    starts = [e[FieldName.START] for e in entries]
    _check_writable(items, starts, targets)
    names = _free_names(channels, targets[0].shape[0], (item_id, timestamp))
    lengths = [target.shape[1] for target in targets]
    if left_out := fields_left_out(entries[0]):
        warn_left_out(left_out)
    columns = {
        item_id: np.repeat(np.asarray(items, dtype=object), lengths),
        timestamp: period_timestamps(starts, lengths),
    }
    values = np.concatenate(targets, axis=1).astype(np.float32)
    features = feature_values(entries, lengths)
    return pd.DataFrame(columns | dict(zip(names, values)) | features)


def fields_left_out(entry: DataEntry) -> list[str]:
    """Fields of an entry that a long table has no place for."""
    kept = (FieldName.ITEM_ID, FieldName.START, FieldName.TARGET)
    return [key for key in entry if key not in kept and not is_table_feature(key)]


def warn_left_out(fields: Sequence[str]) -> None:
    """Log which fields a table does not hold."""
    logger.warning(
        "a long table has no place for the fields %s, which are left out; .jsonl, "
        ".arrow and folders hold them.",
        ", ".join(map(repr, fields)),
    )


def _free_names(
    channels: Sequence[str] | None, count: int, taken: Sequence[str]
) -> list[str]:
    """Names of channels, checked to clash with no other column."""
    if channels is None:
        return [f"c{c}" for c in range(count)]
    names = check_names(channels, count)
    clashes = {*taken, *sum(feature_columns(names).values(), [])}.intersection(names)
    if clashes:
        raise ValueError(
            f"channels={names} use {', '.join(sorted(clashes))}, which is the name of "
            "another column of the table; call the channel differently."
        )
    return names


def _check_writable(
    items: list[str], starts: list[pd.Period], targets: list[np.ndarray]
) -> None:
    for item, start, target in zip(items, starts, targets):
        if not isinstance(start, pd.Period):
            raise ValueError(
                f"start={start!r} of item {item!r} is not a pandas Period; convert it "
                "with pd.Period(start, freq)."
            )
        if start.freqstr != starts[0].freqstr:
            raise ValueError(
                f"item {item!r} has freq {start.freqstr!r}, earlier series have "
                f"{starts[0].freqstr!r}; write one file per frequency."
            )
        if target.shape[0] != targets[0].shape[0]:
            raise ValueError(
                f"item {item!r} has {target.shape[0]} channels, earlier series have "
                f"{targets[0].shape[0]}; write one file per number of channels."
            )


def _check_columns(frame: pd.DataFrame, needed: Sequence[str]) -> None:
    missing = [name for name in needed if name not in frame.columns]
    if missing:
        raise ValueError(
            f"missing column {', '.join(map(repr, missing))}; the columns there are: "
            f"{', '.join(map(str, frame.columns))}."
        )


def _item_column(frame: pd.DataFrame, item_id: str | None) -> str | None:
    if item_id == _DEFAULT_ITEM_ID and item_id not in frame.columns:
        return None
    return item_id


def target_columns(
    frame: pd.DataFrame,
    item_id: str | None = _DEFAULT_ITEM_ID,
    timestamp: str = "timestamp",
    channels: Sequence[str] | None = None,
) -> list[str]:
    """Columns of the target: ``channels``, or all that are no key and no feature.

    Raises
    ------
    ValueError
        If a column is missing, or there is none for the target.
    """
    item_id = _item_column(frame, item_id)
    keys = [timestamp] if item_id is None else [item_id, timestamp]
    _check_columns(frame, [*keys, *(channels or [])])
    other = {*keys, *sum(feature_columns(frame.columns).values(), [])}
    names = [c for c in frame.columns if c not in other]
    names = names if channels is None else list(channels)
    if not names:
        raise ValueError(
            f"no channel column beside {', '.join(map(repr, keys))}; a series needs at "
            "least one numeric column."
        )
    return names


def _check_not_empty(frame: pd.DataFrame) -> None:
    if frame.empty:
        raise ValueError("the table has columns but no rows; there is no data in it.")


def _numeric_values(
    frame: pd.DataFrame, names: list[str], dtype: type[np.floating]
) -> np.ndarray:
    """Columns as floating numbers, ``(rows, len(names))``."""
    for name in names:
        column = frame[name]
        if not pd.api.types.is_numeric_dtype(column):
            bad = column[pd.to_numeric(column, errors="coerce").isna()].dropna()
            example = f" (for example {bad.iloc[0]!r})" if len(bad) else ""
            raise ValueError(
                f"column {name!r} is not numeric{example}; name the numeric columns "
                "with channels, or the column that names the series with item_id."
            )
    return frame[names].to_numpy(dtype=dtype, na_value=np.nan)


def _rows_by_item(
    frame: pd.DataFrame, item_id: str | None, stamps: pd.DatetimeIndex
) -> dict[str, np.ndarray]:
    """Row numbers of each series by rising timestamp."""
    if item_id is None:
        return {"0": np.argsort(stamps.asi8, kind="stable")}
    codes, items = pd.factorize(frame[item_id])
    if (codes < 0).any():
        row = int(np.flatnonzero(codes < 0)[0])
        raise ValueError(f"column {item_id!r} names no series in row {row}.")
    order = np.lexsort((stamps.asi8, codes))
    ends = np.cumsum(np.bincount(codes))[:-1]
    return {str(i): rows for i, rows in zip(items, np.split(order, ends))}


def _check_no_duplicates(
    rows_of: dict[str, np.ndarray], stamps: pd.DatetimeIndex
) -> None:
    for item, rows in rows_of.items():
        repeated = np.flatnonzero(np.diff(stamps.asi8[rows]) == 0)
        if len(repeated):
            raise ValueError(
                f"timestamp {stamps[rows[repeated[0]]]} occurs twice in item {item!r}; "
                "keep one row per series and time step, or name the column that tells "
                "the series apart with item_id."
            )
