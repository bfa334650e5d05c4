"""Command line: ``gluonts-dualkl train | generate | info | plot | demo``.

Commands parse and call, nothing more. Results go to stdout, progress and errors to
stderr. Exit codes: 0 done, 2 bad usage or input, 1 failure, 130 interrupted.
Everything heavy is imported inside the commands, so that ``--help`` is instant.
"""

from __future__ import annotations

import json
import logging
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

if TYPE_CHECKING:
    from gluonts_dualkl.generator import DualKLGenerator
    from gluonts_dualkl.types import DataEntry

__all__ = ["app", "main"]

BAD_INPUT = (ValueError, FileNotFoundError, FileExistsError, NotADirectoryError)
FAILURES = (OSError, ImportError, MemoryError)

# A file by which a folder is known as one of ours, and so may be replaced.
MODEL_SIGN = "gluonts-config.json"
DATASET_SIGN = "metadata.json"
PICTURES_SIGN = "divergence.png"
DEMO_SIGN = "index.html"


class _Commands(TyperGroup):
    """Commands that report what went wrong in one sentence, without traceback."""

    def main(self, *args: Any, **kwargs: Any) -> Any:
        """Run and exit with the code that fits the outcome."""
        standalone_mode = kwargs.pop("standalone_mode", True)
        code, message = 0, ""
        try:
            kwargs["standalone_mode"] = False
            result = super().main(*args, **kwargs)
            code = result if isinstance(result, int) else 0
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
            typer.echo("Interrupted; nothing was written.", err=True)
        elif message:
            typer.echo(f"Error: {message}", err=True)
        if standalone_mode:
            sys.exit(code)
        return code


app = typer.Typer(
    cls=_Commands,
    context_settings={"help_option_names": ["-h", "--help"]},
    pretty_exceptions_enable=False,
    add_completion=False,
    help="Generate time series from a few real ones, and see why they fit.",
    epilog="Try it: gluonts-dualkl demo --out demo/",
)

Seed = Annotated[int, typer.Option(help="Same seed, same result.", min=0)]
Force = Annotated[bool, typer.Option("--force", help="Replace what --out names.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print nothing but errors.")]
Device = Annotated[
    str, typer.Option(help="Where to compute: auto, cpu, cuda, cuda:1, ...")
]
Model = Annotated[
    Path, typer.Argument(metavar="MODEL", help="Folder that `train` wrote.")
]


def main() -> None:
    """Run the command line program."""
    app(prog_name="gluonts-dualkl")


def _print_version(wanted: bool) -> None:
    if wanted:
        from gluonts_dualkl import __version__

        typer.echo(f"gluonts-dualkl {__version__}")
        raise typer.Exit


@app.callback(invoke_without_command=True)
def _begin(
    context: typer.Context,
    version: Annotated[
        bool,
        typer.Option(
            "--version",
            callback=_print_version,
            is_eager=True,
            help="Print the version and exit.",
        ),
    ] = False,
) -> None:
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


@app.command()
def train(
    data: Annotated[
        Path,
        typer.Argument(
            metavar="DATA",
            help="Long CSV or Parquet table, or a GluonTS file or folder.",
        ),
    ],
    out: Annotated[Path, typer.Option(help="Folder for the trained model.")],
    freq: Annotated[
        str | None,
        typer.Option(help="Time step, such as 6h, D, B, by default that of DATA."),
    ] = None,
    length: Annotated[
        int | None,
        typer.Option(
            min=2, help="Time steps in a series, by default the common length."
        ),
    ] = None,
    stride: Annotated[
        int | None,
        typer.Option(
            min=1, help="Steps between windows of longer series, by default the length."
        ),
    ] = None,
    item_id: Annotated[
        str, typer.Option(help="Column that names the series.")
    ] = "item_id",
    timestamp: Annotated[str, typer.Option(help="Column of the time.")] = "timestamp",
    channels: Annotated[
        str | None,
        typer.Option(help="Columns of the values, as a,b,c; by default all others."),
    ] = None,
    seed: Seed = 0,
    device: Device = "auto",
    force: Force = False,
    quiet: Quiet = False,
) -> None:
    """Train a generator on DATA and save it in a folder.

    A table has one row for each series and time step, with the columns item_id,
    timestamp and one for each channel.
    """
    from gluonts_dualkl.destinations import atomic_path

    _check_out(out, force, MODEL_SIGN)
    from gluonts_dualkl import DualKLEstimator
    from gluonts_dualkl.files import read_dataset

    wanted = [name.strip() for name in channels.split(",")] if channels else None
    begin = time.perf_counter()
    with _reporting(quiet):
        dataset, names = read_dataset(
            data, item_id=item_id, timestamp=timestamp, channels=wanted, freq=freq
        )
        estimator = DualKLEstimator(
            freq=freq,
            length=length,
            stride=stride,
            seed=seed,
            device=device,
            channel_names=names,
        )
        generator = estimator.train(dataset)
        with atomic_path(out, force, MODEL_SIGN) as folder:
            generator.serialize(folder)
        seconds = time.perf_counter() - begin
        if not quiet:
            _show_trained(generator, out, seconds)


@app.command()
def generate(
    model: Model,
    out: Annotated[
        Path,
        typer.Option(
            help="File for the series: .csv, .csv.gz, .parquet, .jsonl, or a folder."
        ),
    ],
    num_series: Annotated[
        int, typer.Option("--num-series", "-n", min=1, help="How many series.")
    ] = 100,
    seed: Seed = 0,
    prefix: Annotated[
        str, typer.Option(help="Beginning of the names of the series.")
    ] = "synthetic-",
    device: Device = "auto",
    force: Force = False,
    quiet: Quiet = False,
) -> None:
    """Generate new series with a trained MODEL and write them to a file."""
    from gluonts_dualkl.files import write_dataset

    _check_out(out, force, DATASET_SIGN)
    generator = _load(model, device)
    entries = generator.generate(num_series, seed=seed, item_id_prefix=prefix)
    with _reporting(quiet):
        shown = _counted(entries, num_series)
        names = generator.channel_names
        count = write_dataset(shown, out, channels=names, force=force)
    if not quiet:
        typer.echo(f"Wrote {count} series to {out}")


@app.command()
def info(
    model: Model,
    as_json: Annotated[bool, typer.Option("--json", help="Print as JSON.")] = False,
) -> None:
    """Say what a MODEL was trained on and what it learned."""
    with _reporting():
        facts = _load(model, "cpu").info()
    if as_json:
        typer.echo(json.dumps(facts, indent=2, default=str))
        return
    width = max(map(len, facts)) + 2
    for name, value in facts.items():
        typer.echo(f"{_words(name) + ':':<{width}}{_plain(value)}")


@app.command()
def plot(
    model: Model,
    out: Annotated[
        Path, typer.Option(help="Folder for all pictures, or a .png for an overview.")
    ],
    seed: Seed = 0,
    force: Force = False,
    quiet: Quiet = False,
) -> None:
    """Draw a MODEL: series, dual space with clusters, a walk, divergence."""
    from gluonts_dualkl.destinations import atomic_path

    _check_out(out, force, PICTURES_SIGN)
    generator = _load(model, "cpu")
    from gluonts_dualkl.pictures import save_overview, save_pictures

    with _reporting(quiet), atomic_path(out, force, PICTURES_SIGN) as path:
        if out.suffix.lower() == ".png":
            save_overview(generator, path, seed=seed)
            names = [""]
        else:
            path.mkdir()
            names = [file.name for file in save_pictures(generator, path, seed=seed)]
    if not quiet:
        typer.echo("\n".join(str(out / name) for name in names))


@app.command()
def demo(
    out: Annotated[Path, typer.Option(help="Folder for everything.")] = Path("demo"),
    seed: Seed = 0,
    force: Force = False,
    quiet: Quiet = False,
) -> None:
    """Train on half of the bundled Atlantic storms and compare with the other half."""
    _check_out(out, force, DEMO_SIGN)
    from gluonts_dualkl.evaluation.demo import run_demo

    with _reporting(quiet):
        run_demo(out, seed=seed, force=force, quiet=quiet)


def _load(model: Path, device: str) -> DualKLGenerator:
    if not model.is_dir():
        raise FileNotFoundError(f"there is no model folder {model}")
    from gluonts_dualkl import DualKLGenerator

    return DualKLGenerator.deserialize(model, device=device)


def _check_out(out: Path, force: bool, sign: str) -> None:
    """Refuse what must not be replaced, before any work is done."""
    from gluonts_dualkl.destinations import check_destination

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
def _reporting(quiet: bool = False) -> Iterator[None]:
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


def _counted(entries: Iterator[DataEntry], total: int) -> Iterator[DataEntry]:
    from gluonts.gluonts_tqdm import tqdm

    yield from tqdm(entries, total=total, desc="Generating", unit=" series")


def _show_trained(generator: DualKLGenerator, out: Path, seconds: float) -> None:
    divergence = generator.divergence()
    typer.echo(
        f"Trained on {generator.num_series} series of {generator.length} steps "
        f"({generator.freq}) by {generator.num_channels} channels in {seconds:.1f} s\n"
        f"Divergence from independent values: {divergence.value:.1f} nats "
        f"[{divergence.lower:.1f}, {divergence.upper:.1f}]\n"
        f"Saved to {out}\n"
        f"Next: gluonts-dualkl generate {out} -n 500 --out synthetic.csv"
    )


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


def _plain(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, dict):
        facts = (f"{_words(key)} {_plain(item)}" for key, item in value.items())
        return ", ".join(facts)
    if isinstance(value, list | tuple):
        mark = "; " if any(isinstance(item, dict) for item in value) else ", "
        return mark.join(map(_plain, value)) or "none"
    return str(value)


def _words(key: str) -> str:
    return key.replace("_", " ")
