r"""Marginal divergences and sliced optimal transport.

References: Bonneel, Rabin, Peyre & Pfister (2015) for sliced Wasserstein distances, as
implemented in POT (Flamary et al., JMLR 2021); Lin (1991) for the Jensen-Shannon
divergence.
"""

from __future__ import annotations

import numpy as np

from gluonts_dualkl.evaluation.metrics._common import equal_size, flat
from gluonts_dualkl.evaluation.metrics._record import Metric

__all__ = ["METRICS", "marginal_js", "marginal_kl", "sliced_wasserstein"]


def sliced_wasserstein(
    real: np.ndarray,
    synthetic: np.ndarray,
    train: np.ndarray | None = None,
    seed: int = 0,
    num_projections: int = 100,
) -> float:
    r"""Sliced 2-Wasserstein distance of the raw series, channel deviations.

    ``(E_u W_2^2(u'X, u'Y))^{1/2}`` over ``num_projections`` random directions ``u`` of
    the ``T C`` pixels, times ``sqrt(T C)`` so that a shift of every pixel by one
    deviation costs about one. Far from zero for equal laws and falling with n; low
    frequencies decide it, so it is nearly blind to smoothing.

    Parameters
    ----------
    real, synthetic
        Series ``(n, T, C)``; the larger set is cut to the size of the smaller.
    train
        Series whose channel deviations are the unit; ``real`` where not given.
    """
    from ot import sliced_wasserstein_distance

    reference = real if train is None else train
    real, synthetic = equal_size(real, synthetic, seed=seed)
    a, b = flat(real, reference), flat(synthetic, reference)
    rng = np.random.default_rng(seed)
    directions = rng.standard_normal((a.shape[1], num_projections))
    directions /= np.linalg.norm(directions, axis=0)
    return float(sliced_wasserstein_distance(a, b, projections=directions))


def _edges(reference: np.ndarray, num_bins: int) -> np.ndarray:
    """Inner edges of bins that hold equal shares of the reference; ties have one."""
    inner = np.linspace(0, 1, num_bins + 1)[1:-1]
    return np.unique(np.quantile(reference, inner))


def _shares(values: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """Share of the values in each bin, half a value added to every bin."""
    index = np.searchsorted(edges, values, side="left")
    counts = np.bincount(index, minlength=len(edges) + 1) + 0.5
    return counts / counts.sum()


def _binned(
    real: np.ndarray, synthetic: np.ndarray, train: np.ndarray | None, num_bins: int
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Shares of real and synthetic values in each channel, NaN left out."""
    pairs = []
    for c in range(real.shape[2]):
        a, b, reference = (
            x[..., c][np.isfinite(x[..., c])]
            for x in (real, synthetic, real if train is None else train)
        )
        edges = _edges(reference, num_bins)
        pairs.append((_shares(a, edges), _shares(b, edges)))
    return pairs


def marginal_kl(
    real: np.ndarray,
    synthetic: np.ndarray,
    train: np.ndarray | None = None,
    num_bins: int = 20,
) -> float:
    r"""Mean over channels of ``KL(real || synthetic)`` of pooled values, nats.

    Plug-in on ``num_bins`` bins of equal shares of ``train``, open at both ends so that
    nothing falls outside, with half a value added to every bin (Krichevsky & Trofimov
    1981). NaN are left out.
    """
    pairs = _binned(real, synthetic, train, num_bins)
    return float(np.mean([np.sum(p * np.log(p / q)) for p, q in pairs]))


def marginal_js(
    real: np.ndarray,
    synthetic: np.ndarray,
    train: np.ndarray | None = None,
    num_bins: int = 20,
) -> float:
    """Mean over channels of the Jensen-Shannon divergence of values, nats.

    Bins as in :func:`marginal_kl`; at most ``ln 2``. NaN are left out.
    """
    gaps = []
    for p, q in _binned(real, synthetic, train, num_bins):
        middle = (p + q) / 2
        gaps.append(np.sum(p * np.log(p / middle) + q * np.log(q / middle)) / 2)
    return float(np.mean(gaps))


METRICS = [
    Metric(
        "sliced_wasserstein", sliced_wasserstein, "lower", "deviations",
        ("train", "seed"), "100 random directions, equal n",
        "Bonneel et al. 2015; POT",
        high="off", tolerance=0.05, requires="ot",
    ),
    Metric(
        "marginal_js", marginal_js, "lower", "nats", ("train",),
        "plug-in, 20 bins of equal shares of train, half a value added",
        "Lin 1991",
        ceiling="shrunk_gaussian", high="off", tolerance=0.01, missing=True,
    ),
    Metric(
        "marginal_kl", marginal_kl, "lower", "nats", ("train",),
        "plug-in, 20 bins of equal shares of train, half a value added",
        "Kullback & Leibler 1951",
        ceiling="shrunk_gaussian", high="off", tolerance=0.02, missing=True,
        default=False,
    ),
]  # fmt: skip
