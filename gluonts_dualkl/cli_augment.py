"""The command ``augment-benchmark``."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, TypeVar

import typer

from gluonts_dualkl.cli_common import (
    DataSets,
    Force,
    Interrupted,
    Length,
    Only,
    Quiet,
    Resume,
    Retry,
    check_out,
    reporting,
    split_names,
)

__all__ = ["augment_benchmark"]

RESULTS_SIGN = "settings.json"

N = TypeVar("N", int, float)


def augment_benchmark(
    data: DataSets,
    out: Annotated[Path, typer.Option(help="Folder for the results.")],
    forecasters: Annotated[
        str, typer.Option(help="all, or names as ridge,deepar.")
    ] = "all",
    arms: Annotated[
        str, typer.Option(help="all, or arms as 'real+ours,real+fresh real'.")
    ] = "all",
    only: Only = None,
    sizes: Annotated[
        str, typer.Option(help="Numbers of known windows, the learning curve.")
    ] = "25,50,100,200",
    seeds: Annotated[int, typer.Option(min=1, help="Paired seeds.")] = 10,
    ratio: Annotated[
        str, typer.Option(help="Windows added per training window, one or more.")
    ] = "1",
    baseline: Annotated[
        str, typer.Option(help="Generator of the arm real+best baseline.")
    ] = "gaussian_copula",
    horizon: Annotated[
        int | None,
        typer.Option(min=1, help="Steps to forecast, by default a quarter."),
    ] = None,
    season: Annotated[int, typer.Option(min=1, help="Steps of a season.")] = 1,
    epochs: Annotated[
        int | None, typer.Option(min=1, help="Epochs of the trained forecasters.")
    ] = None,
    length: Length = None,
    jobs: Annotated[int, typer.Option(min=1, help="Cells at the same time.")] = 1,
    resume: Resume = False,
    retry: Retry = False,
    force: Force = False,
    quiet: Quiet = False,
) -> None:
    """Measure whether synthetic windows help forecasters, against fresh real ones.

    Each combination of data set, forecaster, size and seed is a file in --out, so that
    an interrupted run goes on with --resume. Writes augmentation.parquet, gains.csv and
    summary.txt.
    """
    if out.exists() and not (force or resume):
        raise FileExistsError(
            f"{str(out)!r} exists; go on with --resume, or replace it with --force."
        )
    check_out(out, True, RESULTS_SIGN)
    from gluonts_dualkl.evaluation.console import progress_line
    from gluonts_dualkl.evaluation.forecasting.arms import ARMS
    from gluonts_dualkl.evaluation.forecasting.benchmark import (
        SUMMARY,
        run_augment_benchmark,
    )

    try:
        with reporting(quiet):
            table = run_augment_benchmark(
                data,
                out,
                None if forecasters == "all" else split_names(forecasters),
                seeds,
                sizes=_numbers(sizes, "--sizes", int),
                arms=ARMS if arms == "all" else split_names(arms) or (),
                ratio=_numbers(ratio, "--ratio", float),
                jobs=jobs,
                baseline=baseline,
                horizon=horizon,
                season=season,
                num_epochs=epochs,
                only=split_names(only),
                length=length,
                resume=resume,
                force=force,
                retry=retry,
                progress=None if quiet else progress_line(),
            )
    except KeyboardInterrupt:
        num = len(list(out.glob("cells/*/*/*.parquet")))
        raise Interrupted(
            f"Interrupted; {num} finished cells are in {out}. Go on with the same "
            "command and --resume."
        ) from None
    if not quiet:
        typer.echo((out / SUMMARY).read_text(), nl=False)
    if (table["failure"] != "").all():
        typer.echo("Error: every arm failed, see the column failure.", err=True)
        sys.exit(1)


def _numbers(text: str, option: str, kind: Callable[[str], N]) -> list[N]:
    try:
        return [kind(word) for word in text.split(",")]
    except ValueError:
        what = "whole numbers" if kind is int else "numbers"
        raise ValueError(
            f"{option} is {text!r}; give {what} with commas, as 1,2,4."
        ) from None
