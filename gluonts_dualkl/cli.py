"""Command line: ``gluonts-dualkl train | generate | evaluate | ...``.

Commands parse and call, nothing more. Results go to stdout, progress and errors to
stderr. Exit codes: 0 done, 2 bad usage or input, 1 failure, 130 interrupted.
Everything heavy is imported inside the commands, so that ``--help`` is instant.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gluonts_dualkl import cli_augment, cli_evaluation
from gluonts_dualkl.cli_common import (
    Commands,
    Device,
    Force,
    ItemId,
    Quiet,
    Seed,
    Timestamp,
    check_out,
    reporting,
    split_names,
)

if TYPE_CHECKING:
    from gluonts_dualkl.generator import DualKLGenerator
    from gluonts_dualkl.types import DataEntry

__all__ = ["app", "main"]

# A file by which a folder is known as one of ours, and so may be replaced.
MODEL_SIGN = "gluonts-config.json"
DATASET_SIGN = "metadata.json"
PICTURES_SIGN = "divergence.png"
DEMO_SIGN = "index.html"


app = typer.Typer(
    cls=Commands,
    context_settings={"help_option_names": ["-h", "--help"]},
    pretty_exceptions_enable=False,
    add_completion=False,
    help="Generate time series from a few real ones, and see why they fit.",
    epilog="Try it: gluonts-dualkl demo --out demo/",
)

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
    short_series: Annotated[
        str,
        typer.Option(help="Series below the length: skip, or pad those above half."),
    ] = "skip",
    max_windows: Annotated[
        int, typer.Option(min=20, help="Most windows to learn from, drawn at random.")
    ] = 2000,
    scaling: Annotated[
        str, typer.Option(help="none; mean, by series; returns, for prices.")
    ] = "none",
    dynamic_features: Annotated[
        str, typer.Option(help="carry them along with series, or model them.")
    ] = "carry",
    item_id: ItemId = "item_id",
    timestamp: Timestamp = "timestamp",
    channels: Annotated[
        str | None,
        typer.Option(help="Columns of the values, as a,b,c; by default all others."),
    ] = None,
    seed: Seed = 0,
    device: Device = "auto",
    devices: Annotated[
        str, typer.Option(help="Processes, each with its own GPU under CUDA; or auto.")
    ] = "1",
    force: Force = False,
    quiet: Quiet = False,
) -> None:
    """Train a generator on DATA and save it in a folder.

    A table has one row for each series and time step, with the columns item_id,
    timestamp and one for each channel. Columns such as feat_static_cat_0 and
    feat_dynamic_real_0 are features.
    """
    from gluonts_dualkl.data.destinations import atomic_path

    check_out(out, force, MODEL_SIGN)
    from gluonts_dualkl import DualKLEstimator
    from gluonts_dualkl.data.files import read_dataset

    begin = time.perf_counter()
    with reporting(quiet):
        dataset, names = read_dataset(
            data,
            item_id=item_id,
            timestamp=timestamp,
            channels=split_names(channels),
            freq=freq,
        )
        estimator = DualKLEstimator(
            freq=freq,
            length=length,
            stride=stride,
            short_series=short_series,
            max_windows=max_windows,
            scaling=scaling,
            dynamic_features=dynamic_features,
            seed=seed,
            device=device,
            devices=int(devices) if devices.isdecimal() else devices,
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
            help="File for the series: .csv, .csv.gz, .parquet, .jsonl, .jsonl.gz, "
            ".json, .json.gz, .arrow, .feather, or a folder (no suffix)."
        ),
    ],
    num_series: Annotated[
        int, typer.Option("--num-series", "-n", min=1, help="How many series.")
    ] = 100,
    seed: Seed = 0,
    prefix: Annotated[
        str, typer.Option(help="Beginning of the names of the series.")
    ] = "synthetic-",
    length: Annotated[
        int | None,
        typer.Option(min=2, help="Time steps, more than in training: windows chain."),
    ] = None,
    static_cat: Annotated[
        str | None,
        typer.Option(help="Wanted feat_static_cat, as 2,any: one value a feature."),
    ] = None,
    static_real: Annotated[
        str | None,
        typer.Option(help="Wanted feat_static_real, as 0.5,any; the nearest count."),
    ] = None,
    with_missing: Annotated[
        bool, typer.Option("--with-missing", help="Values are missing as in the data.")
    ] = False,
    device: Device = "auto",
    force: Force = False,
    quiet: Quiet = False,
) -> None:
    """Generate new series with a trained MODEL and write them to a file."""
    from gluonts_dualkl.data.files import write_dataset

    check_out(out, force, DATASET_SIGN)
    generator = _load(model, device)
    wanted = {"feat_static_cat": static_cat, "feat_static_real": static_real}
    condition = {name: _numbers(text, name) for name, text in wanted.items() if text}
    entries = generator.generate(
        num_series,
        seed=seed,
        item_id_prefix=prefix,
        length=length,
        condition=condition or None,
        with_missing=with_missing,
    )
    with reporting(quiet):
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
    with reporting():
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
    from gluonts_dualkl.data.destinations import atomic_path

    check_out(out, force, PICTURES_SIGN)
    generator = _load(model, "cpu")
    from gluonts_dualkl.plotting.pictures import save_overview, save_pictures

    with reporting(quiet), atomic_path(out, force, PICTURES_SIGN) as path:
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
    check_out(out, force, DEMO_SIGN)
    from gluonts_dualkl.evaluation.demo import run_demo

    with reporting(quiet):
        run_demo(out, seed=seed, force=force, quiet=quiet)


app.command()(cli_evaluation.evaluate)
app.command()(cli_evaluation.benchmark)
app.command()(cli_augment.augment_benchmark)


def _load(model: Path, device: str) -> DualKLGenerator:
    if not model.is_dir():
        raise FileNotFoundError(f"there is no model folder {model}")
    from gluonts_dualkl import DualKLGenerator

    return DualKLGenerator.deserialize(model, device=device)


def _numbers(text: str, name: str) -> list[float | None]:
    """Values of a text such as ``2,any``; None for any."""
    try:
        parts = split_names(text) or []
        return [None if part == "any" else float(part) for part in parts]
    except ValueError:
        option = f"--{name.removeprefix('feat_').replace('_', '-')}"
        raise ValueError(
            f"{option} is {text!r}; give numbers with commas, any for any."
        ) from None


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
