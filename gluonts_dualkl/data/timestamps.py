"""Timestamps of a long table: parsing, the frequency they share, their time steps."""

from __future__ import annotations

import numpy as np
import pandas as pd

from gluonts_dualkl.data.frequencies import PeriodGrid, infer_freq, to_naive

__all__ = ["common_freq", "parse_timestamps", "steps_of_rows"]

_MAX_SERIES_FOR_INFERENCE = 200
_MAX_STEPS_PER_ROW = 1000


def parse_timestamps(column: pd.Series) -> pd.DatetimeIndex:
    """Timestamps of a column in nanoseconds; time zones are moved to UTC and dropped.

    Raises
    ------
    ValueError
        If the column holds numbers, an unreadable timestamp, or none in some row.
    """
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


def common_freq(indices: list[pd.DatetimeIndex]) -> str:
    """Frequency that the series agree on, else the most common step between rows.

    Raises
    ------
    ValueError
        If the series have different frequencies, or none can be told.
    """
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


def steps_of_rows(
    item: str, stamps: pd.DatetimeIndex, rows: np.ndarray, grid: PeriodGrid
) -> np.ndarray:
    """Step numbers of one series by rising timestamp, checked to lie on one grid.

    On the grid means the same time after the start of each period, or the same time
    before its end (month ends).

    Raises
    ------
    ValueError
        If a timestamp is off the grid, or the rows are too sparse for the frequency.
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
