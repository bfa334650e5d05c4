import pandas as pd
import pytest

from gluonts_dualkl.evaluation.checks.rows import grow_table

KEYS = [{"name": name, "seed": seed} for name in "ab" for seed in range(2)]


def test_rows_are_computed_once(tmp_path):
    path = tmp_path / "deep" / "table.csv"
    calls = []

    def compute(name, seed):
        calls.append((name, seed))
        return {"value": seed / 3}

    tables = list(grow_table(path, KEYS, compute))
    assert [len(table) for table in tables] == [1, 2, 3, 4]
    assert calls == [("a", 0), ("a", 1), ("b", 0), ("b", 1)]
    assert list(pd.read_csv(path).columns) == ["name", "seed", "value", "seconds"]
    more = [*KEYS, {"name": "c", "seed": 0}]
    assert len(list(grow_table(path, more, compute))) == 1
    assert calls[4:] == [("c", 0)]
    assert len(pd.read_csv(path)) == 5


def test_what_was_finished_stays_after_an_interrupt(tmp_path):
    def compute(name, seed):
        if name == "b":
            raise KeyboardInterrupt
        return {"value": 1.0}

    with pytest.raises(KeyboardInterrupt):
        list(grow_table(tmp_path / "table.csv", KEYS, compute))
    assert len(pd.read_csv(tmp_path / "table.csv")) == 2
