"""Files to datasets and back, in every format; destinations; every refusal."""

import gzip
import json
import tracemalloc

import numpy as np
import pandas as pd
import pytest
from gluonts.dataset.arrow import ArrowWriter, ParquetWriter
from gluonts.dataset.common import (
    FileDataset,
    MetaData,
    TrainDatasets,
    load_datasets,
)
from gluonts.dataset.jsonl import JsonLinesWriter

from gluonts_dualkl.data.destinations import atomic_path, check_destination
from gluonts_dualkl.data.files import read_dataset, write_dataset
from gluonts_dualkl.data.windows import dataset_from_array

TABLES = ["d.csv", "d.csv.gz", "d.parquet"]
JSON_LINES = ["d.jsonl", "d.jsonl.gz", "d.json"]


def make_values(num_series=7, length=5, channels=3):
    """Finite float32 numbers of every magnitude, and one missing value."""
    rng = np.random.default_rng(0)
    bits = rng.integers(0, 2**32, size=(num_series, length, channels), dtype=np.uint64)
    values = bits.astype(np.uint32).view(np.float32)
    values = np.where(np.isfinite(values), values, np.float32(0.1))
    values[0, 1, 0] = np.nan
    return values


@pytest.fixture
def entries():
    names = ["NA", "001", "a b", "comma,", "ü", "true", "1.0"]
    return dataset_from_array(make_values(), "6h", "2000-01-01 06:00", names)


def assert_same(read, written):
    assert len(read) == len(written)
    for new, old in zip(read, written):
        assert new["item_id"] == old["item_id"]
        assert new["start"] == old["start"]
        assert new["target"].dtype == np.float32
        np.testing.assert_array_equal(new["target"], old["target"])


def leftovers(folder):
    return sorted(p.name for p in folder.iterdir())


class TestRoundTrips:
    @pytest.mark.parametrize("name", TABLES)
    def test_tables(self, name, entries, tmp_path):
        path = tmp_path / name
        assert write_dataset(iter(entries), path, channels=["x", "y", "z"]) == 7
        read, channels = read_dataset(path)
        assert channels == ["x", "y", "z"]
        assert_same(read, entries)
        assert leftovers(tmp_path) == [name]

    @pytest.mark.parametrize("name", JSON_LINES)
    def test_json_lines(self, name, entries, tmp_path):
        for k, entry in enumerate(entries):
            entry["feat_static_cat"] = np.array([k, 1], dtype=np.int32)
            entry["feat_dynamic_real"] = np.ones((2, 5), dtype=np.float32)
        assert write_dataset(iter(entries), tmp_path / name) == 7
        read, channels = read_dataset(tmp_path / name, freq="6h")
        assert channels is None
        assert_same(read, entries)
        assert read[3]["feat_static_cat"].tolist() == [3, 1]
        assert read[3]["feat_dynamic_real"].shape == (2, 5)
        (*_, last) = FileDataset(tmp_path / name, freq="6h", one_dim_target=False)
        np.testing.assert_array_equal(last["target"], entries[-1]["target"])

    @pytest.mark.parametrize("freq", ["h", "D", "B", "W-SUN", "M", "Q-MAR", "Y-JUN"])
    @pytest.mark.parametrize("name", ["d.jsonl", "folder"])
    def test_starts_of_any_freq(self, name, freq, tmp_path):
        entries = dataset_from_array(np.ones((2, 4)), freq, "2001-02-05")
        write_dataset(entries, tmp_path / name)
        read, _ = read_dataset(tmp_path / name, freq=freq)
        assert_same(read, entries)

    def test_folder(self, entries, tmp_path):
        path = tmp_path / "folder"
        assert write_dataset(iter(entries), path, channels=["x", "y", "z"]) == 7
        read, channels = read_dataset(path)
        assert channels == ["x", "y", "z"]
        assert_same(read, entries)
        loaded = load_datasets(path, path / "train", None, one_dim_target=False)
        assert loaded.metadata.freq == "6h"
        assert_same(list(loaded.train), entries)

    def test_many_blocks(self, tmp_path):
        entries = dataset_from_array(np.ones((1100, 3, 1)), "h")
        for entry in entries:
            del entry["item_id"]
        assert write_dataset(iter(entries), tmp_path / "d.parquet") == 1100
        read, _ = read_dataset(tmp_path / "d.parquet")
        assert [e["item_id"] for e in read] == list(map(str, range(1100)))

    def test_memory_does_not_grow(self, tmp_path, monkeypatch):
        monkeypatch.setattr("gluonts_dualkl.data.files._SERIES_PER_BLOCK", 16)

        def peak(num_series):
            template = dataset_from_array(np.ones((1, 24, 4)), "h")[0]
            stream = (template | {"item_id": str(k)} for k in range(num_series))
            tracemalloc.start()
            write_dataset(stream, tmp_path / f"{num_series}.csv")
            top = tracemalloc.get_traced_memory()[1]
            tracemalloc.stop()
            return top

        peak(16)
        assert peak(640) < 1.5 * peak(64)


class TestGluonTSFiles:
    @pytest.mark.parametrize("writer", [JsonLinesWriter(), ArrowWriter()])
    @pytest.mark.parametrize("place", ["", "metadata"])
    def test_train_datasets(self, writer, place, entries, tmp_path):
        path = tmp_path / "saved"
        TrainDatasets(MetaData(freq="6h"), entries, entries[:2]).save(str(path), writer)
        if place:
            (path / place).mkdir()
            (path / "metadata.json").rename(path / place / "metadata.json")
        read, channels = read_dataset(path)
        assert channels is None
        assert_same(read, entries)

    def test_plain_folder(self, entries, tmp_path):
        JsonLinesWriter().write_to_folder(entries[:3], tmp_path, "a")
        ArrowWriter().write_to_folder(entries[3:], tmp_path, "b")
        assert_same(read_dataset(tmp_path, freq="6h")[0], entries)

    def test_arrow_and_parquet_with_freq_in_metadata(self, entries, tmp_path):
        ArrowWriter(metadata={"freq": "6h"}).write_to_file(
            entries, tmp_path / "d.arrow"
        )
        assert_same(read_dataset(tmp_path / "d.arrow")[0], entries)

    def test_parquet_with_one_series_a_row(self, entries, tmp_path):
        ParquetWriter().write_to_file(entries, tmp_path / "d.parquet")
        assert_same(read_dataset(tmp_path / "d.parquet", freq="6h")[0], entries)

    def test_extra_columns_and_single_record(self, tmp_path):
        path = tmp_path / "one.csv"
        path.write_text("when,x,y\n2000-01-01T00,1,2\n2000-01-01T06,3,\n")
        (entry,), channels = read_dataset(path, timestamp="when", freq="6h")
        assert channels == ["x", "y"]
        np.testing.assert_array_equal(entry["target"], [[1, 3], [2, np.nan]])
        (entry,), channels = read_dataset(
            path, timestamp="when", freq="6h", channels=["y"]
        )
        assert channels == ["y"]
        assert entry["target"].shape == (2,)


class TestBadFiles:
    def test_nothing_there(self, tmp_path):
        with pytest.raises(FileNotFoundError, match="no file or folder .*gone.csv"):
            read_dataset(tmp_path / "gone.csv")

    @pytest.mark.parametrize(
        ("name", "content", "message"),
        [
            ("d.txt", b"x", "cannot tell the format of .*d.txt.*known suffixes"),
            ("d.csv", b"", "d.csv' is empty"),
            ("d.csv", b"item_id,timestamp,x\n", "d.csv': the table has columns but no"),
            ("d.csv", b"\n\n", "d.csv' is empty"),
            ("d.csv", b"item_id,x\na,1\n", "missing column 'timestamp'; .*item_id, x"),
            ("d.csv", b"a,b\n1,2\n3,4,5,6\n", "cannot read .*d.csv"),
            ("d.csv", b"a,b\n\xff\xfe\xff,2\n", "cannot read .*d.csv"),
            ("d.csv.gz", b"not gzip", "cannot read .*d.csv.gz"),
            (
                "d.csv.gz",
                gzip.compress(b"a" * 99, mtime=0)[:15],
                "cannot read .*d.csv.gz",
            ),
            ("d.parquet", b"PAR1 but not really", "cannot read .*d.parquet"),
            ("d.arrow", b"nothing like it", "cannot read .*d.arrow"),
            ("d.jsonl", b"{broken\n", "cannot read .*d.jsonl"),
            ("d.jsonl", b"[1, 2]\n", "line 1 of .*d.jsonl' is not a GluonTS entry"),
            ("d.jsonl", b"\n", "d.jsonl' is empty: it holds no series"),
            ("d.jsonl", b'{"start": "2000"}\n', "d.jsonl' has no field 'target'"),
            (
                "d.jsonl",
                b'{"start": "2000", "target": ["a"]}\n',
                "field 'target' of an entry of .* is not a numeric array",
            ),
            (
                "d.jsonl",
                b'{"start": "soon", "target": [1]}\n',
                "'soon' is not a point in time",
            ),
        ],
    )
    def test_damage(self, name, content, message, tmp_path):
        (tmp_path / name).write_bytes(content)
        freq = "D" if "json" in name or "arrow" in name else None
        with pytest.raises(ValueError, match=message):
            read_dataset(tmp_path / name, freq=freq)

    def test_freq_unknown(self, tmp_path):
        (tmp_path / "d.jsonl").write_text('{"start": "2000", "target": [1]}\n')
        with pytest.raises(ValueError, match="does not state the frequency"):
            read_dataset(tmp_path / "d.jsonl")

    def test_folder_without_data(self, tmp_path):
        with pytest.raises(ValueError, match="holds no GluonTS file"):
            read_dataset(tmp_path)


class TestRefusals:
    @pytest.mark.parametrize("name", [*TABLES, *JSON_LINES, "folder"])
    @pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
    def test_failure_leaves_nothing(self, name, error, entries, tmp_path):
        def stream():
            yield from entries
            raise error("stop")

        with pytest.raises(error):
            write_dataset(stream(), tmp_path / "new" / name)
        assert leftovers(tmp_path) == []

    @pytest.mark.parametrize("name", ["d.csv", "d.jsonl", "folder"])
    def test_existing_path_is_kept_until_the_new_one_is_whole(
        self, name, entries, tmp_path
    ):
        path = tmp_path / name
        write_dataset(entries, path)

        def untouched():
            raise AssertionError("drawn")
            yield

        with pytest.raises(FileExistsError, match="exists; choose another path or"):
            write_dataset(untouched(), path)

        def broken():
            yield entries[0]
            raise RuntimeError("stop")

        with pytest.raises(RuntimeError, match="stop"):
            write_dataset(broken(), path, force=True)
        assert_same(read_dataset(path, freq="6h")[0], entries)
        assert write_dataset(entries[:2], path, force=True) == 2
        assert_same(read_dataset(path, freq="6h")[0], entries[:2])
        assert leftovers(tmp_path) == [name]

    @pytest.mark.parametrize("name", ["d.csv", "d.parquet", "d.jsonl", "folder"])
    def test_nothing_to_write(self, name, tmp_path):
        with pytest.raises(ValueError, match="there is no series to write"):
            write_dataset(iter([]), tmp_path / name)
        assert leftovers(tmp_path) == []

    def test_unknown_suffix(self, entries, tmp_path):
        with pytest.raises(ValueError, match="cannot tell the format.*a folder has"):
            write_dataset(entries, tmp_path / "d.xlsx")

    def test_number_of_channel_names(self, entries, tmp_path):
        with pytest.raises(ValueError, match="names 1 channels, .* have 3"):
            write_dataset(entries, tmp_path / "d.csv", channels=["x"])

    @pytest.mark.parametrize("name", ["d.csv", "d.jsonl"])
    def test_mixed_freq(self, name, entries, tmp_path):
        entries[600 % len(entries)]["start"] = pd.Period("2000", "D")
        with pytest.raises(ValueError, match="has freq 'D'"):
            write_dataset(entries, tmp_path / name)

    def test_mixed_freq_across_blocks(self, tmp_path):
        hours = dataset_from_array(np.ones((512, 2)), "h")
        days = dataset_from_array(np.ones((1, 2)), "D")
        with pytest.raises(ValueError, match="has freq 'D'"):
            write_dataset(hours + days, tmp_path / "d.csv")

    def test_mixed_fields_and_starts(self, entries, tmp_path):
        del entries[2]["item_id"]
        with pytest.raises(ValueError, match="entry 2 has the fields"):
            write_dataset(entries, tmp_path / "d.jsonl")
        with pytest.raises(ValueError, match="is not a pandas Period"):
            write_dataset([{"start": "2000", "target": [1.0]}], tmp_path / "d.jsonl")

    def test_file_and_folder_do_not_replace_each_other(self, entries, tmp_path):
        (tmp_path / "d.csv").mkdir()
        with pytest.raises(FileExistsError, match="a folder and is not replaced by a"):
            write_dataset(entries, tmp_path / "d.csv", force=True)
        (tmp_path / "plain").write_text("kept")
        with pytest.raises(FileExistsError, match="a file and is not replaced by a"):
            write_dataset(entries, tmp_path / "plain", force=True)

    def test_foreign_folder_is_not_replaced(self, entries, tmp_path):
        (tmp_path / "photos").mkdir()
        (tmp_path / "photos" / "1.jpg").write_text("kept")
        with pytest.raises(FileExistsError, match="holds no metadata.json"):
            write_dataset(entries, tmp_path / "photos", force=True)
        assert leftovers(tmp_path / "photos") == ["1.jpg"]

    def test_current_directory_is_not_replaced(self, tmp_path, monkeypatch):
        (tmp_path / "inner").mkdir()
        monkeypatch.chdir(tmp_path / "inner")
        for path in (".", "..", "~"):
            with pytest.raises(ValueError, match="current or the home directory"):
                check_destination(path, force=True)

    def test_parent_is_a_file(self, tmp_path):
        (tmp_path / "file").write_text("kept")
        with pytest.raises(ValueError, match="is a file, so nothing fits inside"):
            check_destination(tmp_path / "file" / "d.csv")


class TestAtomicPath:
    def test_folder_with_marker(self, tmp_path):
        for text in ("old", "new"):
            with atomic_path(tmp_path / "out", force=True, marker="mark") as path:
                path.mkdir()
                (path / "mark").write_text(text)
        assert (tmp_path / "out" / "mark").read_text() == "new"
        assert leftovers(tmp_path) == ["out"]

    def test_path_that_appears_meanwhile(self, tmp_path):
        with pytest.raises(FileExistsError, match="exists"):
            with atomic_path(tmp_path / "out.txt") as path:
                path.write_text("mine")
                (tmp_path / "out.txt").write_text("theirs")
        assert (tmp_path / "out.txt").read_text() == "theirs"
        assert leftovers(tmp_path) == ["out.txt"]

    def test_metadata_is_json(self, entries, tmp_path):
        write_dataset(entries, tmp_path / "out")
        metadata = json.loads((tmp_path / "out" / "metadata.json").read_text())
        assert metadata == {"freq": "6h"}
