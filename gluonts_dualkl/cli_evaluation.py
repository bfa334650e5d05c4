"""The commands ``evaluate`` and ``benchmark``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from gluonts_dualkl.cli_common import (
    DataSets,
    Force,
    Interrupted,
    ItemId,
    Length,
    Only,
    Quiet,
    Resume,
    Retry,
    Seed,
    Timestamp,
    check_out,
    reporting,
    split_names,
)

__all__ = ["benchmark", "evaluate"]

SCORES_SIGN = "scores.parquet"
RESULTS_SIGN = "settings.json"

_TABLE = "Long CSV or Parquet table, or a GluonTS file or folder"
Fast = Annotated[bool, typer.Option("--fast", help="Fewer repeats, wider intervals.")]


def evaluate(
    train: Annotated[
        Path, typer.Option(help=f"Series the generator learned from. {_TABLE}.")
    ],
    held_out: Annotated[
        Path, typer.Option(help="Real series that the generator has not seen.")
    ],
    synthetic: Annotated[Path, typer.Option(help="Series of the generator.")],
    out: Annotated[Path, typer.Option(help="Folder for the scores and the report.")],
    freq: Annotated[
        str | None, typer.Option(help="Time step, by default that of the data.")
    ] = None,
    length: Length = None,
    item_id: ItemId = "item_id",
    timestamp: Timestamp = "timestamp",
    channels: Annotated[
        str | None,
        typer.Option(help="Columns of the values, as a,b,c; by default all of train."),
    ] = None,
    fast: Fast = False,
    seed: Seed = 0,
    force: Force = False,
    quiet: Quiet = False,
) -> None:
    """Judge synthetic series of any generator against held-out ones.

    Says in words whether they copy, collapse, smooth or lose dependency, and writes
    scores.csv, scores.parquet and the page index.html.
    """
    check_out(out, force, SCORES_SIGN)
    from gluonts_dualkl.evaluation.console import print_scores
    from gluonts_dualkl.evaluation.judge import judge_files

    with reporting(quiet):
        scores = judge_files(
            train,
            held_out,
            synthetic,
            out,
            item_id=item_id,
            timestamp=timestamp,
            channels=split_names(channels),
            freq=freq,
            length=length,
            fast=fast,
            seed=seed,
            force=force,
        )
    if not quiet:
        print_scores(scores, out)


def benchmark(
    data: DataSets,
    out: Annotated[Path, typer.Option(help="Folder for the results.")],
    generators: Annotated[
        str, typer.Option(help="all, or names as dualkl,gaussian_copula.")
    ] = "all",
    only: Only = None,
    seeds: Annotated[
        int, typer.Option(min=1, help="Seeds: splits, trainings and draws.")
    ] = 3,
    n_train: Annotated[
        int, typer.Option(min=10, help="Most training series of a data set.")
    ] = 200,
    length: Length = None,
    split: Annotated[
        str,
        typer.Option(
            help="own: by items or blocks of time; random, where these drift."
        ),
    ] = "own",
    jobs: Annotated[int, typer.Option(min=1, help="Cells at the same time.")] = 1,
    backend: Annotated[
        str, typer.Option(help="loky: processes here; dask or ray: a cluster.")
    ] = "loky",
    scheduler: Annotated[
        str | None,
        typer.Option(help="Address of a cluster, by default a local one is started."),
    ] = None,
    tune: Annotated[
        bool, typer.Option("--tune", help="Tune baselines on a part of train.")
    ] = False,
    fit_seconds: Annotated[
        float | None,
        typer.Option(help="Most processor seconds to train a deep baseline in."),
    ] = None,
    fast: Fast = False,
    resume: Resume = False,
    retry: Retry = False,
    force: Force = False,
    quiet: Quiet = False,
) -> None:
    """Run many generators on many data sets and score them all.

    Each combination of data set, generator and seed is a file in --out, so that an
    interrupted run goes on with --resume. Writes scores.parquet and the page
    index.html.
    """
    if out.exists() and not (force or resume):
        raise FileExistsError(
            f"{str(out)!r} exists; go on with --resume, or replace it with --force."
        )
    check_out(out, True, RESULTS_SIGN)
    from gluonts_dualkl.evaluation.console import print_benchmark, progress_line
    from gluonts_dualkl.evaluation.runner import run_benchmark, write_page

    names = None if generators == "all" else split_names(generators)
    try:
        with reporting(quiet):
            table = run_benchmark(
                data,
                out,
                names,
                seeds,
                n_train=n_train,
                fast=fast,
                tune=tune,
                fit_seconds=fit_seconds,
                only=split_names(only),
                length=length,
                split=split,
                jobs=jobs,
                backend=backend,
                scheduler=scheduler,
                resume=resume,
                force=force,
                retry=retry,
                progress=None if quiet else progress_line(),
            )
            write_page(table, out)
    except KeyboardInterrupt:
        raise Interrupted(_interrupted(out)) from None
    if not quiet:
        print_benchmark(table, out)
    if (table["failure"] != "").all():
        typer.echo("Error: every cell failed, see the column failure.", err=True)
        sys.exit(1)


def _interrupted(out: Path) -> str:
    num = len(list(out.glob("cells/*/*/*.parquet")))
    return (
        f"Interrupted; {num} finished cells are in {out}. Go on with the same command "
        "and --resume."
    )
