"""Which training windows a condition on static features asks for."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence

import numpy as np
from gluonts.dataset.field_names import FieldName

from gluonts_dualkl.data.windows import Windows

__all__ = ["Condition", "rows_of"]

logger = logging.getLogger(__name__)

Condition = Mapping[str, Sequence[float | None] | float]

CAT, REAL = FieldName.FEAT_STATIC_CAT, FieldName.FEAT_STATIC_REAL
FEWEST = 8
FEW = 20
SHARE = 0.1


def rows_of(windows: Windows, condition: Condition) -> np.ndarray:
    """Training windows that fit a condition, rising, ``(m,)``.

    Parameters
    ----------
    windows
        The training windows.
    condition
        ``feat_static_cat`` and ``feat_static_real``, one value a feature, None for any.
        Categories must be equal; among the windows with equal categories the tenth of
        all windows, at least 8, whose real features are nearest in units of their
        standard deviation are taken.

    Raises
    ------
    ValueError
        For features that the data do not have, values of another number, and
        conditions that fewer than 8 windows fit.
    """
    for name in condition:
        if name not in (CAT, REAL):
            raise ValueError(
                f"condition names {name!r}; it may name {CAT!r} and {REAL!r}."
            )
    rows = np.arange(len(windows))
    if CAT in condition:
        codes, wanted = _wanted(windows, condition, CAT)
        fits = (np.isnan(wanted) | (codes == wanted)).all(1)
        rows = rows[fits]
        if len(rows) < FEWEST:
            raise ValueError(
                f"condition: {len(rows)} training windows have {CAT} "
                f"{_shown(wanted)} and at least {FEWEST} are needed; the data have "
                f"{_counted(codes, ~np.isnan(wanted))}."
            )
    if REAL in condition:
        features, wanted = _wanted(windows, condition, REAL)
        spread = features.std(0)
        apart = (features[rows] - wanted) / np.where(spread > 0, spread, 1.0)
        distance = np.square(np.nan_to_num(apart)).sum(1)
        number = min(len(rows), max(FEWEST, round(SHARE * len(windows))))
        rows = np.sort(rows[np.argsort(distance, kind="stable")[:number]])
    if len(rows) < FEW:
        logger.warning(
            "only %d training windows fit the condition; what is drawn varies as they "
            "do and little more",
            len(rows),
        )
    return rows


def _wanted(
    windows: Windows, condition: Condition, name: str
) -> tuple[np.ndarray, np.ndarray]:
    """Features of the windows ``(N, K)`` and wanted values ``(K,)``, NaN for any."""
    if name not in windows.static:
        raise ValueError(f"condition names {name!r}, which the data do not have.")
    features = windows.static[name]
    try:
        wanted = np.atleast_1d(np.asarray(condition[name], dtype=float))
    except (TypeError, ValueError):
        wanted = np.empty(0)
    if wanted.shape != (features.shape[1],) or np.isinf(wanted).any():
        raise ValueError(
            f"condition: {name} is {condition[name]!r}; give {features.shape[1]} "
            "numbers, one a feature, None for any."
        )
    return features, wanted


def _shown(wanted: np.ndarray) -> str:
    parts = ("any" if np.isnan(value) else f"{value:g}" for value in wanted)
    return f"[{', '.join(parts)}]"


def _counted(codes: np.ndarray, asked: np.ndarray) -> str:
    """Categories that there are, the most frequent first."""
    found, counts = np.unique(codes[:, asked], axis=0, return_counts=True)
    order = np.argsort(-counts, kind="stable")[:8]
    parts = [f"{counts[k]} of {found[k].tolist()}" for k in order]
    return ", ".join(parts) + (", ..." if len(found) > len(order) else "")
