"""Places to write to: checked before the work, and changed only when it is complete."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows: what a killed process left stays
    fcntl = None  # type: ignore[assignment]

__all__ = ["atomic_path", "check_destination"]


def check_destination(
    path: str | os.PathLike[str], force: bool = False, marker: str | None = None
) -> None:
    """Raise unless something new may be written at ``path``.

    Parameters
    ----------
    path
        Place of the new file or folder.
    force
        Whether what is there may be replaced.
    marker
        Name of a file that tells our own folders: a folder that holds anything, but
        not this file, is never replaced.

    Raises
    ------
    FileExistsError
        If ``path`` exists and ``force`` is not set, or is a folder without ``marker``.
    ValueError
        If ``path`` holds the current directory, or its parent is a file.
    """
    path = Path(path).expanduser()
    if os.path.lexists(path) and not force:
        raise FileExistsError(
            f"{str(path)!r} exists; choose another path or replace it with force."
        )
    if marker and path.is_dir() and any(path.iterdir()):
        if not (path / marker).is_file():
            raise FileExistsError(
                f"folder {str(path)!r} holds no {marker} and so is not ours to "
                "replace; choose another path."
            )
    resolved = path.resolve()
    if resolved in (Path.cwd(), *Path.cwd().parents, Path.home()):
        raise ValueError(
            f"{str(path)!r} holds the current or the home directory and is not "
            "replaced; choose a new path."
        )
    blocking = next((p for p in resolved.parents if p.exists()), None)
    if blocking is not None and not blocking.is_dir():
        raise ValueError(f"{str(blocking)!r} is a file, so nothing fits inside it.")


@contextmanager
def atomic_path(
    path: str | os.PathLike[str], force: bool = False, marker: str | None = None
) -> Iterator[Path]:
    """Give a temporary path; what is made there moves to ``path`` at the end.

    On any exception, an interrupt included, the temporary is removed and ``path``
    stays as it was. Works for files and folders; missing parents are made.

    A killed process cannot clean up: it leaves a hidden folder ``.<name>.<random>``
    beside ``path``, which the next call for the same path removes. A lock in the folder
    tells it from that of a process still at work.

    Parameters
    ----------
    path
        Final place.
    force, marker
        Whether, and which, existing ones are replaced: see :func:`check_destination`.

    Raises
    ------
    FileExistsError, ValueError
        See :func:`check_destination`.
    """
    check_destination(path, force, marker)
    final = Path(path).expanduser().resolve()
    new_parents = [p for p in final.parents if not p.exists()]
    final.parent.mkdir(parents=True, exist_ok=True)
    _remove_stale(final)
    scratch = Path(tempfile.mkdtemp(prefix=f".{final.name}.", dir=final.parent))
    lock: int | None = None
    try:
        lock = _lock(scratch, final.name)
        yield scratch / final.name
        _move_into_place(scratch / final.name, final, _aside(scratch, final), force)
    except BaseException:
        shutil.rmtree(scratch, ignore_errors=True)
        with suppress(OSError):
            for parent in new_parents:
                parent.rmdir()
        raise
    finally:
        if lock is not None:
            os.close(lock)
    shutil.rmtree(scratch, ignore_errors=True)


def _aside(scratch: Path, final: Path) -> Path:
    """Place of a replaced folder until the new one is there."""
    return scratch / f"{final.name}.replaced"


def _lock(scratch: Path, name: str) -> int | None:
    """Mark a folder as in use for as long as this process lives, where that works."""
    if fcntl is None:
        return None
    making = scratch / f"{name}.locking"
    lock = os.open(making, os.O_CREAT | os.O_RDWR)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        making.rename(scratch / f"{name}.lock")  # seen only once it is locked
    except OSError:
        os.close(lock)
        return None
    return lock


def _remove_stale(final: Path) -> None:
    """Remove what killed processes left of the same file, unless it is all there is."""
    prefix = f".{final.name}."
    with suppress(OSError):
        for folder in list(final.parent.iterdir()):
            random = folder.name.removeprefix(prefix)
            if random == folder.name or "." in random:
                continue
            is_last = _aside(folder, final).exists() and not os.path.lexists(final)
            if not is_last and _is_abandoned(folder / f"{final.name}.lock"):
                shutil.rmtree(folder, ignore_errors=True)


def _is_abandoned(path: Path) -> bool:
    """Whether a lock is there that no process holds."""
    if fcntl is None or not path.is_file():
        return False
    try:
        lock = os.open(path, os.O_RDWR)
    except OSError:
        return False
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    finally:
        os.close(lock)
    return True


def _move_into_place(new: Path, final: Path, aside: Path, force: bool) -> None:
    check_destination(final, force)
    replaces_folder = final.is_dir()
    if replaces_folder:
        final.rename(aside)
    try:
        new.replace(final)
    except BaseException:
        if replaces_folder:
            aside.rename(final)
        raise
