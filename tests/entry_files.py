"""Entries to write to files, and what the tests of files compare."""

import numpy as np

from gluonts_dualkl.data.windows import dataset_from_array

ONE_OF_EACH = ["d.csv", "d.csv.gz", "d.parquet", "d.jsonl", "d.jsonl.gz", "d.arrow"]
ONE_OF_EACH += ["folder"]


def unsorted_entries():
    """Seven series of three channels, names unsorted, one value missing."""
    values = np.random.default_rng(0).normal(size=(7, 5, 3)).astype(np.float32)
    values[0, 1, 0] = np.nan
    return dataset_from_array(values, "6h", "2000-01-01 06:00", list("gabcdef"))


def assert_same(read, written):
    assert len(read) == len(written)
    for new, old in zip(read, written):
        assert new["item_id"] == old["item_id"]
        assert new["start"] == old["start"]
        assert new["target"].dtype == np.float32
        np.testing.assert_array_equal(new["target"], old["target"])


def leftovers(folder):
    return sorted(p.name for p in folder.iterdir())
