"""Fits that serve draws alone."""

import math

import numpy as np
import pytest
import torch
from laws import ar1

from gluonts_dualkl.models.recombination import DualModel


@pytest.fixture(scope="module")
def model():
    values = ar1(80, 12, 2, 0.7, seed=0)
    source = torch.Generator().manual_seed(0)
    return DualModel.fit(values, source, num_walkers=200, draw_only=True)


def test_draws_have_the_law_of_the_data(model):
    z = model.draw(400, 10, torch.Generator().manual_seed(1)).z
    x = model.marginals.from_normal(z).numpy()
    lag = (x[:, 1:] * x[:, :-1]).mean() / (x**2).mean()
    assert abs(lag - 0.7) < 0.1
    assert abs(x.std() - 1) < 0.1
    assert len(np.unique(x.reshape(400, -1), axis=0)) == 400


def test_nats_are_not_made_up(model):
    assert [leg.name for leg in model.legs] == ["data"]
    assert math.isnan(model.legs[0].log_normaliser)
    ratios = model.log_ratio_of_scores(model.train)
    assert ratios["gaussian"].isfinite().all()
    assert ratios["data"].isnan().all()
