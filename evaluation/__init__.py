"""An honest evaluation harness for generators of time series.

Synthetic series are judged against held-out ones, never against the training set, and
every value stands beside a floor (real against real) and a ceiling (an oracle with a
known fault). Nothing is imported before it is used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gluonts_dualkl.evaluation.datasets import (
        example_arrays,
        load_example,
        split_blocks,
        split_items,
    )
    from gluonts_dualkl.evaluation.metrics import METRICS, Metric
    from gluonts_dualkl.evaluation.oracles import ORACLES
    from gluonts_dualkl.evaluation.scoring import evaluate_generator
    from gluonts_dualkl.evaluation.verdict import describe, findings

__all__ = [
    "METRICS",
    "ORACLES",
    "Metric",
    "describe",
    "evaluate_generator",
    "example_arrays",
    "findings",
    "load_example",
    "split_blocks",
    "split_items",
]

_HOME = {
    "METRICS": "metrics",
    "Metric": "metrics",
    "ORACLES": "oracles",
    "describe": "verdict",
    "evaluate_generator": "scoring",
    "example_arrays": "datasets",
    "findings": "verdict",
    "load_example": "datasets",
    "split_blocks": "datasets",
    "split_items": "datasets",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return sorted(set(globals()) | set(__all__))
