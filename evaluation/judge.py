"""Judge files: three data sets in, one folder with scores and report out."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from gluonts_dualkl.data.destinations import atomic_path
from gluonts_dualkl.data.files import read_dataset
from gluonts_dualkl.data.windows import cut_windows, dataset_from_array
from gluonts_dualkl.evaluation.scoring import evaluate_generator
from gluonts_dualkl.types import DataEntry

__all__ = ["PAGE", "SCORES", "judge_files"]

SCORES = "scores.parquet"
PAGE = "index.html"

Columns = dict[str, str]


def judge_files(
    train: str | Path,
    held_out: str | Path,
    synthetic: str | Path,
    out: str | Path,
    *,
    item_id: str = "item_id",
    timestamp: str = "timestamp",
    channels: Sequence[str] | None = None,
    freq: str | None = None,
    length: int | None = None,
    fast: bool = False,
    seed: int = 0,
    force: bool = False,
) -> pd.DataFrame:
    """Score synthetic series against held-out ones and write everything to a folder.

    Parameters
    ----------
    train, held_out, synthetic
        Files as :func:`~gluonts_dualkl.data.files.read_dataset` reads them. Channels of
        the others are taken by the names of those of train.
    out
        Folder for ``scores.csv``, ``scores.parquet`` and ``index.html``, which appears
        when all is complete.
    item_id, timestamp, channels, freq
        See :func:`~gluonts_dualkl.data.files.read_dataset`.
    length
        Steps of a window; by default series are taken whole.
    fast, seed
        See :func:`~gluonts_dualkl.evaluation.evaluate_generator`.
    force
        Replace the folder.

    Returns
    -------
    pandas.DataFrame
        Table of scores.

    Raises
    ------
    ValueError
        For files that cannot be read or compared; the message names the file.
    """
    columns = {"item_id": item_id, "timestamp": timestamp}
    known, names = _read(train, columns, channels, freq, length)
    freq = freq or known[0]["start"].freqstr
    wanted = channels or names
    real, _ = _read(held_out, columns, wanted, freq, length)
    drawn, _ = _read(synthetic, columns, wanted, freq, length)
    with atomic_path(out, force, SCORES) as folder:
        scores = evaluate_generator(known, real, drawn, seed=seed, fast=fast)
        folder.mkdir()
        scores.to_parquet(folder / SCORES, index=False)
        scores.to_csv(folder / "scores.csv", index=False)
        from gluonts_dualkl.evaluation.reporting.report import write_scores_page

        write_scores_page(
            scores,
            known,
            real,
            drawn,
            folder / PAGE,
            channel_names=wanted,
            title=f"{Path(synthetic).name} against {Path(held_out).name}",
            freq=freq,
        )
    return scores


def _read(
    path: str | Path,
    columns: Columns,
    channels: Sequence[str] | None,
    freq: str | None,
    length: int | None,
) -> tuple[list[DataEntry], list[str] | None]:
    entries, names = read_dataset(path, **columns, channels=channels, freq=freq)
    if length is None:
        return entries, names
    try:
        windows = cut_windows(entries, freq, length)
    except ValueError as error:
        raise ValueError(f"{str(path)!r}: {error}") from None
    cut = dataset_from_array(
        windows.values, windows.freq, list(windows.starts), windows.item_ids
    )
    return cut, names
