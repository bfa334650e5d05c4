"""Resampling: log-weights in, row indices out."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["effective_sample_share", "systematic"]


def effective_sample_share(log_weights: Tensor) -> float:
    """Effective sample share ``(sum w)^2 / (n sum w^2)``, in (0, 1]."""
    log_sum = torch.logsumexp(log_weights, 0)
    log_square = torch.logsumexp(2 * log_weights, 0)
    return float((2 * log_sum - log_square).exp() / len(log_weights))


def systematic(log_weights: Tensor, generator: torch.Generator) -> Tensor:
    """``n`` row indices with expected counts ``n w`` (systematic resampling), ``(n,)``.

    Unchanged by a constant added to ``log_weights``.
    """
    n = len(log_weights)
    edges = torch.softmax(log_weights.double(), 0).cumsum(0)
    uniform = torch.rand(1, generator=generator, device=log_weights.device)
    at = (torch.arange(n, device=log_weights.device) + uniform.double()) / n
    return torch.searchsorted(edges, at * edges[-1]).clamp(max=n - 1)
