"""Files to datasets and back: streaming, files that GluonTS wrote, damaged files."""

import gzip
import tracemalloc

import numpy as np
import pyarrow as pa
import pytest
from entry_files import ONE_OF_EACH, assert_same, unsorted_entries
from gluonts.dataset.arrow import ArrowWriter, ParquetWriter
from gluonts.dataset.common import MetaData, TrainDatasets
from gluonts.dataset.jsonl import JsonLinesWriter

from gluonts_dualkl.data.entries import blocks
from gluonts_dualkl.data.files import read_dataset, write_dataset
from gluonts_dualkl.data.windows import dataset_from_array


@pytest.fixture
def entries():
    return unsorted_entries()


class TestStreaming:
    @pytest.mark.parametrize("name", ONE_OF_EACH)
    def test_memory_does_not_grow(self, name, tmp_path, monkeypatch):
        monkeypatch.setattr("gluonts_dualkl.data.entries._SERIES_PER_BLOCK", 8)
        template = dataset_from_array(np.ones((1, 400, 4)), "h")[0]

        def peak(num_series):
            arrow = []

            def stream():
                for k in range(num_series):
                    arrow.append(pa.total_allocated_bytes() - before)
                    target = template["target"] + np.float32(k)
                    yield template | {"item_id": str(k), "target": target}

            before = pa.total_allocated_bytes()
            tracemalloc.start()
            write_dataset(stream(), tmp_path / str(num_series) / name)
            top = tracemalloc.get_traced_memory()[1]
            tracemalloc.stop()
            return top + max(arrow)

        peak(8)
        assert peak(160) < 1.5 * peak(32)

    def test_long_series_make_small_blocks(self, monkeypatch):
        monkeypatch.setattr("gluonts_dualkl.data.entries._VALUES_PER_BLOCK", 20)
        entries = ({"target": np.ones((2, 4))} for _ in range(7))
        assert [len(block) for block in blocks(entries)] == [3, 3, 1]

    @pytest.mark.parametrize("name", ONE_OF_EACH)
    def test_many_blocks(self, name, tmp_path):
        entries = dataset_from_array(np.ones((1100, 3, 1)), "h")
        path = tmp_path / name
        assert write_dataset(iter(entries), path) == 1100
        read, _ = read_dataset(path, freq="h")
        assert [e["item_id"] for e in read] == [e["item_id"] for e in entries]

    def test_series_without_names_are_numbered_in_a_table(self, tmp_path):
        entries = dataset_from_array(np.ones((1100, 3, 1)), "h")
        for entry in entries:
            del entry["item_id"]
        write_dataset(iter(entries), tmp_path / "d.parquet")
        read, _ = read_dataset(tmp_path / "d.parquet")
        assert [e["item_id"] for e in read] == list(map(str, range(1100)))


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

    def test_arrow_stream(self, entries, tmp_path):
        ArrowWriter(stream=True).write_to_file(entries, tmp_path / "d.arrow")
        assert_same(read_dataset(tmp_path / "d.arrow", freq="6h")[0], entries)

    def test_what_a_killed_writer_left_is_not_read(self, entries, tmp_path):
        write_dataset(entries, tmp_path / "d.jsonl")
        (tmp_path / ".e.jsonl.abc").mkdir()
        (tmp_path / ".e.jsonl.abc" / "e.jsonl").write_text("{half")
        assert_same(read_dataset(tmp_path, freq="6h")[0], entries)

    def test_arrow_files_in_a_folder_name_the_channels(self, entries, tmp_path):
        write_dataset(entries, tmp_path / "d.arrow", channels=["x", "y", "z"])
        assert read_dataset(tmp_path)[1] == ["x", "y", "z"]

    def test_foreign_metadata_about_channels_is_no_list_of_names(
        self, entries, tmp_path
    ):
        metadata = {"freq": "6h", "channels": "3"}
        ArrowWriter(metadata=metadata).write_to_file(entries, tmp_path / "d.arrow")
        assert read_dataset(tmp_path / "d.arrow")[1] is None

    def test_a_long_parquet_may_have_channels_named_start_and_target(
        self, entries, tmp_path
    ):
        names = ["start", "target", "z"]
        write_dataset(entries, tmp_path / "d.parquet", channels=names)
        read, channels = read_dataset(tmp_path / "d.parquet")
        assert channels == names
        assert_same(read, entries)

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
            ("d.jsonl", b"\n{broken\n", "cannot read .*d.jsonl': line 2 is not JSON"),
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
            (
                "d.jsonl",
                b'{"start": "2000", "target": [1], "feat_static_cat": [1.5]}\n',
                "'feat_static_cat' of an entry of .* holds 1.5, .* whole number",
            ),
            (
                "d.jsonl",
                b'{"start": "2000", "target": [1e39]}\n',
                r"'target' of an entry of .* holds 1e\+39, which is not within float32",
            ),
            (
                "d.csv",
                b"item_id,timestamp,x,feat_static_real_0\n"
                b"a,2000-01-01,1,1\na,2000-01-02,1,2\na,2000-01-03,1,2\n",
                "'feat_static_real' of item 'a' changes over time",
            ),
            (
                "d.csv",
                b"item_id,timestamp,x,feat_dynamic_cat_0\n"
                b"a,2000-01-01,1,1\na,2000-01-02,1,2\n"
                b"a,2000-01-03,1,2\na,2000-01-05,1,2\n",
                "'feat_dynamic_cat' of item 'a' holds nan",
            ),
            (
                "d.csv",
                b"item_id,timestamp,x,feat_static_cat_0\na,2000-01-01,1,red\n",
                "column 'feat_static_cat_0' is not numeric .*'red'",
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

    def test_metadata_is_no_object(self, entries, tmp_path):
        write_dataset(entries, tmp_path / "d.jsonl")
        (tmp_path / "metadata.json").write_text("[]")
        with pytest.raises(ValueError, match="metadata.json' is no JSON object"):
            read_dataset(tmp_path)

    def test_folder_without_data(self, tmp_path):
        with pytest.raises(ValueError, match="holds no GluonTS file"):
            read_dataset(tmp_path)
