"""Check that planted faults are called out in words on a folder of data sets.

``python -m gluonts_dualkl.evaluation.checks.verdicts FOLDER`` prints one line a data
set and the number of data sets on which each fault was named and fresh series passed.
The folder holds a ``load_data.py`` with ``names()`` and with ``split(name, seed)``,
which returns training and held-out series ``(n, T, C)`` and a description.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

import numpy as np
import pandas as pd

from gluonts_dualkl.evaluation.protocol import FRESH, oracle_table
from gluonts_dualkl.evaluation.verdict import findings

__all__ = ["EXPECTED", "check_data_set", "check_folder", "main", "summarise"]

# oracle -> the fault that the verdict has to name
EXPECTED = {
    "training_copies": "memorisation",
    "collapsed": "collapse",
    "over_smoothed": "over-smoothing",
    "independent_marginals": "lost dependency",
}


def check_data_set(
    train: np.ndarray, held_out: np.ndarray, seed: int = 0, fast: bool = False
) -> dict[str, list[str]]:
    """Faults found in fresh series and in those of each oracle of ``EXPECTED``.

    Parameters
    ----------
    train, held_out
        Real series ``(n, T, C)`` and ``(m, T, C)``. Fresh series are one random half of
        the held-out ones, compared with the other half; none if there are fewer than
        20 held-out ones.
    seed, fast
        As in :func:`gluonts_dualkl.evaluation.evaluate_generator`.

    Returns
    -------
    dict
        ``"fresh"`` and the names of the oracles, each with the faults that were found.
    """
    table = oracle_table(train, held_out, seed, fast, oracles=list(EXPECTED))
    parts = table.groupby("oracle", sort=False)
    return {str(name): list(findings(scores)) for name, scores in parts}


def summarise(found: dict[str, list[str]]) -> dict[str, bool]:
    """Whether fresh series passed, and whether each fault was named."""
    named = {name: fault in found[name] for name, fault in EXPECTED.items()}
    return {FRESH: not found.get(FRESH), **named}


def _load(folder: Path) -> ModuleType:
    path = folder / "load_data.py"
    if not path.is_file():
        raise ValueError(f"folder: no load_data.py in {folder}")
    spec = spec_from_file_location("load_data", path)
    assert spec is not None and spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def check_folder(
    folder: Path, names: Sequence[str] = (), seed: int = 0, fast: bool = False
) -> Iterator[tuple[str, int, int, dict[str, list[str]]]]:
    """Name, sizes of train and held-out, and :func:`check_data_set` of each set."""
    source = _load(folder)
    for name in names or source.names():
        train, held_out, _ = source.split(name, seed=seed)
        train, held_out = train.astype(float), held_out.astype(float)
        found = check_data_set(train, held_out, seed, fast)
        yield name, len(train), len(held_out), found


def main(arguments: Sequence[str] | None = None) -> pd.DataFrame:
    """Print the table; see the head of the module."""
    parser = argparse.ArgumentParser(
        description="Check that planted faults are called out on a folder of data sets."
    )
    parser.add_argument("folder", type=Path, help="holds load_data.py")
    parser.add_argument("--names", nargs="*", default=(), help="default: all")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--fast", action="store_true")
    given = parser.parse_args(arguments)
    rows = {}
    for name, num_train, num_held, found in check_folder(
        given.folder, given.names, given.seed, given.fast
    ):
        rows[name] = summarise(found)
        words = ", ".join(
            f"{key}: {'ok' if good else 'MISSED ' + '/'.join(found.get(key, []))}"
            for key, good in rows[name].items()
        )
        print(f"{name} ({num_train} train, {num_held} held out): {words}", flush=True)
    table = pd.DataFrame(rows).T
    print(f"\nof {len(table)} data sets:\n{table.sum().to_string()}")
    return table


if __name__ == "__main__":
    main()
