"""An honest evaluation harness for generators of time series.

Synthetic series are judged against held-out ones, never against the training set, and
every value stands beside a floor (real against real) and a ceiling (an oracle with a
known fault). Nothing is imported before it is used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gluonts_dualkl.evaluation.comparison import (
        compare_generators,
        draw_critical_difference,
    )
    from gluonts_dualkl.evaluation.datasets import (
        example_arrays,
        load_example,
        split_blocks,
        split_items,
    )
    from gluonts_dualkl.evaluation.forecasting.ratio import choose_ratio
    from gluonts_dualkl.evaluation.forecasting.study import evaluate_augmentation
    from gluonts_dualkl.evaluation.metrics import ALL_METRICS, METRICS, Metric
    from gluonts_dualkl.evaluation.oracles import ORACLES
    from gluonts_dualkl.evaluation.protocol import (
        admissibility,
        aggregate_seeds,
        fidelity_at_novelty,
        oracle_table,
        rank_generators,
    )
    from gluonts_dualkl.evaluation.scoring import evaluate_generator
    from gluonts_dualkl.evaluation.verdict import describe, findings

__all__ = [
    "ALL_METRICS",
    "METRICS",
    "ORACLES",
    "Metric",
    "admissibility",
    "aggregate_seeds",
    "choose_ratio",
    "compare_generators",
    "describe",
    "draw_critical_difference",
    "evaluate_augmentation",
    "evaluate_generator",
    "example_arrays",
    "fidelity_at_novelty",
    "findings",
    "load_example",
    "oracle_table",
    "rank_generators",
    "split_blocks",
    "split_items",
]

_HOME = {
    "ALL_METRICS": "metrics",
    "METRICS": "metrics",
    "ORACLES": "oracles",
    "Metric": "metrics",
    "admissibility": "protocol",
    "aggregate_seeds": "protocol",
    "choose_ratio": "forecasting.ratio",
    "compare_generators": "comparison",
    "describe": "verdict",
    "draw_critical_difference": "comparison",
    "evaluate_augmentation": "forecasting.study",
    "evaluate_generator": "scoring",
    "example_arrays": "datasets",
    "fidelity_at_novelty": "protocol",
    "findings": "verdict",
    "load_example": "datasets",
    "oracle_table": "protocol",
    "rank_generators": "protocol",
    "split_blocks": "datasets",
    "split_items": "datasets",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return sorted(set(globals()) | set(__all__))
