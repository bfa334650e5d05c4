"""What is asked of a generator in one call, checked before anything is drawn."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from gluonts_dualkl.data.conditions import Condition, rows_of
from gluonts_dualkl.data.windows import Windows

__all__ = ["Request"]


@dataclass(frozen=True)
class Request:
    """A number of series and how they are wanted.

    Attributes
    ----------
    num_series
        How many.
    seed
        Seed of the draw.
    length
        Time steps of a series; None for those of a window.
    rows
        Training windows that may be donors; None for all.
    prefix
        Beginning of the names.
    start
        Start period of all series; None for those of the training windows.
    with_missing
        Whether values are missing where they were in the training window that gave a
        series most of its steps.
    """

    num_series: int
    seed: int = 0
    length: int | None = None
    rows: np.ndarray | None = None
    prefix: str = "synthetic-"
    start: pd.Period | None = None
    with_missing: bool = False

    @classmethod
    def checked(
        cls,
        windows: Windows,
        conditional: bool,
        num_series: int,
        seed: int,
        length: int | None,
        condition: Condition | None,
    ) -> Request:
        """A request for values.

        Raises
        ------
        ValueError
            If an argument is out of range or the data cannot meet the condition.
        """
        if num_series < 0:
            raise ValueError(f"{num_series} series cannot be drawn; ask for 0 or more.")
        if seed < 0:
            raise ValueError(f"seed is {seed}; give a seed of 0 or more.")
        if length is not None and length < windows.length:
            raise ValueError(
                f"length is {length} and windows have {windows.length} steps; ask for "
                "at least as many, or train with a smaller length."
            )
        if condition is not None and not conditional:
            raise ValueError(
                "condition needs the default path 'recombination', whose series have "
                "donors; train with it."
            )
        longer = length if length != windows.length else None
        rows = None if condition is None else rows_of(windows, condition)
        return cls(num_series, seed, longer, rows)

    def check_entries(self, windows: Windows) -> Request:
        """The same request, if it can be met by entries with names and features.

        Raises
        ------
        ValueError
            If a name is that of a training item, or a long series would need what only
            a window has.
        """
        for name in windows.item_ids:
            number = name.removeprefix(self.prefix)
            known = number != name and number.isdecimal()
            if known and int(number) < self.num_series:
                raise ValueError(
                    f"item_id_prefix {self.prefix!r} would repeat the training item "
                    f"{name!r}; choose another prefix."
                )
        if self.length is not None and self.with_missing:
            raise ValueError(
                "with_missing takes the gaps of one training window and cannot be "
                "combined with a longer length."
            )
        if self.length is not None and windows.dynamic:
            raise ValueError(
                f"the data have {', '.join(windows.dynamic)}, which a series longer "
                "than a window has no values of; train with dynamic_features='model' "
                "(real features), or on data without."
            )
        return self
