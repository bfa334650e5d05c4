"""Long tables on disk: CSV and Parquet, one row per series and time step.

A CSV states neither the frequency nor whether the target of one channel was ``(T,)``
or ``(1, T)``: the frequency is inferred or given, and one channel is read as ``(T,)``.
Parquet keeps both in the metadata of its schema. Floats are written with the fewest
digits that read back as the same float32.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import IO, Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from gluonts.dataset.field_names import FieldName

from gluonts_dualkl.data.entries import blocks
from gluonts_dualkl.data.frames import (
    dataset_from_frame,
    dataset_to_frame,
    fields_left_out,
    target_columns,
    warn_left_out,
)
from gluonts_dualkl.types import DataEntry

__all__ = [
    "is_gluonts_parquet",
    "open_text",
    "read_table",
    "write_csv",
    "write_parquet",
]

_NOTES = b"gluonts_dualkl"
_GZIP_LEVEL = 4


def read_table(
    path: Path,
    item_id: str,
    timestamp: str,
    channels: Sequence[str] | None,
    freq: str | None,
) -> tuple[list[DataEntry], list[str]]:
    """Entries and channel names of a long table.

    Raises
    ------
    ValueError
        See :func:`~gluonts_dualkl.data.frames.dataset_from_frame`; with the path.
    """
    notes: dict[str, Any] = {}
    if path.suffix.lower() == ".parquet":
        frame, notes = _read_parquet(path)
    else:
        frame = _read_csv(path, item_id, timestamp)
    freq = freq or notes.get("freq")
    try:
        entries = dataset_from_frame(frame, item_id, timestamp, channels, freq)
        names = target_columns(frame, item_id, timestamp, channels)
    except ValueError as error:
        raise ValueError(f"{str(path)!r}: {error}") from None
    if notes.get("one_channel_2d"):
        for entry in entries:
            entry[FieldName.TARGET] = np.atleast_2d(entry[FieldName.TARGET])
    return entries, names


def write_csv(
    entries: Iterator[DataEntry], path: Path, channels: Sequence[str] | None
) -> int:
    """Write checked entries as a long CSV; return their number."""
    count = 0
    with open_text(path, "w") as file:
        for block, frame in _frames(entries, channels):
            frame.to_csv(file, index=False, header=count == 0)
            count += len(block)
    return count


def write_parquet(
    entries: Iterator[DataEntry], path: Path, channels: Sequence[str] | None
) -> int:
    """Write checked entries as a long Parquet table; return their number."""
    count = 0
    writer: pq.ParquetWriter | None = None
    try:
        for block, frame in _frames(entries, channels):
            table = pa.Table.from_pandas(frame, preserve_index=False)
            if writer is None:
                notes = {**(table.schema.metadata or {}), _NOTES: _notes(block[0])}
                writer = pq.ParquetWriter(path, table.schema.with_metadata(notes))
            writer.write_table(table)
            count += len(block)
    finally:
        if writer is not None:
            writer.close()
    return count


def is_gluonts_parquet(path: Path) -> bool:
    """Whether a Parquet file has one series a row, the target in a list."""
    schema = pq.read_schema(path)
    if not {FieldName.START, FieldName.TARGET} <= set(schema.names):
        return False
    kind = schema.field(FieldName.TARGET).type
    return not (pa.types.is_floating(kind) or pa.types.is_integer(kind))


@contextmanager
def open_text(path: Path, mode: str) -> Iterator[IO[str]]:
    """Open a text file, ``.gz`` compressed."""
    opener: Any = open
    if path.suffix.lower() == ".gz":
        opener = partial(gzip.open, compresslevel=_GZIP_LEVEL)
    with opener(path, mode=f"{mode}t", encoding="utf-8", newline="") as file:
        yield file


def _read_csv(path: Path, item_id: str, timestamp: str) -> pd.DataFrame:
    header = pd.read_csv(path, nrows=0).columns
    return pd.read_csv(
        path,
        converters={item_id: str} if item_id in header else None,
        dtype={timestamp: str},
        float_precision="round_trip",
    )


def _read_parquet(path: Path) -> tuple[pd.DataFrame, dict[str, Any]]:
    table = pq.read_table(path)
    notes = (table.schema.metadata or {}).get(_NOTES, b"{}")
    return table.to_pandas(), json.loads(notes)


def _notes(entry: DataEntry) -> bytes:
    """What the columns of a table do not tell about its series."""
    one_channel_2d = entry[FieldName.TARGET].shape[:-1] == (1,)
    freq = entry[FieldName.START].freqstr
    return json.dumps({"freq": freq, "one_channel_2d": one_channel_2d}).encode()


def _frames(
    entries: Iterator[DataEntry], channels: Sequence[str] | None
) -> Iterator[tuple[list[DataEntry], pd.DataFrame]]:
    """Successive blocks of series and their long frames."""
    seen: set[str] = set()
    done = 0
    for block in blocks(entries):
        left_out = fields_left_out(block[0])
        if left_out and not done:
            warn_left_out(left_out)
        block = [{k: e[k] for k in e if k not in left_out} for e in block]
        _check_rows(block, seen)
        yield block, dataset_to_frame(block, channels, first_number=done)
        done += len(block)


def _check_rows(block: list[DataEntry], seen: set[str]) -> None:
    """Refuse series that would vanish among the rows of the table."""
    for entry in block:
        item = entry.get(FieldName.ITEM_ID)
        if entry[FieldName.TARGET].shape[-1] == 0:
            raise ValueError(
                f"item {item!r} has no time steps and so no rows in a table; leave it "
                "out, or write .jsonl or .arrow."
            )
        if item in seen:
            raise ValueError(
                f"item {item!r} occurs twice, and a table tells series apart by "
                "item_id; rename one, or write .jsonl or .arrow."
            )
        if item is not None:
            seen.add(item)
