"""Complete windows from windows with missing values, in original units.

What is missing is drawn given what is observed in the same window (see
:mod:`gluonts_dualkl.laws.imputation`), so that neither variance nor dependence shrinks
as it does under interpolation. Observed values stay as they are.
"""

from __future__ import annotations

import numpy as np
import torch

from gluonts_dualkl.data.grids import support, to_grid
from gluonts_dualkl.data.missing import fill_missing
from gluonts_dualkl.data.preparation import Preparation
from gluonts_dualkl.data.scaling import scale_windows, unscale_windows
from gluonts_dualkl.laws.imputation import impute, impute_series
from gluonts_dualkl.models.base import PathModel

__all__ = ["complete_others", "complete_training"]

SEED = 0


def complete_training(
    values: np.ndarray, scaling: str, marginals: str, generator: torch.Generator
) -> np.ndarray:
    """Complete training windows, before there is a model.

    Parameters
    ----------
    values
        Windows ``(N, T, C)``; NaN is missing.
    scaling
        Windows that are to be scaled are filled in units of their mean, see
        :mod:`~gluonts_dualkl.data.scaling`.
    marginals
        Marginal maps, as for :class:`~gluonts_dualkl.laws.marginals.MarginalMap`.
    generator
        Source of the draws.
    """
    if not np.isnan(values).any():
        return values
    if scaling == "none":
        return impute_series(values, generator, marginals)
    scaled, scales = scale_windows(values, "mean")
    drawn = unscale_windows(impute_series(scaled, generator, marginals), scales, "mean")
    return _merged(values, drawn)


def complete_others(
    model: PathModel, preparation: Preparation, values: np.ndarray
) -> np.ndarray:
    """Complete windows ``(n, T, C)`` that the model has not seen, by its Gaussian law.

    Where windows are scaled to returns, a gap in the levels is interpolated instead.
    """
    missing = np.isnan(values)
    if not missing.any():
        return values
    filled = fill_missing(values)
    if preparation.scaling == "returns":
        return filled
    x = torch.as_tensor(preparation.forward(filled), device=model.train.device)
    gaps = torch.as_tensor(missing[:, :, preparation.varying], device=x.device)
    generator = torch.Generator(x.device).manual_seed(SEED)
    z = impute(model.marginals.to_normal(x), gaps, model.gaussian, generator)
    drawn = model.marginals.from_normal(z).cpu().numpy()
    scales = scale_windows(filled, preparation.scaling)[1]
    return _merged(values, preparation.backward(drawn, scales))


def _merged(values: np.ndarray, drawn: np.ndarray) -> np.ndarray:
    """Observed values, and drawn ones in the support that their channel shows."""
    for c in range(values.shape[2]):
        known = values[:, :, c][~np.isnan(values[:, :, c])]
        drawn[:, :, c] = to_grid(drawn[:, :, c], known).clip(*support(known))
    return np.where(np.isnan(values), drawn, values).astype(np.float32)
