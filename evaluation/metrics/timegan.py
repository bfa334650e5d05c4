r"""Discriminative and predictive score of TimeGAN, for comparison only.

Written from Yoon, Jarrett & van der Schaar (NeurIPS 2019), with a judge of the same
kind (a recurrent network of one layer, one 80/20 split), fewer steps, at least 4 hidden
units and a held-out reference. The discriminative score folds at zero, so that chance
alone gives 0.09 at n = 50 and 0.04 at n = 200; the seed of the judge moves it by 0.08.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn

from gluonts_dualkl.evaluation.metrics._common import equal_size
from gluonts_dualkl.evaluation.metrics._record import Metric
from gluonts_dualkl.threads import single_threaded

__all__ = ["METRICS", "discriminative_score", "predictive_score"]

_BATCH = 128


class _Judge(nn.Module):
    """Recurrent layer and a linear head: ``(n, T, C) -> (n, T)``."""

    def __init__(self, num_inputs: int, least: int) -> None:
        super().__init__()
        width = max(num_inputs // 2, least)
        self.recurrent = nn.GRU(num_inputs, width, batch_first=True)
        self.head = nn.Linear(width, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.recurrent(x)[0])[..., 0]


def _unit(train: np.ndarray, *sets: np.ndarray) -> list[Tensor]:
    """Sets in units of the training range, as float tensors."""
    low, high = train.min((0, 1)), train.max((0, 1))
    span = np.where(high > low, high - low, 1.0)
    scaled = (np.clip((x - low) / span, -5.0, 6.0) for x in sets)
    return [torch.from_numpy(x.astype(np.float32)) for x in scaled]


def _fit(
    x: Tensor,
    y: Tensor,
    loss: Callable[[Tensor, Tensor], Tensor],
    seed: int,
    num_steps: int,
    least_units: int = 4,
    learning_rate: float = 1e-2,
) -> _Judge:
    """Fit a judge by Adam on batches of at most 128 series."""
    generator = torch.Generator().manual_seed(seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        judge = _Judge(x.shape[2], least_units)
    optimizer = torch.optim.Adam(judge.parameters(), lr=learning_rate)
    for _ in range(num_steps):
        batch = torch.randperm(len(x), generator=generator)[:_BATCH]
        optimizer.zero_grad()
        loss(judge(x[batch]), y[batch]).backward()
        optimizer.step()
    return judge


def _classify(scores: Tensor, labels: Tensor) -> Tensor:
    return nn.functional.binary_cross_entropy_with_logits(scores[:, -1], labels)


def discriminative_score(
    real: np.ndarray,
    synthetic: np.ndarray,
    train: np.ndarray,
    seed: int = 0,
    num_steps: int = 200,
    least_units: int = 4,
    learning_rate: float = 1e-2,
) -> float:
    """``|accuracy - 1/2|`` of a recurrent judge on 20 % of both sets, in [0, 0.5].

    The sets are cut to equal size; repeated series are not kept together, as in the
    original, so that a bootstrap of few series scores badly. The judge has ``C // 2``
    hidden units, or ``least_units`` if these are more; the original's has 2,000 steps,
    at least 1 unit and learning rate 0.001.
    """
    real, synthetic = equal_size(real, synthetic, seed=seed)
    rng = np.random.default_rng(seed)
    held = max(len(real) // 5, 1)
    sets = [x[torch.from_numpy(rng.permutation(len(x)))]
            for x in _unit(train, real, synthetic)]  # fmt: skip
    labels = [torch.ones(len(real)), torch.zeros(len(synthetic))]
    with single_threaded():
        judge = _fit(
            torch.cat([x[held:] for x in sets]),
            torch.cat([y[held:] for y in labels]),
            _classify, seed, num_steps, least_units, learning_rate,
        )  # fmt: skip
        with torch.no_grad():
            scores = judge(torch.cat([x[:held] for x in sets]))[:, -1]
    right = (scores > 0) == (torch.cat([y[:held] for y in labels]) > 0)
    return abs(float(right.double().mean()) - 0.5)


def predictive_score(
    real: np.ndarray,
    synthetic: np.ndarray,
    train: np.ndarray,
    seed: int = 0,
    num_steps: int = 200,
) -> float:
    """Error on real series of a one-step forecaster trained on synthetic ones.

    Mean absolute error of the next value of the last channel, in units of the training
    range, from the past of all channels (in the original: of the others, which is
    undefined for one channel). Smoothing can lower it.
    """
    ours, theirs = _unit(train, synthetic, real)
    with single_threaded():
        judge = _fit(
            ours[:, :-1], ours[:, 1:, -1], nn.functional.l1_loss, seed, num_steps
        )
        with torch.no_grad():
            errors = judge(theirs[:, :-1]) - theirs[:, 1:, -1]
    return float(errors.abs().double().mean())


_SOURCE = "Yoon et al. 2019 (TimeGAN)"

METRICS = [
    Metric(
        "discriminative_score", discriminative_score, "lower", "share",
        ("train", "seed"), "one 80/20 split, folded at zero, 200 steps", _SOURCE,
        high="told apart", tolerance=0.2, default=False, slow=True,
    ),
    Metric(
        "predictive_score", predictive_score, "lower", "range", ("train", "seed"),
        "mean absolute error of the last channel, 200 steps", _SOURCE,
        high="worse forecasts", tolerance=0.02, default=False, slow=True,
    ),
]  # fmt: skip
