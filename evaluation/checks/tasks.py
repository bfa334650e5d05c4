"""Laws of series whose total correlation is known, to test estimators against.

A task is a named sampler that knows its answer in nats. Total correlation is unchanged
by monotone maps of single pixels, so one law yields several tasks.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.special import digamma, gammaln

__all__ = [
    "TASKS",
    "Task",
    "autoregression",
    "factor_gaussian",
    "independent",
    "student_autoregression",
    "task",
    "transformed",
]

LENGTH = 24

Sampler = Callable[[int, np.random.Generator], np.ndarray]


@dataclass(frozen=True)
class Task:
    """A law of series ``(T, C)`` with its total correlation.

    Attributes
    ----------
    name
        Short name.
    nats
        Total correlation of the ``T C`` pixels, nats, exact.
    draw
        ``(n, rng) -> (n, T, C)``.
    """

    name: str
    nats: float
    draw: Sampler

    def sample(self, num_samples: int, seed: int) -> np.ndarray:
        """Independent series ``(n, T, C)``; same seed, same series."""
        return self.draw(num_samples, np.random.default_rng(seed))


def _autoregressive(
    n: int, length: int, channels: int, phi: float, rng: np.random.Generator
) -> np.ndarray:
    noise = rng.standard_normal((n, length, channels))
    x = noise.copy()
    for t in range(1, length):
        x[:, t] = phi * x[:, t - 1] + math.sqrt(1 - phi**2) * noise[:, t]
    return x


def autoregression(nats: float, channels: int = 1, length: int = LENGTH) -> Task:
    """Independent stationary Gaussian AR(1) channels with ``nats`` in all.

    ``TC = -C (T - 1) / 2 ln(1 - phi^2)`` gives ``phi``.
    """
    phi = math.sqrt(-math.expm1(-2 * nats / (channels * (length - 1))))
    return Task(
        f"ar1_{nats:g}",
        nats,
        lambda n, rng: _autoregressive(n, length, channels, phi, rng),
    )


def factor_gaussian(loading: float, channels: int = 3, length: int = LENGTH) -> Task:
    """Pixels that share one standard normal factor: ``R = (1 - a) I + a 1 1'``.

    ``TC = -1/2 ln det R = -1/2 [(D - 1) ln(1 - a) + ln(1 + (D - 1) a)]``.
    """
    size = length * channels
    nats = -0.5 * ((size - 1) * math.log1p(-loading) + math.log1p((size - 1) * loading))

    def draw(n: int, rng: np.random.Generator) -> np.ndarray:
        own = rng.standard_normal((n, length, channels))
        shared = rng.standard_normal((n, 1, 1))
        return math.sqrt(1 - loading) * own + math.sqrt(loading) * shared

    return Task(f"factor_{nats:.3g}", nats, draw)


def _student_entropy(nu: float, size: int, log_det: float) -> float:
    """Entropy of a multivariate t with scale matrix ``R``, nats (Kotz & Nadarajah)."""
    whole = (nu + size) / 2
    return float(
        gammaln(nu / 2)
        - gammaln(whole)
        + size / 2 * math.log(nu * math.pi)
        + log_det / 2
        + whole * (digamma(whole) - digamma(nu / 2))
    )


def student_autoregression(
    gaussian_nats: float, nu: float = 4, length: int = LENGTH
) -> Task:
    """An AR(1) path times one random scale a series: a multivariate t law.

    Not Gaussian in any coordinates: even uncorrelated pixels share their scale. The
    total correlation is the sum of the entropies of the pixels minus that of the whole,
    all closed forms.
    """
    base = autoregression(gaussian_nats, length=length)
    whole = _student_entropy(nu, length, -2 * gaussian_nats)
    nats = length * _student_entropy(nu, 1, 0.0) - whole

    def draw(n: int, rng: np.random.Generator) -> np.ndarray:
        scale = np.sqrt(nu / rng.chisquare(nu, (n, 1, 1)))
        return base.draw(n, rng) * scale

    return Task(f"student_{nats:.3g}", nats, draw)


def independent(channels: int = 3, length: int = LENGTH) -> Task:
    """Independent normal pixels, 0 nats."""
    return Task(
        "independent",
        0.0,
        lambda n, rng: rng.standard_normal((n, length, channels)),
    )


def transformed(task: Task, name: str, mapping: Callable) -> Task:
    """The same law seen through a monotone map of every pixel; the nats stay."""
    return Task(
        f"{task.name}_{name}", task.nats, lambda n, rng: mapping(task.draw(n, rng))
    )


TASKS: tuple[Task, ...] = (
    independent(),
    autoregression(1),
    autoregression(4),
    autoregression(11.75),
    autoregression(23.5, channels=2),
    transformed(autoregression(32.5), "exp", np.exp),
    autoregression(40, channels=2),
    factor_gaussian(0.5, channels=1),
    student_autoregression(11.75),
)


def task(name: str) -> Task:
    """The task of that name; ``ValueError`` with the names otherwise."""
    for found in TASKS:
        if found.name == name:
            return found
    names = ", ".join(t.name for t in TASKS)
    raise ValueError(f"no task {name!r}, choose from {names}")
