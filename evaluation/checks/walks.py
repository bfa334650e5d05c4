"""Check the walks on laws with known moments, and what the library learns of them.

``python -m gluonts_dualkl.evaluation.checks.walks --out FOLDER`` prints a line a number
and writes them all to ``walks.csv`` and ``walks.json`` in the folder. Its parts:

analytic
    Langevin and MALA on the density of AR(1) series: two-sided z-tests of means,
    variances and correlations at lags 1 and 2 over independent chains, Bonferroni at
    1 %. The unadjusted walk is tested against the law that its step size gives.
learned
    :class:`~gluonts_dualkl.DualKLEstimator` on 200 AR(1) series, 1,000 generated:
    variance and correlations at lags 1 and 2 within 0.1 of the truth, copy rate (share
    nearer to training than 5 % of held-out series are) within .02 to .10, means over
    seeds. ``real series`` are 1,000 held-out ones under the same bounds.
gradient walk
    The walk of the paper on the dual function of the same generator, from training
    series and from independent pixels, to held-out levels. Numbers to know, no bounds;
    ``refused`` is the share of ends that a two-sided neighbour guard would refuse.
learned MALA
    MALA on ``log q + s`` of the same generator, from independent pixels, under the same
    bounds as the generated series.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from rich.console import Console
from rich.table import Table
from scipy.stats import norm
from torch import Tensor

from gluonts_dualkl import DualKLEstimator
from gluonts_dualkl.data.destinations import atomic_path
from gluonts_dualkl.data.windows import dataset_from_array
from gluonts_dualkl.evaluation.checks.rows import quiet_library
from gluonts_dualkl.evaluation.checks.tasks import Task, autoregression
from gluonts_dualkl.evaluation.metrics.privacy import (
    copy_rate,
    nearest_neighbour_ratio,
)
from gluonts_dualkl.generator import DualKLGenerator
from gluonts_dualkl.models.base import sum_legs
from gluonts_dualkl.walks.gradient_walk import GradientWalk
from gluonts_dualkl.walks.guards import NeighbourGuard
from gluonts_dualkl.walks.langevin import (
    MALA,
    GaussianPreconditioner,
    Langevin,
    run,
)

__all__ = [
    "analytic",
    "check",
    "gradient_walks",
    "largest_score",
    "learned",
    "learned_mala",
    "main",
    "moments",
]

PHI, LENGTH, NUM_SERIES, NUM_DRAWN = 0.8, 24, 200, 1000
NUM_HELD_OUT = 2000
LEVEL = 0.01
TOLERANCE = 0.1
STEP = 0.04
COPY_RATES = (0.02, 0.10)
TRUTH = {"variance": 1.0, "lag 1": PHI, "lag 2": PHI**2}
COLUMNS = ["part", "case", "quantity", "value", "sd", "low", "high", "ok"]

Row = dict[str, Any]
Trained = tuple[DualKLGenerator, np.ndarray, np.ndarray]


def _row(
    part: str,
    case: str,
    quantity: str,
    values: Any,
    low: float = math.nan,
    high: float = math.nan,
) -> Row:
    """A line of the table: mean and spread over seeds, and the bounds to hold."""
    found = np.atleast_1d(np.asarray(values, float))
    value = float(found.mean())
    bounds = [(low, value), (value, high)]
    held = [
        bool(a <= b) for (a, b), end in zip(bounds, (low, high)) if not np.isnan(end)
    ]
    ok = all(held) if held else None
    sd = float(found.std(ddof=1)) if len(found) > 1 else math.nan
    return dict(zip(COLUMNS, (part, case, quantity, value, sd, low, high, ok)))


def moments(x: np.ndarray) -> dict[str, float]:
    """Variance and correlations at lags 1 and 2 of series ``(n, T, C)``.

    Over series and time steps, and the mean over channels; series have mean zero.
    """
    variance = np.mean(x**2, (0, 1))
    found = {"variance": float(variance.mean())}
    for lag in (1, 2):
        product = np.mean(x[:, lag:] * x[:, :-lag], (0, 1))
        found[f"lag {lag}"] = float(np.mean(product / variance))
    return found


def largest_score(z: Tensor, covariance: Tensor) -> tuple[float, float]:
    """Largest z-score of series ``(n, T, C)`` against a normal, and its limit.

    Scores of the mean and variance of every pixel and, by Fisher's transformation, of
    the correlations at lags 1 and 2. The limit is two-sided, Bonferroni at 1 %.
    """
    n, _, channels = z.shape
    x, truth = z.flatten(1).double().numpy(), covariance.numpy()
    variance = np.diag(truth)
    scores = [
        x.mean(0) / np.sqrt(variance / n),
        ((x**2).mean(0) / variance - 1) / math.sqrt(2 / n),
    ]
    table, wanted = np.corrcoef(x.T), truth / np.sqrt(np.outer(variance, variance))
    for lag in (1, 2):
        pair = (np.diag(m, lag * channels) for m in (table, wanted))
        found, true = map(np.arctanh, pair)
        scores.append((found - true) * math.sqrt(n - 3))
    every = np.abs(np.concatenate(scores))
    return float(every.max()), float(norm.isf(LEVEL / 2 / len(every)))


def _covariance(channels: int) -> Tensor:
    """Covariance of AR(1) series, correlation .5 between channels, ``(T C, T C)``."""
    t = torch.arange(LENGTH)
    time = PHI ** (t[:, None] - t).abs().double()
    return torch.kron(time, 0.5 + 0.5 * torch.eye(channels, dtype=torch.float64))


def _walked(
    sampler: Langevin, start: Tensor, num_steps: int, seed: int
) -> tuple[Tensor, float, float]:
    """End of a walk, its acceptance and step size; MALA's after a burn-in."""
    generator = torch.Generator().manual_seed(seed)
    state = sampler.init(start)
    if isinstance(sampler, MALA):
        sampler, state = sampler.adapted(state, 100, generator)
    result = run(sampler, state, num_steps, generator)
    return result.z, float(result.acceptance.mean()), result.step_size


def _normal(precision: Tensor) -> Callable[[Tensor], Tensor]:
    """Log-density of a centred normal over series flattened step by step."""
    precision = precision.float()

    def log_density(z: Tensor) -> Tensor:
        x = z.flatten(1)
        return -0.5 * ((x @ precision) * x).sum(1)

    return log_density


def analytic(fast: bool = False, seed: int = 0) -> list[Row]:
    """Part one: see the head of the module."""
    num_chains, rows = (1000 if fast else 4000), []
    for channels in (1, 2):
        law = _covariance(channels)
        density = _normal(torch.linalg.inv(law))
        factor = GaussianPreconditioner(torch.linalg.cholesky(law))
        generator = torch.Generator().manual_seed(seed)
        start = torch.randn(num_chains, LENGTH, channels, generator=generator)
        cases: dict[str, tuple[Langevin, Tensor, int]] = {
            "Langevin": (Langevin(density, STEP, factor), law / (1 - STEP / 4), 300),
            "MALA": (MALA(density, 0.1, factor), law, 150),
            "MALA, plain": (MALA(density, 0.02), law, 600),
        }
        for name, (sampler, truth, num_steps) in cases.items():
            num_steps = num_steps // 2 if fast else num_steps
            z, acceptance, size = _walked(sampler, start, num_steps, seed + 1)
            score, limit = largest_score(z, truth)
            found = moments(z.numpy())
            numbers: list[tuple[Any, ...]] = [
                ("largest |z|", score, math.nan, limit),
                *((key, found[key], *_near(true)) for key, true in TRUTH.items()),
                ("acceptance", acceptance),
                ("step size", size),
            ]
            case = f"{name}, C = {channels}"
            rows += [_row("analytic", case, *number) for number in numbers]
    return rows


def _near(truth: float) -> tuple[float, float]:
    return truth - TOLERANCE, truth + TOLERANCE


def _task(channels: int) -> Task:
    nats = -channels * (LENGTH - 1) / 2 * math.log(1 - PHI**2)
    return autoregression(nats, channels, LENGTH)


def _train(channels: int, seed: int) -> Trained:
    """A generator, its training series and held-out ones."""
    train = _task(channels).sample(NUM_SERIES, 1000 + seed).astype(np.float32)
    held_out = _task(channels).sample(NUM_HELD_OUT, 2000 + seed).astype(np.float32)
    estimator = DualKLEstimator(device="cpu", num_folds=2, seed=seed)
    return estimator.train(dataset_from_array(train, "D")), train, held_out


def _compare(
    part: str, case: str, draws: list[tuple[np.ndarray, np.ndarray, np.ndarray]]
) -> list[Row]:
    """Moments and copying of ``(drawn, train, held_out)`` against bounds, by seed."""
    found = [moments(drawn) for drawn, _, _ in draws]
    rows = [
        _row(part, case, name, [one[name] for one in found], *_near(truth))
        for name, truth in TRUTH.items()
    ]
    copies = [copy_rate(held, drawn, train) for drawn, train, held in draws]
    ratio = [
        nearest_neighbour_ratio(held, drawn, train) for drawn, train, held in draws
    ]
    rows.append(_row(part, case, "copy rate", copies, *COPY_RATES))
    rows.append(_row(part, case, "nearest-neighbour ratio", ratio))
    return rows


def learned(channels: int, seeds: Sequence[int]) -> tuple[list[Row], list[Trained]]:
    """Part two for one number of channels, and what was trained, by seed."""
    trained = [_train(channels, seed) for seed in seeds]
    draws = [
        (generator.sample(NUM_DRAWN, seed), train, held_out)
        for seed, (generator, train, held_out) in zip(seeds, trained)
    ]
    real = [(held[:NUM_DRAWN], train, held[NUM_DRAWN:]) for _, train, held in draws]
    case = f"C = {channels}"
    rows = _compare("learned", case, draws)
    return rows + _compare("real series", case, real), trained


def _level(generator: DualKLGenerator) -> Callable[[Tensor], Tensor]:
    """The dual function ``s = log p/q`` of a generator, of normal scores."""
    model = generator.model
    return lambda z: sum_legs(model.log_ratio_of_scores(z))


def _independent(z: Tensor, seed: int) -> Tensor:
    """Every pixel permuted over the series: draws of ``Q``."""
    uniform = torch.rand(z.shape, generator=torch.Generator().manual_seed(seed))
    return z.gather(0, uniform.argsort(0))


def gradient_walks(generator: DualKLGenerator, case: str, seed: int = 0) -> list[Row]:
    """Part three: see the head of the module."""
    train = generator.model.train
    levels = torch.as_tensor(generator.dual_space().levels)
    source = torch.Generator().manual_seed(seed)
    targets = levels[torch.randperm(len(levels), generator=source)]
    walk = GradientWalk(_level(generator), max_steps=200)
    starts = {"from data": train, "from marginals": _independent(train, seed + 1)}
    rows = []
    for name, start in starts.items():
        result = walk.walk(start, targets)
        numbers = _gradient_numbers(result.z, start, train)
        numbers["reached the level"] = float(result.converged.float().mean())
        if name == "from marginals":
            del numbers["start is nearest"]
        rows += [
            _row("gradient walk", f"{name}, {case}", quantity, value)
            for quantity, value in numbers.items()
        ]
    return rows


def _gradient_numbers(z: Tensor, start: Tensor, train: Tensor) -> dict[str, float]:
    """Where walks to ``z`` led, against the training series."""
    apart = torch.cdist(z.flatten(1), train.flatten(1))
    own = torch.arange(len(z)) % len(train)
    moved = (z - start).flatten(1).norm(dim=1)
    found, real = moments(z.numpy()), moments(train.numpy())
    excess = NeighbourGuard.fit(train).excess(z, z[:, 0, 0])
    return {
        "start is nearest": float((apart.argmin(1) == own).float().mean()),
        "moved, of the median distance": float((moved / apart.median()).mean()),
        "variance ratio": found["variance"] / real["variance"],
        "lag 1": found["lag 1"],
        "lag 2": found["lag 2"],
        **{f"refused, {k}": float((x > 0).float().mean()) for k, x in excess.items()},
    }


def _log_density(generator: DualKLGenerator) -> Callable[[Tensor], Tensor]:
    """``log q + s`` of a generator in normal scores, up to a constant."""
    level, variances = _level(generator), generator.model.gaussian.variances
    return lambda z: level(z) - 0.5 * (z.square() / variances).sum((1, 2))


def learned_mala(trained: Sequence[Trained], case: str, num_steps: int) -> list[Row]:
    """Part four: see the head of the module."""
    draws, acceptances = [], []
    for seed, (generator, train, held_out) in enumerate(trained):
        model = generator.model
        factor = GaussianPreconditioner(model.gaussian.factor())
        sampler = MALA(_log_density(generator), 0.1, factor)
        copies = range(-(-NUM_DRAWN // len(train)))
        start = torch.cat([_independent(model.train, 10 * seed + k) for k in copies])
        z, acceptance, _ = _walked(sampler, start, num_steps, seed)
        acceptances.append(acceptance)
        draws.append((model.marginals.from_normal(z).numpy(), train, held_out))
    rows = _compare("learned MALA", case, draws)
    return [*rows, _row("learned MALA", case, "acceptance", acceptances)]


def check(fast: bool = False, seed: int = 0) -> pd.DataFrame:
    """All four parts as a table with a row a number.

    Columns ``part, case, quantity, value, sd`` (over seeds), ``low, high`` (bounds) and
    ``ok`` (whether they hold; none where there are no bounds).
    """
    rows = analytic(fast, seed)
    seeds = range(seed, seed + (2 if fast else 5))
    for channels in (1, 2):
        case = f"C = {channels}"
        found, trained = learned(channels, seeds)
        rows += found + gradient_walks(trained[0][0], case, seed)
        rows += learned_mala(trained[: 1 if fast else 3], case, 100 if fast else 300)
    return pd.DataFrame(rows, columns=COLUMNS)


def _print(table: pd.DataFrame, console: Console) -> None:
    shown = Table(*COLUMNS)
    for row in table.itertuples(index=False):
        numbers = ["" if math.isnan(v) else f"{v:.3f}" for v in row[3:7]]
        verdict = "" if row.ok is None else ("ok" if row.ok else "MISSED")
        shown.add_row(*row[:3], *numbers, verdict)
    console.print(shown)
    bounded = table[table["ok"].notna()]
    held = int(bounded["ok"].astype(bool).sum())
    console.print(f"{held} of {len(bounded)} bounds hold")


def main(arguments: Sequence[str] | None = None) -> pd.DataFrame:
    """Print and write the table; see the head of the module."""
    parser = argparse.ArgumentParser(
        description="Check the walks on laws with known moments."
    )
    parser.add_argument("--out", type=Path, required=True, help="folder to make")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--fast", action="store_true", help="smaller, in half a minute")
    parser.add_argument("--force", action="store_true", help="replace the folder")
    given = parser.parse_args(arguments)
    with quiet_library(), atomic_path(given.out, given.force) as folder:
        table = check(given.fast, given.seed)
        folder.mkdir()
        table.to_csv(folder / "walks.csv", index=False)
        rows = table.astype(object).where(table.notna(), None).to_dict("records")
        (folder / "walks.json").write_text(json.dumps(rows, indent=1))
    _print(table, Console())
    return table


if __name__ == "__main__":
    main()
