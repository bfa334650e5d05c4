"""The demonstration: half of the Atlantic storms in, new ones out, and the scores."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from gluonts_dualkl import DualKLEstimator
from gluonts_dualkl.data.destinations import atomic_path
from gluonts_dualkl.data.files import write_dataset
from gluonts_dualkl.data.windows import dataset_from_frame, dataset_to_array
from gluonts_dualkl.evaluation.datasets import load_example, split_items
from gluonts_dualkl.evaluation.demo_page import PAGE, write_page
from gluonts_dualkl.evaluation.demo_words import Row, headline
from gluonts_dualkl.evaluation.metrics.diversity import coverage
from gluonts_dualkl.evaluation.metrics.information import c2st_auc_trees
from gluonts_dualkl.evaluation.metrics.privacy import copy_rate, dcr_share
from gluonts_dualkl.evaluation.oracles import (
    independent_marginals,
    shrunk_gaussian,
    training_copies,
)
from gluonts_dualkl.plotting.pictures import save_pictures
from gluonts_dualkl.types import DataEntry, Divergence

__all__ = ["print_table", "run_demo", "score"]

FREQ = "6h"
CHANNELS = ["lat", "long", "wind", "pressure"]
LABELS = ["latitude (°N)", "longitude (°E)", "wind (kn)", "pressure (hPa)"]
OURS = "ours"
ORACLES: dict[str, Callable[..., np.ndarray]] = {
    "training copies": training_copies,
    "independent marginals": independent_marginals,
    "shrunk Gaussian": shrunk_gaussian,
}


IDEAL = "fresh storms, ideally"
NOMINAL = ("0.50", "0.50", "0.05", "0.97")


def run_demo(
    out: str | Path,
    *,
    seed: int = 0,
    force: bool = False,
    quiet: bool = False,
    num_storms: int | None = None,
    **options: Any,
) -> list[Row]:
    """Train on half of the storms, compare with the rest, and write one folder.

    Parameters
    ----------
    out
        Folder for the model, the series, the pictures and ``index.html``. It appears
        when all is complete.
    seed
        Seed of training and generation. The split is always the same.
    force
        Replace the folder if it exists.
    quiet
        Print nothing.
    num_storms
        Take only the first so many storms.
    options
        Further arguments of :class:`~gluonts_dualkl.DualKLEstimator`.

    Returns
    -------
    list of Row
        Scores of the generator, then of the yardsticks.
    """
    say = Console(stderr=True, quiet=quiet, highlight=False).print
    begin = time.perf_counter()
    with atomic_path(out, force, PAGE) as folder:
        folder.mkdir()
        train, held_out = _load_storms(num_storms)
        say(f"Training on {len(train)} of {len(train) + len(held_out)} storms")
        clock = time.perf_counter()
        estimator = DualKLEstimator(
            freq=FREQ, seed=seed, channel_names=CHANNELS, **options
        )
        generator = estimator.train(train)
        entries = list(generator.generate(len(held_out), seed=seed))
        seconds = time.perf_counter() - clock
        generator.serialize(folder / "model")
        names = generator.channel_names
        write_dataset(entries, folder / "synthetic.csv", channels=names)
        write_dataset(entries, folder / "synthetic", channels=names)

        say(f"Comparing {len(entries)} new storms with {len(held_out)} held-out ones")
        real, known = dataset_to_array(held_out), dataset_to_array(train)
        rows = [score(OURS, dataset_to_array(entries), real, known, seconds)]
        rows += [_score_oracle(name, real, known, seed) for name in ORACLES]

        say("Drawing pictures and the page")
        save_pictures(
            generator,
            folder,
            real=real,
            entries=entries,
            channel_names=LABELS,
            titles=("Real storms, held out", "Synthetic storms"),
            seed=seed,
        )
        took = time.perf_counter() - begin
        write_page(folder, rows, generator, len(held_out), took)
    if not quiet:
        print_table(rows, generator.divergence(), Path(out), len(held_out))
    return rows


def score(
    name: str,
    synthetic: np.ndarray,
    held_out: np.ndarray,
    train: np.ndarray,
    seconds: float,
) -> Row:
    """Return the scores of synthetic series against held-out ones, (N, T, C) each."""
    return Row(
        name=name,
        auc=c2st_auc_trees(held_out, synthetic, train),
        dcr_share=dcr_share(held_out, synthetic, train),
        copy_rate=copy_rate(held_out, synthetic, train),
        coverage=coverage(held_out, synthetic, train),
        seconds=seconds,
    )


def print_table(
    rows: list[Row],
    divergence: Divergence,
    out: Path,
    num_series: int,
    console: Console | None = None,
) -> None:
    """Print the scores as a table, then the nats, the verdict and where the page is."""
    console = console or Console(highlight=False)
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    table.add_column("", no_wrap=True)
    for column in ("C2ST AUC", "DCR share", "copy rate", "coverage", "seconds"):
        table.add_column(column, justify="right", no_wrap=True)
    for row in rows:
        table.add_row(
            row.name,
            f"{row.auc:.2f}",
            f"{row.dcr_share:.2f}",
            f"{row.copy_rate:.2f}",
            f"{row.coverage:.2f}",
            f"{row.seconds:.1f}",
            style="bold" if row.name == OURS else "",
        )
    table.add_row(IDEAL, *NOMINAL, "", style="dim")
    console.print(table)
    console.print(
        f"Divergence {divergence.value:.1f} nats, {divergence.confidence:.0%} interval "
        f"[{divergence.lower:.1f}, {divergence.upper:.1f}]",
        markup=False,
    )
    console.print(headline(rows[0], rows[1], rows[2:], num_series))
    console.print(f"See {out / PAGE}", soft_wrap=True)


def _load_storms(num_storms: int | None) -> tuple[list[DataEntry], list[DataEntry]]:
    """Return training and held-out storms as dataset entries."""
    frame = load_example("storms_atlantic")
    dataset = list(dataset_from_frame(frame, channels=CHANNELS, freq=FREQ))[:num_storms]
    *_, train, held_out = split_items(dataset_to_array(dataset), 0.5, seed=0)
    return [dataset[i] for i in train], [dataset[i] for i in held_out]


def _score_oracle(name: str, held_out: np.ndarray, train: np.ndarray, seed: int) -> Row:
    begin = time.perf_counter()
    synthetic = ORACLES[name](train, len(held_out), seed)
    return score(name, synthetic, held_out, train, time.perf_counter() - begin)
