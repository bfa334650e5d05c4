"""The demonstration: its wording follows from the numbers, and it runs."""

import io
import re
from dataclasses import replace

import pytest
from rich.console import Console

from gluonts_dualkl.evaluation import demo_words as words
from gluonts_dualkl.evaluation.demo import print_table, run_demo
from gluonts_dualkl.types import Divergence

NUM_SERIES = 183
SMALL = {"max_rounds": 2, "num_walkers": 100, "num_folds": 2, "num_steps": 5}
OURS = words.Row("ours", 0.69, 0.50, 0.04, 0.93, 20.0)
COPIES = words.Row("training copies", 0.48, 1.0, 1.0, 0.96, 0.0)
RIVALS = [
    words.Row("independent marginals", 1.0, 0.5, 0.0, 0.1, 0.0),
    words.Row("shrunk Gaussian", 0.97, 0.5, 0.0, 0.4, 0.0),
]
LEGS = {"Gaussian": 30.0, "statistics": 10.0}
NATS = Divergence(40.0, 36.0, 44.0, 2.4, LEGS, 60.0, NUM_SERIES, 40.5)


def findings(ours=OURS, divergence=NATS):
    return words.sentences(ours, COPIES, RIVALS, divergence, NUM_SERIES)


@pytest.mark.parametrize(
    ("change", "part"),
    [
        ({}, "can tell only some of them"),
        ({"auc": 0.55}, "can hardly tell them"),
        ({"auc": 0.85}, "can tell many of them"),
        ({"auc": 0.50}, "no better than by chance"),
        ({"auc": 0.95}, "no closer to real ones than a simple generator"),
        ({"copy_rate": 0.3}, "too close to the training storms"),
        ({"dcr_share": 0.9}, "too close to the training storms"),
        ({"dcr_share": 0.62}, "New storms near the training ones; the judge can tell"),
        ({"copy_rate": 1.0, "auc": 0.48}, "too close to the training storms"),
    ],
)
def test_headline_follows_the_numbers(change, part):
    assert part in words.headline(replace(OURS, **change), COPIES, RIVALS, NUM_SERIES)


@pytest.mark.parametrize(
    ("auc", "part"),
    [(0.69, "clearly better"), (0.94, "hardly better"), (0.99, "no better")],
)
def test_fidelity_is_against_the_best_simple_generator(auc, part):
    text = findings(replace(OURS, auc=auc))["Fidelity"]
    assert part in text
    assert "shrunk Gaussian, 0.97" in text
    assert f"{auc:.2f}" in text


def test_novelty_is_claimed_only_within_chance():
    assert "No copying is detected" in findings()["Novelty"]
    near = findings(replace(OURS, dcr_share=0.58))["Novelty"]
    assert "lean towards the training storms" in near
    assert "58% are nearer" in near
    copied = findings(replace(OURS, copy_rate=0.3))["Novelty"]
    assert "repeat the training storms" in copied


@pytest.mark.parametrize(
    ("coverage", "part"), [(0.95, "full"), (0.8, "Most"), (0.3, "missing")]
)
def test_diversity_is_against_real_storms(coverage, part):
    assert part in findings(replace(OURS, coverage=coverage))["Diversity"]


@pytest.mark.parametrize(
    ("change", "part"),
    [
        ({}, "36.0 to 44.0"),
        ({"lower": -1.0}, "no dependency is shown"),
        ({"ceiling": 20.0}, "more than the 20.0 nats"),
        ({"integrated": 55.0}, "second estimate gives 55.0"),
    ],
)
def test_dependency_knows_its_limits(change, part):
    assert part in findings(divergence=replace(NATS, **change))["Dependency"]


@pytest.mark.parametrize(
    ("stabilities", "part"),
    [([1.0], "one group"), ([0.9, 0.8], "holds"), ([0.9, 0.5], "only a hint")],
)
def test_clusters_are_believed_when_stable(stabilities, part):
    assert part in words.clusters_sentence(stabilities)


def test_certificate_reads_the_last_leg():
    legs = [("first", 0.45, 1.0), ("last", 0.66, 0.1)]
    assert "something is still left" in words.certificate_sentence(legs)
    legs[-1] = ("last", 0.692, 0.0)
    assert "next to nothing is left" in words.certificate_sentence(legs)
    assert words.certificate_sentence([]) == ""


def test_path_names_the_laws():
    text = words.path_sentence(["gaussian", "other", "data"])
    assert "a Gaussian, other, the storms themselves" in text


def test_table_fits_a_terminal(tmp_path):
    page = io.StringIO()
    console = Console(file=page, width=80)
    print_table([OURS, COPIES, *RIVALS], NATS, tmp_path, NUM_SERIES, console)
    text = page.getvalue()
    for row in (OURS, COPIES, *RIVALS):
        assert re.search(rf"{row.name} +{row.auc:.2f} +{row.dcr_share:.2f}", text)
    assert "[36.0, 44.0]" in text
    assert str(tmp_path / "index.html") in text


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    out = tmp_path_factory.mktemp("demo") / "demo"
    rows = run_demo(out, quiet=True, num_storms=80, **SMALL)
    return out, rows


def test_demo_writes_one_complete_folder(folder):
    out, rows = folder
    assert [row.name for row in rows] == [
        "ours",
        "training copies",
        "independent marginals",
        "shrunk Gaussian",
    ]
    assert {path.name for path in out.iterdir()} >= {
        "index.html",
        "model",
        "synthetic",
        "synthetic.csv",
        "real_and_synthetic_images.png",
        "real_and_synthetic_lines.png",
        "dual_space.png",
        "walk.png",
        "divergence.png",
    }
    assert [path.name for path in out.parent.iterdir()] == ["demo"]


def test_page_stands_alone(folder):
    page = (folder[0] / "index.html").read_text(encoding="utf-8")
    assert page.count("data:image/png;base64,") == 5
    for link in re.findall(r'(?:src|href)="([^"]{4})', page):
        assert link == "data"
    assert "HURDAT2" in page
    for row in folder[1]:
        assert f"<td>{row.auc:.2f}</td>" in page


def test_existing_folder_is_kept_without_force(folder):
    with pytest.raises(FileExistsError, match="exists"):
        run_demo(folder[0], quiet=True)
