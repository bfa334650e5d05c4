from __future__ import annotations

from functools import partial

import numpy as np
import pytest

from gluonts_dualkl.evaluation.checks import verdicts as check_verdicts
from gluonts_dualkl.evaluation.checks.verdicts import EXPECTED, main, summarise
from gluonts_dualkl.evaluation.metrics import METRICS
from gluonts_dualkl.evaluation.protocol import oracle_table

LOADER = """
import numpy as np

def names():
    return ["walks"]

def split(name, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((2, 60, 16, 2)).astype("float32")
    for t in range(1, 16):
        x[:, :, t] += 0.8 * x[:, :, t - 1]
    return x[0], x[1], {}
"""


def test_command(tmp_path, capsys, monkeypatch):
    (tmp_path / "load_data.py").write_text(LOADER)
    quick = [m for m in METRICS if not m.costly and m.name != "c2st_p"]
    monkeypatch.setattr(
        check_verdicts, "oracle_table", partial(oracle_table, metrics=quick)
    )
    table = main([str(tmp_path), "--fast"])
    assert list(table.index) == ["walks"]
    assert list(table.columns) == ["fresh", *EXPECTED]
    assert table[list(EXPECTED)].to_numpy().all()
    out = capsys.readouterr().out
    assert "walks (60 train, 60 held out): fresh: " in out
    assert "of 1 data sets" in out


def test_folder_without_a_loader(tmp_path):
    with pytest.raises(ValueError, match="folder: no load_data.py"):
        main([str(tmp_path)])


def test_summary():
    found = {name: [fault] for name, fault in EXPECTED.items()} | {"fresh": []}
    assert all(summarise(found).values())
    found["collapsed"], found["fresh"] = ["told apart"], ["roughness"]
    missed = [name for name, good in summarise(found).items() if not good]
    assert missed == ["fresh", "collapsed"]


@pytest.mark.slow
def test_laws_of_the_suite(law, draw):
    sets = draw(law, num=100, seed=77)
    found = check_verdicts.check_data_set(sets.train, np.asarray(sets.held_out))
    assert all(summarise(found).values())
