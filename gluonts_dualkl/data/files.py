"""Read and write datasets: long CSV and Parquet, GluonTS JSON lines, Arrow, folders."""

from __future__ import annotations

import gzip
import itertools
import json
import os
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import IO, Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from gluonts.dataset.field_names import FieldName

from gluonts_dualkl.data.destinations import atomic_path, check_destination
from gluonts_dualkl.data.frames import dataset_from_frame, dataset_to_frame
from gluonts_dualkl.data.frequencies import as_period, canonical_freq
from gluonts_dualkl.types import DataEntry, Entries

__all__ = ["atomic_path", "check_destination", "read_dataset", "write_dataset"]

CSV_SUFFIXES = (".csv", ".csv.gz")
JSON_SUFFIXES = (".jsonl", ".jsonl.gz", ".json", ".json.gz")
ARROW_SUFFIXES = (".arrow", ".feather")
READABLE = (*CSV_SUFFIXES, ".parquet", *JSON_SUFFIXES, *ARROW_SUFFIXES)
WRITABLE = (*CSV_SUFFIXES, ".parquet", *JSON_SUFFIXES)

METADATA = "metadata.json"
_SERIES_PER_BLOCK = 512
_GZIP_LEVEL = 4
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
        Frequency; inferred for a long table, taken from the metadata of a folder.
        GluonTS files without metadata need it.

    Returns
    -------
    entries
        GluonTS entries with Period starts and float32 targets.
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
        if path.is_dir():
            return _read_folder(path, freq)
        if _suffix(path) not in READABLE:
            raise ValueError(
                f"cannot tell the format of {str(path)!r}; known suffixes are "
                f"{', '.join(READABLE)}."
            )
        if path.stat().st_size == 0:
            raise ValueError(f"{str(path)!r} is empty.")
        if _is_long_table(path):
            frame = _read_table(path, item_id, timestamp)
            try:
                entries = dataset_from_frame(frame, item_id, timestamp, channels, freq)
            except ValueError as error:
                raise ValueError(f"{str(path)!r}: {error}") from None
            keys = (item_id, timestamp)
            names = channels or [c for c in frame.columns if c not in keys]
            return entries, list(names)
        return _check_any(_read_gluonts_file(path, freq), path), None


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
        GluonTS entries of one frequency and one number of channels; an iterator will
        do.
    path
        Long table (``.csv``, ``.csv.gz``, ``.parquet``: item, timestamp, channels),
        GluonTS JSON lines (``.jsonl``, ``.json``, either with ``.gz``: all fields), or
        a folder (no suffix) that ``gluonts.dataset.common.load_datasets`` reads.
    channels
        Names of the channels, ``"c0", "c1", ...`` by default.
    force
        Replace what is at ``path``.

    Raises
    ------
    FileExistsError
        If ``path`` exists and ``force`` is not set.
    ValueError
        If the suffix is unknown, there are no entries or entries do not fit together.
    """
    path = Path(path).expanduser()
    write = _writer(path)
    if path.exists() and path.is_dir() != (write is _write_folder):
        kinds = ("folder", "file") if path.is_dir() else ("file", "folder")
        raise FileExistsError(
            f"{str(path)!r} is a {kinds[0]} and is not replaced by a {kinds[1]}; "
            "choose another path."
        )
    with atomic_path(path, force, marker=METADATA) as temporary:
        return write(iter(entries), temporary, channels)


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


def _check_any(entries: list[DataEntry], path: Path) -> list[DataEntry]:
    if not entries:
        raise ValueError(f"{str(path)!r} is empty: it holds no series.")
    return entries


def _is_long_table(path: Path) -> bool:
    if _suffix(path) in CSV_SUFFIXES:
        return True
    if _suffix(path) != ".parquet":
        return False
    names = set(pq.read_schema(path).names)
    return not {FieldName.START, FieldName.TARGET} <= names


def _read_table(path: Path, item_id: str, timestamp: str) -> pd.DataFrame:
    if _suffix(path) == ".parquet":
        return pq.read_table(path).to_pandas()
    header = pd.read_csv(path, nrows=0).columns
    return pd.read_csv(
        path,
        converters={item_id: str} if item_id in header else None,
        dtype={timestamp: str},
        float_precision="round_trip",
    )


def _read_folder(
    folder: Path, freq: str | None
) -> tuple[list[DataEntry], list[str] | None]:
    candidates = (folder / METADATA, folder / "metadata" / METADATA)
    found = next((p for p in candidates if p.is_file()), None)
    metadata = {} if found is None else json.loads(found.read_text())
    source = folder / "train" if (folder / "train").is_dir() else folder
    files = sorted(
        p
        for p in source.rglob("*")
        if _suffix(p) in (*JSON_SUFFIXES, *ARROW_SUFFIXES, ".parquet")
        and p.is_file()
        and p.name != METADATA
        and not p.name.startswith(".")
    )
    if not files:
        raise ValueError(
            f"folder {str(source)!r} holds no GluonTS file; expected "
            f"{', '.join((*JSON_SUFFIXES, *ARROW_SUFFIXES))} or .parquet."
        )
    freq = freq or metadata.get("freq")
    entries = [entry for file in files for entry in _read_gluonts_file(file, freq)]
    return _check_any(entries, folder), metadata.get("channels")


def _read_gluonts_file(path: Path, freq: str | None) -> list[DataEntry]:
    if _suffix(path) in JSON_SUFFIXES:
        raw = list(_read_json_lines(path))
    else:
        raw, file_freq = _read_arrow(path)
        freq = freq or file_freq
    if raw and freq is None:
        raise ValueError(
            f"{str(path)!r} does not state the frequency of its series; name it with "
            "freq, for example freq='6h'."
        )
    return [_from_raw(entry, canonical_freq(str(freq)), path) for entry in raw]


def _read_json_lines(path: Path) -> Iterator[DataEntry]:
    with _open_text(path, "r") as file:
        for number, line in enumerate(file, start=1):
            if not line.strip():
                continue
            entry = json.loads(line)
            if not isinstance(entry, dict):
                raise ValueError(
                    f"line {number} of {str(path)!r} is not a GluonTS entry; expected "
                    "one JSON object a line."
                )
            yield entry


def _read_arrow(path: Path) -> tuple[list[DataEntry], str | None]:
    from gluonts.dataset import arrow

    file = arrow.File.infer(path)
    return list(file), file.metadata().get("freq")


def _from_raw(entry: DataEntry, freq: str, path: Path) -> DataEntry:
    """Turn the fields of a stored entry into arrays and the start into a Period."""
    for field in (FieldName.START, FieldName.TARGET):
        if entry.get(field) is None:
            raise ValueError(f"an entry of {str(path)!r} has no field {field!r}.")
    entry = {key: value for key, value in entry.items() if value is not None}
    entry[FieldName.START] = as_period(entry[FieldName.START], freq)
    if FieldName.ITEM_ID in entry:
        entry[FieldName.ITEM_ID] = str(entry[FieldName.ITEM_ID])
    for key, value in entry.items():
        if key == FieldName.TARGET or key.startswith(("feat_", "past_feat_")):
            dtype = np.int32 if key.endswith("_cat") else np.float32
            entry[key] = _to_array(value, dtype, key, path)
    return entry


def _to_array(value: Any, dtype: type, key: str, path: Path) -> np.ndarray:
    try:
        return np.array(value, dtype=dtype)
    except (ValueError, TypeError):
        raise ValueError(
            f"field {key!r} of an entry of {str(path)!r} is not a numeric array."
        ) from None


_Write = Callable[[Iterator[DataEntry], Path, Sequence[str] | None], int]


def _writer(path: Path) -> _Write:
    suffix = _suffix(path)
    if suffix in CSV_SUFFIXES:
        return _write_csv
    if suffix == ".parquet":
        return _write_parquet
    if suffix in JSON_SUFFIXES:
        return _write_json_lines
    if suffix == "":
        return _write_folder
    raise ValueError(
        f"cannot tell the format of {str(path)!r}; known suffixes are "
        f"{', '.join(WRITABLE)}, and a folder has none."
    )


def _frames(
    entries: Iterator[DataEntry], channels: Sequence[str] | None
) -> Iterator[tuple[int, pd.DataFrame]]:
    """Long frames of successive blocks of series, with their numbers of series."""
    previous: list[DataEntry] = []
    done = 0
    while block := list(itertools.islice(entries, _SERIES_PER_BLOCK)):
        _check_like(previous or block, block[0])
        previous = block[-1:]
        yield len(block), dataset_to_frame(block, channels, first_number=done)
        done += len(block)


def _check_like(previous: list[DataEntry], entry: DataEntry) -> None:
    """Blocks are checked one by one; this checks the seam between two."""
    dataset_to_frame([previous[0], entry])


def _check_written(count: int) -> int:
    if count == 0:
        raise ValueError("there is no series to write: the dataset is empty.")
    return count


@contextmanager
def _open_text(path: Path, mode: str) -> Iterator[IO[str]]:
    opener: Any = open
    if path.suffix.lower() == ".gz":
        opener = partial(gzip.open, compresslevel=_GZIP_LEVEL)
    with opener(path, mode=f"{mode}t", encoding="utf-8", newline="") as file:
        yield file


def _write_csv(
    entries: Iterator[DataEntry], path: Path, channels: Sequence[str] | None
) -> int:
    count = 0
    with _open_text(path, "w") as file:
        for number, frame in _frames(entries, channels):
            frame.to_csv(file, index=False, header=count == 0)
            count += number
    return _check_written(count)


def _write_parquet(
    entries: Iterator[DataEntry], path: Path, channels: Sequence[str] | None
) -> int:
    count = 0
    writer: pq.ParquetWriter | None = None
    try:
        for number, frame in _frames(entries, channels):
            table = pa.Table.from_pandas(frame, preserve_index=False)
            writer = writer or pq.ParquetWriter(path, table.schema)
            writer.write_table(table)
            count += number
    finally:
        if writer is not None:
            writer.close()
    return _check_written(count)


def _write_json_lines(
    entries: Iterable[DataEntry], path: Path, channels: Sequence[str] | None = None
) -> int:
    first: DataEntry | None = None
    count = 0
    with _open_text(path, "w") as file:
        for entry in entries:
            first = first or {**entry, FieldName.TARGET: None}
            _check_same_fields(first, entry, count)
            fields = {key: _to_json(value) for key, value in entry.items()}
            file.write(json.dumps(fields, allow_nan=False) + "\n")
            count += 1
    return _check_written(count)


def _check_same_fields(first: DataEntry, entry: DataEntry, number: int) -> None:
    start = entry.get(FieldName.START)
    if not isinstance(start, pd.Period):
        raise ValueError(
            f"start={start!r} of entry {number} is not a pandas Period; convert it "
            "with pd.Period(start, freq)."
        )
    if entry.keys() != first.keys():
        raise ValueError(
            f"entry {number} has the fields {sorted(entry)}, the first has "
            f"{sorted(first)}; all entries of a dataset need the same fields."
        )
    if start.freqstr != first[FieldName.START].freqstr:
        raise ValueError(
            f"entry {number} has freq {start.freqstr!r}, the first has "
            f"{first[FieldName.START].freqstr!r}; write one file per frequency."
        )


def _to_json(value: Any) -> Any:
    """JSON form of a field, floats in the shortest digits that read back the same."""
    if isinstance(value, np.ndarray) and value.dtype.kind == "f":
        return _floats_to_json(value)
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    if isinstance(value, pd.Period | pd.Timestamp):
        return str(value)
    return value


def _floats_to_json(values: np.ndarray) -> Any:
    out = values.astype(str).astype(np.float64).astype(object)
    out[np.isnan(values)] = "NaN"
    return out.tolist()


def _write_folder(
    entries: Iterator[DataEntry], path: Path, channels: Sequence[str] | None
) -> int:
    first = next(entries, None)
    if first is None:
        return _check_written(0)
    (path / "train").mkdir(parents=True)
    _check_same_fields(first, first, 0)
    metadata: dict[str, Any] = {"freq": first[FieldName.START].freqstr}
    if channels is not None:
        metadata["channels"] = list(channels)
    (path / METADATA).write_text(json.dumps(metadata) + "\n")
    return _write_json_lines(
        itertools.chain([first], entries), path / "train" / "data.json.gz"
    )
