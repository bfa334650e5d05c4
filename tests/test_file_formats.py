"""What is written is read back exactly, in every format; GluonTS reads it too."""

import logging

import numpy as np
import pandas as pd
import pytest
from gluonts.dataset.arrow import ArrowWriter, File
from gluonts.dataset.common import FileDataset, load_datasets
from gluonts.dataset.pandas import PandasDataset

from gluonts_dualkl.data.files import SUFFIXES, read_dataset, write_dataset
from gluonts_dualkl.data.frequencies import advance, as_period, canonical_freq

FORMATS = [f"d{suffix}" for suffix in SUFFIXES] + ["folder"]
ONE_OF_EACH = ["d.csv", "d.parquet", "d.jsonl", "d.arrow", "folder"]
FILES = ["d.jsonl", "d.jsonl.gz", "d.json", "d.json.gz", "d.arrow", "d.feather"]
TABLES = ["d.csv", "d.csv.gz", "d.parquet"]
STATES_FREQ = ("d.parquet", "d.arrow", "d.feather", "folder")
NAMES = ["NA", "001", "a b ", 'comma, "quoted"', "ü\n", "true", "1.0", ""]
EXTREME = [0.0, -0.0, 1e-45, -3.4028235e38, np.inf, -np.inf, np.nan, 0.1, 16777216.0]


def bits(rng, *shape):
    """Float32 numbers of every magnitude, infinities and NaN among them."""
    drawn = rng.integers(0, 2**32, size=shape, dtype=np.uint64)
    return drawn.astype(np.uint32).view(np.float32)


def make(kind, freq="6h", start="2001-02-05 06:00"):
    """Eight series of 12 to 19 steps, in an order of names that is not sorted."""
    rng = np.random.default_rng(0)
    first = as_period(start, canonical_freq(freq))
    starts = advance(first, range(len(NAMES)))
    out = []
    for k, (name, begin) in enumerate(zip(NAMES, starts)):
        length = 12 + k
        target = bits(rng, length) if kind == "one_dim" else bits(rng, 3, length)
        entry = {"item_id": name, "start": begin, "target": target}
        if kind == "extreme":
            entry["target"] = np.array([EXTREME, EXTREME[::-1]], dtype=np.float32)
        if kind == "missing":
            target[:, :2] = target[1] = target[:, -1] = np.nan
        if kind in ("static", "all"):
            codes = [2**31 - 1 - k, 2**24 + 1, -k]
            entry["feat_static_cat"] = np.array(codes, dtype=np.int32)
            entry["feat_static_real"] = np.array([k / 3, np.nan], dtype=np.float32)
        if kind in ("dynamic", "all"):
            codes = rng.integers(0, 2**31, size=(11, length))
            entry["feat_dynamic_cat"] = codes.astype(np.int32)
            entry["feat_dynamic_real"] = bits(rng, 2, length)
            entry["past_feat_dynamic_real"] = bits(rng, 1, length)
        out.append(entry)
    return out


def assert_same(read, written):
    """Equal bit by bit; one NaN counts as another."""
    assert [e["item_id"] for e in read] == [e["item_id"] for e in written]
    for new, old in zip(read, written):
        assert new.keys() == old.keys()
        assert new["start"] == old["start"]
        assert new["start"].freqstr == old["start"].freqstr
        for key in old.keys() - {"item_id", "start"}:
            assert new[key].dtype == old[key].dtype, key
            np.testing.assert_array_equal(new[key], old[key], err_msg=key)
            signs = (np.signbit(x[x == x]) for x in (new[key], old[key]))
            np.testing.assert_array_equal(*signs, err_msg=key)
            assert new[key].flags.writeable


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize(
    "kind", ["one_dim", "two_dim", "extreme", "missing", "static", "dynamic", "all"]
)
def test_round_trip(name, kind, tmp_path):
    entries = make(kind)
    assert write_dataset(iter(entries), tmp_path / name) == len(entries)
    freq = None if name in STATES_FREQ else "6h"
    read, channels = read_dataset(tmp_path / name, freq=freq)
    assert_same(read, entries)
    num_channels = len(np.atleast_2d(read[0]["target"]))
    default = [f"c{c}" for c in range(num_channels)]
    assert channels == (default if name in TABLES else None)


@pytest.mark.parametrize("name", FORMATS)
def test_one_channel_of_two_dimensions(name, tmp_path):
    entries = [e | {"target": e["target"][None]} for e in make("one_dim")]
    write_dataset(entries, tmp_path / name)
    read, _ = read_dataset(tmp_path / name, freq="6h")
    if ".csv" in name:  # a CSV cannot tell, which the docstring says
        entries = make("one_dim")
    assert_same(read, entries)


@pytest.mark.parametrize("name", FORMATS)
def test_channel_names(name, tmp_path):
    names = ["wind, m/s", "ü", "7"]
    write_dataset(make("all"), tmp_path / name, channels=names)
    read, channels = read_dataset(tmp_path / name, freq="6h")
    assert channels == (None if "json" in name else names)
    assert_same(read, make("all"))


@pytest.mark.parametrize(
    "freq",
    "h H 6h 24h min 5min s ms ns B D 2D W W-MON".split()
    + "M MS ME 2M Q QS Q-MAR Y YS Y-JUN A".split(),
)
@pytest.mark.parametrize("name", ONE_OF_EACH)
def test_frequencies(name, freq, tmp_path):
    entries = make("two_dim", freq, "2001-02-05 06:07:08.123456789")
    write_dataset(entries, tmp_path / name)
    given = None if name in STATES_FREQ else freq
    assert_same(read_dataset(tmp_path / name, freq=given)[0], entries)


@pytest.mark.parametrize("freq", "h 6h min D W W-MON M Q Y Y-JUN".split())
def test_a_csv_infers_the_frequency(freq, tmp_path):
    entries = make("two_dim", freq)
    write_dataset(entries, tmp_path / "d.csv")
    assert_same(read_dataset(tmp_path / "d.csv")[0], entries)


@pytest.mark.parametrize("name", FORMATS)
def test_one_step(name, tmp_path):
    entries = make("all")[:1]
    for key in ("target", "feat_dynamic_cat", "feat_dynamic_real"):
        entries[0][key] = entries[0][key][:, :1]
    entries[0]["past_feat_dynamic_real"] = np.ones((1, 1), dtype=np.float32)
    write_dataset(entries, tmp_path / name)
    freq = None if name in STATES_FREQ else "6h"
    assert_same(read_dataset(tmp_path / name, freq=freq)[0], entries)


@pytest.mark.parametrize("name", ["d.jsonl", "d.arrow", "folder"])
def test_what_only_gluonts_files_hold(name, tmp_path):
    """Repeated and missing names, series without steps, other fields."""
    entries = make("static")
    for k, entry in enumerate(entries):
        entry["item_id"] = "same"
        entry["is_synthetic"] = k % 2 == 0
        entry["target"] = entry["target"][:, : 3 * k]
        entry["feat_dynamic_real"] = np.ones((1, 3 * k + 2), dtype=np.float32)
    entries[0]["target"] = np.zeros((3, 0), dtype=np.float32)
    write_dataset(entries, tmp_path / name)
    read, _ = read_dataset(tmp_path / name, freq="6h")
    assert [e.pop("is_synthetic") for e in read] == [True, False] * 4
    for entry in entries:
        del entry["is_synthetic"]
    assert_same(read, entries)
    for entry in entries:
        del entry["item_id"]
    write_dataset(entries, tmp_path / name, force=True)
    assert "item_id" not in read_dataset(tmp_path / name, freq="6h")[0][0]


@pytest.mark.parametrize("name", FORMATS)
def test_lists_and_wide_types_are_written_as_float32(name, tmp_path):
    entries = make("all")
    lists = [
        {k: v.tolist() if isinstance(v, np.ndarray) else v for k, v in e.items()}
        for e in entries
    ]
    write_dataset(lists, tmp_path / name)
    assert isinstance(lists[0]["target"], list)
    assert_same(read_dataset(tmp_path / name, freq="6h")[0], entries)


def test_columns_of_features(tmp_path):
    write_dataset(make("all"), tmp_path / "d.csv", channels=["x", "y", "z"])
    columns = list(pd.read_csv(tmp_path / "d.csv", nrows=1).columns)
    assert columns[:7] == [
        *("item_id", "timestamp", "x", "y", "z"),
        *("feat_static_cat_0", "feat_static_cat_1"),
    ]
    assert columns[-3:] == [
        *("feat_dynamic_real_0", "feat_dynamic_real_1", "past_feat_dynamic_real_0"),
    ]
    chosen = ["feat_static_real_0", "z"]
    (entry, *_), channels = read_dataset(tmp_path / "d.csv", channels=chosen, freq="6h")
    assert channels == chosen
    np.testing.assert_array_equal(entry["target"][1], make("all")[0]["target"][2])
    assert "feat_static_cat" in entry


@pytest.mark.parametrize("name", TABLES)
def test_a_table_names_what_it_leaves_out(name, tmp_path, caplog, monkeypatch):
    monkeypatch.setattr("gluonts_dualkl.data.entries._SERIES_PER_BLOCK", 3)
    entries = make("static")
    with caplog.at_level(logging.WARNING):
        write_dataset(entries, tmp_path / name)
        assert caplog.records == []
        others = [e | {"info": {"a": 1}, "feat_x": np.ones(2)} for e in entries]
        write_dataset(others, tmp_path / name, force=True)
    (record,) = caplog.records
    assert "no place for the fields 'info', 'feat_x'" in record.getMessage()
    assert_same(read_dataset(tmp_path / name, freq="6h")[0], entries)


class TestGluonTSReads:
    @pytest.mark.parametrize("kind", ["one_dim", "two_dim", "all"])
    @pytest.mark.parametrize("name", FILES)
    def test_entries(self, name, kind, tmp_path):
        entries = make(kind)
        write_dataset(entries, tmp_path / name)
        one_dim = kind == "one_dim"
        read = FileDataset(tmp_path / name, freq="6h", one_dim_target=one_dim)
        for new, old in zip(read, entries, strict=True):
            for key, value in old.items():
                np.testing.assert_array_equal(new[key], value)

    def test_folder(self, tmp_path):
        path = tmp_path / "folder"
        write_dataset(make("all"), path, channels=["x", "y", "z"])
        loaded = load_datasets(path, path / "train", None, one_dim_target=False)
        assert loaded.metadata.freq == "6h"
        for new, old in zip(loaded.train, make("all"), strict=True):
            for key, value in old.items():
                np.testing.assert_array_equal(new[key], value)

    @pytest.mark.parametrize("name", TABLES)
    def test_long_tables(self, name, tmp_path):
        write_dataset(make("all"), tmp_path / name)
        read = pd.read_parquet if "parquet" in name else pd.read_csv
        frame = read(tmp_path / name)
        frame = frame[frame["item_id"] == "001"].astype({"timestamp": "datetime64[ns]"})
        data = PandasDataset.from_long_dataframe(
            frame,
            item_id="item_id",
            timestamp="timestamp",
            target=["c0", "c1", "c2"],
            feat_dynamic_real=["feat_dynamic_real_0", "feat_dynamic_real_1"],
            freq="6h",
        )
        (entry,) = data
        old = make("all")[1]
        assert entry["start"] == old["start"]
        for key in ("target", "feat_dynamic_real"):
            new = np.asarray(entry[key], dtype=np.float32)
            np.testing.assert_array_equal(new, old[key])

    @pytest.mark.parametrize("name", ["d.arrow", "d.feather"])
    def test_arrow_layout_is_that_of_gluonts(self, name, tmp_path):
        write_dataset(make("all"), tmp_path / name, channels=["x", "y", "z"])
        ArrowWriter().write_to_file(make("all"), tmp_path / "theirs.arrow")
        ours = File.infer(tmp_path / name)
        theirs = File.infer(tmp_path / "theirs.arrow")
        assert ours.metadata()["freq"] == "6h"
        assert len(ours) == len(NAMES)
        assert ours[3]["item_id"] == NAMES[3]
        types = [
            {f.name: f.type for f in file.schema if f.name != "start"}
            for file in (ours, theirs)
        ]
        assert types[0] == types[1]
