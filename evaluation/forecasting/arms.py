"""What each arm of an augmentation study trains on."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from gluonts_dualkl.evaluation.baselines import BASELINES, Baseline, baseline_class
from gluonts_dualkl.evaluation.forecasting.ours import DualKLDraws

__all__ = [
    "ALONE",
    "ARMS",
    "CHOSEN",
    "FRESH",
    "OURS",
    "REAL",
    "Ratios",
    "Study",
    "check_arms",
    "check_ratios",
    "draw_study",
]

Ratios = float | Sequence[float]

REAL = "real"
FRESH = "real+fresh real"
OURS = "real+ours"
BEST = "best baseline"
ALONE = "synthetic only"
CHOSEN = "real+ours at chosen ratio"
_GENERATOR = {
    "copies": "training_copies",
    "jitter": "jitter",
    "mixup": "mixup",
    "block bootstrap": "moving_blocks",
    "ours": "dualkl",
}
ARMS = (REAL, *(f"real+{name}" for name in _GENERATOR), f"real+{BEST}", FRESH, ALONE)
_LEAST = 8
_FRESH_RATIO = 1


def check_arms(arms: Sequence[str], baseline: str) -> list[str]:
    """Arms in their order with ``real`` among them, or ``ValueError``."""
    baseline_class(baseline)
    for arm in arms:
        known = arm in (*ARMS, CHOSEN) or arm.removeprefix("real+") in BASELINES
        if not known or arm in BASELINES:
            raise ValueError(
                f"no arm {arm!r}; choose from {', '.join(ARMS)}, {CHOSEN!r}, or "
                f"real+NAME with a generator of {', '.join(BASELINES)}"
            )
    return list(dict.fromkeys([REAL, *arms]))


def check_ratios(ratio: Ratios, name: str = "ratio") -> list[float]:
    """Ratios in rising order, each once, or ``ValueError``."""
    several = [ratio] if isinstance(ratio, int | float) else list(ratio)
    found = sorted({float(value) for value in several})
    if not found or found[0] < 0 or not np.isfinite(found).all():
        raise ValueError(f"{name}: {ratio}, expected 0 or more, or several of them")
    return found


@dataclass
class Study:
    """Windows of one seed: what trains, what validates, and what is added.

    Attributes
    ----------
    train
        Real windows that every generator and every arm learns from, ``(N, T, C)``.
    validation
        Real windows for the forecasters' own choices, the same in all arms.
    fresh
        Further real windows, for the gate: as many as ``train``, or all that are left.
    ratios
        Windows added per window of ``train``, in rising order.
    seed
        Seed of generators and draws.
    baseline
        Generator behind ``real+best baseline``.
    generators
        Generators to use in place of those of
        :data:`~gluonts_dualkl.evaluation.baselines.BASELINES`, by the same names; they
        are copied before they are fitted. By default ours is fitted without what draws
        do not need, see :mod:`~gluonts_dualkl.evaluation.forecasting.ours`.
    """

    train: np.ndarray
    validation: np.ndarray
    fresh: np.ndarray
    ratios: Sequence[float]
    seed: int
    baseline: str = "gaussian_copula"
    generators: Mapping[str, Baseline] = field(default_factory=dict)
    _drawn: dict[str, np.ndarray] = field(default_factory=dict, repr=False)

    def windows(self, arm: str, ratio: float | None = None) -> np.ndarray:
        """Training windows of an arm, by default at the largest ratio.

        Each generator is fitted and drawn once; windows of a smaller ratio are the
        first of those of a larger one.
        """
        if arm == REAL:
            return self.train
        if arm == ALONE:
            return self.synthetic("dualkl")[: max(self._count(ratio), len(self.train))]
        return np.concatenate([self.train, self.added(arm, ratio)])

    def added(self, arm: str, ratio: float | None = None) -> np.ndarray:
        """Windows that an arm has beside the real ones; fresh ones know no ratio."""
        name = arm.removeprefix("real+")
        if arm == FRESH:
            return self.fresh
        name = self.baseline if name == BEST else _GENERATOR.get(name, name)
        return self.synthetic(name)[: self._count(ratio)]

    def cells(self, arms: Sequence[str]) -> list[tuple[str, float]]:
        """Arms with their ratios: 0 for real, that of the gate, or each of ``ratios``.

        The ratio of an arm that chooses its own is not a number.
        """
        once = {REAL: 0.0, FRESH: float(_FRESH_RATIO), CHOSEN: float("nan")}
        return [
            (arm, ratio)
            for arm in arms
            for ratio in ([once[arm]] if arm in once else self.ratios)
        ]

    def synthetic(self, name: str) -> np.ndarray:
        """At least as many windows of a generator as it was fitted to."""
        if name not in self._drawn:
            chosen = self.generators.get(name)
            kind = DualKLDraws if name == "dualkl" else baseline_class(name)
            generator = kind() if chosen is None else copy.deepcopy(chosen)
            if "seed" in generator.arguments:
                generator = type(generator)(
                    **(generator.arguments | {"seed": self.seed})
                )
            num = max(self._count(), len(self.train))
            drawn = generator.fit(self.train).sample(num, self.seed)
            self._drawn[name] = np.asarray(drawn, float)
        return self._drawn[name]

    def _count(self, ratio: float | None = None) -> int:
        ratio = max(self.ratios) if ratio is None else ratio
        return round(ratio * len(self.train))


def draw_study(
    pool: np.ndarray,
    n_train: int,
    seed: int,
    ratio: Ratios = 1.0,
    validation_share: float = 0.2,
    baseline: str = "gaussian_copula",
    generators: Mapping[str, Baseline] | None = None,
) -> Study:
    """Draw the windows of one seed from a pool of real ones.

    ``n_train`` windows are known, of which a share only validates; as many fresh ones
    as the others come from the rest of the pool, or all that are left, whatever the
    ratios. Sets of one seed are nested in ``n_train``, but for the share that
    validates.

    Raises
    ------
    ValueError
        If the pool is too small, or the numbers are out of range.
    """
    ratios = check_ratios(ratio)
    if not 0 < validation_share < 1:
        raise ValueError(f"validation_share: {validation_share}, expected 0 to 1")
    if not _LEAST <= n_train <= len(pool):
        raise ValueError(
            f"n_train: {n_train}, expected {_LEAST} to the {len(pool)} windows of train"
        )
    order = np.random.default_rng([seed, 11]).permutation(len(pool))
    num_validation = max(round(validation_share * n_train), 1)
    known, rest = order[:n_train], order[n_train:]
    train = pool[known[num_validation:]]
    return Study(
        train=train,
        validation=pool[known[:num_validation]],
        fresh=pool[rest[: round(_FRESH_RATIO * len(train))]],
        ratios=ratios,
        seed=seed,
        baseline=baseline,
        generators=generators or {},
    )
