"""Check that clusters of the dual space are those of mixtures with known parts.

``python -m gluonts_dualkl.evaluation.checks.clusters --out FOLDER`` trains the library
on mixtures of laws that differ in the strength of their dependency and in nothing else
(all pixels are standard normal), and on one Gaussian law, and compares the clusters
with the parts: adjusted Rand index, number of clusters, stability. Four ways to cut
are compared: the modes of the levels (``dual_space().clusters``), greedy cuts that are
told the number of parts, the same moved to where local divergences peak, and the tree
of cuts, which is not told. Writes ``clusters.csv`` and
``clusters.json`` and prints the means over seeds.

How far apart the parts are decides. Levels of a law spread by about the square root of
its nats, so the parts of ``three laws`` (48 steps, 3 channels) leave gaps on the line,
those of ``near laws`` (24 steps, 2 channels) touch, and weaker laws would overlap,
where no cut of levels can part them.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

import numpy as np
import pandas as pd
from sklearn.metrics import adjusted_rand_score

from gluonts_dualkl import DualKLEstimator, dataset_from_array
from gluonts_dualkl.analysis.cuts import greedy_cuts
from gluonts_dualkl.analysis.dual_space import dual_features
from gluonts_dualkl.analysis.localised import refine_cuts

__all__ = ["CASES", "Case", "check_case", "draw_mixture", "main", "passes"]

GOOD_RAND = 0.9
GOOD_STABILITY = 0.9


@dataclass(frozen=True)
class Case:
    """A mixture of equal parts with standard normal pixels.

    Attributes
    ----------
    name
        What it shows.
    parts
        Autoregression ``phi`` over time and correlation ``rho`` of the channels.
    length, channels
        Steps and channels of a series.
    """

    name: str
    parts: tuple[tuple[float, float], ...]
    length: int
    channels: int


CASES = (
    Case("three laws", ((0.1, 0.0), (0.7, 0.0), (0.97, 0.0)), 48, 3),
    Case("coupled channels", ((0.0, 0.0), (0.0, 0.9)), 24, 4),
    Case("near laws", ((0.1, 0.0), (0.7, 0.0), (0.97, 0.0)), 24, 2),
    Case("one Gaussian", ((0.7, 0.3),), 24, 3),
)
FAST = {"num_folds": 2, "num_walkers": 200, "max_rounds": 6}


def draw_mixture(
    case: Case, num_series: int, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Series ``(N, T, C)`` in random order and the part of each, ``(N,)``.

    A part is ``x_t = phi x_{t-1} + sqrt(1 - phi^2) e_t``, stationary, with ``e_t``
    normal and equally correlated over the channels.
    """
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.arange(num_series) % len(case.parts))
    phi, rho = np.array(case.parts)[labels].T[:, :, None]
    shape = (num_series, case.length, case.channels)
    common = rng.standard_normal((num_series, case.length, 1))
    x = np.sqrt(1 - rho)[:, None] * rng.standard_normal(shape)
    x += np.sqrt(rho)[:, None] * common
    for t in range(1, case.length):
        x[:, t] = phi * x[:, t - 1] + np.sqrt(1 - phi**2) * x[:, t]
    return x.astype(np.float32), labels


def check_case(
    case: Case, seed: int, fast: bool = False, num_series: int = 240
) -> Iterator[dict[str, float | str | int | bool]]:
    """Train on a draw of the case and give one row for each way to cut."""
    values, labels = draw_mixture(case, num_series, seed)
    settings = FAST if fast else {"num_folds": 2}
    estimator = DualKLEstimator(seed=seed, device="cpu", **settings)
    begin = perf_counter()
    generator = estimator.train(dataset_from_array(values, freq="D"))
    space, features = generator.dual_space(), dual_features(generator.model)
    trained = perf_counter() - begin
    cuts = greedy_cuts(space.levels, features, len(case.parts))
    refined = refine_cuts(cuts, space.levels, features)
    found = {
        "dual space": (
            _labels([c.members for c in space.clusters], num_series),
            min(c.stability for c in space.clusters),
        ),
        "greedy cuts": (np.digitize(space.levels, cuts), np.nan),
        "greedy, refined": (np.digitize(space.levels, refined), np.nan),
    }
    for method, (own, stability) in found.items():
        yield {
            "case": case.name,
            "seed": seed,
            "method": method,
            "parts": len(case.parts),
            "clusters": len(np.unique(own)),
            "rand": adjusted_rand_score(labels, own),
            "stability": stability,
            "seconds_train": trained,
        }


def _labels(groups: Sequence[np.ndarray], num_series: int) -> np.ndarray:
    own = np.zeros(num_series, int)
    for k, members in enumerate(groups):
        own[members] = k
    return own


def passes(table: pd.DataFrame) -> pd.Series:
    """Whether each row recovers the parts.

    Mixtures: adjusted Rand index above 0.9. One part: one cluster, with stability above
    0.9 where it is known.
    """
    single = table["parts"] == 1
    stable = table["stability"].isna() | (table["stability"] > GOOD_STABILITY)
    one = (table["clusters"] == 1) & stable
    return one.where(single, table["rand"] > GOOD_RAND)


def main(arguments: Sequence[str] | None = None) -> pd.DataFrame:
    """Run the check; see the head of the module."""
    parser = argparse.ArgumentParser(
        description="Check clusters of the dual space on mixtures with known parts."
    )
    parser.add_argument(
        "--out", type=Path, required=True, help="folder for the numbers"
    )
    parser.add_argument("--seeds", type=int, help="default: 3, or 1 if fast")
    parser.add_argument("--num-series", type=int, default=240, help="a mixture")
    parser.add_argument("--fast", action="store_true", help="small trainings")
    parser.add_argument("--cases", nargs="*", help="names of cases; default: all")
    given = parser.parse_args(arguments)
    names = [case.name for case in CASES]
    for name in given.cases or ():
        if name not in names:
            parser.error(f"there is no case {name!r}; choose from {', '.join(names)}")
    given.out.mkdir(parents=True, exist_ok=True)
    rows: list[dict[str, float | str | int | bool]] = []
    seeds = given.seeds or (1 if given.fast else 3)
    for case in CASES:
        if given.cases and case.name not in given.cases:
            continue
        for seed in range(seeds):
            rows += check_case(case, seed, given.fast, given.num_series)
            last = ", ".join(f"{row['method']} {row['rand']:.2f}" for row in rows[-3:])
            print(f"{case.name}, seed {seed}, adjusted Rand: {last}", flush=True)
    table = pd.DataFrame(rows)
    table["pass"] = passes(table)
    table.to_csv(given.out / "clusters.csv", index=False)
    table.to_json(given.out / "clusters.json", orient="records", indent=1)
    shown = table.groupby(["case", "method"], sort=False).agg(
        parts=("parts", "first"),
        clusters=("clusters", "mean"),
        rand=("rand", "mean"),
        worst_rand=("rand", "min"),
        stability=("stability", "min"),
        passed=("pass", "mean"),
    )
    print(shown.round(3).to_string())
    return table


if __name__ == "__main__":
    main()
