import numpy as np
import pandas as pd
import pytest
import torch
from laws import ar1

from gluonts_dualkl import DualKLEstimator


def entries(num_series=40, length=12, channels=2, seed=0, **extra):
    """AR(1) series of varying calendar phase as GluonTS entries."""
    values = ar1(num_series, length, channels, 0.7, seed)
    return [
        {
            "item_id": f"real{k}",
            "start": pd.Period("2024-01-01", "D") + k % 7,
            "target": np.ascontiguousarray(series.T),
            **{name: value(k) for name, value in extra.items()},
        }
        for k, series in enumerate(values)
    ]


SMALL = {"num_walkers": 100, "max_rounds": 2, "num_folds": 2, "num_steps": 5}


@pytest.fixture(scope="session")
def generator():
    """A generator of two channels, trained once."""
    return DualKLEstimator(freq="D", length=12, **SMALL).train(entries())


@pytest.fixture
def two_threads():
    """Two CPU threads for tensor operations, and afterwards those that were."""
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield 2
    torch.set_num_threads(before)
