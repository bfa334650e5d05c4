"""Two small example data sets, and splits that keep dependent series together."""

from __future__ import annotations

from importlib import resources

import numpy as np
import pandas as pd

__all__ = ["EXAMPLES", "example_arrays", "load_example", "split_blocks", "split_items"]

EXAMPLES: dict[str, tuple[str, str]] = {
    "storms_atlantic": ("storms_atlantic_small.csv.gz", "6h"),
    "fx_ecb": ("fx_ecb_small.csv.gz", "B"),
}
Split = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]


def load_example(name: str) -> pd.DataFrame:
    """Bundled data set as a long frame.

    Parameters
    ----------
    name
        ``"storms_atlantic"``: 366 Atlantic storms of 24 six-hourly steps, channels lat,
        long, wind, pressure (NOAA HURDAT2). ``"fx_ecb"``: one record of 6983
        business days of six euro exchange rates (European Central Bank). Licences and
        attribution lines are in ``evaluation/data/LICENCES.md``.

    Returns
    -------
    pandas.DataFrame
        Columns ``item_id``, ``timestamp`` and one per channel.
    """
    if name not in EXAMPLES:
        raise ValueError(f"name: no example {name!r}, choose from {sorted(EXAMPLES)}")
    path = resources.files(__package__) / "data" / EXAMPLES[name][0]
    with resources.as_file(path) as file:
        frame = pd.read_csv(file, parse_dates=["timestamp"])
    if "item_id" not in frame:
        frame.insert(0, "item_id", name)
    return frame


def example_arrays(
    name: str, length: int | None = None
) -> tuple[np.ndarray, list[str]]:
    """Series ``(n, T, C)`` of an example, and the names of its channels.

    Consecutive windows of ``length`` steps that do not overlap, aligned at the start of
    each item. By default whole storms (24 steps), and windows of 32 business days of
    the exchange rates.
    """
    frame = load_example(name)
    length = length or {"storms_atlantic": 24, "fx_ecb": 32}[name]
    channels = [c for c in frame.columns if c not in ("item_id", "timestamp")]
    windows = []
    for _, item in frame.groupby("item_id", sort=False):
        values = item[channels].to_numpy(float)
        num = len(values) // length
        windows.append(values[: num * length].reshape(num, length, len(channels)))
    x = np.concatenate(windows)
    if not len(x):
        raise ValueError(f"length: no series of {name} has {length} steps")
    return x, channels


def split_items(x: np.ndarray, test_share: float = 0.5, seed: int = 0) -> Split:
    """Random split for a panel, whose series are independent.

    Returns
    -------
    tuple
        ``(train, held_out, train_index, held_out_index)``, in random order.
    """
    if not 0 < test_share < 1:
        raise ValueError(f"test_share: {test_share}, expected a value in (0, 1)")
    order = np.random.default_rng(seed).permutation(len(x))
    cut = round(test_share * len(x))
    test, train = order[:cut], order[cut:]
    if not len(test) or not len(train):
        raise ValueError(f"x: {len(x)} series are too few for test_share={test_share}")
    return x[train], x[test], train, test


def split_blocks(
    x: np.ndarray, num_blocks: int = 12, gap: int = 1, seed: int = 0
) -> Split:
    """Split for consecutive windows of one record: contiguous blocks with gaps.

    The windows are cut into blocks of time. In each pair of neighbouring blocks a coin
    gives one to train and the other to held-out, so that both span the record; wherever
    the side changes, the first ``gap`` windows of the later block are dropped.

    Parameters
    ----------
    x
        Windows in order of time, ``(n, T, C)``.
    num_blocks
        Even number of blocks.
    gap
        Windows dropped at each change of side, at least one.

    Returns
    -------
    tuple
        ``(train, held_out, train_index, held_out_index)``, in random order.
    """
    if num_blocks < 2 or num_blocks % 2:
        raise ValueError(f"num_blocks: {num_blocks}, expected an even number from 2 up")
    if gap < 0:
        raise ValueError(f"gap: {gap}, expected 0 or more windows")
    if len(x) < num_blocks * (gap + 1):
        raise ValueError(
            f"x: {len(x)} windows are too few for {num_blocks} blocks with gap {gap}; "
            "take fewer blocks or shorter windows"
        )
    rng = np.random.default_rng(seed)
    edges = np.linspace(0, len(x), num_blocks + 1).round().astype(int)
    coins = rng.integers(0, 2, num_blocks // 2)
    sides = np.stack([coins, 1 - coins], axis=1).ravel()
    block = np.searchsorted(edges, np.arange(len(x)), side="right") - 1
    changed = np.r_[False, sides[1:] != sides[:-1]]
    dropped = changed[block] & (np.arange(len(x)) - edges[block] < gap)
    side = np.where(dropped, -1, sides[block])
    train = rng.permutation(np.flatnonzero(side == 0))
    test = rng.permutation(np.flatnonzero(side == 1))
    return x[train], x[test], train, test
