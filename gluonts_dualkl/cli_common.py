"""What all commands share: exit codes, options, checks of --out, progress."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

__all__ = [
    "Commands",
    "DataSets",
    "Device",
    "Force",
    "Interrupted",
    "ItemId",
    "Length",
    "Only",
    "Quiet",
    "Resume",
    "Retry",
    "Seed",
    "Timestamp",
    "check_out",
    "reporting",
    "split_names",
]

BAD_INPUT = (ValueError, FileNotFoundError, FileExistsError, NotADirectoryError)
FAILURES = (OSError, ImportError, MemoryError)

Seed = Annotated[int, typer.Option(help="Same seed, same result.", min=0)]
DataSets = Annotated[
    str,
    typer.Option(
        metavar="DIR_OR_NAMES",
        help="Bundled sets, as storms_atlantic,fx_ecb; or a folder of long CSV or "
        "Parquet tables; or a folder with a load_data.py, whose code is run.",
    ),
]
Length = Annotated[
    int | None,
    typer.Option(min=6, help="Cut series into windows of so many steps."),
]
Only = Annotated[
    str | None, typer.Option(help="Data sets of a folder, as a,b; by default all.")
]
Resume = Annotated[
    bool, typer.Option("--resume", help="Go on with the results in --out.")
]
Retry = Annotated[
    bool, typer.Option("--retry", help="With --resume: failed cells once more.")
]
Force = Annotated[bool, typer.Option("--force", help="Replace what --out names.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print nothing but errors.")]
ItemId = Annotated[str, typer.Option(help="Column that names the series.")]
Timestamp = Annotated[str, typer.Option(help="Column of the time.")]
Device = Annotated[
    str, typer.Option(help="Where to compute: auto, cpu, cuda, cuda:1, ...")
]


class Interrupted(Exception):
    """An interrupt that left something behind; the message says what."""


class Commands(TyperGroup):
    """Commands that report what went wrong in one sentence, without traceback."""

    def main(self, *args: Any, **kwargs: Any) -> Any:
        """Run and exit with the code that fits the outcome."""
        standalone_mode = kwargs.pop("standalone_mode", True)
        code, message = 0, ""
        try:
            kwargs["standalone_mode"] = False
            result = super().main(*args, **kwargs)
            code = result if isinstance(result, int) else 0
        except Interrupted as error:
            code, message = 130, str(error)
        except (KeyboardInterrupt, typer.Abort):
            code = 130
        except BAD_INPUT as error:
            code, message = 2, _sentence(_describe(error))
        except FAILURES as error:
            code, message = 1, _sentence(_describe(error))
        except Exception as error:
            if not hasattr(error, "format_message"):
                raise
            code, message = 2, _sentence(error.format_message()) + " See --help."
        if code == 130:
            typer.echo(message or "Interrupted; nothing was written.", err=True)
        elif message:
            typer.echo(f"Error: {message}", err=True)
        if standalone_mode:
            sys.exit(code)
        return code


def check_out(out: Path, force: bool, sign: str) -> None:
    """Refuse what must not be replaced, before any work is done."""
    from gluonts_dualkl.data.destinations import check_destination

    if out.exists() and not force:
        raise FileExistsError(
            f"{str(out)!r} exists; choose another path, or replace it with --force."
        )
    check_destination(out, force, marker=sign)


class _Notes(logging.Handler):
    """Show warnings of the library on stderr, each one once."""

    def __init__(self, level: int) -> None:
        super().__init__(level)
        self.seen: set[str] = set()

    def emit(self, record: logging.LogRecord) -> None:
        message = record.getMessage()
        if message not in self.seen:
            typer.echo(f"Note: {_sentence(message)}", err=True)
        self.seen.add(message)


@contextmanager
def reporting(quiet: bool = False) -> Iterator[None]:
    """Show progress bars and warnings of the library, or neither."""
    from gluonts.env import env

    logger = logging.getLogger("gluonts_dualkl")
    notes = _Notes(logging.ERROR if quiet else logging.WARNING)
    logger.addHandler(notes)
    try:
        with env._let(use_tqdm=not quiet):
            yield
    finally:
        logger.removeHandler(notes)


def split_names(text: str | None) -> list[str] | None:
    """Names of a text such as ``a,b,c``; None for none."""
    return [name.strip() for name in text.split(",")] if text else None


def _describe(error: BaseException) -> str:
    if isinstance(error, OSError) and error.strerror:
        return (
            f"{error.strerror}: {error.filename}" if error.filename else error.strerror
        )
    return str(error) or type(error).__name__


def _sentence(text: str) -> str:
    """Return the text on one line with a full stop."""
    text = " ".join(text.split())
    return text if text.endswith((".", "!", "?")) else text + "."
