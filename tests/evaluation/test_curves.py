import numpy as np
import pandas as pd

from gluonts_dualkl.evaluation.checks.curves import garch, main, write_garch


def test_garch_is_the_law_it_names():
    x = garch(4000, channels=2, seed=1)
    assert x.shape == (4000, 24, 2)
    assert abs(x.var() - 0.05 / (1 - 0.95)) < 0.08
    assert abs(np.corrcoef(x[:, :, 0].ravel(), x[:, :, 1].ravel())[0, 1] - 0.5) < 0.05
    flat = x[:, :, 0]
    assert abs(np.corrcoef(flat[:, 1:].ravel(), flat[:, :-1].ravel())[0, 1]) < 0.02
    squares = np.minimum(flat**2, 9)
    assert np.corrcoef(squares[:, 1:].ravel(), squares[:, :-1].ravel())[0, 1] > 0.1


def test_garch_is_written_as_a_long_table(tmp_path):
    folder = write_garch(tmp_path / "data", 5)
    table = pd.read_parquet(folder / "garch.parquet")
    assert len(table) == 5 * 24
    assert list(table) == ["item_id", "timestamp", "a", "b", "c"]
    values = table[table.item_id == 3].sort_values("timestamp")[["a", "b", "c"]]
    assert np.allclose(values, garch(5)[3])


def test_a_row_for_every_size(tmp_path):
    data, out = write_garch(tmp_path / "data", 60), tmp_path / "out"
    given = ["--data", str(data), "--sizes", "12,20", "--generators", "mixup"]
    table = main([*given, "--out", str(out)])
    assert table.n_train.tolist() == [12, 20]
    assert table.c2st_auc_trees.between(0.3, 1).all()
    assert pd.read_csv(out / "curves.csv").shape == table.shape
