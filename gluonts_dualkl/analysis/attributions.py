"""Nats by pixel: integrated gradients, and the chain rule of the Gaussian leg.

Along the path of laws a pixel carries nats in two ways. Under the Gaussian leg they
are exact, one conditional density a pixel (:func:`causal_nats`). Under the learned
legs they are integrated gradients (Sundararajan, Taly & Yan, ICML 2017), which split
the rise of a function along a line among its inputs. In smooth series the gradient of
a level by pixel alternates in sign, hundreds of nats up and down from step to step,
because a pixel alone cannot move. So :func:`innovation_attribution` splits the rise
among the *innovations* of the Gaussian leg, what is new at each pixel given the past,
and starts from draws of that leg, as in the expected gradients of Erion et al.
(Nature Machine Intelligence 2021). The split along the path is our construction.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from gluonts_dualkl.laws.gaussian import CausalGaussian
from gluonts_dualkl.models.base import PathModel, sum_legs
from gluonts_dualkl.models.recombination import DualModel

__all__ = [
    "attribution",
    "attribution_along",
    "causal_nats",
    "check_series",
    "innovation_attribution",
    "smooth_log_ratio",
]

LogRatio = Callable[[Tensor], Tensor | dict[str, Tensor]]


def attribution(
    log_ratio: LogRatio,
    z: Tensor,
    baseline: Tensor | float = 0.0,
    num_steps: int = 32,
) -> Tensor:
    """Nats that each pixel of ``z`` carries against ``baseline``, ``(n, T, C)``.

    Integrated gradients along the straight line,

        a = (z - b) * int_0^1 grad s(b + u (z - b)) du,

    which add up to ``s(z) - s(b)`` for a smooth ``s``. The integral is a midpoint rule
    in ``v`` with ``u = v^2 (3 - 2 v)``, denser at both ends: log-scale statistics turn
    fastest near the marginal mean. Jumps of ``s`` are not seen.

    Parameters
    ----------
    log_ratio
        ``s``: series ``(n, T, C)`` to nats ``(n,)``, or to such by leg, which are
        summed; differentiable.
    z
        Series in normal scores, ``(n, T, C)``.
    baseline
        Series to compare with, of a shape that broadcasts to ``z``; 0 is the marginal
        mean.
    num_steps
        Gradients taken; 1 gives the gradient halfway times the difference.
    """
    check_series("z", z)
    if num_steps < 1:
        raise ValueError(f"num_steps is {num_steps}; take at least one gradient.")
    start = torch.as_tensor(baseline, dtype=z.dtype, device=z.device).expand_as(z)
    total = torch.zeros_like(z)
    edges = torch.linspace(0, 1, num_steps + 1, dtype=torch.float64)
    edges = edges.square() * (3 - 2 * edges)
    for low, high in zip(edges[:-1].tolist(), edges[1:].tolist()):
        at = torch.lerp(start, z, 0.5 * (low + high))
        total += (high - low) * _gradient(log_ratio, at)
    return total * (z - start)


def attribution_along(
    trajectory: Tensor, log_ratio: LogRatio, num_steps: int = 8
) -> Tensor:
    """Nats that each pixel gained along a recorded walk, ``(T, C)``.

    Integrated gradients along the straight pieces between the states ``(S, T, C)``, in
    normal scores; they add up to the rise of ``s`` from the first to the last state.
    """
    check_series("trajectory", trajectory)
    if len(trajectory) < 2:
        raise ValueError("trajectory has one state; give at least two.")
    before, after = trajectory[:-1], trajectory[1:]
    return attribution(log_ratio, after, before, num_steps).sum(0)


def _gradient(log_ratio: LogRatio, z: Tensor) -> Tensor:
    """``grad s(z)``, ``(n, T, C)``; zero where it is not finite (kinks, ties)."""
    with torch.enable_grad():
        at = z.detach().clone().requires_grad_(True)
        (gradient,) = torch.autograd.grad(_total(log_ratio(at)).sum(), at)
    return torch.nan_to_num(gradient, nan=0.0, posinf=0.0, neginf=0.0)


def _total(score: Tensor | dict[str, Tensor]) -> Tensor:
    """The sum of the legs, ``(n,)``."""
    if isinstance(score, dict):
        return sum_legs({leg: nats.double() for leg, nats in score.items()})
    return score


def check_series(name: str, z: Tensor) -> None:
    """Raise unless ``z`` holds float series ``(n, T, C)``."""
    if z.ndim != 3 or not z.is_floating_point():
        raise ValueError(
            f"{name} has shape {tuple(z.shape)} and type {z.dtype}; give normal scores "
            "as a float tensor (n, T, C)."
        )


def causal_nats(law: CausalGaussian, z: Tensor) -> Tensor:
    """``log g(z_tc | past) - log q(z_tc)`` of every pixel, ``(n, T, C)``, nats.

    The past holds all earlier steps and the channels before ``c`` at the same step. The
    values of a series add up to ``law.log_ratio(z)``: positive where a value follows
    from what came before, negative where it surprises more than it would alone.
    """
    check_series("z", z)
    innovations = law.innovations(z)
    spread = law.factors.diagonal(dim1=1, dim2=2)
    own = z.double().square() / law.variances + law.variances.log()
    return 0.5 * (own - innovations.square()) - spread.log()


def innovation_attribution(
    log_ratio: LogRatio,
    law: CausalGaussian,
    z: Tensor,
    generator: torch.Generator,
    num_baselines: int = 16,
    num_steps: int = 16,
) -> tuple[Tensor, float]:
    """Nats that the innovation at each pixel carries against draws of the Gaussian leg.

    Mean integrated gradients in whitened innovations over ``num_baselines`` draws.

    Parameters
    ----------
    log_ratio
        Differentiable function of series in normal scores, as in :func:`attribution`.
    law
        The Gaussian leg.
    z
        Series in normal scores, ``(n, T, C)``.
    generator
        Source of the draws.
    num_baselines, num_steps
        Draws, and gradients on the way from each.

    Returns
    -------
    Attribution ``(n, T, C)``, and the mean of the function over the draws, nats: what
    the attribution of a series adds up to ``s(z)`` with, but for jumps of ``s``.
    """
    check_series("z", z)
    if num_baselines < 1:
        raise ValueError(f"num_baselines is {num_baselines}; take at least one draw.")
    matrix = law.factor().T.to(z)

    def of_innovations(e: Tensor) -> Tensor:
        return _total(log_ratio((e.flatten(1) @ matrix).reshape(e.shape)))

    n, length, channels = z.shape
    draws = torch.randn(
        num_baselines, length, channels, generator=generator, device=generator.device
    ).to(z)
    ends = law.innovations(z).to(z).repeat_interleave(num_baselines, 0)
    starts = draws.repeat(n, 1, 1)
    parts = attribution(of_innovations, ends, starts, num_steps)
    mean = parts.reshape(n, num_baselines, length, channels).mean(1)
    return mean, float(of_innovations(draws).mean())


def smooth_log_ratio(model: PathModel) -> Callable[[Tensor], dict[str, Tensor]]:
    """The model's dual functions without the snapping of discrete channels.

    The default model sets discrete channels on their levels before it computes
    statistics, and no gradient passes that step. Here the scores go through as they
    are: the same value for series that lie on the levels, as real and generated ones
    do, and a gradient for all channels in between. The other models are differentiable
    as they are.
    """
    if not isinstance(model, DualModel):
        return model.log_ratio_of_scores
    marginals, features = model.marginals, model.features

    def log_ratio(z: Tensor) -> dict[str, Tensor]:
        scores = z.float() * marginals.scale + marginals.location
        phi = features.of_scores(scores)
        ratios = {"gaussian": model.gaussian.log_ratio(z)}
        innovations = model.gaussian.innovations(z)
        ratios["elliptical"] = model.radial.log_ratio(innovations)
        for leg in model.legs:
            ratios[leg.name] = (phi @ leg.weights).double() - leg.log_normaliser
        return ratios

    return log_ratio
