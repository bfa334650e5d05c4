"""Generate multivariate time series from few, in the dual divergence space.

A GluonTS-style plugin: :class:`DualKLEstimator` learns the law of a GluonTS dataset and
:class:`DualKLGenerator` draws new series from it. Names are imported when first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gluonts_dualkl.analysis.explanation import explain
    from gluonts_dualkl.augmentation import SyntheticDataset, augment
    from gluonts_dualkl.data.windows import (
        dataset_from_array,
        dataset_from_frame,
        dataset_to_array,
        dataset_to_frame,
    )
    from gluonts_dualkl.estimator import DualKLEstimator
    from gluonts_dualkl.generator import DualKLGenerator

__version__ = "0.1.0"

__all__ = [
    "DualKLEstimator",
    "DualKLGenerator",
    "SyntheticDataset",
    "augment",
    "dataset_from_array",
    "dataset_from_frame",
    "dataset_to_array",
    "dataset_to_frame",
    "explain",
]

_HOME = {
    "DualKLEstimator": "estimator",
    "DualKLGenerator": "generator",
    "SyntheticDataset": "augmentation",
    "augment": "augmentation",
    "dataset_from_array": "data.windows",
    "dataset_from_frame": "data.windows",
    "dataset_to_array": "data.windows",
    "dataset_to_frame": "data.windows",
    "explain": "analysis.explanation",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return sorted(set(globals()) | set(__all__))
