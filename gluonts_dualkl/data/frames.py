"""Long pandas frames <-> GluonTS entries.

A long frame has one row per series and time step: a column that names the series, a
column of timestamps and one numeric column per channel.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence

import numpy as np
import pandas as pd
from gluonts.dataset.field_names import FieldName

from gluonts_dualkl.data.frequencies import (
    PeriodGrid,
    canonical_freq,
    infer_freq,
    period_timestamps,
    to_naive,
)
from gluonts_dualkl.types import DataEntry, Entries

__all__ = ["dataset_from_frame", "dataset_to_frame"]

logger = logging.getLogger(__name__)

_DEFAULT_ITEM_ID = "item_id"
_MAX_SERIES_FOR_INFERENCE = 200
_MAX_STEPS_PER_ROW = 1000


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
        Columns of the target, in this order; every other column by default.
    freq
        Frequency of the time steps. By default it is inferred; series with gaps take
        the most common step. Steps without a row become NaN.

    Returns
    -------
    list of DataEntry
        With ``item_id``, ``start`` and a float32 ``target``, ``(C, T)``, or ``(T,)``
        when there is one channel.

    Raises
    ------
    ValueError
        For a missing column, an empty frame, missing, duplicated or unreadable
        timestamps, timestamps off the grid of ``freq``, a frequency that cannot be
        inferred and channels that are not numeric.
    """
    item_column = _item_column(frame, item_id)
    names = _channel_names(frame, item_column, timestamp, channels)
    _check_not_empty(frame)
    stamps = _parse_timestamps(frame[timestamp])
    values = _numeric_values(frame, names)
    rows_of = _rows_by_item(frame, item_column, stamps)
    _check_no_duplicates(rows_of, stamps)
    if freq is None:
        freq = _infer_freq([stamps[rows] for rows in rows_of.values()])
    grid = PeriodGrid.of(stamps, canonical_freq(freq))
    entries = []
    filled = 0
    for item, rows in rows_of.items():
        position = _steps(item, stamps, rows, grid)
        target = np.full((len(names), position[-1] + 1), np.nan, dtype=np.float32)
        target[:, position] = values[rows].T
        filled += target.shape[1] - len(rows)
        entries.append(
            {
                FieldName.ITEM_ID: item,
                FieldName.START: grid.period(rows[0]),
                FieldName.TARGET: target if len(names) > 1 else target[0],
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
        For no entries, a start that is no Period, mixed frequencies or channel counts
        and a wrong number of ``channels``.
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
    names = _names_or_default(channels, targets[0].shape[0])
    lengths = [target.shape[1] for target in targets]
    columns = {
        item_id: np.repeat(np.asarray(items, dtype=object), lengths),
        timestamp: period_timestamps(starts, lengths),
    }
    values = np.concatenate(targets, axis=1).astype(np.float32)
    return pd.DataFrame(columns | dict(zip(names, values)))


def _names_or_default(channels: Sequence[str] | None, count: int) -> list[str]:
    names = [f"c{c}" for c in range(count)] if channels is None else list(channels)
    if len(names) != count:
        raise ValueError(
            f"channels={names} names {len(names)} channels, but the series have "
            f"{count}; give one name per channel."
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


def _channel_names(
    frame: pd.DataFrame,
    item_id: str | None,
    timestamp: str,
    channels: Sequence[str] | None,
) -> list[str]:
    keys = [timestamp] if item_id is None else [item_id, timestamp]
    _check_columns(frame, [*keys, *(channels or [])])
    names = [c for c in frame.columns if c not in keys]
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


def _numeric_values(frame: pd.DataFrame, channels: list[str]) -> np.ndarray:
    """Channel columns as float32 ``(rows, C)``."""
    for name in channels:
        column = frame[name]
        if not pd.api.types.is_numeric_dtype(column):
            bad = column[pd.to_numeric(column, errors="coerce").isna()].dropna()
            example = f" (for example {bad.iloc[0]!r})" if len(bad) else ""
            raise ValueError(
                f"column {name!r} is not numeric{example}; name the numeric columns "
                "with channels, or the column that names the series with item_id."
            )
    return frame[channels].to_numpy(dtype=np.float32, na_value=np.nan)


def _parse_timestamps(column: pd.Series) -> pd.DatetimeIndex:
    if pd.api.types.is_numeric_dtype(column):
        raise ValueError(
            f"column {column.name!r} holds numbers, not timestamps; convert it with "
            "pd.to_datetime(column, unit=...) first."
        )
    if isinstance(column.dtype, pd.PeriodDtype):
        return pd.DatetimeIndex(column.dt.to_timestamp())
    try:
        stamps = pd.DatetimeIndex(pd.to_datetime(column, format="ISO8601"))
    except (ValueError, TypeError):
        try:
            stamps = pd.DatetimeIndex(pd.to_datetime(column))
        except (ValueError, TypeError) as error:
            reason = str(error).splitlines()[0]
            raise ValueError(
                f"column {column.name!r} cannot be read as timestamps ({reason}); use "
                "a form such as 2000-01-31 06:00."
            ) from None
    if stamps.hasnans:
        row = int(np.flatnonzero(stamps.isna())[0])
        raise ValueError(f"column {column.name!r} has no timestamp in row {row}.")
    return to_naive(stamps).as_unit("ns")


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


def _infer_freq(indices: list[pd.DatetimeIndex]) -> str:
    """Frequency that the series agree on, else the most common step between rows."""
    indices = indices[:_MAX_SERIES_FOR_INFERENCE]
    found = {infer_freq(index) for index in indices if len(index) > 2}
    freqs = {freq for freq in found if freq is not None}
    if freqs == {"B", "D"} and all(max(index.dayofweek) < 5 for index in indices):
        return "B"
    if len(freqs) > 1:
        raise ValueError(
            f"the series have different frequencies ({', '.join(sorted(freqs))}); "
            "name the one to use with freq, or split the data."
        )
    return freqs.pop() if freqs else _most_common_step(indices)


def _most_common_step(indices: list[pd.DatetimeIndex]) -> str:
    steps = np.concatenate([np.diff(index.to_numpy()) for index in indices])
    sizes, counts = np.unique(steps, return_counts=True)
    day = np.timedelta64(1, "D")
    if not len(sizes) or 2 * counts.max() <= len(steps) or sizes[counts.argmax()] > day:
        raise ValueError(
            "the frequency cannot be inferred from the timestamps; name it with freq, "
            "for example freq='6h'."
        )
    step = sizes[counts.argmax()]
    if step == day and 3 * day in sizes:
        if all(max(index.dayofweek) < 5 for index in indices):
            return "B"
    return str(pd.tseries.frequencies.to_offset(pd.Timedelta(step)).freqstr)


def _steps(
    item: str, stamps: pd.DatetimeIndex, rows: np.ndarray, grid: PeriodGrid
) -> np.ndarray:
    """Step numbers of one series by rising timestamp, checked to lie on one grid.

    On the grid means the same time after the start of each period, or the same time
    before its end (month ends).
    """
    ordinals = grid.ordinals[rows] - grid.ordinals[rows[0]]
    off = _unlike_most(grid.lead[rows])
    if off.any():
        off_end = _unlike_most(grid.tail[rows])
        off = off if off.sum() <= off_end.sum() else off_end
    off |= _unlike_most(ordinals % grid.multiple)
    if off.any():
        wrong = stamps[int(rows[off.argmax()])]
        raise ValueError(
            f"timestamp {wrong} of item {item!r} is off the grid of freq "
            f"{grid.freq!r}; correct the timestamp or name another freq."
        )
    steps = ordinals // grid.multiple
    if steps[-1] > _MAX_STEPS_PER_ROW * len(rows):
        raise ValueError(
            f"item {item!r} has {len(rows)} rows on {steps[-1] + 1} steps of freq "
            f"{grid.freq!r}; name the freq of the data or correct its timestamps."
        )
    return steps


def _unlike_most(values: np.ndarray) -> np.ndarray:
    if (values == values[0]).all():
        return np.zeros(len(values), dtype=bool)
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    return inverse.ravel() != counts.argmax()
