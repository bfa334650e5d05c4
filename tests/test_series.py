"""Series read one by one: short ones, samples of windows, bounded memory."""

import logging
import weakref

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from gluonts_dualkl.data.series import Reservoir, read_entry
from gluonts_dualkl.data.windows import cut_windows


def entry(target, start="2000-01-01", freq="h", **fields):
    return {"start": pd.Period(start, freq), "target": target, **fields}


def numbered(num_series=10, steps=12):
    """Series whose value at step ``t`` of series ``k`` is ``100 k + t``."""
    return [
        entry(100.0 * k + np.arange(steps), item_id=f"s{k}") for k in range(num_series)
    ]


class TestShort:
    def test_padded_with_missing_values(self, caplog):
        lengths = [6, 2, 3, 5, 7]
        data = [
            entry(
                np.arange(1.0, n + 1) * [[1], [10]],
                feat_dynamic_real=[np.arange(n + 1.0)],
                feat_dynamic_cat=[np.arange(n) + 5],
            )
            for n in lengths
        ]
        with caplog.at_level(logging.WARNING):
            windows = cut_windows(data, length=6, short="pad")
        assert windows.item_ids == ("0", "2", "3", "4")
        nan = np.nan
        np.testing.assert_array_equal(windows.values[0, :, 1], 10 * np.arange(1, 7))
        np.testing.assert_array_equal(windows.values[1, :, 0], [1, 2, 3, nan, nan, nan])
        np.testing.assert_array_equal(
            windows.values[2, :, 1], [*range(10, 51, 10), nan]
        )
        real, codes = (windows.dynamic[f"feat_dynamic_{k}"] for k in ("real", "cat"))
        np.testing.assert_array_equal(real[1, 0], [0, 1, 2, 2, 2, 2])
        np.testing.assert_array_equal(codes[1, 0], [5, 6, 7, 7, 7, 7])
        assert codes.dtype == np.int32 and windows.values.dtype == np.float32
        assert caplog.messages == [
            "skipped 1 of 5 series shorter than half of length=6 (the first is item "
            "'1').",
            "padded 2 of 5 series shorter than length=6 with missing values.",
        ]

    @pytest.mark.parametrize(("length", "kept"), [(7, 0), (6, 1), (5, 1)])
    def test_half_of_the_steps_are_needed(self, length, kept):
        data = [entry(np.ones(3)), entry(np.ones(20), item_id="long")]
        windows = cut_windows(data, length=length, stride=20, short="pad")
        assert len(windows) == 1 + kept
        assert len(cut_windows(data, length=length, stride=20, short="skip")) == 1

    def test_entries_stay_unchanged(self):
        target = np.ones((2, 3), np.float32)
        cut_windows([entry(target)], length=5, short="pad")
        np.testing.assert_array_equal(target, np.ones((2, 3)))

    def test_all_too_short(self):
        with pytest.raises(ValueError, match="length=9 is longer .* has 4 steps; give"):
            cut_windows([entry(np.ones(4))], length=9, short="pad")

    def test_lengths_must_agree_without_length(self):
        with pytest.raises(ValueError, match="differ in length .1 of 4 steps, 1 of 3"):
            cut_windows([entry(np.ones(4)), entry(np.ones(3))], short="pad")


class TestSample:
    def test_windows_are_those_of_all_in_their_order(self, caplog):
        every = cut_windows(numbered(), length=3, stride=2)
        with caplog.at_level(logging.WARNING):
            some = cut_windows(numbered(), length=3, stride=2, max_windows=17, seed=3)
        assert len(every) == 50 and len(some) == 17
        assert caplog.messages == [
            "max_windows=17: used 17 of 50 windows, drawn uniformly."
        ]
        places = [every.item_ids.index(name) for name in some.item_ids]
        assert places == sorted(set(places))
        np.testing.assert_array_equal(some.values, every.values[places])
        assert some.starts == tuple(every.starts[k] for k in places)

    @pytest.mark.parametrize("max_windows", [50, 51])
    def test_all_windows_where_they_are_few(self, max_windows, caplog):
        every = cut_windows(numbered(), length=3, stride=2)
        some = cut_windows(numbered(), length=3, stride=2, max_windows=max_windows)
        assert some.item_ids == every.item_ids
        np.testing.assert_array_equal(some.values, every.values)
        assert not caplog.messages

    def test_features_go_with_their_window(self):
        data = [
            entry(
                100.0 * k + np.arange(8),
                feat_static_real=[k],
                feat_dynamic_real=[100.0 * k + np.arange(8)],
            )
            for k in range(9)
        ]
        windows = cut_windows(data, length=2, max_windows=10)
        first = windows.values[:, 0, 0]
        np.testing.assert_array_equal(
            windows.static["feat_static_real"][:, 0], first // 100
        )
        np.testing.assert_array_equal(
            windows.dynamic["feat_dynamic_real"][:, 0], windows.values[:, :, 0]
        )

    def test_seeds(self):
        def drawn(seed):
            return cut_windows(numbered(), length=3, max_windows=9, seed=seed).item_ids

        assert drawn(1) == drawn(1)
        assert drawn(1) != drawn(2)

    def test_every_set_of_windows_is_equally_likely(self):
        """Three series of 3, 1 and 1 windows give 10 pairs."""
        data = [entry(np.arange(6.0)), entry(np.ones(2)), entry(np.ones(2))]
        series = [read_entry(e, k, "h") for k, e in enumerate(data)]
        draws, pairs = 3000, {}
        for seed in range(draws):
            sample = Reservoir(2, seed)
            for s in series:
                sample.add(s, 2, 2)
            pair = tuple(cut.number for cut in sample.cuts())
            pairs[pair] = pairs.get(pair, 0) + 1
        assert len(pairs) == 10
        assert stats.chisquare(list(pairs.values())).pvalue > 1e-4

    def test_a_channel_that_the_sample_misses(self):
        target = np.full((2, 400), np.nan)
        target[0], target[1, 0] = 1.0, 1.0
        with pytest.raises(ValueError, match="in the 2 windows drawn .*max_windows"):
            cut_windows([entry(target)], length=2, max_windows=2)


class TestMemory:
    @staticmethod
    def stream(num_series, alive, **odd):
        """Series whose targets are counted as long as they live."""
        alive["most"] = 0
        living = []
        for k in range(num_series):
            target = np.ones(odd.get("shape", (2, 40)) if k == 20 else (2, 40), "f4")
            living.append(weakref.ref(target))
            yield entry(target, item_id=k)
            del target
            alive["most"] = max(alive["most"], sum(r() is not None for r in living))

    @pytest.mark.parametrize("options", [{}, {"max_windows": 5}])
    def test_no_series_is_kept(self, options):
        alive = {}
        windows = cut_windows(self.stream(300, alive), length=10, **options)
        assert len(windows) == options.get("max_windows", 1200)
        assert alive["most"] <= 2

    def test_a_sample_bounds_the_windows_held(self, monkeypatch):
        most = 0
        add = Reservoir.add

        def counted(self, *arguments):
            nonlocal most
            add(self, *arguments)
            most = max(most, len(self))

        monkeypatch.setattr(Reservoir, "add", counted)
        cut_windows(self.stream(200, {}), length=5, max_windows=7)
        assert most == 7

    @pytest.mark.parametrize(
        ("shape", "message"),
        [
            ((2, 39), "differ in length .299 of 40 steps, 1 of 39 steps.; give length"),
            ((3, 40), "item '20' has 3, most have 2; give all series the same"),
        ],
    )
    def test_a_certain_error_keeps_nothing(self, shape, message, monkeypatch):
        offered = []
        monkeypatch.setattr(Reservoir, "add", lambda self, s, *_: offered.append(0))
        alive = {}
        with pytest.raises(ValueError, match=message):
            cut_windows(self.stream(300, alive, shape=shape))
        assert len(offered) == 20
        assert alive["most"] <= 2


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"short": "cut"}, "short='cut' is unknown; choose from skip, pad"),
        ({"max_windows": 0}, "max_windows=0 must be at least 1, or None"),
        ({"seed": -1}, "seed=-1 must not be negative"),
    ],
)
def test_bad_choices(options, message):
    with pytest.raises(ValueError, match=message):
        cut_windows(numbered(), length=3, **options)
