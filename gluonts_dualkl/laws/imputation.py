"""Missing values as draws from the law of the data given what is observed.

Interpolation shrinks: a filled stretch varies less and depends on its neighbours more
than the data do. Here missing pixels are *drawn* in normal scores from a Gaussian
copula given the observed pixels of the same series (Zhao & Udell 2020 impute by that
copula; they take its conditional mean, we draw). The copula is a
:class:`CausalGaussian`, whose whitened innovations are linear in the pixels,

    e = W z,    row block t of W:  L_t^{-1} [-A_{t,p}', ..., -A_{t,1}', I],

so that the precision ``P = W'W`` of the ``T C`` pixels is block banded, with ``p``
blocks beside the diagonal. Missing pixels ``m`` given observed ones ``o`` are

    z_m | z_o ~ N(-P_mm^{-1} P_mo z_o, P_mm^{-1}).

``P_mm``, completed by ones on the diagonal in the places of observed pixels, keeps the
band for every pattern of missing pixels, so all series go through one batched Cholesky
factorisation over time, ``T`` steps of size ``p C``, and a draw is a forward and a
backward substitution (Rue 2001). No ``T C x T C`` matrix is formed; time and memory are
linear in ``T``. A series may miss whole channels, or everything.
"""

from __future__ import annotations

import logging
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import pad

from gluonts_dualkl.data.missing import interpolate_missing
from gluonts_dualkl.laws.gaussian import CausalGaussian
from gluonts_dualkl.laws.marginals import MarginalMap

__all__ = ["impute", "impute_series"]

logger = logging.getLogger(__name__)

CHUNK_NUMBERS = 2**25
PRIOR_SERIES = 8


def impute(
    z: Tensor, missing: Tensor, law: CausalGaussian, generator: torch.Generator
) -> Tensor:
    """Replace missing pixels by a draw given the observed ones of the same series.

    Parameters
    ----------
    z
        Normal scores ``(N, T, C)``; anything, NaN too, where pixels are missing.
    missing
        Which pixels are missing, bool ``(N, T, C)``.
    law
        The law of ``z``.
    generator
        Source of the draws, on the device of ``z``; not used where nothing is missing.

    Returns
    -------
    Tensor
        Complete scores of the type of ``z``; observed pixels as they were.

    Raises
    ------
    ValueError
        If shapes do not fit each other, ``missing`` is not boolean, or an observed
        pixel is not finite.
    """
    _check_scores(z, missing, law)
    rows = torch.nonzero(missing.flatten(1).any(1)).ravel()
    if not len(rows):
        return z
    gaps, known = missing[rows], z[rows].double()
    known = torch.where(gaps, 0.0, known)
    noise = torch.randn(
        known.shape, generator=generator, dtype=known.dtype, device=known.device
    )
    whitening = _whitening(law)
    columns = _precision(whitening, law.order)
    size = max(1, CHUNK_NUMBERS // columns.numel())
    drawn = torch.cat(
        [
            _draw(columns, _pull(whitening, known[part], law), gaps[part], noise[part])
            for part in torch.arange(len(rows), device=rows.device).split(size)
        ]
    )
    complete = z.clone()
    complete[rows] = torch.where(gaps, drawn.to(z.dtype), z[rows])
    return complete


def impute_series(
    values: np.ndarray,
    generator: torch.Generator,
    marginals: str = "auto",
    rounds: int = 5,
) -> np.ndarray:
    """Draw the missing values of series in original units.

    From an interpolation in time on, every round fits the law of the scores to the
    completed series and draws the missing pixels anew (stochastic EM, Celeux & Diebolt
    1985, in few steps). The marginal maps are those of the observed values, so a drawn
    value has the type, the grid and the support of its channel. Where missingness hides
    some values of a channel more than others at the same step, the maps do not know.
    Three rounds are enough for about a third missing; take more where it is most.

    Parameters
    ----------
    values
        ``(N, T, C)``; NaN is missing. Every channel is observed somewhere.
    generator
        Source of the draws, whose device does the work; not used where nothing is
        missing.
    marginals
        Kind of marginal maps, as for :meth:`MarginalMap.fit`.
    rounds
        Rounds of fitting and drawing.

    Returns
    -------
    numpy.ndarray
        Complete values; observed ones bit by bit as they were. ``values`` itself where
        nothing is missing. A single series has no law to be learned and is
        interpolated; the logged warning says so.

    Raises
    ------
    ValueError
        If ``values`` has not three axes, ``rounds`` is below 1, ``marginals`` is
        unknown, or a channel has infinite values or none.
    """
    _check_series(values, rounds)
    missing = np.isnan(values)
    if not missing.any():
        return values
    _check_channels(missing)
    filled = interpolate_missing(values)
    if len(values) == 1:
        logger.warning("a single series has no law; gaps were interpolated in time.")
        return np.where(missing, filled, values)
    maps = _steadied(MarginalMap.fit(values, marginals), values).to(generator.device)
    gaps = torch.as_tensor(missing, device=generator.device)
    z = maps.to_normal(torch.as_tensor(filled, device=generator.device))
    law: CausalGaussian | None = None
    for _ in range(rounds):
        law = CausalGaussian.select(z, generator) if law is None else law.refitted(z)
        z = impute(z, gaps, law, generator)
    drawn = maps.from_normal(z).cpu().numpy()
    logger.warning(
        "%.2g %% of the values are missing and were drawn given those observed.",
        100 * missing.mean(),
    )
    return np.where(missing, drawn, values)


def _whitening(law: CausalGaussian) -> Tensor:
    """Row blocks of ``W``, oldest lag first, ``(T, C, (p + 1) C)``."""
    identity = torch.eye(
        law.factors.shape[1], dtype=law.factors.dtype, device=law.factors.device
    ).expand_as(law.factors)
    rows = torch.cat([-law.coefficients.transpose(1, 2), identity], 2)
    return torch.linalg.solve_triangular(law.factors, rows, upper=False).double()


def _precision(whitening: Tensor, order: int) -> Tensor:
    """Lower block columns ``P_{t..t+p, t}``, zero past the end, ``(T, (p + 1) C, C)``.

    ``P_{t+d, t}`` is the sum over the innovations ``u = t + d, ..., t + p`` that both
    steps enter.
    """
    length, channels = whitening.shape[:2]
    blocks = whitening.reshape(length, channels, order + 1, channels)
    columns = whitening.new_zeros(length, order + 1, channels, channels)
    for lag in range(order + 1):
        later = blocks[lag:, :, order - lag :]
        columns[: length - lag, : lag + 1] += torch.einsum(
            "teda,teb->tdab", later, later[:, :, 0]
        )
    return columns.reshape(length, (order + 1) * channels, channels)


def _pull(whitening: Tensor, known: Tensor, law: CausalGaussian) -> Tensor:
    """``-P z`` of series with zeros where they are missing, ``(n, T, C)``."""
    n, length, channels = known.shape
    back = torch.einsum("nte,tek->ntk", law.innovations(known), whitening)
    parts = back.reshape(n, length, law.order + 1, channels)
    pull = torch.zeros_like(known)
    for lag in range(law.order + 1):
        pull[:, : length - lag] -= parts[:, lag:, law.order - lag]
    return pull


def _draw(columns: Tensor, pull: Tensor, missing: Tensor, noise: Tensor) -> Tensor:
    """``N(P_mm^{-1} pull_m, P_mm^{-1})`` in the missing places, ``(n, T, C)``.

    With ``P_mm = R R'``: ``R y = pull`` forward in time, ``R' x = y + noise`` backward.
    ``update`` and ``carried`` hold what the steps done so far take from the next ones.
    """
    n, length, channels = pull.shape
    width = columns.shape[1]
    ahead = width - channels
    mask = pad(missing.double(), (0, 0, 0, ahead // channels))
    update = pull.new_zeros(n, width, width)
    carried = pull.new_zeros(n, width)
    steps = []
    for t in range(length):
        own = mask[:, t]
        reached = mask[:, t : t + width // channels].reshape(n, width, 1)
        column = columns[t] * reached * own[:, None] - update[:, :, :channels]
        diagonal = column[:, :channels] + torch.diag_embed(1 - own)
        root = torch.linalg.cholesky(diagonal)
        below = torch.linalg.solve_triangular(
            root.mT, column[:, channels:], upper=True, left=False
        )
        right = (pull[:, t] * own - carried[:, :channels])[:, :, None]
        y = torch.linalg.solve_triangular(root, right, upper=False)
        update = pad(
            update[:, channels:, channels:] + below @ below.mT, [0, channels] * 2
        )
        carried = pad(carried[:, channels:] + (below @ y)[:, :, 0], (0, channels))
        steps.append((root, below, y[:, :, 0] + noise[:, t] * own))
    x = torch.zeros_like(pull)
    later = pull.new_zeros(n, ahead, 1)
    for t in reversed(range(length)):
        root, below, y = steps[t]
        right = y[:, :, None] - below.mT @ later
        now = torch.linalg.solve_triangular(root.mT, right, upper=True)
        x[:, t] = now[:, :, 0]
        later = torch.cat([now, later], 1)[:, :ahead]
    return x


def _steadied(maps: MarginalMap, values: np.ndarray) -> MarginalMap:
    """Maps whose pixel moments lean on those of the channel where few series count.

    A pixel observed in ``k`` of ``N`` series gives its own location and squared scale
    the weight ``k / (k + PRIOR_SERIES (1 - k / N))`` against the means over time: all
    of it where nothing is missing, none where nothing is observed. Otherwise a pixel
    that one series observes would have no spread at all. Our construction.
    """
    known = torch.as_tensor((~np.isnan(values)).sum(0))
    share = known / len(values)
    weight = known / (known + PRIOR_SERIES * (1 - share))
    centre = (maps.location * known).sum(0) / known.sum(0)
    spread = (maps.scale.square() * known).sum(0) / known.sum(0)
    return replace(
        maps,
        location=torch.lerp(centre.expand_as(weight), maps.location, weight),
        scale=torch.lerp(spread.expand_as(weight), maps.scale.square(), weight).sqrt(),
    )


def _check_scores(z: Tensor, missing: Tensor, law: CausalGaussian) -> None:
    expected = tuple(law.factors.shape[:2])
    if z.ndim != 3 or tuple(z.shape[1:]) != expected:
        raise ValueError(
            f"z has shape {tuple(z.shape)}; expected (N, T, C) with the (T, C) = "
            f"{expected} of the law."
        )
    if missing.dtype != torch.bool or missing.shape != z.shape:
        raise ValueError(
            f"missing is {missing.dtype} of shape {tuple(missing.shape)}; expected a "
            f"boolean tensor of shape {tuple(z.shape)}, as z."
        )
    if not (z.isfinite() | missing).all():
        raise ValueError(
            "z has observed pixels that are not finite; mark them in missing."
        )


def _check_series(values: np.ndarray, rounds: int) -> None:
    if values.ndim != 3:
        raise ValueError(f"values has shape {values.shape}; expected (N, T, C).")
    if rounds < 1:
        raise ValueError(f"rounds={rounds} must be at least 1.")


def _check_channels(missing: np.ndarray) -> None:
    empty = np.flatnonzero(missing.all((0, 1)))
    if len(empty):
        raise ValueError(
            f"channel {empty[0]} of values holds no observed value; leave it out."
        )
