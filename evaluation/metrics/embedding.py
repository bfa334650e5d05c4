r"""Frechet distance of a small embedding that is fitted on the training series.

The Context-FID of Jeha et al. (ICLR 2022), with the contrastive encoder of Franceschi,
Dieuleveut & Jaggi (NeurIPS 2019) cut down to 8 dimensions: with n series in d
dimensions two samples of one law are about ``d^2 / n`` apart (1.1 at n = 50, d = 8; 92
at d = 100), so a large embedding measures little but n. Values are comparable within
one data set, size and seed only, and never with published ones.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn

from gluonts_dualkl.evaluation.features import ChannelScaler
from gluonts_dualkl.evaluation.metrics._common import equal_size, remember
from gluonts_dualkl.evaluation.metrics._record import Metric
from gluonts_dualkl.threads import single_threaded

__all__ = ["METRICS", "context_fid", "fit_embedding", "frechet_distance"]

_DIMENSIONS = 8
_WIDTH = 24


class _Encoder(nn.Module):
    """Two dilated convolutions, mean and maximum over time: ``(n, C, T) -> (n, d)``."""

    def __init__(self, num_channels: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv1d(num_channels, _WIDTH, 3, padding=1),
            nn.GELU(),
            nn.Conv1d(_WIDTH, _WIDTH, 3, padding=2, dilation=2),
            nn.GELU(),
        )
        self.head = nn.Linear(2 * _WIDTH, _DIMENSIONS)

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.layers(x)
        return self.head(torch.cat([hidden.mean(2), hidden.amax(2)], dim=1))


def _crops(x: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Two random windows of 3/4 of the length of each series, one length for all."""
    length = x.shape[2]
    size = max(3 * length // 4, 4)
    starts = torch.randint(0, length - size + 1, (2,), generator=generator)
    first, second = (x[..., int(s) : int(s) + size] for s in starts)
    return first, second


def _step(encoder: _Encoder, x: Tensor, generator: torch.Generator) -> Tensor:
    """Contrastive loss: two windows of a series are nearer than those of others."""
    batch = x[torch.randperm(len(x), generator=generator)[:64]]
    ours, theirs = (
        nn.functional.normalize(encoder(crop), dim=1)
        for crop in _crops(batch, generator)
    )
    logits = ours @ theirs.T / 0.2
    return nn.functional.cross_entropy(logits, torch.arange(len(batch)))


@remember
def fit_embedding(
    train: np.ndarray, seed: int = 0, num_steps: int = 200
) -> Callable[[np.ndarray], np.ndarray]:
    """Embedding ``(n, T, C) -> (n, 8)``, each coordinate in deviations of train.

    Parameters
    ----------
    train
        Series ``(n, T, C)`` that scale the channels and fit the encoder.
    seed, num_steps
        Seed of weights and batches, and number of Adam steps.
    """
    scale = ChannelScaler(train)
    generator = torch.Generator().manual_seed(seed)
    with single_threaded(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        encoder = _Encoder(train.shape[2])
        optimizer = torch.optim.Adam(encoder.parameters(), lr=3e-3)
        x = _tensor(scale(train))
        for _ in range(num_steps):
            optimizer.zero_grad()
            _step(encoder, x, generator).backward()
            optimizer.step()
        with torch.no_grad():
            embedded = encoder(x).double().numpy()
    mean, deviation = embedded.mean(0), np.maximum(embedded.std(0), 1e-9)

    def embed(series: np.ndarray) -> np.ndarray:
        with single_threaded(), torch.no_grad():
            rows = encoder(_tensor(scale(series))).double().numpy()
        return (rows - mean) / deviation

    return embed


def _tensor(x: np.ndarray) -> Tensor:
    # values far outside the training range would decide the covariance alone
    return torch.from_numpy(np.clip(x, -10, 10).astype(np.float32)).mT.contiguous()


def frechet_distance(a: np.ndarray, b: np.ndarray) -> float:
    r"""Squared 2-Wasserstein distance of two Gaussians fitted to rows ``(n, d)``.

    ``|m_a - m_b|^2 + tr(S_a + S_b - 2 (S_a S_b)^{1/2})``, the trace of the root being
    the sum of the roots of the eigenvalues of ``S_a S_b``. Dowson & Landau (1982).
    """
    ours, theirs = np.cov(a, rowvar=False), np.cov(b, rowvar=False)
    roots = np.sqrt(np.maximum(np.linalg.eigvals(ours @ theirs).real, 0)).sum()
    shift = np.sum((a.mean(0) - b.mean(0)) ** 2)
    return float(max(shift + np.trace(ours) + np.trace(theirs) - 2 * roots, 0.0))


def context_fid(
    real: np.ndarray,
    synthetic: np.ndarray,
    train: np.ndarray,
    seed: int = 0,
    num_steps: int = 200,
) -> float:
    """Frechet distance of the embedded sets, 8 dimensions, squared deviations.

    Biased upwards by about ``64 / n`` for equal laws: read it beside its floor, which
    has the same bias, and never across numbers of series. Sets are cut to equal size.
    """
    real, synthetic = equal_size(real, synthetic, seed=seed)
    embed = fit_embedding(train, seed=seed, num_steps=num_steps)
    return frechet_distance(embed(real), embed(synthetic))


METRICS = [
    Metric(
        "context_fid", context_fid, "lower", "deviations^2", ("train", "seed"),
        "Gaussian plug-in in 8 dimensions, bias about 64 / n, equal n",
        "Jeha et al. 2022; Franceschi et al. 2019",
        high="off", tolerance=0.5, default=False, slow=True,
    ),
]  # fmt: skip
