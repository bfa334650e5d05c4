"""What lies between windows in original units and what a path model learns.

On the way in: dynamic features may join the channels, windows are scaled one by one,
channels that never vary are left out. On the way back everything is undone: a
generated series takes its scale from the training window that gave most of its steps,
and its values return to the decimal grid of the data.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

import numpy as np
from gluonts.dataset.field_names import FieldName

from gluonts_dualkl.data.grids import decimal_resolution, support
from gluonts_dualkl.data.scaling import scale_windows, unscale_windows
from gluonts_dualkl.data.windows import Windows

__all__ = ["Preparation", "join_dynamic"]

DYNAMIC = FieldName.FEAT_DYNAMIC_REAL


def join_dynamic(windows: Windows) -> tuple[Windows, int]:
    """The windows with ``feat_dynamic_real`` as further channels, and their number.

    Returns
    -------
    tuple
        Windows with values ``(N, T, C + K)`` and without the feature, and ``K``.

    Raises
    ------
    ValueError
        If the dataset has no such feature.
    """
    if DYNAMIC not in windows.dynamic:
        raise ValueError(
            f"the dataset has no {DYNAMIC} to model; leave dynamic_features at 'carry'."
        )
    rest = {name: x for name, x in windows.dynamic.items() if name != DYNAMIC}
    joined = windows.dynamic[DYNAMIC].transpose(0, 2, 1)
    values = np.concatenate([windows.values, joined], axis=2).astype(np.float32)
    return replace(windows, values=values, dynamic=rest), joined.shape[2]


@dataclass(frozen=True)
class Preparation:
    """From complete windows to the values that a model learns, and back.

    Attributes
    ----------
    scaling
        How windows are scaled, see :mod:`~gluonts_dualkl.data.scaling`.
    scales
        Scales of the training windows, ``(N, C)``.
    varying
        Whether a scaled channel varies, ``(C,)``; only those that do are modelled.
    constants
        Scaled values of the channels that do not vary, ``(C,)``; NaN for the others.
    resolution
        Step of the decimal grid of a channel that scaling takes off it, ``(C,)``; 0
        without one.
    limits
        Bounds of a channel that scaling loses, ``(2, C)``; infinite without them.
    missing
        Where training windows were missing, ``(N, T, C)``; ``(0, T, C)`` if nowhere.
    """

    scaling: str
    scales: np.ndarray
    varying: np.ndarray
    constants: np.ndarray
    resolution: np.ndarray
    limits: np.ndarray
    missing: np.ndarray

    @classmethod
    def fit(
        cls, values: np.ndarray, missing: np.ndarray, scaling: str
    ) -> tuple[Preparation, np.ndarray]:
        """Prepare training windows.

        Parameters
        ----------
        values
            Complete windows ``(N, T, C)`` in original units.
        missing
            Which of the values were filled, ``(N, T, C)``.
        scaling
            One of :data:`~gluonts_dualkl.data.scaling.SCALINGS`.

        Returns
        -------
        tuple
            The preparation, and what the model learns, ``(N, T', C')``.

        Raises
        ------
        ValueError
            If no channel varies, or values do not fit the scaling.
        """
        scaled, scales = scale_windows(values, scaling)
        varying = scaled.max((0, 1)) > scaled.min((0, 1))
        if not varying.any():
            raise ValueError("every channel is constant; there is nothing to learn.")
        constants = np.where(varying, np.nan, scaled[0, 0]).astype(np.float32)
        resolution = np.zeros(len(varying))
        limits = np.full((2, len(varying)), [[-np.inf], [np.inf]])
        if scaling != "none":
            for c in range(len(varying)):
                known = values[:, :, c][~missing[:, :, c]]
                resolution[c] = decimal_resolution(known)
                limits[:, c] = support(known)
        kept = missing if missing.any() else missing[:0]
        prepared = cls(scaling, scales, varying, constants, resolution, limits, kept)
        return prepared, scaled[:, :, varying]

    def state(self) -> dict[str, np.ndarray]:
        """The arrays by attribute."""
        names = [field.name for field in fields(self) if field.name != "scaling"]
        return {name: getattr(self, name) for name in names}

    def forward(self, values: np.ndarray) -> np.ndarray:
        """Other complete windows ``(n, T, C)`` as the model takes them."""
        return scale_windows(values, self.scaling)[0][:, :, self.varying]

    def backward(self, values: np.ndarray, scales: np.ndarray) -> np.ndarray:
        """Windows of the model in original units, ``(n, T, C)``, float32.

        Parameters
        ----------
        values
            What the model drew, ``(n, T', C')``.
        scales
            Scale of each one, ``(n, C)``: that of a training window.
        """
        full = np.empty((*values.shape[:2], len(self.varying)), np.float32)
        full[:] = self.constants
        full[:, :, self.varying] = values
        if self.scaling == "none":
            return full
        x = unscale_windows(full, scales, self.scaling)
        return self._in_support(x)

    def _in_support(self, x: np.ndarray) -> np.ndarray:
        """Values on the decimal grids and inside the bounds; prices stay positive."""
        step = self.resolution
        rounded = step * np.round(x / np.where(step > 0, step, 1.0))
        if self.scaling == "returns":
            rounded = np.maximum(rounded, step)
        x = np.where(step > 0, rounded, x)
        if self.scaling == "mean":
            x = x.clip(*self.limits)
        return x.astype(np.float32)

    def mask_of(self, donors: np.ndarray) -> np.ndarray | None:
        """Where the training windows ``donors`` ``(n,)`` were missing, if anywhere."""
        return self.missing[donors] if len(self.missing) else None
