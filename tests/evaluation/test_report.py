"""Pages stand alone, say what the numbers say, and survive what tables hold."""

import json
import re
from html import escape

import numpy as np
import pandas as pd
import pytest

from gluonts_dualkl.evaluation import evaluate_generator
from gluonts_dualkl.evaluation.metrics import METRICS, by_name
from gluonts_dualkl.evaluation.oracles import training_copies
from gluonts_dualkl.evaluation.reporting import words
from gluonts_dualkl.evaluation.reporting.benchmark import Benchmark
from gluonts_dualkl.evaluation.reporting.gallery import short_names
from gluonts_dualkl.evaluation.reporting.novelty import real_band
from gluonts_dualkl.evaluation.reporting.report import write_report, write_scores_page
from gluonts_dualkl.evaluation.reporting.tables import strip

QUICK = [
    by_name(name)
    for name in (
        "c2st_auc_logistic", "mmd2_p", "coverage", "dcr_share", "copy_rate",
        "nearest_neighbour_ratio", "roughness_ratio", "acf_difference",
    )
]  # fmt: skip
EVIL = '<script>alert("x")</script> & co'
VALUES = {
    "c2st_auc_trees": (0.6, 0.5, 1.0),
    "c2st_auc_logistic": (0.7, 0.52, 1.0),
    "coverage": (0.9, 0.95, 0.3),
    "dcr_share": (0.5, 0.49, 1.0),
    "copy_rate": (0.05, 0.06, 1.0),
    "nearest_neighbour_ratio": (1.02, 0.97, 0.01),
    "roughness_ratio": (0.5, 1.01, 0.3),
    "mmd2_p": (0.4, 0.5, 0.01),
}


def scores_like(verdicts=(), shift=0.0, **values):
    """A table of scores by hand; ``verdicts`` overrides ``"as real"``."""
    verdicts, values = dict(verdicts), VALUES | values
    rows = [
        (name, v + shift, v + shift - 0.02, v + shift + 0.02, floor, ceiling,
         verdicts.get(name, "as real"))
        for name, (v, floor, ceiling) in values.items()
    ]  # fmt: skip
    columns = ["metric", "value", "lower", "upper", "floor", "ceiling", "verdict"]
    return pd.DataFrame(rows, columns=columns)


COPIES = {
    "dcr_share": "copies train",
    "copy_rate": "copies train",
    "nearest_neighbour_ratio": "close to train",
}
TOLD = {"c2st_auc_trees": "told apart", "c2st_auc_logistic": "told apart"}


def run(dataset, generator, seed, scores):
    known = {"dataset": dataset, "generator": generator, "seed": seed}
    cost = {"seconds_fit": 2.5, "seconds_sample": 0.25, "peak_memory_mb": 321.0}
    versions = {"versions": json.dumps({"numpy": "9.9.9"}), "failure": ""}
    return scores.assign(**known, **cost, **versions)


def failed(dataset, generator, seed, failure):
    row = {"metric": "", "verdict": "", "failure": failure, "versions": "plain text"}
    keys = {"dataset": dataset, "generator": generator, "seed": seed}
    return pd.DataFrame([keys | row])


@pytest.fixture
def table():
    parts = [
        run(d, g, seed, scores_like(verdicts, shift))
        for d in ("storms", "rates")
        for seed in (0, 1)
        for g, verdicts, shift in (
            ("smooth_walk", {"roughness_ratio": "too smooth"}, 0.0),
            ("parrot", COPIES, -0.05),
            ("noisy", TOLD, 0.1),
            ("training_copies", COPIES, 0.0),
        )
    ]
    text = "Traceback\n  ...\nRuntimeError: <b>loss</b> became NaN"
    return pd.concat([*parts, failed("rates", "broken", 0, text)], ignore_index=True)


def check_stands_alone(page):
    """Nothing is fetched, pictures are described, heading cells have a scope."""
    for link in re.findall(r'(?:src|href)\s*=\s*"([^"]*)"', page):
        assert link.startswith(("data:image/png;base64,", "#"))
    assert not re.search(r"url\(|@import|<script|<link|<iframe", page)
    text = re.sub(r"base64,[^\"]*", "", page)
    assert "http" not in text
    assert all("alt=" in image for image in re.findall(r"<img[^>]*>", page))
    assert all("scope=" in cell for cell in re.findall(r"<th\b[^>]*>", page))
    targets = re.findall(r'href="#([^"]*)"', page)
    assert targets
    assert all(page.count(f'id="{target}"') == 1 for target in targets)
    return text


def page_of(path):
    assert path.stat().st_size < 3e6
    return check_stands_alone(path.read_text(encoding="utf-8"))


def test_scores_page_of_real_scores(draw, autoregression, tmp_path):
    sets = draw(autoregression, num=40)
    copies = training_copies(sets.train, 40, 1)
    scores = evaluate_generator(
        sets.train, sets.held_out, copies, metrics=QUICK, fast=True
    )
    path = write_scores_page(
        scores,
        sets.train,
        sets.held_out,
        copies,
        tmp_path / "index.html",
        channel_names=["a (m)", EVIL, "c"],
        title=f"{EVIL} on sines",
        freq="h",
        settings={"seconds to fit": 12.5, EVIL: EVIL},
    )
    page = page_of(path)
    assert "<h1>These series copy the training set" in page
    assert "Memorisation: the series copy the training set" in page
    assert "script&gt;alert" in page
    for row in scores.to_dict("records"):
        assert escape(words.label(row["metric"])) in page
        for column in ("value", "floor", "ceiling"):
            assert words.number(row[column], row["metric"]) in page
    for section in ("Fidelity at novelty", "Spectra", "Correlations", "Maps of the"):
        assert section in page
    assert page.count("<img") == 8
    assert "12.5" in page


def test_one_channel(tmp_path):
    sets = np.random.default_rng(0).normal(size=(3, 12, 8, 1))
    page = page_of(write_scores_page(scores_like(), *sets, tmp_path / "page.html"))
    assert "8 time steps and 1 channel." in page


def test_many_channels_missing_values_and_scores(tmp_path):
    sets = np.random.default_rng(0).normal(size=(3, 12, 8, 14))
    sets[:, :3, 5:, 1] = np.nan
    scores = scores_like()
    scores.loc[scores["metric"] == "coverage", ["value", "lower", "upper"]] = np.nan
    scores.loc[scores["metric"] == "roughness_ratio", ["floor", "ceiling"]] = np.nan
    page = page_of(write_scores_page(scores, *sets, tmp_path / "page.html"))
    assert "the first 8 of 14 channels" in page
    assert "leave out 9 series with missing values" in page
    assert "1 of 8 metrics have no value" in page
    assert "not computed" in page
    assert not re.search(r"\bnan\b", page, flags=re.IGNORECASE)


def test_series_with_gaps_everywhere(tmp_path):
    sets = [np.random.default_rng(k).normal(size=(10, 8, 2)) for k in range(3)]
    sets[2][:, 7] = np.nan
    page = page_of(write_scores_page(scores_like(), *sets, tmp_path / "page.html"))
    assert "need 5 series of each set without" in page
    assert "As lines" in page


def test_table_without_columns_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"^table: columns \['floor'\] are missing"):
        write_scores_page(
            scores_like().drop(columns="floor"), *[np.zeros((9, 8, 1))] * 3, "x.html"
        )


@pytest.mark.parametrize(
    ("scores", "part"),
    [
        (scores_like(), "and no fault was found"),
        (scores_like(COPIES), "copy the training set"),
        (scores_like(TOLD), "New series, but a judge tells some of them"),
        (scores_like(TOLD, shift=0.28), "a judge tells most of them"),
        (scores_like({"roughness_ratio": "too smooth"}), "but they are too smooth"),
        (scores_like().iloc[:3], "Series of untested novelty"),
        (scores_like().iloc[3:5], "likeness to real ones was not tested"),
        (scores_like().assign(value=np.nan), "Nothing could be judged"),
    ],
)
def test_headline_follows_the_scores(scores, part):
    assert part in words.headline(scores)


def test_untested_novelty_is_never_called_new():
    lines = [text for text, _ in words.fault_lines(scores_like().iloc[:3])]
    assert "Copying of training series was not tested." in lines
    assert not any(line.startswith("No detectable") for line in lines)
    cells = {cell[0]: cell[3] for cell in words.cells(scores_like().iloc[:3])}
    assert cells["Novelty"] == "Not tested."
    assert cells["Fidelity"] == "No fault found."


@pytest.mark.parametrize(
    ("value", "name", "text"),
    [
        (0.934, "coverage", "93%"),
        (-0.1234, "js_bound", "−0.12"),
        (-0.001, "js_bound", "0.00"),
        (0.0086, "mmd2", "0.0086"),
        (1234.5, "unheard_of", "1234"),
        (np.nan, "mmd2", "–"),
        (np.inf, "roughness_ratio", "∞"),
        (2e-7, "mmd2", "2.0e−07"),
    ],
)
def test_numbers_are_readable(value, name, text):
    assert words.number(value, name) == text


def test_strip_is_left_out_where_it_says_nothing():
    row = scores_like().iloc[0].to_dict()
    assert "circle" in strip(row)
    assert "circle" not in strip(row | {"value": 9.0})
    assert strip(row | {"value": np.nan}) == ""
    assert strip(row | {"ceiling": row["floor"] + 0.01}) == ""
    assert strip(row | {"metric": "unheard_of"}) == ""


def test_band_holds_fresh_series(law):
    low, high = real_band(law(50, 0), law(50, 1))
    assert 0.5 < low < 1.0 < high < 2.0
    assert low * high == pytest.approx(1.0)


def test_names_are_cut_where_they_agree():
    assert short_names(None) is None
    assert short_names(["a (°C)", "b"]) == ["a (°C)", "b"]
    stations = [f"station {k} temperature (°C)" for k in range(3)]
    assert short_names(stations)[2] == "station 2 tempe…"
    assert (
        short_names([f"temperature at {k}" for k in (10, 11)])[0] == "…mperature at 10"
    )


def test_every_default_metric_has_a_label():
    labels = [words.label(metric.name) for metric in METRICS]
    assert len(set(labels)) == len(labels)
    assert not any("_" in text for text in labels)


def test_report_says_who_counts(table, tmp_path):
    page = page_of(write_report(table, tmp_path / "index.html"))
    assert "Smooth walk ranks best of 4 among those that do not copy" in page
    assert "told from real series on none" in page
    for metric in VALUES:
        assert escape(words.label(metric)) in page
    assert "No: 2 data sets are too few for 4 generators" in page
    assert "▲ copies" in page
    assert "✕ failed" in page
    assert "RuntimeError: &lt;b&gt;loss&lt;/b&gt; became NaN" in page
    assert "numpy 9.9.9" in page
    assert "321" in page


def test_copies_and_failures_rank_last(table):
    found = Benchmark(table)
    assert found.candidates == ["smooth_walk", "parrot", "noisy", "broken"]
    assert found.ranks["rates"].to_dict() == {
        "smooth_walk": 1.0, "noisy": 2.0, "parrot": 3.5, "broken": 3.5,
    }  # fmt: skip


def test_report_is_rebuilt_from_a_saved_table(table, tmp_path):
    table.to_parquet(tmp_path / "scores.parquet")
    first = write_report(table, tmp_path / "a.html")
    second = write_report(tmp_path / "scores.parquet", tmp_path / "b.html")
    assert first.read_bytes() == second.read_bytes()


def test_report_draws_saved_series(table, tmp_path):
    rng = np.random.default_rng(0)
    for part in ("held_out", "parrot/0", "parrot/1", "smooth_walk/0"):
        path = tmp_path / "samples" / "storms" / f"{part}.npy"
        path.parent.mkdir(parents=True, exist_ok=True)
        np.save(path, rng.normal(size=(10, 8, 2)))
    page = page_of(
        write_report(table, tmp_path / "i.html", samples=tmp_path / "samples")
    )
    assert "Lines of series of real, held out, smooth walk and parrot." in page


def test_report_of_little(tmp_path):
    one = run("storms", "alone", 0, scores_like({"copy_rate": "copies train"}))
    one["failure"] = None
    page = page_of(write_report(one, tmp_path / "one.html"))
    assert "Alone copies nothing detectable on 1 of 1 data set." in page
    assert "No run failed." in page
    none = failed(EVIL, EVIL, 0, "ValueError: too few").reindex(columns=one.columns)
    page = page_of(write_report(none, tmp_path / "none.html"))
    assert "Nothing could be judged" in page


def test_unjudged_generators_do_not_count(tmp_path):
    part = run("storms", "partial", 0, scores_like().iloc[:3])
    page = page_of(write_report(part, tmp_path / "index.html"))
    assert "No generator yields new series" in page
    assert "not judged" in page
    assert "copying was not tested" in page


def test_seeds_that_disagree_are_told(tmp_path):
    seeds = [scores_like(COPIES), scores_like(), scores_like()]
    parts = [run("storms", "moody", k, scores) for k, scores in enumerate(seeds)]
    found = Benchmark(pd.concat(parts, ignore_index=True))
    assert not found.grid["storms", "moody"].counts
    page = page_of(write_report(found.table, tmp_path / "index.html"))
    assert "memorisation (1 of 3 seeds)" in page
