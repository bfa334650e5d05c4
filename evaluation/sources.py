"""Where a benchmark finds its data: bundled sets, a folder of tables, or a loader.

Each source is a name and a function ``split(seed) -> (train, held_out)``, arrays
``(n, T, C)`` in original units. The held-out side depends on the seed only.
"""

from __future__ import annotations

import importlib.util
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from gluonts_dualkl.data.files import read_dataset
from gluonts_dualkl.data.windows import cut_windows, item_of
from gluonts_dualkl.evaluation.datasets import (
    EXAMPLES,
    example_arrays,
    split_blocks,
    split_items,
)

__all__ = ["SPLITS", "DataSource", "find_sources"]

SPLITS = ("own", "random")

LOADER = "load_data.py"
_SUFFIXES = (".csv", ".csv.gz", ".parquet")
_PANEL = 10
_RECORDS = {"fx_ecb"}

Pair = tuple[np.ndarray, np.ndarray]


@dataclass(frozen=True)
class DataSource:
    """A named data set that can be split into train and held-out windows."""

    name: str
    read: Callable[[int], Pair]

    def split(self, seed: int, n_train: int | None = None) -> Pair:
        """Train and held-out windows ``(n, T, C)``; train is cut to ``n_train``.

        Training sets of one seed are nested in ``n_train``.
        """
        train, held_out = self.read(seed)
        return np.asarray(train, float)[:n_train], np.asarray(held_out, float)

    def at_random(self) -> DataSource:
        """The same windows, split at random instead, sides as large as before.

        A record that drifts, split by blocks of time, is told apart from itself. Then
        fidelity is read on a random split of its windows, which must not overlap;
        windows that follow each other lie on both sides, so novelty is judged mildly.
        """

        def read(seed: int) -> Pair:
            train, held_out = self.read(seed)
            windows = np.concatenate([train, held_out])
            order = np.random.default_rng([seed, 19]).permutation(len(windows))
            return windows[order[: len(train)]], windows[order[len(train) :]]

        return DataSource(self.name, read)


def find_sources(
    data: str | Path,
    only: Sequence[str] | None = None,
    length: int | None = None,
    split: str = "own",
) -> list[DataSource]:
    """Data sets that a text names.

    Parameters
    ----------
    data
        Names of bundled sets, as ``"storms_atlantic,fx_ecb"`` or ``"bundled"`` for all;
        or a folder with one long CSV or Parquet table a data set; or a folder with a
        ``load_data.py`` that offers ``names()`` and ``split(name, seed, n_train)``,
        whose code is run.
    only
        Names to keep, all by default.
    length
        Steps of a window in a folder of tables, by default whole series.
    split
        ``"own"``, by items or by blocks of time; or ``"random"``, see
        :meth:`DataSource.at_random`.

    Raises
    ------
    ValueError, FileNotFoundError
        If nothing is there, or a name is unknown.
    """
    if split not in SPLITS:
        raise ValueError(f"split: {split!r}, expected one of {', '.join(SPLITS)}")
    sources = _sources(data, length)
    if split == "random":
        sources = [source.at_random() for source in sources]
    if only is None:
        return sources
    known = {source.name: source for source in sources}
    if unknown := [name for name in only if name not in known]:
        raise ValueError(
            f"no data set {', '.join(unknown)}; there are {', '.join(known)}"
        )
    return [known[name] for name in dict.fromkeys(only)]


def _sources(data: str | Path, length: int | None) -> list[DataSource]:
    names = [name.strip() for name in str(data).split(",")]
    if names == ["bundled"]:
        names = list(EXAMPLES)
    if set(names) <= set(EXAMPLES):
        read = [partial(_read_bundled, name) for name in dict.fromkeys(names)]
        return [DataSource(n, r) for n, r in zip(dict.fromkeys(names), read)]
    folder = Path(data).expanduser()
    if not folder.is_dir():
        raise FileNotFoundError(
            f"there is no folder {str(data)!r}, and bundled are {', '.join(EXAMPLES)}"
        )
    if (folder / LOADER).is_file():
        return _from_loader(folder / LOADER)
    files = sorted(p for p in folder.iterdir() if p.name.endswith(_SUFFIXES))
    if not files:
        raise ValueError(
            f"folder {str(data)!r} holds no {', '.join(_SUFFIXES)} and no {LOADER}"
        )
    sources = [
        DataSource(file.name.split(".")[0], partial(_read_table, file, length))
        for file in files
    ]
    if len({source.name for source in sources}) < len(sources):
        raise ValueError(f"two tables of {str(data)!r} have one name; rename one")
    return sources


def _read_bundled(name: str, seed: int) -> Pair:
    windows, _ = example_arrays(name)
    split = split_blocks if name in _RECORDS else split_items
    return split(windows, seed=seed)[:2]


def _from_loader(path: Path) -> list[DataSource]:
    """Run a loader, under a name that no other module has."""
    unique = f"_benchmark_data_{zlib.crc32(str(path.resolve()).encode()):08x}"
    spec = importlib.util.spec_from_file_location(unique, path)
    if spec is None or spec.loader is None:
        raise ValueError(f"cannot import {str(path)!r}")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    if missing := [name for name in ("names", "split") if not hasattr(module, name)]:
        raise ValueError(f"{str(path)!r} does not offer {' and '.join(missing)}")

    def read(name: str, seed: int) -> Pair:
        # the whole training side; it is cut here, so that a short one is no error
        return module.split(name, seed, None)[:2]

    return [DataSource(str(name), partial(read, name)) for name in module.names()]


def _read_table(path: Path, length: int | None, seed: int) -> Pair:
    """Split by item where there are enough, otherwise by blocks of each record."""
    entries, _ = read_dataset(path)
    try:
        cut = cut_windows(entries, length=length)
    except ValueError as error:
        raise ValueError(f"{str(path)!r}: {error}") from None
    whole = np.isfinite(cut.values).all((1, 2))
    windows = cut.values[whole]
    names = [name for name, kept in zip(cut.item_ids, whole, strict=True) if kept]
    items = np.array([item_of(name) for name in names])
    unique = np.unique(items)
    if len(unique) >= _PANEL:
        held = split_items(unique, seed=seed)[1]
        side = np.isin(items, held)
        order = np.random.default_rng(seed).permutation(len(windows))
        return windows[order[~side[order]]], windows[order[side[order]]]
    if length is None:
        raise ValueError(
            f"{str(path)!r} holds {len(unique)} whole series, fewer than {_PANEL}; "
            "cut them into windows with --length"
        )
    pairs = [split_blocks(windows[items == item], seed=seed)[:2] for item in unique]
    return tuple(np.concatenate(side) for side in zip(*pairs))  # type: ignore[return-value]
