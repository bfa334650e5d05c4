import math

import numpy as np
import pandas as pd
import pytest
from scipy.stats import multivariate_t, t

from gluonts_dualkl.evaluation.checks import truth as check_truth
from gluonts_dualkl.evaluation.checks.nats import gaussian_plug_in, kraskov, single_step
from gluonts_dualkl.evaluation.checks.tasks import (
    TASKS,
    autoregression,
    factor_gaussian,
    independent,
    student_autoregression,
    task,
    transformed,
)


def test_nats_of_gaussian_tasks():
    law = autoregression(11.75)
    x = law.sample(4000, seed=1)
    phi = math.sqrt(1 - math.exp(-2 * 11.75 / 23))
    assert np.mean(x[:, 1:] * x[:, :-1]) == pytest.approx(phi, abs=0.02)
    assert x.var() == pytest.approx(1, abs=0.03)
    correlation = np.full((72, 72), 0.5) + 0.5 * np.eye(72)
    expected = -0.5 * np.linalg.slogdet(correlation)[1]
    assert factor_gaussian(0.5).nats == pytest.approx(expected)


def test_nats_of_a_multivariate_t():
    law = student_autoregression(3, nu=5, length=6)
    x = law.sample(20_000, seed=2)[:, :, 0]
    phi = math.sqrt(1 - math.exp(-2 * 3 / 5))
    shape = phi ** np.abs(np.subtract.outer(range(6), range(6)))
    ratio = multivariate_t(shape=shape, df=5).logpdf(x) - t(5).logpdf(x).sum(1)
    assert abs(ratio.mean() - law.nats) < 4 * ratio.std() / len(x) ** 0.5


def test_monotone_maps_leave_the_nats():
    law = transformed(autoregression(5), "cube", lambda x: x**3)
    assert law.nats == 5
    for estimate in (gaussian_plug_in, kraskov):
        plain = estimate(autoregression(5).sample(150, 0))
        assert estimate(law.sample(150, 0)) == pytest.approx(plain, abs=1e-6)


def test_tasks_by_name():
    assert len({law.name for law in TASKS}) == len(TASKS)
    assert task(TASKS[3].name) is TASKS[3]
    with pytest.raises(ValueError, match="no task 'none', choose from independent"):
        task("none")


def test_rivals_near_the_truth_where_they_should_be():
    pair = factor_gaussian(0.6, channels=1, length=2)
    x = pair.sample(2000, 0)
    assert gaussian_plug_in(x) == pytest.approx(pair.nats, abs=0.05)
    assert kraskov(x) == pytest.approx(pair.nats, abs=0.08)
    assert abs(kraskov(independent(2, 2).sample(1000, 1))) < 0.12
    found = single_step(pair.sample(400, 0).repeat(2, axis=1), seed=0)
    assert math.isfinite(found)


def test_command(tmp_path, capsys):
    given = ["--out", str(tmp_path), "--tasks", "ar1_4,independent", "--sizes", "60"]
    names = "KSG,Gaussian plug-in"
    check_truth.main([*given, "--seeds", "2", "--estimators", names])
    table = pd.read_csv(tmp_path / check_truth.TABLE)
    assert len(table) == 8
    assert (tmp_path / check_truth.FIGURE).read_bytes().startswith(b"\x89PNG")
    assert "KSG" in capsys.readouterr().out
    with pytest.raises(SystemExit, match="no 'oracle', choose from"):
        check_truth.main([*given, "--estimators", "oracle"])


def test_summary():
    rows = pd.DataFrame(
        {
            "task": "law",
            "truth": 2.0,
            "series": 50,
            "estimator": "path",
            "seed": [0, 1],
            "value": [1.0, 4.0],
            "lower": [0.5, 3.0],
            "upper": [2.5, 5.0],
            "integrated": [1.0, 4.0],
            "seconds": 1.0,
        }
    )
    found = check_truth.summarise(rows).iloc[0]
    assert found["rmse"] == pytest.approx(math.sqrt(2.5))
    assert found["covered"] == 0.5
    assert found["runs"] == 2
