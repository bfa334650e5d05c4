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

from dataclasses import dataclass, fields
from functools import cache

import torch
from torch import Tensor

__all__ = ["CausalGaussian"]

ORDERS = (1, 2, 3, 5, 8)
PSEUDO_COUNTS = (10.0, 30.0, 100.0, 300.0, 1000.0, 1e6)
RIDGES = (1e-3, 1e-2, 3e-2, 1e-1)
MAX_CONTEXT = 128
FOLDS = 5
PASSES = 3


def _blocks(z: Tensor, order: int) -> Tensor:
    """``[z_{t-p}, ..., z_t]`` with zeros before the start, ``(T, N, (p + 1) C)``."""
    n, length, channels = z.shape
    padded = torch.cat([z.new_zeros(n, order, channels), z], 1)
    windows = padded.unfold(1, order + 1, 1)
    return windows.permute(1, 0, 3, 2).reshape(length, n, (order + 1) * channels)


def _moments(z: Tensor, order: int) -> tuple[Tensor, Tensor]:
    """Second moments of the blocks by time step, and pooled, ``(T, K, K)`` each."""
    length, channels = z.shape[1:]
    blocks = _blocks(z, order)
    local = blocks.transpose(1, 2) @ blocks / len(z)
    pooled = local[order:].mean(0).expand_as(local).clone()
    for t in range(order):
        absent = (order - t) * channels
        pooled[t, :absent, :] = 0
        pooled[t, :, :absent] = 0
    return local, pooled


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
        local, pooled = _moments(z.double(), order)
        return cls._from_moments(local, pooled, len(z), z.shape[2], pseudo_count, ridge)

    @classmethod
    def select(cls, z: Tensor, generator: torch.Generator) -> CausalGaussian:
        """Fit with order, pseudo-count and ridge of the best held-out likelihood.

        Coordinate search over the grids of this module, each setting scored by 5-fold
        cross-validated ``E[log p/q]``.
        """
        z = z.double()
        length, channels = z.shape[1:]
        fold = torch.randperm(len(z), generator=generator, device=z.device) % FOLDS
        moments: dict[tuple[int, int], tuple[Tensor, Tensor]] = {}

        @cache
        def score(order: int, pseudo_count: float, ridge: float) -> float:
            total = 0.0
            for k in range(FOLDS):
                rest = z[fold != k]
                if (order, k) not in moments:
                    moments[order, k] = _moments(rest, order)
                law = cls._from_moments(
                    *moments[order, k], len(rest), channels, pseudo_count, ridge
                )
                total += float(law.log_ratio(z[fold == k]).sum())
            return total

        largest = max(1, min(MAX_CONTEXT // channels, length - 1))
        grids = ([p for p in ORDERS if p <= largest], PSEUDO_COUNTS, RIDGES)
        best = [grids[0][min(1, len(grids[0]) - 1)], 300.0, 1e-2]
        for _ in range(PASSES):
            start = list(best)
            for place, grid in enumerate(grids):
                options = [[*best[:place], v, *best[place + 1 :]] for v in grid]
                best = max(options, key=lambda option: score(*option))
            if best == start:
                break
        return cls.fit(z, int(best[0]), best[1], best[2])

    @classmethod
    def _from_moments(
        cls,
        local: Tensor,
        pooled: Tensor,
        num_series: int,
        channels: int,
        pseudo_count: float,
        ridge: float,
    ) -> CausalGaussian:
        size = local.shape[1]
        identity = torch.eye(size, dtype=local.dtype, device=local.device)
        weight = pseudo_count / (num_series + pseudo_count)
        moments = torch.lerp(local, pooled, weight) + ridge * identity
        past = size - channels
        cross = moments[:, :past, past:]
        coefficients = torch.linalg.solve(moments[:, :past, :past], cross)
        residual = moments[:, past:, past:] - coefficients.transpose(1, 2) @ cross
        factors = torch.linalg.cholesky(residual)
        variances = _pixel_variances(coefficients, factors)
        settings = [float(pseudo_count), float(ridge)]
        shrinkage = torch.tensor(settings, dtype=local.dtype, device=local.device)
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
        z = z.double()
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
