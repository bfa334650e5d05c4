"""What is not written, why, and that nothing is left behind."""

import json

import numpy as np
import pandas as pd
import pytest
from entry_files import ONE_OF_EACH, assert_same, leftovers, unsorted_entries

from gluonts_dualkl.data.files import read_dataset, write_dataset
from gluonts_dualkl.data.windows import dataset_from_array


@pytest.fixture
def entries():
    return unsorted_entries()


class TestRefusals:
    @pytest.mark.parametrize("name", ONE_OF_EACH)
    @pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
    def test_failure_leaves_nothing(self, name, error, entries, tmp_path):
        def stream():
            yield from entries
            raise error("stop")

        with pytest.raises(error):
            write_dataset(stream(), tmp_path / "new" / name)
        assert leftovers(tmp_path) == []

    @pytest.mark.parametrize("name", ["d.csv", "d.jsonl", "d.arrow", "folder"])
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

    @pytest.mark.parametrize("name", ONE_OF_EACH)
    def test_nothing_to_write(self, name, tmp_path):
        with pytest.raises(ValueError, match="there is no series to write"):
            write_dataset(iter([]), tmp_path / name)
        assert leftovers(tmp_path) == []

    def test_unknown_suffix(self, entries, tmp_path):
        with pytest.raises(ValueError, match="cannot tell the format.*a folder has"):
            write_dataset(entries, tmp_path / "d.xlsx")

    @pytest.mark.parametrize("name", ONE_OF_EACH)
    def test_number_of_channel_names(self, name, entries, tmp_path):
        with pytest.raises(ValueError, match="names 1 channels, .* have 3"):
            write_dataset(entries, tmp_path / name, channels=["x"])

    @pytest.mark.parametrize("name", ["d.csv", "d.jsonl", "d.arrow"])
    def test_mixed_freq(self, name, entries, tmp_path):
        entries[600 % len(entries)]["start"] = pd.Period("2000", "D")
        with pytest.raises(ValueError, match="has freq 'D'"):
            write_dataset(entries, tmp_path / name)

    @pytest.mark.parametrize(
        ("changes", "message"),
        [
            ({"target": None}, "entry 2 has no field 'target'"),
            ({"target": np.ones((2, 2, 2))}, r"entry 2 has shape \(2, 2, 2\)"),
            (
                {"target": np.ones((2, 5))},
                "entry 2 has 2 channels in 2 dim.*has 3 in 2",
            ),
            ({"target": ["a"]}, "'target' of entry 2 is not a numeric array"),
            ({"target": np.full((3, 5), 1e39)}, r"entry 2 holds 1e\+39"),
            ({"feat_static_cat": [0.5]}, "'feat_static_cat' of entry 2 holds 0.5"),
            ({"feat_static_cat": 1}, "of entry 2 has 0 dimensions, .* has 1"),
        ],
    )
    @pytest.mark.parametrize("name", ["d.csv", "d.jsonl", "d.arrow"])
    def test_entries_that_do_not_fit(self, name, changes, message, entries, tmp_path):
        for entry in entries:
            entry["feat_static_cat"] = [1]
        entries[2] |= changes
        with pytest.raises(ValueError, match=message):
            write_dataset(entries, tmp_path / name)
        assert leftovers(tmp_path) == []

    @pytest.mark.parametrize(
        ("changes", "message"),
        [
            ({"feat_dynamic_real": np.ones((1, 6))}, r"\(1, 6\), a table .* \(1, 5\)"),
            (
                {"feat_static_real": [1.0, 2.0]},
                r"'feat_static_real' of item 'b' .*\(2,\)",
            ),
            ({"item_id": "g"}, "item 'g' occurs twice.*rename one, or write .jsonl"),
            ({"target": np.ones((3, 0))}, "item 'b' has no time steps"),
        ],
    )
    @pytest.mark.parametrize("name", ["d.csv", "d.parquet"])
    def test_what_a_table_cannot_hold(self, name, changes, message, entries, tmp_path):
        for entry in entries:
            entry["feat_dynamic_real"] = np.ones((1, 5))
            entry["feat_static_real"] = [1.0]
        entries[2] |= changes
        with pytest.raises(ValueError, match=message):
            write_dataset(entries, tmp_path / name)

    @pytest.mark.parametrize(
        ("name", "values", "message"),
        [
            ("d.jsonl", [{1}] * 7, "entry 0 cannot be written as JSON"),
            ("d.jsonl", [1.0, np.nan] * 4, "entry 1 cannot be written as JSON"),
            ("d.arrow", [1, "a"] * 4, "field 'note' cannot be written to Arrow"),
            ("d.arrow", [{1}, 1] * 4, "field 'note' cannot be written to Arrow"),
        ],
    )
    def test_fields_without_a_form(self, name, values, message, entries, tmp_path):
        for entry, value in zip(entries, values):
            entry["note"] = value
        with pytest.raises(ValueError, match=message):
            write_dataset(entries, tmp_path / name)

    def test_fields_of_another_type_in_a_later_block(
        self, entries, tmp_path, monkeypatch
    ):
        monkeypatch.setattr("gluonts_dualkl.data.entries._SERIES_PER_BLOCK", 2)
        for k, entry in enumerate(entries):
            entry["note"] = k if k < 5 else "text"
        with pytest.raises(ValueError, match="'note' cannot be written to Arrow"):
            write_dataset(entries, tmp_path / "d.arrow")

    @pytest.mark.parametrize("name", ["d.csv", "d.parquet", "d.arrow"])
    def test_beyond_timestamps(self, name, tmp_path):
        entry = {"start": pd.Period("3000-01-01", "D"), "target": np.ones(3)}
        with pytest.raises(ValueError, match="outside the years .* write .jsonl"):
            write_dataset([entry], tmp_path / name)
        write_dataset([entry], tmp_path / "d.jsonl")
        (read,), _ = read_dataset(tmp_path / "d.jsonl", freq="D")
        assert read["start"] == entry["start"]

    @pytest.mark.parametrize(
        ("channels", "message"),
        [
            (["x", "x", "y"], "are not distinct names"),
            (["x", "timestamp", "y"], "use timestamp, which is the name of another"),
            (["x", "feat_static_cat_0", "y"], "use feat_static_cat_0, which is"),
        ],
    )
    def test_names_of_channels(self, channels, message, entries, tmp_path):
        with pytest.raises(ValueError, match=message):
            write_dataset(entries, tmp_path / "d.csv", channels=channels)

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

    def test_metadata_is_json(self, entries, tmp_path):
        write_dataset(entries, tmp_path / "out")
        metadata = json.loads((tmp_path / "out" / "metadata.json").read_text())
        assert metadata == {"freq": "6h"}
