"""Places to write to: refused, replaced whole or not at all, cleaned after a kill."""

import signal
import subprocess
import sys

import pytest
from entry_files import leftovers

from gluonts_dualkl.data.destinations import atomic_path, check_destination

KILLED = """
import os, signal, sys
from gluonts_dualkl.data.destinations import atomic_path
with atomic_path(sys.argv[1]) as path:
    path.write_text("half")
    os.kill(os.getpid(), signal.SIGKILL)
"""


class TestCheckDestination:
    def test_current_directory_is_not_replaced(self, tmp_path, monkeypatch):
        (tmp_path / "inner").mkdir()
        monkeypatch.chdir(tmp_path / "inner")
        for path in (".", "..", "~"):
            with pytest.raises(ValueError, match="current or the home directory"):
                check_destination(path, force=True)

    def test_parent_is_a_file(self, tmp_path):
        (tmp_path / "file").write_text("kept")
        with pytest.raises(ValueError, match="is a file, so nothing fits inside"):
            check_destination(tmp_path / "file" / "d.csv")


class TestAtomicPath:
    def test_folder_with_marker(self, tmp_path):
        for text in ("old", "new"):
            with atomic_path(tmp_path / "out", force=True, marker="mark") as path:
                path.mkdir()
                (path / "mark").write_text(text)
        assert (tmp_path / "out" / "mark").read_text() == "new"
        assert leftovers(tmp_path) == ["out"]

    def test_path_that_appears_meanwhile(self, tmp_path):
        with pytest.raises(FileExistsError, match="exists"):
            with atomic_path(tmp_path / "out.txt") as path:
                path.write_text("mine")
                (tmp_path / "out.txt").write_text("theirs")
        assert (tmp_path / "out.txt").read_text() == "theirs"
        assert leftovers(tmp_path) == ["out.txt"]

    def test_names_of_its_own_files_do_not_clash(self, tmp_path):
        for name in ("replaced", "lock", "replaced.lock"):
            for text in ("old", "new"):
                with atomic_path(tmp_path / name, force=True) as path:
                    path.mkdir()
                    (path / "file").write_text(text)
            assert (tmp_path / name / "file").read_text() == "new"
        assert leftovers(tmp_path) == ["lock", "replaced", "replaced.lock"]


@pytest.mark.skipif(sys.platform == "win32", reason="needs locks of POSIX")
class TestAfterAKill:
    def test_the_next_call_cleans_up(self, tmp_path):
        path = tmp_path / "d.csv"
        command = [sys.executable, "-c", KILLED, str(path)]
        assert subprocess.run(command).returncode == -signal.SIGKILL
        (hidden,) = leftovers(tmp_path)
        assert hidden.startswith(".d.csv.")
        with atomic_path(tmp_path / "d") as other:  # another file, another prefix
            other.write_text("kept")
        assert leftovers(tmp_path) == [hidden, "d"]
        with atomic_path(path) as new:
            new.write_text("whole")
        assert leftovers(tmp_path) == ["d", "d.csv"]
        assert path.read_text() == "whole"

    def test_a_writer_at_work_is_left_alone(self, tmp_path):
        path = tmp_path / "d.csv"
        with atomic_path(path, force=True) as first:
            first.write_text("first")
            with atomic_path(path, force=True) as second:
                second.write_text("second")
            assert first.read_text() == "first"
        assert path.read_text() == "first"
        assert leftovers(tmp_path) == ["d.csv"]

    def test_folders_of_others_stay(self, tmp_path):
        (tmp_path / ".d.csv.notes").mkdir()
        with atomic_path(tmp_path / "d.csv") as path:
            path.write_text("whole")
        assert leftovers(tmp_path) == [".d.csv.notes", "d.csv"]

    def test_a_folder_set_aside_stays_until_there_is_another(self, tmp_path):
        aside = tmp_path / ".out.abc" / "out.replaced"
        aside.mkdir(parents=True)
        (tmp_path / ".out.abc" / "out.lock").touch()
        for expected in ([".out.abc", "out"], ["out"]):
            with atomic_path(tmp_path / "out", force=True) as path:
                path.mkdir()
            assert leftovers(tmp_path) == expected
