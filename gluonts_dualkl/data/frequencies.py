"""Frequencies and periods: one spelling for the many aliases of pandas.

GluonTS marks the start of a series with a :class:`pandas.Period`. Offsets that begin
a month, quarter or year (``MS``, ``QS``, ``YS``) are no period frequencies; they are
read as the month, quarter or year that begins there. Business-day periods work, and
the deprecation warning of pandas about them is silenced here.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import pandas as pd
from pandas.tseries.frequencies import to_offset

__all__ = [
    "PeriodGrid",
    "advance",
    "as_period",
    "canonical_freq",
    "from_ordinals",
    "infer_freq",
    "period_timestamps",
    "same_freq",
    "step_number",
    "to_naive",
]

_MONTHS = tuple("JAN FEB MAR APR MAY JUN JUL AUG SEP OCT NOV DEC".split())
_SPAN_OF: dict[str, Callable[[Any], str]] = {
    "MonthEnd": lambda offset: "M",
    "MonthBegin": lambda offset: "M",
    "QuarterEnd": lambda offset: f"Q-{_MONTHS[offset.startingMonth - 1]}",
    "QuarterBegin": lambda offset: f"Q-{_MONTHS[offset.startingMonth - 2]}",
    "YearEnd": lambda offset: f"Y-{_MONTHS[offset.month - 1]}",
    "YearBegin": lambda offset: f"Y-{_MONTHS[offset.month - 2]}",
}


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence the deprecations of old aliases and of business-day periods."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        yield


@lru_cache
def canonical_freq(freq: str) -> str:
    """Spelling of ``freq`` that :class:`pandas.Period` uses itself.

    ``"H"`` and ``"h"`` give ``"h"``; ``"M"``, ``"ME"`` and ``"MS"`` give ``"M"``;
    ``"W"`` gives ``"W-SUN"``; ``"QS-DEC"`` gives ``"Q-NOV"``.

    Raises
    ------
    ValueError
        If pandas does not know the frequency or has no period for it.
    """
    with _quiet():
        try:
            offset = to_offset(str(freq))
        except ValueError:
            offset = None
        span = _SPAN_OF.get(type(offset).__name__)
        if offset is not None and span is not None:
            multiple = "" if offset.n == 1 else str(offset.n)
            freq = f"{multiple}{span(offset)}"
        try:
            return pd.Period("2000-01-03", freq=str(freq)).freqstr
        except (ValueError, AttributeError):
            raise ValueError(
                f"freq={freq!r} is not a frequency of pandas periods; use one such as "
                "'h', '15min', 'D', 'B', 'W', 'M', 'Q' or 'Y'."
            ) from None


@lru_cache
def same_freq(a: str, b: str) -> bool:
    """Whether two frequencies step alike, such as ``"24h"`` and ``"D"``."""
    first, second = canonical_freq(a), canonical_freq(b)
    if first == second:
        return True
    with _quiet():
        return bool(
            pd.Period("2000-01-03", freq=first).freq
            == pd.Period("2000-01-03", freq=second).freq
        )


def infer_freq(stamps: pd.DatetimeIndex) -> str | None:
    """Frequency of three or more evenly spaced timestamps, None when uneven.

    Timestamps do not tell in which quarter a year ends: of the anchors that fit, the
    last of the calendar year is taken (``Q-OCT``, ``Q-NOV`` or ``Q-DEC``).
    """
    found = pd.infer_freq(stamps)
    if found is None:
        return None
    multiple, is_quarter, anchor = canonical_freq(found).partition("Q-")
    if is_quarter:
        anchor = _MONTHS[9 + _MONTHS.index(anchor) % 3]
    return f"{multiple}{is_quarter}{anchor}"


def to_naive(stamps: Any) -> Any:
    """Drop the time zone of a Timestamp or DatetimeIndex after moving it to UTC."""
    return stamps if stamps.tz is None else stamps.tz_convert("UTC").tz_localize(None)


def as_period(start: Any, freq: str) -> pd.Period:
    """Period of ``freq`` that holds ``start``: a Period, Timestamp, datetime or str."""
    if isinstance(start, pd.Period) and start.freqstr == freq:
        return start
    with _quiet():
        if isinstance(start, pd.Period):
            return start.asfreq(freq, how="start")
        try:
            if isinstance(start, str):
                return pd.Period(start, freq=freq)
            return pd.Period(to_naive(pd.Timestamp(start)), freq=freq)
        except (ValueError, TypeError) as error:
            raise ValueError(
                f"start={start!r} is not a point in time ({error}); give a pandas "
                "Period or a date such as '2024-01-31 06:00'."
            ) from None


def advance(start: pd.Period, steps: Iterable[int]) -> list[pd.Period]:
    """Periods so many steps after ``start``."""
    with _quiet():
        return [start + step for step in steps]


def from_ordinals(ordinals: Iterable[int], freq: str) -> tuple[pd.Period, ...]:
    """Periods of ``freq`` by their ordinals: the inverse of ``Period.ordinal``."""
    with _quiet():
        return tuple(pd.Period(ordinal=n, freq=freq) for n in ordinals)


def step_number(period: pd.Period) -> int:
    """Number of a period, counted in steps of its frequency."""
    return period.ordinal // period.freq.n


@dataclass(frozen=True)
class PeriodGrid:
    """Periods of one frequency that hold some timestamps, as integer arrays.

    Attributes
    ----------
    freq
        The frequency; one step is ``multiple`` of its base unit.
    ordinals
        Number of the period that holds each timestamp, in base units.
    lead, tail
        Nanoseconds from the start of the period and to its end.
    """

    freq: str
    multiple: int
    ordinals: np.ndarray
    lead: np.ndarray
    tail: np.ndarray

    @classmethod
    def of(cls, stamps: pd.DatetimeIndex, freq: str) -> PeriodGrid:
        """Place nanosecond timestamps on the periods of ``freq``."""
        with _quiet():
            periods = stamps.to_period(freq)
            return cls(
                freq=freq,
                multiple=pd.Period("2000-01-03", freq=freq).freq.n,
                ordinals=periods.asi8,
                lead=stamps.asi8 - periods.to_timestamp().asi8,
                tail=periods.end_time.asi8 - stamps.asi8,
            )

    def period(self, row: int) -> pd.Period:
        """Period that holds one of the timestamps."""
        with _quiet():
            return pd.Period(ordinal=int(self.ordinals[row]), freq=self.freq)


def period_timestamps(starts: list[pd.Period], lengths: list[int]) -> pd.DatetimeIndex:
    """Timestamps of series that share one frequency, series after series.

    A period is written as its start; a week as the day that names it (``W-MON``: the
    Monday it ends on), so that pandas infers the same frequency from the result.

    Parameters
    ----------
    starts
        First period of each series.
    lengths
        Number of steps of each series.
    """
    step = starts[0].freq.n
    ordinals = [s.ordinal + step * np.arange(n) for s, n in zip(starts, lengths)]
    with _quiet():
        unit = starts[0].freqstr.lstrip("0123456789")
        weekly = unit.startswith("W")
        # a multiple of a week would end, and be named by, its last week
        dtype = pd.PeriodDtype(unit if weekly else starts[0].freqstr)
        periods = pd.PeriodIndex(
            pd.arrays.PeriodArray(np.concatenate(ordinals), dtype=dtype)
        )
        if weekly:
            return periods.end_time.normalize()
        return periods.to_timestamp()
