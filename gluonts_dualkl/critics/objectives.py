r"""Bounds on a divergence as pure functions of scores.

Every objective takes the scores ``f(x)`` of draws of the upper law ``P``, *positive*
``(n, ...)``, and of the lower law ``Q``, *negative* ``(m, ...)``, averages over the
first dimension and returns one value, in nats, for each entry of the trailing ones,
usually the legs of a path. All are to be maximised:

- ``donsker_varadhan``:  ``E_P f - log E_Q exp f``  (Donsker & Varadhan 1983);
- ``nwj``:  ``E_P f - E_Q exp(f - 1)``  (Nguyen, Wainwright & Jordan 2010);
- ``logistic``:  ``ln 2`` minus the balanced log-loss, a bound on the Jensen-Shannon
  divergence whose optimum is ``f = log p/q`` (Sugiyama, Suzuki & Kanamori 2012);
- ``infonce``:  ``E_P f - E_P log((exp f + sum_Q exp f) / (m + 1))``, at most
  ``ln(m + 1)``  (van den Oord, Li & Vinyals 2018).

The first, second and fourth are lower bounds on ``KL(P || Q)``. Objectives never see
a network. Which law carries the exponential term is the *orientation*; this module is
also the one place where a trained score becomes a normalised log-ratio.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import softplus

__all__ = [
    "OBJECTIVES",
    "ORIENTATIONS",
    "LocalTerm",
    "RunningNormaliser",
    "clipped_donsker_varadhan",
    "donsker_varadhan",
    "infonce",
    "log_mean_exp",
    "logistic",
    "normaliser",
    "nwj",
    "orient",
    "profiled_log_loss",
]

Objective = Callable[[Tensor, Tensor], Tensor]

ORIENTATIONS = ("data||marginals", "marginals||data")
LARGEST_EXPONENT = 30.0
BISECTIONS = 40


def log_mean_exp(scores: Tensor) -> Tensor:
    """``log mean exp`` of scores ``(n, ...)`` over the first dimension, ``(...)``."""
    return torch.logsumexp(scores, 0) - math.log(len(scores))


def donsker_varadhan(
    positive: Tensor, negative: Tensor, log_normaliser: Tensor | None = None
) -> Tensor:
    """``E_P f - log E_Q exp f``, unchanged by a constant added to the scores.

    The gradient of the second term on a batch, ``E_Q[exp(f) grad f] / E_Q[exp f]``, is
    a ratio of two noisy means and thereby biased. With a running log-normaliser the
    denominator is ``exp(log_normaliser)`` instead, the correction of MINE (Belghazi et
    al. 2018); the value stays the same. The ratio of the two denominators is kept
    below ``exp(30)``.

    Parameters
    ----------
    positive, negative
        Scores of draws of the upper and the lower law, ``(n, ...)`` and ``(m, ...)``.
    log_normaliser
        Running ``log E_Q[exp f]``, ``(...)``; see :class:`RunningNormaliser`.
    """
    log_mean = log_mean_exp(negative)
    if log_normaliser is not None:
        value = log_mean.detach()
        excess = (value - log_normaliser.detach()).clamp(max=LARGEST_EXPONENT)
        log_mean = value + excess.exp() * (log_mean - value)
    return positive.mean(0) - log_mean


def nwj(positive: Tensor, negative: Tensor) -> Tensor:
    """``E_P f - E_Q exp(f - 1)``, largest at ``f = 1 + log p/q``.

    Beyond an exponent of 30 the exponential goes on as its tangent, so that value and
    gradient stay finite; there it is no longer a bound.
    """
    exponent = negative - 1
    low = exponent.clamp(max=LARGEST_EXPONENT)
    return positive.mean(0) - (low.exp() * (1 + exponent - low)).mean(0)


def logistic(positive: Tensor, negative: Tensor) -> Tensor:
    """``ln 2`` minus the balanced log-loss of the scores, largest at ``log p/q``.

    Zero for scores that say nothing, at most ``ln 2``; at the optimum the
    Jensen-Shannon divergence of ``P`` and ``Q``. Its influence function is bounded.
    """
    loss = 0.5 * (softplus(-positive).mean(0) + softplus(negative).mean(0))
    return math.log(2) - loss


def infonce(positive: Tensor, negative: Tensor) -> Tensor:
    """``E_P f - E_P log((exp f + sum_Q exp f) / (m + 1))``, at most ``ln(m + 1)``.

    Every positive draw is set against all ``m`` negative ones, which are shared.
    Unchanged by a constant added to the scores.
    """
    total = torch.logaddexp(positive, torch.logsumexp(negative, 0))
    return (positive - total).mean(0) + math.log(len(negative) + 1)


def clipped_donsker_varadhan(
    positive: Tensor, negative: Tensor, clip: float = 5.0
) -> Tensor:
    """``E_P f - log E_Q clip(exp f, exp -clip, exp clip)``, for reporting.

    The estimate of SMILE (Song & Ermon 2020): less variance than
    :func:`donsker_varadhan` for a bias that grows with the mass beyond ``clip``; not a
    bound. The scores should be a log-ratio, since the result moves with a constant.

    Parameters
    ----------
    positive, negative
        Scores of draws of the upper and the lower law, ``(n, ...)`` and ``(m, ...)``.
    clip
        Largest magnitude of a score under the exponential, nats.

    Raises
    ------
    ValueError
        If ``clip`` is not positive.
    """
    if not clip > 0:
        raise ValueError(f"clip is {clip}; give a positive number of nats, such as 5")
    return positive.mean(0) - log_mean_exp(negative.clamp(-clip, clip))


OBJECTIVES: dict[str, Objective] = {
    "donsker_varadhan": donsker_varadhan,
    "nwj": nwj,
    "logistic": logistic,
    "infonce": infonce,
}


class RunningNormaliser:
    """Running ``log E_Q[exp f]`` over batches: an exponential average, kept in logs.

    Parameters
    ----------
    rate
        Weight of the newest batch, in (0, 1]; the first batch has weight one.

    Raises
    ------
    ValueError
        If ``rate`` is outside (0, 1].
    """

    def __init__(self, rate: float = 0.05) -> None:
        if not 0 < rate <= 1:
            raise ValueError(f"rate is {rate}; give a weight in (0, 1], such as 0.05")
        self.rate = rate
        self.value: Tensor | None = None

    def update(self, negative: Tensor) -> Tensor:
        """Take in scores ``(m, ...)`` and return the running value ``(...)``."""
        new = log_mean_exp(negative.detach())
        if self.value is not None and self.rate < 1:
            kept = self.value + math.log1p(-self.rate)
            new = torch.logaddexp(kept, new + math.log(self.rate))
        self.value = new
        return new


def _check_orientation(orientation: str) -> None:
    if orientation not in ORIENTATIONS:
        raise ValueError(
            f"orientation is {orientation!r}; choose one of {list(ORIENTATIONS)}"
        )


def orient(
    positive: Tensor, negative: Tensor, orientation: str
) -> tuple[Tensor, Tensor]:
    """The pair of scores an objective is given under an orientation.

    A network always scores in the sense of ``f = log p/q``. ``"data||marginals"``
    passes ``f`` on, so that the exponential term sits on ``Q``; ``"marginals||data"``
    passes ``g = -f`` with the laws exchanged: the objective bounds ``KL(Q || P)`` and
    its exponential term sits on ``P``.

    Raises
    ------
    ValueError
        If ``orientation`` is not one of :data:`ORIENTATIONS`.
    """
    _check_orientation(orientation)
    if orientation == "data||marginals":
        return positive, negative
    return -negative, -positive


def normaliser(positive: Tensor, negative: Tensor, orientation: str) -> Tensor:
    """The constant ``c`` that makes ``s = f - c`` a normalised log-ratio, ``(...)``.

    ``"data||marginals"``: ``c = log E_Q exp f``, so that ``E_Q[exp s] = 1``.
    ``"marginals||data"``: ``c = -log E_P exp(-f)``, so that ``E_P[exp -s] = 1``. For
    ``f = log p/q + const`` both remove the constant. Only the first makes
    ``q exp s`` a law for every ``f``, and thereby the mean of ``s`` over fresh draws of
    ``P`` a lower bound on ``KL(P || Q)``; the second does so for ``KL(Q || P)``. Its
    constant is a mean exponential over few series and the noisier one.

    Parameters
    ----------
    positive, negative
        Scores of draws of the upper and the lower law, ``(n, ...)`` and ``(m, ...)``.
    orientation
        One of :data:`ORIENTATIONS`.

    Raises
    ------
    ValueError
        If ``orientation`` is not one of :data:`ORIENTATIONS`.
    """
    _check_orientation(orientation)
    if orientation == "data||marginals":
        return log_mean_exp(negative)
    return -log_mean_exp(-positive)


def profiled_log_loss(positive: Tensor, negative: Tensor) -> Tensor:
    """Balanced log-loss ``(...)`` of scores after the constant that suits them best.

    Between 0 and ``ln 2`` nats, the latter for scores that say nothing. Compares
    scores of all objectives, some of which leave a constant free: the root of the
    derivative in the constant, bracketed by the extreme scores, by bisection.

    Parameters
    ----------
    positive, negative
        Scores of draws of the upper and the lower law, ``(n, ...)`` and ``(m, ...)``.
    """
    both = torch.cat([positive, negative])
    low, high = both.amin(0), both.amax(0)
    for _ in range(BISECTIONS):
        middle = 0.5 * (low + high)
        rising = (middle - positive).sigmoid().mean(0)
        falling = (negative - middle).sigmoid().mean(0)
        low = torch.where(rising < falling, middle, low)
        high = torch.where(rising < falling, high, middle)
    centre = 0.5 * (low + high)
    return math.log(2) - logistic(positive - centre, negative - centre)


@dataclass(frozen=True)
class LocalTerm:
    """Localised estimation between nearest neighbours, a term of the loss.

    For random anchors, the ``neighbours`` training series nearest to each (itself
    included) are set against the same series with every pixel permuted inside the
    neighbourhood. The objective of the total score, the sum of the legs, between the
    two is added with ``weight``. Scores are centred by neighbourhood first: a
    neighbourhood has a level of its own, and only contrasts inside it are trained. The
    optimum is the log-ratio of the *local* law to its own marginals and not
    ``log p/q``, so a large weight biases the divergence.

    Attributes
    ----------
    neighbours
        Series in a neighbourhood, at least 2.
    weight
        Weight of the term.
    num_anchors
        Neighbourhoods in a step.
    embedding
        ``(N, T, C) -> (N, E)``, the space of the Euclidean distances, such as
        ``lambda z: fit.log_ratio(z)[:, None]`` for the dual space; ``z`` when None.
    """

    neighbours: int = 10
    weight: float = 0.1
    num_anchors: int = 16
    embedding: Callable[[Tensor], Tensor] | None = None

    def __post_init__(self) -> None:
        if not (self.weight > 0 and self.num_anchors > 0):
            raise ValueError(
                f"weight and num_anchors of LocalTerm are {self.weight} and "
                f"{self.num_anchors}; both must be positive, so give larger numbers"
            )
        if self.neighbours < 2:
            raise ValueError(
                f"neighbours of LocalTerm is {self.neighbours}; permuting needs at "
                "least 2"
            )

    def neighbourhoods(self, z: Tensor) -> Tensor:
        """Rows of the series nearest to each series of ``z``, ``(N, neighbours)``."""
        if len(z) < self.neighbours:
            raise ValueError(
                f"neighbours of LocalTerm is {self.neighbours} but there are "
                f"{len(z)} training series; give at most as many"
            )
        with torch.no_grad():
            place = z if self.embedding is None else self.embedding(z)
        place = place.flatten(1)
        return torch.cdist(place, place).topk(self.neighbours, largest=False).indices

    def draw(
        self, z: Tensor, rows: Tensor, generator: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        """Members of random neighbourhoods and their marginal draws.

        Both ``(neighbours, A, T, C)``, from the table ``rows`` of neighbourhoods.
        """
        anchors = torch.randint(
            len(z), (self.num_anchors,), generator=generator, device=z.device
        )
        members = z[rows[anchors].T]
        keys = torch.rand(members.shape, generator=generator, device=z.device)
        return members, members.gather(0, keys.argsort(0))
