"""A ``generate`` that is killed leaves a complete file or none, and no obstacle."""

import os
import signal
import subprocess
import sys
import time

import pytest
from typer.testing import CliRunner

from gluonts_dualkl.cli import app
from gluonts_dualkl.data.files import read_dataset

NUM_SERIES, LENGTH = 20_000, 12
PATIENCE = 120  # seconds, for a machine that is busy

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX signals")


@pytest.fixture(scope="module")
def model(generator, tmp_path_factory):
    folder = tmp_path_factory.mktemp("model") / "model"
    generator.serialize(folder)
    return folder


def arguments(model, out, num_series):
    return ["generate", str(model), "--out", str(out), "-n", str(num_series), "-q"]


def bytes_written(out):
    """Size of the temporary file so far, None before there is one."""
    found = out.parent.glob(f".{out.name}.*/{out.name}")
    sizes = [path.stat().st_size for path in found]
    return max(sizes, default=None)


def begun(out):
    return bytes_written(out) is not None


def half(out):
    return out.exists() or (bytes_written(out) or 0) > NUM_SERIES * LENGTH * 6


def ended(out):
    return out.exists()


def stop(model, out, moment, number, num_series=NUM_SERIES):
    """Run the command line in a process of its own and stop it at a moment."""
    command = [sys.executable, "-m", "gluonts_dualkl"]
    # A child ignores the interrupt where its parent does, as jobs of a shell do.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        process = subprocess.Popen(
            [*command, *arguments(model, out, num_series)],
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ | {"OMP_NUM_THREADS": "1"},
        )
    finally:
        signal.signal(signal.SIGINT, before)
    try:
        deadline = time.monotonic() + PATIENCE
        while not _reached(moment, out):
            assert process.poll() is None, process.stderr.read()
            assert time.monotonic() < deadline, "the moment never came"
            time.sleep(0.002)
        process.send_signal(number)
        return process.wait(PATIENCE), process.stderr.read()
    finally:
        process.kill()
        process.communicate()


def _reached(moment, out):
    try:
        return moment(out)
    except FileNotFoundError:  # moved between two looks
        return False


def assert_runs_again(model, out):
    """The same place takes the next result, and nothing else stays there."""
    force = ["--force"] if out.exists() else []
    result = CliRunner().invoke(app, arguments(model, out, 20) + force)
    assert result.exit_code == 0, result.output
    assert [path.name for path in out.parent.iterdir()] == [out.name]
    assert len(read_dataset(out, freq="D")[0]) == 20


@pytest.mark.parametrize(
    ("name", "moment"), [("d.csv", begun), ("d.arrow", half), ("d.csv", ended)]
)
def test_killed(name, moment, model, tmp_path):
    out = tmp_path / "out" / name
    code, _ = stop(model, out, moment, signal.SIGKILL)
    assert code in (-signal.SIGKILL, 0)  # 0: it was done before the signal came
    if moment is begun:
        assert not out.exists()
        assert len(list(out.parent.iterdir())) == 1  # hidden, cleaned by the next run
    if out.exists():
        entries, _ = read_dataset(out, freq="D")
        assert len(entries) == NUM_SERIES
        assert {entry["target"].shape for entry in entries} == {(2, LENGTH)}
    else:
        assert moment is not ended
    assert_runs_again(model, out)


def test_interrupted(model, tmp_path):
    out = tmp_path / "out" / "d.jsonl"
    code, errors = stop(model, out, begun, signal.SIGINT, 20 * NUM_SERIES)
    assert code == 130
    assert errors == "Interrupted; nothing was written.\n"
    assert list(tmp_path.iterdir()) == []
    assert_runs_again(model, out)
