"""What the numbers of the demonstration say, in plain words.

Every sentence follows from the numbers it is given; none promises success. The
yardsticks are those of fresh real series: an AUC like that of real series against real
ones, half of the series nearer to a held-out than to a training one, one in twenty
as near to training as the nearest twentieth of held-out ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from gluonts_dualkl.types import Divergence

__all__ = [
    "Row",
    "certificate_sentence",
    "clusters_sentence",
    "headline",
    "path_sentence",
    "sentences",
]

CLEAR_MARGIN = 0.05
COPYING_SHARE = 0.85


LAWS = {
    "gaussian": "a Gaussian",
    "elliptical": "the same with calmer and stormier series",
    "recombination": "recombined pieces of storms",
    "data": "the storms themselves",
}


@dataclass(frozen=True)
class Row:
    """Scores of one set of synthetic series against held-out ones.

    Attributes
    ----------
    name
        What made the series.
    auc
        C2ST AUC against held-out series; 0.5 is a coin flip, 1 certainty.
    dcr_share
        Share of series nearer to a training than to a held-out series; 0.5 if fresh.
    copy_rate
        Share as near to training as the nearest 5 % of held-out series; 0.05 if fresh.
    coverage
        Share of held-out series with a synthetic one in their neighbourhood.
    seconds
        Time to fit and to draw.
    """

    name: str
    auc: float
    dcr_share: float
    copy_rate: float
    coverage: float
    seconds: float


def headline(ours: Row, copies: Row, rivals: Sequence[Row], num_series: int) -> str:
    """Return the verdict in one sentence.

    Parameters
    ----------
    ours, copies, rivals
        Scores of the generator, of training copies and of the simple generators.
    num_series
        Number of synthetic and of held-out series.
    """
    nearness = _nearness(ours, num_series)
    if nearness == "copies":
        return "These series lie too close to the training storms to be called new."
    if ours.auc >= min(rival.auc for rival in rivals) - CLEAR_MARGIN:
        return "New storms, but no closer to real ones than a simple generator gets."
    start = "New storms" if nearness == "fresh" else "New storms near the training ones"
    if ours.auc <= copies.auc + CLEAR_MARGIN:
        return f"{start}; the judge tells them from real ones no better than by chance."
    return f"{start}; the judge {_telling(ours.auc)} from real ones."


def sentences(
    ours: Row,
    copies: Row,
    rivals: Sequence[Row],
    divergence: Divergence,
    num_series: int,
) -> dict[str, str]:
    """Return one finding each on fidelity, novelty, diversity and dependency."""
    return {
        "Fidelity": _fidelity(ours, copies, rivals),
        "Novelty": _novelty(ours, copies, num_series),
        "Diversity": _diversity(ours, copies),
        "Dependency": _dependency(divergence),
    }


def clusters_sentence(stabilities: Sequence[float]) -> str:
    """Return what the clusters of the dual space amount to."""
    if len(stabilities) <= 1:
        return "No cut into clusters is supported: the storms form one group."
    weakest = min(stabilities)
    strength = "holds" if weakest >= 0.75 else "is only a hint"
    return (
        f"They fall into {len(stabilities)} clusters; the division {strength}, as the "
        f"weakest cluster comes back with overlap {weakest:.2f} in resampled data."
    )


def certificate_sentence(certificate: Sequence[tuple[str, float, float]]) -> str:
    """Return what the last leg's held-out log-loss says of the path's end."""
    if not certificate:
        return ""
    name, loss, _ = certificate[-1]
    end = np.log(2.0)
    close = "next to nothing is" if loss > 0.97 * end else "something is still"
    return (
        f"At the last leg ({name}) the held-out log-loss is {loss:.3f}, where "
        f"{end:.3f} means nothing is left to learn: {close} left to learn for "
        "this critic."
    )


def path_sentence(legs: Sequence[str]) -> str:
    """Return what the legs of the path are."""
    names = ", ".join(LAWS.get(leg, leg) for leg in legs)
    return (
        "Nats that each leg of the path adds, from independent values to the law that "
        f"the leg is named after: {names}. "
    )


def _nearness(row: Row, num_series: int) -> str:
    """Return ``"fresh"``, ``"leaning"`` towards the training series, or ``"copies"``.

    Fresh allows two standard errors above what fresh series show on average.
    """
    likely_copies = 0.05 + 2.0 * np.sqrt(0.05 * 0.95 / num_series)
    if row.copy_rate > likely_copies or row.dcr_share > COPYING_SHARE:
        return "copies"
    return "fresh" if row.dcr_share <= _dcr_limit(num_series) else "leaning"


def _dcr_limit(num_series: int) -> float:
    """Upper end of what fresh series show: half, and two standard errors."""
    return 0.5 + float(np.sqrt(1.0 / num_series))


def _telling(auc: float) -> str:
    if auc < 0.6:
        return "can hardly tell them"
    if auc < 0.75:
        return "can tell only some of them"
    if auc < 0.9:
        return "can tell many of them"
    return "can tell most of them"


def _fidelity(ours: Row, copies: Row, rivals: Sequence[Row]) -> str:
    best = min(rivals, key=lambda rival: rival.auc)
    gap = best.auc - ours.auc
    if gap > CLEAR_MARGIN:
        against = "That is clearly better than"
    elif gap > 0:
        against = "That is hardly better than"
    else:
        against = "That is no better than"
    return (
        f"A judge that studied both sets {_telling(ours.auc)} from held-out storms "
        f"(AUC {ours.auc:.2f}; {copies.auc:.2f} for real ones). {against} "
        f"the best simple generator ({best.name}, {best.auc:.2f})."
    )


def _novelty(ours: Row, copies: Row, num_series: int) -> str:
    verdict = {
        "fresh": "No copying is detected",
        "leaning": "No copies, but they lean towards the training storms",
        "copies": "They repeat the training storms",
    }[_nearness(ours, num_series)]
    limit = _dcr_limit(num_series)
    return (
        f"{verdict}: {ours.copy_rate:.0%} come as near to a training storm as 5% of "
        f"held-out ones do (copies: {copies.copy_rate:.0%}), and {ours.dcr_share:.0%} "
        f"are nearer to a training than to a held-out storm (by chance up to "
        f"{limit:.0%})."
    )


def _diversity(ours: Row, copies: Row) -> str:
    share = ours.coverage / max(copies.coverage, 1e-12)
    if share >= 0.95:
        verdict = "The full variety of storms is there"
    elif share >= 0.75:
        verdict = "Most of the variety of storms is there"
    else:
        verdict = "Part of the variety of storms is missing"
    return (
        f"{verdict}: {ours.coverage:.0%} of the held-out storms have a synthetic one "
        f"in their neighbourhood, against {copies.coverage:.0%} with real ones."
    )


def _dependency(divergence: Divergence) -> str:
    share = f"{divergence.confidence:.0%} interval"
    text = (
        f"The values of a storm hang together by {divergence.value:.1f} nats "
        f"({share} {divergence.lower:.1f} to {divergence.upper:.1f})"
    )
    if divergence.lower <= 0:
        return f"{text}, so no dependency is shown."
    apart = abs(divergence.integrated - divergence.value)
    if apart > 5.0 * divergence.standard_error:
        return (
            f"{text}; a second estimate gives {divergence.integrated:.1f}, so neither "
            "is reliable."
        )
    if divergence.value > divergence.ceiling:
        return (
            f"{text}; that is more than the {divergence.ceiling:.1f} nats that so few "
            "storms can certify, so take it with care."
        )
    return f"{text}, measured on storms left out of training."
