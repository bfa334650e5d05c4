"""The command line: help, messages and exit codes, and a small round trip."""

import json
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from gluonts_dualkl import __version__
from gluonts_dualkl.cli import app

NUM_SERIES, LENGTH = 40, 10
COMMANDS = ["train", "generate", "info", "plot", "evaluate", "benchmark", "demo"]


def run(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def assert_fails(result, code, *parts):
    """One sentence on stderr, nothing on stdout, no traceback."""
    assert result.exit_code == code
    assert result.stdout == ""
    assert result.stderr.startswith("Error: ")
    assert len(result.stderr.splitlines()) == 1
    for part in parts:
        assert str(part) in result.stderr


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    """Long CSV file of correlated series with awkward column names."""
    rng = np.random.default_rng(0)
    values = rng.normal(size=(NUM_SERIES, LENGTH, 2)).cumsum(1)
    hours = pd.date_range("2024-01-01", periods=LENGTH, freq="h")
    frame = pd.DataFrame(
        {
            "place": np.repeat([f"p{k}" for k in range(NUM_SERIES)], LENGTH),
            "hour": np.tile(hours, NUM_SERIES),
            "load": values[..., 0].ravel(),
            "price": values[..., 1].ravel(),
            "ignored": 1.0,
        }
    )
    path = tmp_path_factory.mktemp("data") / "table.csv"
    frame.to_csv(path, index=False)
    return path


@pytest.fixture(scope="module")
def columns():
    return ["--item-id", "place", "--timestamp", "hour", "--channels", "load,price"]


@pytest.fixture(scope="module")
def trained(table, columns, tmp_path_factory):
    out = tmp_path_factory.mktemp("models") / "model"
    result = run("train", table, "--out", out, *columns)
    assert result.exit_code == 0, result.output
    return out, result


@pytest.mark.parametrize("arguments", [(), ("--help",), ("-h",)])
def test_help_lists_the_commands(arguments):
    result = run(*arguments)
    assert result.exit_code == 0
    for command in COMMANDS:
        assert command in result.stdout


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(command):
    result = run(command, "--help")
    assert result.exit_code == 0
    assert "Usage" in result.stdout


def test_help_imports_nothing_heavy():
    code = (
        "import sys\n"
        "from gluonts_dualkl.cli import app\n"
        "app(['--help'], standalone_mode=False)\n"
        "heavy = {'torch', 'gluonts', 'pandas', 'matplotlib'} & set(sys.modules)\n"
        "sys.exit(', '.join(heavy) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_module_runs_and_prints_the_version():
    command = [sys.executable, "-m", "gluonts_dualkl", "--version"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0
    assert done.stdout == f"gluonts-dualkl {__version__}\n"


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (("trane",), "trane"),
        (("train",), "DATA"),
        (("train", "x.csv"), "--out"),
        (("generate", "model", "--out", "x.csv", "-n", "0"), "--num-series"),
        (("info", "model", "--colour"), "--colour"),
    ],
)
def test_bad_usage_exits_with_2(arguments, part):
    assert_fails(run(*arguments), 2, part)


@pytest.mark.parametrize("command", ["generate", "plot"])
def test_missing_model_is_one_sentence(command, tmp_path):
    result = run(command, tmp_path / "none", "--out", tmp_path / "out")
    assert_fails(result, 2, "none")
    assert list(tmp_path.iterdir()) == []


def test_missing_data_is_one_sentence(tmp_path):
    result = run("train", tmp_path / "none.csv", "--out", tmp_path / "model")
    assert_fails(result, 2, "none.csv")
    assert list(tmp_path.iterdir()) == []


def test_missing_column_is_one_sentence(table, tmp_path):
    result = run("train", table, "--out", tmp_path / "model", "--timestamp", "when")
    assert_fails(result, 2, "when", "hour")
    assert list(tmp_path.iterdir()) == []


def test_damaged_model_is_one_sentence(tmp_path):
    (tmp_path / "model").mkdir()
    result = run("info", tmp_path / "model")
    assert_fails(result, 2, "model")


@pytest.mark.parametrize(
    "arguments",
    [
        ("train", "data.csv", "--out", "taken"),
        ("generate", "model", "--out", "taken"),
        ("plot", "model", "--out", "taken"),
        ("plot", "model", "--out", "taken.png"),
        ("demo", "--out", "taken"),
    ],
)
def test_existing_output_is_refused_before_work(arguments, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "thesis.tex").write_text("precious")
    (tmp_path / "taken.png").write_text("precious")
    assert_fails(run(*arguments), 2, "taken", "exists", "--force")


@pytest.mark.parametrize(
    "arguments",
    [
        ("train", "data.csv"),
        ("generate", "model"),
        ("plot", "model"),
        ("demo",),
    ],
)
def test_foreign_folder_is_never_replaced(arguments, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    precious = tmp_path / "taken" / "thesis.tex"
    precious.parent.mkdir()
    precious.write_text("precious")
    assert_fails(run(*arguments, "--out", "taken", "--force"), 2, "taken")
    assert precious.read_text() == "precious"


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (ValueError("too few\nseries"), 2, "Error: too few series.\n"),
        (FileNotFoundError(2, "No such file", "x"), 2, "Error: No such file: x.\n"),
        (OSError(28, "No space left on device"), 1, "No space left on device.\n"),
        (MemoryError(), 1, "Error: MemoryError.\n"),
        (KeyboardInterrupt(), 130, "Interrupted; nothing was written.\n"),
    ],
)
def test_what_goes_wrong_while_training(
    error, code, message, table, columns, tmp_path, monkeypatch
):
    def fail(*args, **kwargs):
        raise error

    monkeypatch.setattr("gluonts_dualkl.DualKLEstimator.train", fail)
    result = run("train", table, "--out", tmp_path / "model", *columns)
    assert result.exit_code == code
    assert result.stderr.endswith(message)
    assert "Traceback" not in result.output
    assert list(tmp_path.iterdir()) == []


def test_a_defect_of_ours_is_not_hidden(monkeypatch, table, tmp_path):
    def fail(*args, **kwargs):
        raise KeyError("defect")

    monkeypatch.setattr("gluonts_dualkl.data.files.read_dataset", fail)
    result = run("train", table, "--out", tmp_path / "model")
    assert isinstance(result.exception, KeyError)


def test_train_says_what_was_learned(trained):
    out, result = trained
    assert (out / "gluonts-config.json").is_file()
    assert f"Trained on {NUM_SERIES} series of {LENGTH} steps" in result.stdout
    assert "by 2 channels" in result.stdout
    assert "nats" in result.stdout
    assert "gluonts-dualkl generate" in result.stdout


@pytest.mark.parametrize("name", ["new.csv", "new.csv.gz", "new.parquet"])
def test_generated_tables(trained, tmp_path, name):
    result = run("generate", trained[0], "-n", 7, "--out", tmp_path / name)
    assert result.exit_code == 0, result.output
    assert result.stdout == f"Wrote 7 series to {tmp_path / name}\n"
    read = pd.read_parquet if name.endswith("parquet") else pd.read_csv
    frame = read(tmp_path / name)
    assert len(frame) == 7 * LENGTH
    assert list(frame.columns) == ["item_id", "timestamp", "load", "price"]
    assert frame.item_id.str.startswith("synthetic-").all()
    assert np.isfinite(frame[["load", "price"]].to_numpy()).all()


@pytest.mark.parametrize("name", ["new.jsonl", "new"])
def test_generated_gluonts_data_train_again(trained, tmp_path, name):
    from gluonts_dualkl.data.files import read_dataset

    out = tmp_path / name
    result = run("generate", trained[0], "-n", 3, "--out", out, "--prefix", "a")
    assert result.exit_code == 0, result.output
    entries, _ = read_dataset(out, freq="h")
    assert [entry["target"].shape for entry in entries] == [(2, LENGTH)] * 3
    assert all(entry["item_id"].startswith("a") for entry in entries)


def test_same_seed_same_file_and_force(trained, tmp_path):
    out = tmp_path / "new.csv"
    texts = []
    for seed, *force in ((1,), (2, "--force"), (1, "--force")):
        options = ["-n", 4, "--out", out, "--seed", seed, *force]
        assert run("generate", trained[0], *options).exit_code == 0
        texts.append(out.read_text())
    assert texts[0] == texts[2] != texts[1]
    assert_fails(run("generate", trained[0], "--out", out), 2, "exists")


def test_unknown_format_is_one_sentence(trained, tmp_path):
    result = run("generate", trained[0], "--out", tmp_path / "new.xlsx", "-q")
    assert_fails(result, 2, ".xlsx", ".csv")
    assert list(tmp_path.iterdir()) == []


def test_info_in_words_and_as_json(trained):
    result = run("info", trained[0])
    assert result.exit_code == 0
    assert str(NUM_SERIES) in result.stdout
    facts = json.loads(run("info", trained[0], "--json").stdout)
    assert {"load", "price"} <= set(json.dumps(facts).replace('"', " ").split())


def test_plot_writes_a_folder_or_one_picture(trained, tmp_path):
    result = run("plot", trained[0], "--out", tmp_path / "pictures")
    assert result.exit_code == 0, result.output
    names = {path.name for path in (tmp_path / "pictures").iterdir()}
    assert {"dual_space.png", "divergence.png", "walk.png"} <= names
    assert {"dependency.png", "clusters.png", "explained_series.png"} <= names
    assert set(result.stdout.split()) == {str(tmp_path / "pictures" / n) for n in names}

    result = run("plot", trained[0], "--out", tmp_path / "model.png")
    assert result.exit_code == 0, result.output
    assert (tmp_path / "model.png").read_bytes().startswith(b"\x89PNG")


def test_quiet_prints_nothing(trained, table, columns, tmp_path):
    for arguments in (
        ("train", table, "--out", tmp_path / "model", *columns),
        ("generate", trained[0], "-n", 2, "--out", tmp_path / "new.csv"),
        ("plot", trained[0], "--out", tmp_path / "new.png"),
    ):
        result = run(*arguments, "--quiet")
        assert (result.exit_code, result.output) == (0, "")
