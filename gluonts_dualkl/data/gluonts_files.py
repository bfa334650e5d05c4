"""GluonTS files, one series an entry: JSON lines, Arrow, folders with metadata.

The layouts are those of :mod:`gluonts.dataset.jsonl`, :mod:`gluonts.dataset.arrow` and
``TrainDatasets.save``, so that GluonTS reads what is written here and the reverse.
Arrow and folders state the frequency and the channel names, JSON lines do not.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pandas as pd
import pyarrow as pa
from gluonts.dataset.field_names import FieldName

from gluonts_dualkl.data.entries import as_array, blocks, is_array_field, peek
from gluonts_dualkl.data.frequencies import as_period, canonical_freq
from gluonts_dualkl.data.tables import open_text
from gluonts_dualkl.types import DataEntry

__all__ = [
    "ARROW_SUFFIXES",
    "JSON_SUFFIXES",
    "METADATA",
    "read_folder",
    "read_gluonts_file",
    "write_arrow",
    "write_folder",
    "write_json_lines",
]

JSON_SUFFIXES = (".jsonl", ".jsonl.gz", ".json", ".json.gz")
ARROW_SUFFIXES = (".arrow", ".feather")
METADATA = "metadata.json"

_FILES = (*JSON_SUFFIXES, *ARROW_SUFFIXES, ".parquet")
_ENDLESS = {np.inf: "Infinity", -np.inf: "-Infinity"}

_Read = tuple[list[DataEntry], list[str] | None]


def read_gluonts_file(path: Path, freq: str | None) -> _Read:
    """Entries and channel names, if it states them, of one file.

    Raises
    ------
    ValueError
        If the frequency is unknown, or an entry lacks a field or has a bad one.
    """
    channels: list[str] | None = None
    if path.name.lower().endswith(JSON_SUFFIXES):
        raw = list(_read_json_lines(path))
    else:
        raw, metadata = _read_arrow(path)
        freq = freq or metadata.get("freq")
        channels = _names(json.loads(metadata.get("channels", "null")))
    if raw and freq is None:
        raise ValueError(
            f"{str(path)!r} does not state the frequency of its series; name it with "
            "freq, for example freq='6h'."
        )
    freq = canonical_freq(str(freq)) if raw else ""
    return [_from_raw(entry, freq, path) for entry in raw], channels


def read_folder(folder: Path, freq: str | None) -> _Read:
    """Entries and channel names of the GluonTS files in a folder.

    Hidden files and folders, such as what an interrupted writer left, are not read.

    Raises
    ------
    ValueError
        If there is no such file, or one cannot be read.
    """
    candidates = (folder / METADATA, folder / "metadata" / METADATA)
    found = next((p for p in candidates if p.is_file()), None)
    metadata = {} if found is None else json.loads(found.read_text(encoding="utf-8"))
    if not isinstance(metadata, dict):
        raise ValueError(f"{str(found)!r} is no JSON object; expected {{'freq': ...}}.")
    source = folder / "train" if (folder / "train").is_dir() else folder
    files = sorted(
        p
        for p in source.rglob("*")
        if p.name.lower().endswith(_FILES)
        and p.is_file()
        and p.name != METADATA
        and not any(part.startswith(".") for part in p.relative_to(source).parts)
    )
    if not files:
        raise ValueError(
            f"folder {str(source)!r} holds no GluonTS file; expected "
            f"{', '.join(_FILES[:-1])} or .parquet."
        )
    read = [read_gluonts_file(p, freq or metadata.get("freq")) for p in files]
    channels = _names(metadata.get("channels")) or read[0][1]
    return [entry for entries, _ in read for entry in entries], channels


def write_json_lines(
    entries: Iterable[DataEntry], path: Path, channels: Sequence[str] | None = None
) -> int:
    """Write checked entries as JSON lines, without ``channels``; return their number.

    Raises
    ------
    ValueError
        If a field has no form in JSON.
    """
    count = 0
    with open_text(path, "w") as file:
        for entry in entries:
            fields = {key: _to_json(value) for key, value in entry.items()}
            try:
                file.write(json.dumps(fields, allow_nan=False) + "\n")
            except (ValueError, TypeError) as error:
                raise ValueError(
                    f"entry {count} cannot be written as JSON ({error}); leave out "
                    "fields that are no numbers, texts or arrays."
                ) from None
            count += 1
    return count


def write_arrow(
    entries: Iterator[DataEntry], path: Path, channels: Sequence[str] | None
) -> int:
    """Write checked entries as an Arrow file of GluonTS; return their number.

    Arrays of two dimensions lie flat, with their shape in a column
    ``<field>._np_shape``, as :class:`gluonts.dataset.arrow.ArrowWriter` stores them.

    Raises
    ------
    ValueError
        If a field has no type in Arrow, or changes its type.
    """
    first, entries = peek(entries)
    notes = {"freq": first[FieldName.START].freqstr}
    if channels is not None:
        notes["channels"] = json.dumps(list(channels))
    count = 0
    schema = None
    with path.open("wb") as file:
        for block in blocks(entries):
            columns = _arrow_columns(block, schema)
            if schema is None:
                schema = pa.schema([(k, c.type) for k, c in columns.items()], notes)
                writer = pa.ipc.new_file(file, schema)
            batch = pa.record_batch(list(columns.values()), schema=schema)
            writer.write_batch(batch)
            count += len(block)
        writer.close()
    return count


def write_folder(
    entries: Iterator[DataEntry], path: Path, channels: Sequence[str] | None
) -> int:
    """Write checked entries as ``load_datasets`` reads them; return their number."""
    first, entries = peek(entries)
    (path / "train").mkdir(parents=True)
    metadata: dict[str, Any] = {"freq": first[FieldName.START].freqstr}
    if channels is not None:
        metadata["channels"] = list(channels)
    (path / METADATA).write_text(json.dumps(metadata) + "\n", encoding="utf-8")
    return write_json_lines(entries, path / "train" / "data.json.gz")


def _read_json_lines(path: Path) -> Iterator[DataEntry]:
    with open_text(path, "r") as file:
        for number, line in enumerate(file, start=1):
            if not line.strip():
                continue
            try:
                entry = json.loads(line)
            except json.JSONDecodeError as error:
                raise ValueError(
                    f"cannot read {str(path)!r}: line {number} is not JSON "
                    f"({error.msg})."
                ) from None
            if not isinstance(entry, dict):
                raise ValueError(
                    f"line {number} of {str(path)!r} is not a GluonTS entry; expected "
                    "one JSON object a line."
                )
            yield entry


def _read_arrow(path: Path) -> tuple[list[DataEntry], dict[str, str]]:
    from gluonts.dataset import arrow

    file = arrow.File.infer(path)
    return list(file), file.metadata()


def _names(channels: Any) -> list[str] | None:
    """Names of channels in the metadata, which others may use for something else."""
    is_list = isinstance(channels, list) and all(isinstance(c, str) for c in channels)
    return channels if is_list else None


def _from_raw(entry: DataEntry, freq: str, path: Path) -> DataEntry:
    """Turn the fields of a stored entry into arrays and the start into a Period."""
    for field in (FieldName.START, FieldName.TARGET):
        if entry.get(field) is None:
            raise ValueError(f"an entry of {str(path)!r} has no field {field!r}.")
    where = f"an entry of {str(path)!r}"
    entry = {
        key: as_array(value, key, where) if is_array_field(key) else value
        for key, value in entry.items()
        if value is not None
    }
    entry[FieldName.START] = as_period(entry[FieldName.START], freq)
    if FieldName.ITEM_ID in entry:
        entry[FieldName.ITEM_ID] = str(entry[FieldName.ITEM_ID])
    return entry


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
    # NumPy's cast of text to floats would swallow a Ctrl-C that comes meanwhile.
    numbers = np.ascontiguousarray(values, dtype=values.dtype.newbyteorder("="))
    digits = orjson.dumps(numbers, option=orjson.OPT_SERIALIZE_NUMPY)
    if np.isfinite(values).all():
        return orjson.loads(digits)
    out = np.array(orjson.loads(digits), dtype=object)
    out[np.isnan(values)] = "NaN"
    for number, text in _ENDLESS.items():
        out[values == number] = text
    return out.tolist()


def _arrow_columns(
    block: list[DataEntry], schema: pa.Schema | None
) -> dict[str, pa.Array]:
    """Columns of a block of entries, typed as in ``schema`` once there is one."""
    columns: dict[str, pa.Array] = {}
    for key, example in block[0].items():
        values = [entry[key] for entry in block]
        if isinstance(example, np.ndarray) and example.ndim > 1:
            shapes = [list(np.shape(value)) for value in values]
            columns[f"{key}._np_shape"] = pa.array(shapes, pa.list_(pa.int64()))
            values = [np.ravel(value) for value in values]
        kind = _arrow_type(key) if schema is None else schema.field(key).type
        if key == FieldName.START:
            values = _start_times(values)
        try:
            columns[key] = pa.array(values, kind)
        except (pa.ArrowException, TypeError, ValueError) as error:
            raise ValueError(
                f"field {key!r} cannot be written to Arrow ({error}); leave it out or "
                "give it one type in all entries."
            ) from None
    return columns


def _arrow_type(key: str) -> pa.DataType | None:
    """Type of the fields known to GluonTS; None lets Arrow infer it."""
    if key == FieldName.START:
        return pa.timestamp("ns")
    if is_array_field(key):
        return pa.list_(pa.int32() if key.endswith("_cat") else pa.float32())
    return pa.string() if key == FieldName.ITEM_ID else None


def _start_times(starts: list[pd.Period]) -> list[pd.Timestamp]:
    with warnings.catch_warnings():  # business-day periods are deprecated in pandas
        warnings.simplefilter("ignore", FutureWarning)
        return [start.to_timestamp() for start in starts]
