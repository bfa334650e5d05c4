"""Read and write datasets: long CSV and Parquet, GluonTS JSON lines, Arrow, folders.

Every format gives back what was written: names and order of the series, starts, float32
values bit by bit with NaN, static and dynamic features. What a format cannot hold is
told in :func:`write_dataset`.
"""

from __future__ import annotations

import json
import os
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
from gluonts.dataset.field_names import FieldName

from gluonts_dualkl.data.destinations import atomic_path, check_destination
from gluonts_dualkl.data.entries import check_names, checked_entries, peek
from gluonts_dualkl.data.gluonts_files import (
    ARROW_SUFFIXES,
    JSON_SUFFIXES,
    METADATA,
    read_folder,
    read_gluonts_file,
    write_arrow,
    write_folder,
    write_json_lines,
)
from gluonts_dualkl.data.tables import (
    is_gluonts_parquet,
    read_table,
    write_csv,
    write_parquet,
)
from gluonts_dualkl.types import DataEntry, Entries

__all__ = [
    "SUFFIXES",
    "atomic_path",
    "check_destination",
    "read_dataset",
    "write_dataset",
]

CSV_SUFFIXES = (".csv", ".csv.gz")
SUFFIXES = (*CSV_SUFFIXES, ".parquet", *JSON_SUFFIXES, *ARROW_SUFFIXES)

_DAMAGED = (
    OSError,
    EOFError,
    UnicodeDecodeError,
    zlib.error,
    pa.ArrowException,
    pd.errors.ParserError,
    json.JSONDecodeError,
)


def read_dataset(
    path: str | os.PathLike[str],
    *,
    item_id: str = "item_id",
    timestamp: str = "timestamp",
    channels: Sequence[str] | None = None,
    freq: str | None = None,
) -> tuple[list[DataEntry], list[str] | None]:
    """Read a dataset from a file or folder.

    Parameters
    ----------
    path
        A long table (``.csv``, ``.csv.gz``, ``.parquet``), a GluonTS file
        (``.jsonl``, ``.json``, either with ``.gz``, ``.arrow``, ``.feather``,
        ``.parquet``), or a folder of GluonTS files: the layout of
        ``TrainDatasets.save``, whose ``train`` part is read, or the files alone.
    item_id, timestamp, channels
        Columns of a long table, see
        :func:`~gluonts_dualkl.data.frames.dataset_from_frame`. A table without the item
        column is one series.
    freq
        Frequency; taken from the metadata of a folder, an Arrow file or a Parquet table
        of ours, inferred for other long tables. Other GluonTS files need it.

    Returns
    -------
    entries
        GluonTS entries with Period starts, float32 targets and real features, int32
        codes.
    channel_names
        Names of the channels, or None when the files do not say.

    Raises
    ------
    FileNotFoundError
        If nothing is at ``path``.
    ValueError
        If the file is of an unknown kind, empty, damaged or lacks a column.
    """
    path = Path(path).expanduser()
    if not path.exists():
        raise FileNotFoundError(f"no file or folder {str(path)!r}.")
    with _explain_damage(path):
        entries, names = _read(path, item_id, timestamp, channels, freq)
    if not entries:
        raise ValueError(f"{str(path)!r} is empty: it holds no series.")
    return entries, names


def write_dataset(
    entries: Entries,
    path: str | os.PathLike[str],
    *,
    channels: Sequence[str] | None = None,
    force: bool = False,
) -> int:
    """Write entries to a file or folder, and return the number of series.

    Entries are drawn one block at a time, so that memory does not grow with their
    number. What is at ``path`` appears or changes only when all are written.

    Parameters
    ----------
    entries
        GluonTS entries of one frequency, one number of channels and the same fields;
        an iterator will do. Targets and real features are written as float32, codes
        as int32.
    path
        The suffix tells the format:

        - a long table, ``.csv``, ``.csv.gz`` or ``.parquet``: columns for item,
          timestamp, channels and features. Other fields are left out with a warning;
          series without ``item_id`` are numbered. A CSV does not state the frequency
          and does not tell a target ``(1, T)`` from ``(T,)``;
        - GluonTS JSON lines, ``.jsonl`` or ``.json``, either with ``.gz``: all fields,
          but neither frequency nor channel names;
        - GluonTS Arrow, ``.arrow`` or ``.feather``: all fields, frequency and names;
        - a folder (no suffix) that ``gluonts.dataset.common.load_datasets`` reads: all
          fields, frequency and names.
    channels
        Names of the channels; in a table ``"c0", "c1", ...`` by default.
    force
        Replace what is at ``path``.

    Raises
    ------
    FileExistsError
        If ``path`` exists and ``force`` is not set.
    ValueError
        If the suffix is unknown, there are no entries, entries do not fit together or
        the format cannot hold them.
    """
    path = Path(path).expanduser()
    write = _writer(path)
    if path.exists() and path.is_dir() != (write is write_folder):
        kinds = ("folder", "file") if path.is_dir() else ("file", "folder")
        raise FileExistsError(
            f"{str(path)!r} is a {kinds[0]} and is not replaced by a {kinds[1]}; "
            "choose another path."
        )
    with atomic_path(path, force, marker=METADATA) as temporary:
        first, checked = peek(checked_entries(entries))
        if channels is not None:
            target = np.atleast_2d(first[FieldName.TARGET])
            channels = check_names(channels, len(target))
        with _explain_range():
            return write(checked, temporary, channels)


def _read(
    path: Path,
    item_id: str,
    timestamp: str,
    channels: Sequence[str] | None,
    freq: str | None,
) -> tuple[list[DataEntry], list[str] | None]:
    if path.is_dir():
        return read_folder(path, freq)
    suffix = _suffix(path)
    if suffix not in SUFFIXES:
        raise ValueError(
            f"cannot tell the format of {str(path)!r}; known suffixes are "
            f"{', '.join(SUFFIXES)}."
        )
    if path.stat().st_size == 0:
        raise ValueError(f"{str(path)!r} is empty.")
    is_table = suffix == ".parquet" and not is_gluonts_parquet(path)
    if is_table or suffix in CSV_SUFFIXES:
        return read_table(path, item_id, timestamp, channels, freq)
    return read_gluonts_file(path, freq)


def _suffix(path: Path) -> str:
    """Suffix in lower case, with the one before it for ``.gz``."""
    last = path.suffix.lower()
    return Path(path.stem).suffix.lower() + last if last == ".gz" else last


@contextmanager
def _explain_damage(path: Path) -> Iterator[None]:
    try:
        yield
    except pd.errors.EmptyDataError:
        raise ValueError(f"{str(path)!r} is empty.") from None
    except _DAMAGED as error:
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise ValueError(f"cannot read {str(path)!r}: {reason}.") from error


@contextmanager
def _explain_range() -> Iterator[None]:
    try:
        yield
    except pd.errors.OutOfBoundsDatetime as error:
        raise ValueError(
            f"a time step lies outside the years 1678 to 2261 of timestamps ({error}); "
            "write .jsonl or a folder."
        ) from None


_Write = Callable[[Iterator[DataEntry], Path, Sequence[str] | None], int]


def _writer(path: Path) -> _Write:
    suffix = _suffix(path)
    if suffix in CSV_SUFFIXES:
        return write_csv
    if suffix == ".parquet":
        return write_parquet
    if suffix in JSON_SUFFIXES:
        return write_json_lines
    if suffix in ARROW_SUFFIXES:
        return write_arrow
    if suffix == "":
        return write_folder
    raise ValueError(
        f"cannot tell the format of {str(path)!r}; known suffixes are "
        f"{', '.join(SUFFIXES)}, and a folder has none."
    )
