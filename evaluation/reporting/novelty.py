"""Where generators stand in the plane of novelty and fidelity, and the real band."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from threadpoolctl import threadpool_limits

from gluonts_dualkl.evaluation.metrics import information, privacy
from gluonts_dualkl.evaluation.metrics._common import distances, flat
from gluonts_dualkl.evaluation.oracles import ORACLES
from gluonts_dualkl.evaluation.protocol import fidelity_at_novelty
from gluonts_dualkl.evaluation.reporting import words
from gluonts_dualkl.evaluation.reporting.plane import Panel, Point, styles
from gluonts_dualkl.evaluation.reporting.ranks import JUDGES, Cell, is_oracle
from gluonts_dualkl.evaluation.verdict import findings

__all__ = ["real_band", "scores_panel", "table_panel"]

ENDS = ["value", "lower", "upper"]
NOVELTY = "nearest_neighbour_ratio"
YARDSTICKS = ("training_copies", "jittered_copies", "shrunk_gaussian")
_SPLITS = 200


def scores_panel(scores: pd.DataFrame, sets: Sequence[np.ndarray]) -> Panel | None:
    """Place one generator, and series with planted faults, by novelty and fidelity.

    Parameters
    ----------
    scores
        Scores of the generator.
    sets
        Training, held-out and synthetic series ``(n, T, C)``.

    Returns
    -------
    Panel or None
        ``None`` where the scores hold no judge or no test of copying.
    """
    known = words.computed(scores).set_index("metric")
    judges = [name for name in JUDGES if name in known.index]
    try:
        judge = fidelity_at_novelty(known.reset_index())["judge"]
    except ValueError:
        return None
    near, told = known.loc[[NOVELTY, judge], ENDS].to_numpy(float).tolist()
    ours = Point(
        "synthetic",
        near[0],
        told[0],
        (near[1], near[2]),
        (told[1], told[2]),
        counts="memorisation" not in findings(known.reset_index()),
    )
    train, held_out = (x[np.isfinite(x).all((1, 2))] for x in sets[:2])
    yardsticks = [_yardstick(name, train, held_out, judges) for name in YARDSTICKS]
    return Panel(
        "",
        [ours, *yardsticks],
        real_band(train, held_out),
        known.loc[judges, "floor"].tolist(),
    )


def _yardstick(
    name: str, train: np.ndarray, held_out: np.ndarray, judges: Sequence[str]
) -> Point:
    """Return where a planted fault lies, the held-out series as the reference."""
    faulty = ORACLES[name](train, len(held_out), 0)
    functions = {
        "c2st_auc_trees": information.c2st_auc_trees,
        "c2st_auc_logistic": information.c2st_auc_logistic,
    }
    with threadpool_limits(1):
        aucs = [
            functions[judge](held_out, faulty, train, 0, repeats=1) for judge in judges
        ]
    ratio = privacy.nearest_neighbour_ratio(held_out, faulty, train)
    return Point(words.plain(name), ratio, max(aucs), oracle=True)


def table_panel(
    dataset: str, grid: dict[tuple[str, str], Cell], generators: Sequence[str]
) -> Panel | None:
    """Place the generators of one data set of a benchmark.

    The band is the floor of the novelty metric with its tolerance on either side, as
    in the verdicts. ``None`` where no generator was judged.
    """
    here = [grid[dataset, name] for name in generators]
    here = [cell for cell in here if cell.judged]
    if not here:
        return None
    floors = [[cell.value(name, "floor") for cell in here] for name in JUDGES]
    return Panel(
        words.title(dataset),
        [_point(cell) for cell in here],
        _tolerated([cell.value(NOVELTY, "floor") for cell in here]),
        [float(np.mean(known)) for known in map(_known, floors) if len(known)],
        styles([words.plain(g) for g in generators if not is_oracle(g)]),
    )


def _known(values: Sequence[float]) -> np.ndarray:
    return np.array([value for value in values if np.isfinite(value)])


def _point(cell: Cell) -> Point:
    novelty, judge = NOVELTY, (cell.judged or {})["judge"]
    return Point(
        words.plain(cell.generator),
        cell.value(novelty),
        cell.auc,
        (cell.value(novelty, "lower"), cell.value(novelty, "upper")),
        (cell.value(judge, "lower"), cell.value(judge, "upper")),
        counts=cell.counts,
        oracle=is_oracle(cell.generator),
    )


def _tolerated(floors: Sequence[float]) -> tuple[float, float]:
    metric, known = words.record(NOVELTY), _known(floors)
    if metric is None or not len(known):
        return np.nan, np.nan
    ends = metric.scale(known.mean()) + metric.tolerance * np.array([-1.0, 1.0])
    low, high = metric.unscale(ends)
    return max(float(low), 0.0), float(high)


def real_band(train: np.ndarray, held_out: np.ndarray) -> tuple[float, float]:
    """Nearest-neighbour ratios that nineteen in twenty real sets would show.

    Halves of the held-out series stand against each other; the spread of the log ratio
    is that of full sets times the root of two.
    """
    near = distances(flat(held_out, train), flat(train, train)).min(1)
    rng = np.random.default_rng(0)
    half = len(near) // 2
    ratios = []
    for _ in range(_SPLITS):
        order = rng.permutation(near)
        pair = np.median(order[:half]), np.median(order[half : 2 * half])
        ratios.append(np.log(max(pair[0], 1e-12) / max(pair[1], 1e-12)))
    spread = 1.96 * float(np.std(ratios)) / np.sqrt(2.0)
    return float(np.exp(-spread)), float(np.exp(spread))
