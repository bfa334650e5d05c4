"""Check whether windows across the seams of chained series are told from real ones.

``python -m gluonts_dualkl.evaluation.checks.seams --out FOLDER`` fits the default path
to windows of one record, overlapping, from every other block of time, chains long
series, and lets the logistic two-sample judge tell held-out windows from four kinds of
generated ones: ``inside``, drawn whole; ``chained``, at several places across the seams
of long series; ``kriged``, the same by the conditional law of paths without donors; and
``joined``, two independent draws put end to end. Writes ``seams.csv``, a row each. The
AUC of ``chained`` should be near that of ``inside`` and well below ``joined``.

The bundled exchange rates are there as ``fx_levels`` and ``fx_returns`` (100 log
returns); ``--tables`` takes long CSV or Parquet tables of one record each, whose
numeric columns are the channels, as ``name=file:length``.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from gluonts_dualkl.evaluation.checks.rows import grow_table, quiet_library
from gluonts_dualkl.evaluation.datasets import load_example
from gluonts_dualkl.evaluation.metrics.information import c2st_auc_logistic
from gluonts_dualkl.models.chaining import KrigedRest, chain
from gluonts_dualkl.models.recombination import DualModel
from gluonts_dualkl.threads import single_threaded

__all__ = ["check_record", "main", "read_records", "split_record"]

NUM_BLOCKS = 12
NUM_TRAIN = 300
NUM_SERIES = 300
NUM_STEPS = 20
SHIFTS = 3

Record = tuple[np.ndarray, int]


def read_records(tables: Sequence[str]) -> dict[str, Record]:
    """Records ``(steps, C)`` with the length of their windows, by name."""
    rates = load_example("fx_ecb").drop(columns=["item_id", "timestamp"])
    levels = rates.to_numpy(float)
    records = {
        "fx_levels": (levels, 32),
        "fx_returns": (100 * np.diff(np.log(levels), axis=0), 32),
    }
    for table in tables:
        name, _, place = table.partition("=")
        file, _, length = place.rpartition(":")
        if not file or not length.isdecimal():
            raise ValueError(f"--tables: {table!r}, expected name=file:length")
        read = pd.read_parquet if file.endswith(".parquet") else pd.read_csv
        values = (
            read(file).select_dtypes("number").drop(columns="step", errors="ignore")
        )
        records[name] = (values.to_numpy(float), int(length))
    return records


def split_record(
    record: np.ndarray, length: int, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Train and held-out windows, a quarter of a window apart, without gaps.

    Of each pair of neighbouring blocks of time a coin gives one to train; where the
    side changes two windows of steps are dropped.
    """
    rng = np.random.default_rng(seed)
    edges = np.linspace(0, len(record), NUM_BLOCKS + 1).round().astype(int)
    coins = rng.integers(0, 2, NUM_BLOCKS // 2)
    sides = np.stack([coins, 1 - coins], 1).ravel()
    windows: tuple[list[np.ndarray], list[np.ndarray]] = ([], [])
    for k, side in enumerate(sides):
        skip = 2 * length if k and side != sides[k - 1] else 0
        block = record[edges[k] + skip : edges[k + 1]]
        views = np.lib.stride_tricks.sliding_window_view(block, length, 0)
        cut = views[:: length // 4].transpose(0, 2, 1)
        windows[side].append(cut[~np.isnan(cut).any((1, 2))])
    train, held_out = (np.concatenate(part).astype(np.float32) for part in windows)
    kept = np.sort(rng.permutation(len(train))[:NUM_TRAIN])
    return train[kept], held_out


def _krige(model: DualModel, length: int, generator: torch.Generator) -> np.ndarray:
    """Long series whose seams are kriged though the model has donors."""
    from gluonts_dualkl.models.chaining import _chained

    law = KrigedRest(model, model.train.shape[1] // 2)
    first = model.draw(NUM_SERIES, NUM_STEPS, generator)
    return _chained(law, first, length, NUM_STEPS, generator, None)[0].numpy()


def check_record(record: Record, seed: int) -> dict[str, Any]:
    """AUC of every kind of window, chained ones the mean over places."""
    values, size = record
    train, held_out = split_record(values, size, seed)
    source = torch.Generator().manual_seed(seed)
    model = DualModel.fit(train, source)
    length = size + SHIFTS * (size - size // 2)
    drawn = model.marginals.from_normal(model.draw(2 * NUM_SERIES, NUM_STEPS, source).z)
    whole = drawn.numpy()[:NUM_SERIES]
    joined = np.concatenate([whole, drawn.numpy()[NUM_SERIES:]], 1)
    long = chain(model, NUM_SERIES, length, NUM_STEPS, source)[0].numpy()
    kriged = _krige(model, length, source)
    places = [size // 2, 3 * size // 4, size, 5 * size // 4]

    def auc(windows: np.ndarray) -> float:
        return c2st_auc_logistic(held_out, windows, train, seed, repeats=2)

    def over_places(series: np.ndarray) -> float:
        return float(np.mean([auc(series[:, k : k + size]) for k in places]))

    scores = model.marginals.to_normal(
        torch.as_tensor(np.concatenate([long[:, k : k + size] for k in places]))
    )
    return {
        "inside": auc(whole),
        "chained": over_places(long),
        "kriged": over_places(kriged),
        "joined": auc(joined[:, size // 2 : size // 2 + size]),
        "train": auc(train),
        "near_copies": model.count_near_copies(scores) / len(scores),
    }


def run_checks(
    out: Path, records: dict[str, Record], seeds: int
) -> Iterator[pd.DataFrame]:
    """Rows that ``seams.csv`` in ``out`` lacks; yields the table after each."""
    keys = [{"record": n, "seed": seed} for n in records for seed in range(seeds)]

    def compute(record: str, seed: int) -> dict[str, Any]:
        with single_threaded():
            return check_record(records[record], seed)

    yield from grow_table(out / "seams.csv", keys, compute)


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(prog="check_seams", description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="folder for results")
    parser.add_argument("--tables", nargs="*", default=[], help="name=file:length")
    parser.add_argument("--records", nargs="*", help="names to keep; default: all")
    parser.add_argument("--seeds", type=int, default=2)
    given = parser.parse_args(argv)
    try:
        records = read_records(given.tables)
    except ValueError as error:
        parser.error(str(error))
    for name in given.records or ():
        if name not in records:
            parser.error(f"--records: no {name!r}, choose from {', '.join(records)}")
    kept = {n: r for n, r in records.items() if not given.records or n in given.records}
    table = None
    with quiet_library():
        for table in run_checks(given.out, kept, given.seeds):
            print(table.tail(1).round(3).to_string(index=False), flush=True)
    if table is None:
        table = pd.read_csv(given.out / "seams.csv")
    print(table.groupby("record", sort=False).mean().round(3).to_string())


if __name__ == "__main__":
    main()
