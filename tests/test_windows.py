"""Datasets to windows and back; frames to datasets and back; every refusal."""

import copy
import logging

import numpy as np
import pandas as pd
import pytest
from gluonts.dataset.common import ListDataset
from gluonts.dataset.pandas import PandasDataset
from gluonts.dataset.split import split
from hypothesis import given
from hypothesis import strategies as st

from gluonts_dualkl.data.frequencies import as_period, canonical_freq, same_freq
from gluonts_dualkl.data.windows import (
    cut_windows,
    dataset_from_array,
    dataset_from_frame,
    dataset_to_array,
    dataset_to_frame,
)

SHAPE = (5, 24, 3)


@pytest.fixture
def values():
    return np.random.default_rng(0).normal(size=SHAPE).astype(np.float32)


@pytest.fixture
def entries(values):
    return dataset_from_array(values, freq="6h", start="2001-02-03 06:00")


def entry(target=None, start="2000-01-01", freq="h", **fields):
    target = np.arange(6.0) if target is None else target
    return {"start": pd.Period(start, freq), "target": target, **fields}


class TestFrequencies:
    @pytest.mark.parametrize(
        ("alias", "canonical"),
        [
            ("H", "h"),
            ("h", "h"),
            ("6H", "6h"),
            ("T", "min"),
            ("M", "M"),
            ("ME", "M"),
            ("MS", "M"),
            ("2MS", "2M"),
            ("W", "W-SUN"),
            ("W-WED", "W-WED"),
            ("QS-DEC", "Q-NOV"),
            ("QE", "Q-DEC"),
            ("YS-JAN", "Y-DEC"),
            ("A", "Y-DEC"),
            ("B", "B"),
        ],
    )
    def test_aliases(self, alias, canonical):
        assert canonical_freq(alias) == canonical

    @pytest.mark.parametrize("freq", ["nonsense", "", "BMS", "cbh", None, 3.5])
    def test_unknown(self, freq):
        with pytest.raises(ValueError, match="not a frequency of pandas periods"):
            canonical_freq(freq)

    def test_same(self):
        assert same_freq("24h", "D")
        assert not same_freq("6h", "h")

    def test_unreadable_start(self):
        with pytest.raises(ValueError, match="not a point in time"):
            as_period("whenever", "h")

    def test_time_zone_becomes_utc(self):
        start = pd.Timestamp("2000-01-01 02:00", tz="Europe/Athens")
        assert as_period(start, "h") == pd.Period("2000-01-01 00:00", "h")


class TestCutWindows:
    def test_one_window_per_series(self, entries, values):
        windows = cut_windows(entries)
        assert windows.values.shape == SHAPE
        assert windows.values.dtype == np.float32
        np.testing.assert_array_equal(windows.values, values)
        assert (len(windows), windows.length, windows.num_channels) == SHAPE
        assert windows.item_ids == ("0", "1", "2", "3", "4")
        assert set(windows.starts) == {pd.Period("2001-02-03 06:00", "6h")}
        assert windows.freq == "6h"
        assert not windows.univariate

    def test_stride_moves_the_start(self, entries, values):
        windows = cut_windows(entries[:1], length=10, stride=7)
        assert windows.values.shape == (3, 10, 3)
        assert windows.item_ids == ("0#0", "0#1", "0#2")
        for k in range(3):
            np.testing.assert_array_equal(
                windows.values[k], values[0, 7 * k : 7 * k + 10]
            )
            assert windows.starts[k] == entries[0]["start"] + 7 * k

    @given(
        total=st.integers(2, 40), length=st.integers(2, 40), stride=st.integers(1, 9)
    )
    def test_every_window_is_a_slice(self, total, length, stride):
        if length > total:
            return
        target = np.arange(total, dtype=float)
        windows = cut_windows([entry(target)], length=length, stride=stride)
        starts = range(0, total - length + 1, stride)
        assert len(windows) == len(starts)
        for window, start in zip(windows.values, starts):
            np.testing.assert_array_equal(window[:, 0], target[start : start + length])

    def test_business_days_skip_the_weekend(self):
        data = dataset_from_array(np.zeros((1, 10)), freq="B", start="2000-01-07")
        windows = cut_windows(data, length=2)
        assert str(windows.starts[1]) == "2000-01-11"

    @pytest.mark.parametrize(
        "wrap",
        [
            iter,
            lambda data: (e for e in data),
            lambda data: ListDataset(
                copy.deepcopy(data), freq="6h", one_dim_target=False
            ),
            lambda data: split(data, offset=-1)[0],
        ],
        ids=["iterator", "generator", "ListDataset", "split"],
    )
    def test_any_container(self, entries, values, wrap):
        windows = cut_windows(wrap(entries), freq="6h")
        np.testing.assert_array_equal(windows.values, values[:, : windows.length])

    def test_pandas_dataset(self, entries, values):
        frame = dataset_to_frame(entries)
        data = PandasDataset.from_long_dataframe(
            frame,
            item_id="item_id",
            timestamp="timestamp",
            target=["c0", "c1", "c2"],
            freq="6h",
        )
        windows = cut_windows(data)
        np.testing.assert_array_equal(windows.values, values)
        assert windows.starts == cut_windows(entries).starts

    def test_entries_stay_unchanged(self):
        data = [entry(np.arange(4), feat_static_cat=[1], item_id="a")]
        before = copy.deepcopy(data)
        windows = cut_windows(data, freq="H", length=2)
        windows.values[:] = -1
        np.testing.assert_array_equal(data[0]["target"], before[0]["target"])
        assert data[0].keys() == before[0].keys()
        assert data[0]["start"] == before[0]["start"]

    def test_univariate_and_missing_values(self):
        windows = cut_windows([entry([1.0, None, 3.0])])
        assert windows.univariate
        np.testing.assert_array_equal(windows.values[0, :, 0], [1, np.nan, 3])

    def test_timestamp_start_with_freq(self):
        data = [{"start": pd.Timestamp("2000-01-01"), "target": np.ones(3)}]
        assert cut_windows(data, freq="D").starts == (pd.Period("2000-01-01", "D"),)
        data = [{"start": "2000-01-01", "target": np.ones(3)}]
        assert cut_windows(data, freq="MS").freq == "M"

    def test_features_are_cut_with_the_target(self):
        data = [
            entry(
                np.arange(6.0),
                feat_static_cat=np.array([k, 1.0]),
                feat_static_real=[0.5],
                feat_dynamic_real=np.arange(16.0).reshape(2, 8),
            )
            for k in range(2)
        ]
        windows = cut_windows(data, length=3)
        np.testing.assert_array_equal(
            windows.static["feat_static_cat"], [[0, 1], [0, 1], [1, 1], [1, 1]]
        )
        assert windows.static["feat_static_cat"].dtype == np.int32
        assert windows.static["feat_static_real"].shape == (4, 1)
        assert windows.dynamic["feat_dynamic_real"].shape == (4, 2, 3)
        np.testing.assert_array_equal(
            windows.dynamic["feat_dynamic_real"][1], [[3, 4, 5], [11, 12, 13]]
        )

    def test_short_series_are_counted(self, caplog):
        data = [entry(np.ones(6)), entry(np.ones(3)), entry(np.ones(5))]
        with caplog.at_level(logging.WARNING):
            windows = cut_windows(data, length=5)
        assert windows.item_ids == ("0", "2")
        assert "skipped 1 of 3 series shorter than length=5" in caplog.text
        assert "item '1'" in caplog.text

    @pytest.mark.parametrize(
        ("data", "options", "message"),
        [
            ([], {}, "the dataset is empty"),
            (["text"], {}, "entry 0 of the dataset is a str, not a GluonTS entry"),
            ([{"start": pd.Period("2000", "D")}], {}, "entry 0 has no 'target'"),
            ([{"target": [1.0, 2.0], "item_id": "a"}], {}, "item 'a' .* no 'start'"),
            ([entry(["a", "b"])], {}, "target of entry 0 is not a numeric array"),
            ([entry([[1.0], [1.0, 2.0]])], {}, "is not a numeric array"),
            ([entry(np.ones((2, 2, 2)))], {}, r"shape \(2, 2, 2\); expected \(T,\)"),
            (
                [entry(), entry([[1.0, np.inf]], item_id="a")],
                {},
                r"item 'a' \(entry 1\) is infinite in float32 at step 1, channel 0",
            ),
            ([entry([1.0, 1e39])], {}, "infinite in float32 at step 1"),
            (
                [entry(np.ones((2, 6))), entry(np.ones((2, 6))), entry(item_id="a")],
                {},
                "different numbers of channels: item 'a' has 1, most have 2",
            ),
            ([entry(), entry(freq="D")], {}, "entry 1 has freq 'D', expected 'h'"),
            ([entry()], {"freq": "D"}, "entry 0 has freq 'h', expected 'D'"),
            (
                [{"start": "2000-01-01", "target": [1.0, 2.0]}],
                {},
                "start of entry 0 is a str without a frequency; give freq",
            ),
            ([entry(np.full((1, 4), np.nan))], {}, "channel 0 holds no observed value"),
            (
                [entry(np.ones(4)), entry(np.ones(5))],
                {},
                "differ in length .1 of 4 steps, 1 of 5 steps.; give length",
            ),
            ([entry()], {"length": 7}, "length=7 is longer than the data.* 6 steps"),
            ([entry()], {"length": 1}, "length=1 is too short"),
            ([entry([1.0])], {}, "length=1 is too short"),
            ([entry()], {"length": 2, "stride": 0}, "stride=0 must be at least 1"),
            (
                [entry(feat_static_cat=[1]), entry(feat_static_cat=[1, 2])],
                {},
                "item '1' has static features of sizes",
            ),
            (
                [entry(feat_static_cat=[1]), entry()],
                {},
                "item '1' has static features of sizes {}",
            ),
            (
                [entry(), entry(feat_dynamic_real=np.ones((1, 6)))],
                {},
                "item '1' has dynamic features of sizes",
            ),
            ([entry(feat_static_cat=["x"])], {}, "feat_static_cat of .* not a numeric"),
            ([entry(feat_static_cat=[0.5])], {}, "that are not integer codes"),
            (
                [entry(feat_dynamic_real=np.ones((1, 5)))],
                {},
                r"feat_dynamic_real of entry 0 has shape \(1, 5\)",
            ),
        ],
    )
    def test_bad_input(self, data, options, message):
        with pytest.raises(ValueError, match=message):
            cut_windows(data, **options)


class TestArrays:
    def test_round_trip(self, values):
        data = dataset_from_array(values, freq="h", item_ids=list("abcde"))
        assert [e["item_id"] for e in data] == list("abcde")
        assert data[0]["target"].shape == (3, 24)
        np.testing.assert_array_equal(dataset_to_array(data), values)

    def test_two_axes_give_flat_targets(self, values):
        data = dataset_from_array(values[..., 0], freq="h")
        assert data[0]["target"].shape == (24,)
        np.testing.assert_array_equal(dataset_to_array(data), values[..., :1])

    def test_entries_do_not_share_memory(self, values):
        data = dataset_from_array(values[..., 0], freq="h")
        data[0]["target"][:] = 9
        assert not (values == 9).any()

    def test_start_per_series(self, values):
        starts = pd.period_range("2000-01", periods=5, freq="M")
        data = dataset_from_array(values, freq="MS", start=starts)
        assert [e["start"] for e in data] == list(starts)

    @pytest.mark.parametrize(
        ("array", "options", "message"),
        [
            (np.ones(3), {}, r"values has shape \(3,\)"),
            (np.array([["a"]]), {}, "values is not a numeric array"),
            (np.ones((2, 3)), {"item_ids": ["a"]}, "item_ids has 1 values for 2"),
            (np.ones((2, 3)), {"start": ["2000"] * 3}, "start has 3 values for 2"),
        ],
    )
    def test_bad_arrays(self, array, options, message):
        with pytest.raises(ValueError, match=message):
            dataset_from_array(array, freq="h", **options)

    def test_unequal_series(self):
        with pytest.raises(ValueError, match="the series differ in shape"):
            dataset_to_array([entry(np.ones(3)), entry(np.ones(4))])
        with pytest.raises(ValueError, match="the dataset is empty"):
            dataset_to_array([])


def long_frame(stamps, item="a", **columns):
    stamps = pd.DatetimeIndex(stamps)
    columns = columns or {"x": np.arange(len(stamps), dtype=float)}
    return pd.DataFrame({"item_id": item, "timestamp": stamps, **columns})


class TestFrames:
    @pytest.mark.parametrize(
        "freq",
        "min 15min h 6h D B W-SUN W-WED M 2M Q-DEC Q-NOV Y-DEC Y-JUN 500ms".split(),
    )
    def test_round_trip_infers_the_freq(self, freq, values):
        data = dataset_from_array(values, freq, "2001-02-05", list("badce"))
        back = dataset_from_frame(dataset_to_frame(data, ["x", "y", "z"]))
        assert [e["item_id"] for e in back] == list("badce")
        for old, new in zip(data, back):
            assert new["start"].freqstr == freq
            assert new["start"] == old["start"]
            np.testing.assert_array_equal(new["target"], old["target"])

    @pytest.mark.parametrize(
        "alias", ["MS", "ME", "QS", "QE", "YS", "W-MON", "2W", "D", "B"]
    )
    def test_pandas_ranges(self, alias):
        stamps = pd.date_range("2001-02-03", periods=8, freq=alias)
        (data,) = dataset_from_frame(long_frame(stamps))
        assert data["target"].shape == (8,)
        assert same_freq(data["start"].freqstr, alias)

    def test_rows_in_any_order(self):
        frame = long_frame(pd.date_range("2000", periods=6, freq="h"))
        (data,) = dataset_from_frame(frame.sample(frac=1, random_state=0))
        np.testing.assert_array_equal(data["target"], np.arange(6))

    def test_gaps_become_nan(self):
        frame = long_frame(pd.date_range("2000", periods=9, freq="6h")).drop([2, 5])
        (data,) = dataset_from_frame(frame)
        assert data["start"].freqstr == "6h"
        expected = [0, 1, np.nan, 3, 4, np.nan, 6, 7, 8]
        np.testing.assert_array_equal(data["target"], expected)

    def test_holidays_among_business_days(self):
        frame = long_frame(pd.bdate_range("2000-01-03", periods=30)).drop([7])
        (data,) = dataset_from_frame(frame)
        assert data["start"].freqstr == "B"
        assert np.flatnonzero(np.isnan(data["target"])).tolist() == [7]

    def test_one_working_week_is_business_days_beside_others(self):
        short = long_frame(pd.bdate_range("2000-01-03", periods=5), item="a")
        long = long_frame(pd.bdate_range("2000-01-03", periods=12), item="b")
        data = dataset_from_frame(pd.concat([short, long]))
        assert {e["start"].freqstr for e in data} == {"B"}

    def test_without_item_column(self):
        frame = long_frame(pd.date_range("2000", periods=4, freq="D"))
        (data,) = dataset_from_frame(frame.drop(columns="item_id"))
        assert data["item_id"] == "0"
        (data,) = dataset_from_frame(frame[["timestamp", "x"]], item_id=None)
        np.testing.assert_array_equal(data["target"], np.arange(4))

    def test_named_columns_and_time_zone(self):
        stamps = pd.date_range("2000", periods=4, freq="h", tz="Asia/Tokyo")
        frame = pd.DataFrame({"who": 7, "when": stamps, "y": 1, "x": 2, "note": "-"})
        (data,) = dataset_from_frame(frame, "who", "when", channels=["x", "y"])
        assert data["item_id"] == "7"
        assert data["start"] == pd.Period("1999-12-31 15:00", "h")
        np.testing.assert_array_equal(data["target"][:, 0], [2, 1])

    def test_period_column_and_day_offset(self):
        periods = pd.period_range("2000-01", periods=4, freq="M")
        frame = pd.DataFrame({"timestamp": periods, "x": np.ones(4)})
        assert dataset_from_frame(frame)[0]["start"].freqstr == "M"
        noon = pd.date_range("2000-01-01 12:00", periods=4, freq="D")
        assert dataset_from_frame(long_frame(noon))[0]["start"].freqstr == "D"

    def test_frame_columns(self):
        frame = dataset_to_frame([entry(np.ones((2, 3)))], item_id="who")
        assert list(frame.columns) == ["who", "timestamp", "c0", "c1"]
        assert frame["c0"].dtype == np.float32
        assert frame["who"].tolist() == ["0"] * 3

    @pytest.mark.parametrize(
        ("frame", "options", "message"),
        [
            (
                long_frame(pd.date_range("2000", periods=3)),
                {"timestamp": "when"},
                "missing column 'when'; the columns there are: item_id, timestamp, x",
            ),
            (
                long_frame(pd.date_range("2000", periods=3)),
                {"item_id": "who"},
                "missing column 'who'",
            ),
            (
                long_frame(pd.date_range("2000", periods=3)),
                {"channels": ["y"]},
                "missing column 'y'",
            ),
            (long_frame([]), {}, "no rows"),
            (
                long_frame(pd.date_range("2000", periods=3))[["item_id", "timestamp"]],
                {},
                "no channel column beside 'item_id', 'timestamp'",
            ),
            (
                long_frame(pd.date_range("2000", periods=2), note=["1", "b"]),
                {},
                "column 'note' is not numeric .for example 'b'.",
            ),
            (
                pd.DataFrame({"timestamp": [1, 2], "x": [1.0, 2.0]}),
                {},
                "holds numbers, not timestamps",
            ),
            (
                pd.DataFrame({"timestamp": ["2000-01-01", "soon"], "x": [1.0, 2.0]}),
                {},
                "cannot be read as timestamps",
            ),
            (
                pd.DataFrame({"timestamp": ["2000-01-01", None], "x": [1.0, 2.0]}),
                {},
                "has no timestamp in row 1",
            ),
            (
                long_frame(pd.date_range("2000", periods=2), item=["a", None]),
                {},
                "names no series in row 1",
            ),
            (
                long_frame(["2000-01-01", "2000-01-02", "2000-01-02"]),
                {},
                "timestamp 2000-01-02 00:00:00 occurs twice in item 'a'",
            ),
            (
                long_frame(
                    ["2000-01-01 00:00", "2000-01-01 01:00", "2000-01-01 02:17"]
                ),
                {"freq": "h"},
                "2000-01-01 02:17:00 of item 'a' is off the grid of freq 'h'",
            ),
            (
                long_frame(
                    ["2000-01-01 00:00", "2000-01-01 06:00", "2000-01-01 13:00"]
                ),
                {"freq": "6h"},
                "2000-01-01 13:00:00 of item 'a' is off the grid of freq '6h'",
            ),
            (
                long_frame(["2000-01-07", "2000-01-08", "2000-01-10"]),
                {"freq": "B"},
                "2000-01-08 00:00:00 of item 'a' is off the grid",
            ),
            (
                long_frame(["2000-01-01", "2000-01-05", "2000-02-17"]),
                {},
                "the frequency cannot be inferred",
            ),
            (long_frame(["2000-01-01"]), {}, "the frequency cannot be inferred"),
            (
                pd.concat(
                    [
                        long_frame(pd.date_range("2000", periods=4, freq="h")),
                        long_frame(pd.date_range("2000", periods=4, freq="D"), "b"),
                    ]
                ),
                {},
                r"different frequencies \(D, h\)",
            ),
            (
                long_frame(["2000-01-01", "2001-01-01"]),
                {"freq": "s"},
                "2 rows on 31622401 steps of freq 's'",
            ),
        ],
    )
    def test_bad_frames(self, frame, options, message):
        with pytest.raises(ValueError, match=message):
            dataset_from_frame(frame, **options)

    @pytest.mark.parametrize(
        ("data", "options", "message"),
        [
            ([], {}, "the dataset is empty"),
            ([entry()], {"channels": ["x", "y"]}, "names 2 channels, .* have 1"),
            ([entry(), entry(freq="D")], {}, "item '1' has freq 'D'"),
            ([entry(), entry(np.ones((2, 3)))], {}, "item '1' has 2 channels"),
            ([{"start": "2000", "target": [1.0]}], {}, "is not a pandas Period"),
        ],
    )
    def test_bad_entries(self, data, options, message):
        with pytest.raises(ValueError, match=message):
            dataset_to_frame(data, **options)
