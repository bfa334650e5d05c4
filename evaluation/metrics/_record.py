"""What is known about a metric beside its function."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any, Literal

import numpy as np

__all__ = ["GROUPS", "Metric"]

GROUPS = ("headline", "secondary", "sdmetrics", "finance", "environment")


@dataclass(frozen=True)
class Metric:
    """What is known about a metric beside its function.

    Attributes
    ----------
    name
        Identifier, the ``metric`` column of a table of scores.
    function
        ``function(real, synthetic, **needs)`` on arrays ``(n, T, C)``; ``real`` is held
        out, never the training set.
    direction
        Which way is better; ``"nominal"`` means the value of fresh series is.
    unit
        Unit of the value, ``"1"`` for none.
    needs
        Further arguments of the function: ``"train"``, ``"seed"``.
    estimator
        The finite-sample estimator by name.
    source
        Where it was defined.
    floor
        Real series in place of the synthetic ones: the ``"train"`` set, or one of two
        ``"halves"`` of the held-out set where the function compares with train itself.
    ceiling
        The oracle with the fault that this metric is meant to see.
    low, high
        Word for a value below or above the floor; ``None`` where that is no fault.
    far
        Word for a fault beyond the limit, or more than half way to the ceiling.
    tolerance
        Smallest difference from the floor that deserves a word, on the `scale`.
    limit
        Value beyond which the fault is ``far``, where one is known from calibration.
    group
        One of :data:`GROUPS`.
    default
        Whether it is computed unless other groups are asked for.
    costly
        Whether intervals must do with few repeats.
    slow
        Whether it is computed once, without an interval.
    missing
        Whether NaN, and hence series of several lengths, are left out one by one.
    requires
        Library to be installed beside this package's own, if any.
    min_channels
        Fewest channels for which it says anything.
    """

    name: str
    function: Callable[..., float]
    direction: Literal["lower", "higher", "nominal"]
    unit: str
    needs: tuple[str, ...]
    estimator: str
    source: str
    floor: Literal["train", "halves"] = "train"
    ceiling: str = "independent_marginals"
    low: str | None = None
    high: str | None = None
    far: str | None = None
    tolerance: float = 0.0
    limit: float | None = None
    group: str = "secondary"
    default: bool = True
    costly: bool = False
    slow: bool = False
    missing: bool = False
    requires: str | None = None
    min_channels: int = 1

    @property
    def is_p_value(self) -> bool:
        """Whether the value is a p-value, which has no interval."""
        return self.unit == "p"

    def scale(self, value: np.ndarray | float) -> np.ndarray:
        """Value on the scale on which differences are read: logarithms of ratios."""
        if self.unit == "ratio":
            return np.log(np.maximum(value, 1e-3))
        return np.asarray(value, dtype=float)

    def unscale(self, value: np.ndarray | float) -> np.ndarray:
        """Inverse of :meth:`scale`."""
        return np.exp(value) if self.unit == "ratio" else np.asarray(value, dtype=float)

    @property
    def headline(self) -> bool:
        """Whether it belongs to the headline set."""
        return self.group == "headline"

    @property
    def installed(self) -> bool:
        """Whether the library that it needs is there."""
        return self.requires is None or find_spec(self.requires) is not None

    def check_installed(self) -> None:
        """Raise a ``ModuleNotFoundError`` that says what to install, if needed."""
        if not self.installed:
            raise ModuleNotFoundError(
                f"{self.name}: needs {self.requires}, which is not installed; "
                "pip install 'gluonts-dualkl[evaluation]'"
            )

    def __call__(self, real: np.ndarray, synthetic: np.ndarray, **needs: Any) -> float:
        """Value of the function, after a check for NaN and for its library.

        Raises
        ------
        ValueError
            If a set holds NaN or infinite values and the metric cannot leave them out.
        """
        self.check_installed()
        sets = {"real": real, "synthetic": synthetic, "train": needs.get("train")}
        for name, x in sets.items():
            if x is not None and not self.missing and not np.isfinite(x).all():
                raise ValueError(
                    f"{self.name}: {name} holds NaN or infinite values, which this "
                    "metric cannot leave out; drop or fill them first"
                )
        return float(self.function(real, synthetic, **needs))
