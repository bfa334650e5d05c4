"""Discriminative score of a generator on the papers' own protocol, for comparison.

``python -m gluonts_dualkl.evaluation.checks.paper_protocol --generators timegan
--num-windows 2000 --steps 3000 --out scores.csv`` fits each generator to all windows of
a data set and scores it, as the papers do, against these same windows. A generator that
comes near its published number is believed to be well made; the score says nothing
else, since copies of the training windows would be perfect. Rows already in the file
are not computed again.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import fields
from itertools import product
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import pandas as pd

from gluonts_dualkl.data.destinations import atomic_path
from gluonts_dualkl.evaluation.baselines import Baseline, baseline_class
from gluonts_dualkl.evaluation.datasets import load_example
from gluonts_dualkl.evaluation.metrics.timegan import discriminative_score

__all__ = [
    "COLUMNS",
    "DATA",
    "PUBLISHED",
    "main",
    "paper_protocol",
    "sines",
    "stocks_like",
]

LENGTH = 24
COLUMNS = [
    "generator", "data", "windows", "steps", "seed", "repeats", "judge_steps",
    "seconds", "score", "score_sd", "floor", "floor_sd", "published", "source",
]  # fmt: skip
_KEY = COLUMNS[:7]
_FLOOR_KEY = ["data", "windows", "seed", "repeats", "judge_steps"]
_FEWEST = 20
_JUDGE_STEPS = 2000

_TIMEGAN = "Yoon, Jarrett & van der Schaar 2019"
_DIFFUSION = "Yuan & Qiao 2024 (Diffusion-TS), table 1"
# generator -> data -> published discriminative score and who reports it
PUBLISHED: dict[str, dict[str, tuple[float, str]]] = {
    "timegan": {"sines": (0.011, _TIMEGAN), "stocks-like": (0.102, _TIMEGAN)},
    "timevae": {"sines": (0.041, _DIFFUSION), "stocks-like": (0.145, _DIFFUSION)},
    "diffusion_ts": {"sines": (0.006, _DIFFUSION), "stocks-like": (0.067, _DIFFUSION)},
}
# The paper's settings where a baseline's defaults are made for few windows.
_SIZES: dict[str, dict[str, Any]] = {
    "timegan": {
        "num_layers": 3,
        "width": 24,
        "batch_size": 128,
        "learning_rate": 1e-3,
    }
}


def sines(num_windows: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Sines as in the TimeGAN paper, and as many fresh ones.

    Channel ``c`` of a window is ``(sin(a t + b) + 1) / 2`` at ``t = 0, ..., 23``, with
    ``a`` and ``b`` uniform in [0, 0.1], one pair for each of 5 channels. This is the
    set of the released code, which later papers took over; the text of the paper has
    frequencies in [0, 1] cycles a step and phases in [-pi, pi].

    Returns
    -------
    tuple
        Training windows and fresh ones of the same law, ``(N, 24, 5)`` each.
    """
    rng = np.random.default_rng([seed, 24])
    pitch, phase = rng.uniform(0, 0.1, (2, 2 * num_windows, 1, 5))
    x = (np.sin(pitch * np.arange(LENGTH)[:, None] + phase) + 1) / 2
    return x[:num_windows], x[num_windows:]


def stocks_like(num_windows: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Sliding windows of the bundled exchange rates, standing in for the stock prices.

    Windows of 24 business days at stride 1 from one record of six rates (European
    Central Bank), in random order; the papers' set is one record of six columns of a
    share price, with 3,661 such windows. Its published numbers are of other data and
    stand beside these only for their size.

    Returns
    -------
    tuple
        Training windows and as many others of the record, which overlap them in time,
        ``(N, 24, 6)`` each.

    Raises
    ------
    ValueError
        If the record has fewer than ``2 N`` windows.
    """
    rates = load_example("fx_ecb").drop(columns=["item_id", "timestamp"])
    view = np.lib.stride_tricks.sliding_window_view(rates.to_numpy(float), LENGTH, 0)
    if 2 * num_windows > len(view):
        raise ValueError(
            f"num_windows: {num_windows}, expected at most {len(view) // 2}, as many "
            "others of the record are kept for the floor"
        )
    order = np.random.default_rng([seed, 24]).permutation(len(view))
    x = view.transpose(0, 2, 1)[order[: 2 * num_windows]]
    return x[:num_windows], x[num_windows:]


DATA: dict[str, Callable[[int, int], tuple[np.ndarray, np.ndarray]]] = {
    "sines": sines,
    "stocks-like": stocks_like,
}


def paper_protocol(
    generators: Sequence[str],
    out: str | Path,
    num_windows: int = 10_000,
    steps: int = 10_000,
    data: Sequence[str] = tuple(DATA),
    *,
    repeats: int = 5,
    seed: int = 0,
    judge_steps: int = _JUDGE_STEPS,
) -> pd.DataFrame:
    """Score generators as the papers do; a row is written as soon as it is there.

    Parameters
    ----------
    generators
        Names in :data:`~gluonts_dualkl.evaluation.baselines.BASELINES`.
    out
        File of comma-separated values. Rows in it with the same generator, data set
        and settings are kept and not computed again.
    num_windows
        Training windows; 10,000 in the papers for sines.
    steps
        ``max_steps`` of the generators that have it, over all phases.
    data
        Names in :data:`DATA`.
    repeats
        Draws from a fitted generator, each with a judge of its own; the papers' 5 or
        10.
    seed
        Seed of data, training, draws and judges.
    judge_steps
        Steps of a judge; 2,000 in the papers.

    Returns
    -------
    pandas.DataFrame
        All rows of the file, columns :data:`COLUMNS`: ``seconds`` to fit and to draw
        all repeats, ``score`` and ``score_sd`` mean and standard deviation over the
        repeats of TimeGAN's discriminative score, in [0, 0.5], lower is better;
        ``floor`` and ``floor_sd`` the same for fresh real windows in place of drawn
        ones; ``published`` and ``source`` the number in a paper, if there is one.

    Raises
    ------
    ValueError
        For unknown names, fewer than 20 windows, one step or one repeat, or a file of
        other columns, before anything is computed.

    Notes
    -----
    The judge is the papers': a recurrent layer of half as many units as channels,
    learning rate 0.001. TimeGAN is given the paper's three layers of 24 units, batches
    of 128 and learning rate, all others their defaults. The paper's TimeGAN takes
    50,000 steps in each of three phases: a score after a few thousand says little.
    """
    _check(generators, data, num_windows, steps, repeats, judge_steps)
    out = Path(out)
    rows = _read(out)
    settings = num_windows, steps, seed, repeats, judge_steps
    done = set(rows[_KEY].itertuples(index=False, name=None))
    for source, generator in product(data, generators):
        key = generator, source, *settings
        if key in done:
            continue
        found = _scored(dict(zip(_KEY, key)), rows)
        new = pd.DataFrame([found], columns=COLUMNS)
        rows = pd.concat([rows, new], ignore_index=True) if len(rows) else new
        with atomic_path(out, force=True) as path:
            rows.to_csv(path, index=False)
    return rows


def _check(
    generators: Sequence[str],
    data: Sequence[str],
    num_windows: int,
    steps: int,
    repeats: int,
    judge_steps: int,
) -> None:
    for name in generators:
        baseline_class(name)
    for name in data:
        if name not in DATA:
            raise ValueError(f"data: no set {name!r}, choose from {', '.join(DATA)}")
    if num_windows < _FEWEST:
        raise ValueError(
            f"num_windows: {num_windows}, expected {_FEWEST} or more, so that a judge "
            "has some to be tested on"
        )
    for name, value, least in (
        ("steps", steps, 1), ("repeats", repeats, 2), ("judge_steps", judge_steps, 1)
    ):  # fmt: skip
        if value < least:
            raise ValueError(f"{name}: {value}, expected {least} or more")


def _read(path: Path) -> pd.DataFrame:
    if not path.exists():
        return pd.DataFrame(columns=COLUMNS)
    rows = pd.read_csv(path, float_precision="round_trip")
    if list(rows.columns) != COLUMNS:
        raise ValueError(
            f"out: {str(path)!r} has other columns and is not ours to go on with; "
            "choose another path"
        )
    return rows.fillna({"source": ""})


def _scored(row: dict[str, Any], known: pd.DataFrame) -> dict[str, Any]:
    """The row with its scores."""
    windows, fresh = DATA[row["data"]](row["windows"], row["seed"])
    repeats = range(row["repeats"])
    begin = perf_counter()
    baseline = _make(row["generator"], row["steps"], row["seed"]).fit(windows)
    drawn = [baseline.sample(len(windows), row["seed"] + k) for k in repeats]
    seconds = perf_counter() - begin
    score, spread = _judged(windows, drawn, row)
    same = known[(known[_FLOOR_KEY] == [row[k] for k in _FLOOR_KEY]).all(axis=1)]
    if len(same):
        floor, floor_spread = same[["floor", "floor_sd"]].iloc[0]
    else:
        floor, floor_spread = _judged(windows, [fresh for _ in repeats], row)
    numbers = PUBLISHED.get(row["generator"], {})
    published, source = numbers.get(row["data"], (np.nan, ""))
    found = seconds, score, spread, floor, floor_spread, published, source
    return {**row, **dict(zip(COLUMNS[len(_KEY) :], found))}


def _make(generator: str, steps: int, seed: int) -> Baseline:
    """The generator at the paper's size, with steps and seed where it has them."""
    kind = baseline_class(generator)
    wanted = {"max_steps": steps, "seed": seed, **_SIZES.get(generator, {})}
    known = {field.name for field in fields(kind) if field.init}
    return kind(**{name: wanted[name] for name in wanted if name in known})


def _judged(
    windows: np.ndarray, sets: Sequence[np.ndarray], row: dict[str, Any]
) -> tuple[float, float]:
    """Mean and deviation of the discriminative score, a judge to each set."""
    scores = [
        discriminative_score(
            windows,
            x,
            windows,
            row["seed"] + k,
            row["judge_steps"],
            least_units=1,
            learning_rate=1e-3,
        )  # fmt: skip
        for k, x in enumerate(sets)
    ]
    return float(np.mean(scores)), float(np.std(scores, ddof=1))


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


def main(arguments: Sequence[str] | None = None) -> pd.DataFrame:
    """Run and print the rows; see the head of the module."""
    parser = argparse.ArgumentParser(
        description="Discriminative scores on the protocol of the papers."
    )
    parser.add_argument("--generators", type=_names, required=True, help="a,b,...")
    parser.add_argument("--data", type=_names, default=list(DATA), help="default: all")
    parser.add_argument("--num-windows", type=int, default=10_000)
    parser.add_argument("--steps", type=int, default=10_000)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--judge-steps", type=int, default=_JUDGE_STEPS)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, required=True, help="file, resumed")
    given = parser.parse_args(arguments)
    rows = paper_protocol(
        given.generators, given.out, given.num_windows, given.steps, given.data,
        repeats=given.repeats, seed=given.seed, judge_steps=given.judge_steps,
    )  # fmt: skip
    print(rows.drop(columns="source").round(3).to_string(index=False))
    return rows


if __name__ == "__main__":
    main()
