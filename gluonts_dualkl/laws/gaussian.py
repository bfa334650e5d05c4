"""The Gaussian leg: a causal Gaussian law with moments shared over time.

In normal scores ``z`` the law is written one step at a time,

    z_t = A_t [z_{t-p}, ..., z_{t-1}] + L_t e_t,      e_t ~ N(0, I),

so that its dual function against ``Q``, the product of its own pixel marginals
``N(0, v_tc)``, is known in closed form; its mean under the law is the law's total
correlation. ``A_t`` and ``L_t`` come from the second moments of the block
``[z_{t-p}, ..., z_t]`` over the ``N`` series, shrunk to the same moments pooled over
all time steps,

    M_t = (N S_t + nu S_pooled) / (N + nu) + ridge I.

``nu`` moves between a law of its own at every step (``nu = 0``) and a stationary
autoregression (``nu = inf``); order, ``nu`` and ridge are chosen by cross-validated
likelihood. With ``order >= T - 1`` and ``nu = 0`` it is the unrestricted Gaussian. The
construction is ours; the leg takes the part of the Gaussian copula in the path.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields

import torch
from torch import Tensor

__all__ = ["CausalGaussian"]

ORDERS = (1, 2, 3, 5, 8)
PSEUDO_COUNTS = (10.0, 30.0, 100.0, 300.0, 1000.0, 1e6)
RIDGES = (1e-3, 1e-2, 3e-2, 1e-1)
MAX_CONTEXT = 128
FOLDS = 5
PASSES = 3
BLOCK_NUMBERS = 16_000_000

Setting = tuple[int, float, float]


def _blocks(z: Tensor, order: int) -> Tensor:
    """``[z_{t-p}, ..., z_t]`` with zeros before the start, ``(T, N, (p + 1) C)``."""
    n, length, channels = z.shape
    padded = torch.cat([z.new_zeros(n, order, channels), z], 1)
    windows = padded.unfold(1, order + 1, 1)
    return windows.permute(1, 0, 3, 2).reshape(length, n, (order + 1) * channels)


def _local_moments(z: Tensor, order: int, start: int, stop: int) -> Tensor:
    """Second moments of the blocks of steps ``start`` to ``stop``, ``(t, K, K)``."""
    first = max(0, start - order)
    blocks = _blocks(z[:, first:stop], order)[start - first :]
    return blocks.transpose(1, 2) @ blocks / len(z)


class _Moments:
    """Second moments of the blocks of series, by time step and pooled.

    The moments of a time step have ``K^2`` entries, ``K = (p + 1) C``, and a block of
    time steps is in memory at a time, with at most ``BLOCK_NUMBERS`` numbers. They are
    kept where one block holds all steps and worked out anew where not.
    """

    def __init__(self, z: Tensor, order: int) -> None:
        self.z, self.order = z, order
        _, length, channels = z.shape
        size = (order + 1) * channels
        step = max(1, BLOCK_NUMBERS // (size * max(size, len(z))))
        self._edges = [(t, min(t + step, length)) for t in range(0, length, step)]
        self._kept: Tensor | None = None
        total = z.new_zeros(size, size)
        for start, stop in self._edges:
            local = _local_moments(z, order, start, stop)
            if len(self._edges) == 1:
                self._kept, total = local, local[order:].mean(0)
            else:
                total += local[max(0, order - start) :].sum(0) / (length - order)
        self._pooled = total

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Moments by time step and pooled, ``(t, K, K)`` each, blocks in time order."""
        for start, stop in self._edges:
            local = self._kept
            if local is None:
                local = _local_moments(self.z, self.order, start, stop)
            pooled = self._pooled.expand_as(local).clone()
            for t in range(start, min(stop, self.order)):
                absent = (self.order - t) * self.z.shape[2]
                pooled[t - start, :absent, :] = 0
                pooled[t - start, :, :absent] = 0
            yield local, pooled


def _joined(blocks: Sequence[Tensor]) -> Tensor:
    """Blocks one after the other; a single one as it lies in memory."""
    return blocks[0] if len(blocks) == 1 else torch.cat(list(blocks))


def _replaced(setting: Setting, place: int, value: float) -> Setting:
    values = [*setting[:place], value, *setting[place + 1 :]]
    return int(values[0]), values[1], values[2]


def _regression(moments: Tensor, channels: int) -> tuple[Tensor, Tensor]:
    """Coefficients and innovation factors of moments ``(t, K, K)``."""
    past = moments.shape[1] - channels
    cross = moments[:, :past, past:]
    coefficients = torch.linalg.solve(moments[:, :past, :past], cross)
    residual = moments[:, past:, past:] - coefficients.transpose(1, 2) @ cross
    return coefficients, torch.linalg.cholesky(residual)


@dataclass(frozen=True)
class CausalGaussian:
    """A Gaussian law over ``(T, C)`` written causally.

    Attributes
    ----------
    coefficients
        ``A_t`` transposed, oldest lag first, ``(T, p C, C)``.
    factors
        Lower Cholesky factors ``L_t`` of the innovation covariances, ``(T, C, C)``.
    variances
        Variances ``v_tc`` of the pixels under the law, ``(T, C)``.
    shrinkage
        Pseudo-count and ridge it was fitted with, ``(2,)``.
    """

    coefficients: Tensor
    factors: Tensor
    variances: Tensor
    shrinkage: Tensor

    @property
    def order(self) -> int:
        """Number of lags ``p``."""
        return self.coefficients.shape[1] // self.coefficients.shape[2]

    @classmethod
    def fit(
        cls, z: Tensor, order: int, pseudo_count: float, ridge: float
    ) -> CausalGaussian:
        """Fit to scores ``z`` ``(N, T, C)`` with given shrinkage (see the module)."""
        order = min(order, z.shape[1] - 1)
        return cls._from_moments(_Moments(z.double(), order), pseudo_count, ridge)

    @classmethod
    def select(cls, z: Tensor, generator: torch.Generator) -> CausalGaussian:
        """Fit with order, pseudo-count and ridge of the best held-out likelihood.

        Coordinate search over the grids of this module, each setting scored by 5-fold
        cross-validated ``E[log p/q]``.
        """
        z = z.double()
        length, channels = z.shape[1:]
        fold = torch.randperm(len(z), generator=generator, device=z.device) % FOLDS
        scores: dict[Setting, float] = {}
        largest = max(1, min(MAX_CONTEXT // channels, length - 1))
        grids = ([p for p in ORDERS if p <= largest], PSEUDO_COUNTS, RIDGES)
        best: Setting = (grids[0][min(1, len(grids[0]) - 1)], 300.0, 1e-2)
        for _ in range(PASSES):
            start = best
            for place, grid in enumerate(grids):
                options = [_replaced(best, place, value) for value in grid]
                new = [option for option in options if option not in scores]
                scores.update(cls._held_out(z, fold, new))
                best = max(options, key=lambda option: scores[option])
            if best == start:
                break
        return cls.fit(z, *best)

    @classmethod
    def _held_out(
        cls, z: Tensor, fold: Tensor, settings: Sequence[Setting]
    ) -> dict[Setting, float]:
        """Sum of cross-validated ``log p/q`` by setting, nats.

        The moments of one fold and order are in memory at a time.
        """
        totals = dict.fromkeys(settings, 0.0)
        for k in range(FOLDS):
            rest, held = z[fold != k], z[fold == k]
            for order in dict.fromkeys(order for order, _, _ in settings):
                moments = _Moments(rest, order)
                for setting in settings:
                    if setting[0] == order:
                        law = cls._from_moments(moments, *setting[1:])
                        totals[setting] += float(law.log_ratio(held).sum())
        return totals

    @classmethod
    def _from_moments(
        cls, moments: _Moments, pseudo_count: float, ridge: float
    ) -> CausalGaussian:
        num_series, channels = len(moments.z), moments.z.shape[2]
        weight = pseudo_count / (num_series + pseudo_count)
        parts = []
        for local, pooled in moments:
            identity = torch.eye(local.shape[1], dtype=local.dtype, device=local.device)
            shrunk = torch.lerp(local, pooled, weight) + ridge * identity
            parts.append(_regression(shrunk, channels))
        coefficients, factors = (_joined(blocks) for blocks in zip(*parts))
        variances = _pixel_variances(coefficients, factors)
        settings = [float(pseudo_count), float(ridge)]
        shrinkage = torch.tensor(settings, dtype=factors.dtype, device=factors.device)
        return cls(coefficients, factors, variances, shrinkage)

    def refitted(self, z: Tensor) -> CausalGaussian:
        """The law of other scores with the same order and shrinkage."""
        pseudo_count, ridge = self.shrinkage.tolist()
        return self.fit(z, self.order, pseudo_count, ridge)

    def state(self) -> dict[str, Tensor]:
        """The tensors of the law by attribute."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    def context(self, z: Tensor, t: int) -> Tensor:
        """The ``p`` steps before ``t``, oldest first, zeros before the start.

        ``(n, p C)``.
        """
        steps = z[:, max(0, t - self.order) : t]
        missing = self.order - steps.shape[1]
        if missing:
            steps = torch.cat([z.new_zeros(len(z), missing, z.shape[2]), steps], 1)
        return steps.reshape(len(z), -1)

    def innovations(self, z: Tensor) -> Tensor:
        """Whitened innovations ``e_t`` of series ``z``, ``(n, T, C)``, float64."""
        rows = max(1, BLOCK_NUMBERS // ((self.order + 1) * max(1, z[:1].numel())))
        return _joined([self._innovations(part.double()) for part in z.split(rows)])

    def _innovations(self, z: Tensor) -> Tensor:
        past = _blocks(z, self.order)[:, :, : -z.shape[2]]
        residual = z.transpose(0, 1) - past @ self.coefficients
        whitened = torch.linalg.solve_triangular(
            self.factors, residual.transpose(1, 2), upper=False
        )
        return whitened.permute(2, 0, 1)

    def from_innovations(self, innovations: Tensor) -> Tensor:
        """Series of whitened innovations ``(n, T, C)``: the inverse map."""
        innovations = innovations.double()
        z = torch.zeros_like(innovations)
        for t in range(z.shape[1]):
            z[:, t] = self.context(z, t) @ self.coefficients[t]
            z[:, t] += innovations[:, t] @ self.factors[t].T
        return z

    def factor(self) -> Tensor:
        """``B`` of ``z = B e`` on flat series, ``(T C, T C)``, float64.

        A column is the series that one unit innovation makes.
        """
        length, channels = self.factors.shape[:2]
        units = torch.eye(
            length * channels, dtype=torch.float64, device=self.factors.device
        )
        series = self.from_innovations(units.reshape(-1, length, channels))
        return series.reshape(len(units), -1).T

    def covariance(self) -> Tensor:
        """Covariance ``B B'`` of the pixels, time first, ``(T C, T C)``, float64."""
        factor = self.factor()
        return factor @ factor.T

    def log_ratio(self, z: Tensor) -> Tensor:
        """Dual function ``log g(z) - sum log N(z_tc; 0, v_tc)``, ``(n,)``, nats."""
        e = self.innovations(z)
        scaled = z.double().square() / self.variances
        return 0.5 * (scaled - e.square()).sum((1, 2)) + self.total_correlation()

    def sample(self, num_samples: int, generator: torch.Generator) -> Tensor:
        """Independent draws, ``(n, T, C)``, float64."""
        length, channels = self.factors.shape[:2]
        noise = torch.randn(
            (num_samples, length, channels),
            generator=generator,
            dtype=torch.float64,
            device=self.factors.device,
        )
        return self.from_innovations(noise)

    def total_correlation(self) -> float:
        """``KL(G || Q) = 1/2 sum log v_tc - sum log det L_t``, nats."""
        log_det = self.factors.diagonal(dim1=1, dim2=2).log().sum()
        return float(0.5 * self.variances.log().sum() - log_det)


def _pixel_variances(coefficients: Tensor, factors: Tensor) -> Tensor:
    """Pixel variances by the covariance recursion of ``p`` steps, ``(T, C)``."""
    length, past, channels = coefficients.shape
    covariance = factors.new_zeros(past + channels, past + channels)
    variances = []
    for t in range(length):
        cross = covariance[channels:, channels:].clone()
        new = coefficients[t].T @ cross
        covariance[:past, :past] = cross
        covariance[past:, :past] = new
        covariance[:past, past:] = new.T
        own = new @ coefficients[t] + factors[t] @ factors[t].T
        covariance[past:, past:] = 0.5 * (own + own.T)
        variances.append(covariance.diagonal()[past:].clone())
    return torch.stack(variances)
