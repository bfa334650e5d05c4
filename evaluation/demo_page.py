"""The page of the demonstration: one self-contained HTML file."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

from gluonts_dualkl import __version__
from gluonts_dualkl.evaluation import demo_words as words
from gluonts_dualkl.evaluation import pages

if TYPE_CHECKING:
    from gluonts_dualkl.generator import DualKLGenerator

__all__ = ["PAGE", "write_page"]

PAGE = "index.html"

ATTRIBUTION = (
    "Data: NOAA National Hurricane Center, HURDAT2 (Landsea and Franklin 2013, Mon. "
    "Wea. Rev. 141), as prepared in dplyr, Copyright (c) 2026 dplyr authors. NOAA does "
    "not endorse this package."
)

COLUMNS = ("C2ST AUC", "DCR share", "Copy rate", "Coverage", "Seconds")
NOMINAL = ("0.50", "0.50", "0.05", "0.97", "")

READING = (
    ("C2ST AUC", "how well a judge tells the two sets apart"),
    ("DCR share", "share nearer to a training than to a held-out storm"),
    ("Copy rate", "share as near to training as 5% of real storms"),
    ("Coverage", "share of held-out storms with a synthetic neighbour"),
)


def write_page(
    folder: str | Path,
    rows: Sequence[words.Row],
    generator: DualKLGenerator,
    num_series: int,
    seconds: float,
) -> Path:
    """Write ``index.html`` from the scores and the pictures in a folder.

    Parameters
    ----------
    folder
        Folder that holds the pictures of
        :func:`~gluonts_dualkl.plotting.pictures.save_pictures`.
    rows
        Scores of the generator, of training copies and of the simple generators.
    num_series
        Number of synthetic and of held-out storms.
    seconds
        Time of the whole demonstration.
    """
    folder = Path(folder)
    ours, copies, *rivals = rows
    divergence = generator.divergence()
    findings = words.sentences(ours, copies, rivals, divergence, num_series)
    numbers = (
        (f"{ours.auc:.2f}", f"AUC, {copies.auc:.2f} for real ones"),
        (f"{ours.copy_rate:.0%}", "copy rate, 5% for real ones"),
        (f"{ours.coverage:.0%}", f"covered, {copies.coverage:.0%} by real ones"),
        (f"{divergence.value:.1f}", "nats above independence"),
    )
    body = [
        '<p class="kicker">gluonts-dualkl demonstration</p>',
        f"<h1>{escape(words.headline(ours, copies, rivals, num_series))}</h1>",
        f'<p class="lead">{escape(_lead(generator, num_series))}</p>',
        pages.findings(
            (name, number, unit, text)
            for (name, text), (number, unit) in zip(
                findings.items(), numbers, strict=True
            )
        ),
        "<h2>The numbers</h2>",
        _table(rows),
        *_figures(folder, generator),
        "<h2>How it was made</h2>",
        *_making(generator, seconds),
        f"<footer><p>{escape(ATTRIBUTION)}</p></footer>",
    ]
    path = folder / PAGE
    path.write_text(pages.document("Storms from few storms", body), encoding="utf-8")
    return path


def _lead(generator: DualKLGenerator, num_series: int) -> str:
    return (
        f"The generator saw {generator.num_series} Atlantic storms of "
        f"{generator.length} six-hourly steps: position, wind and pressure. It drew "
        f"{num_series} new ones, compared here with {num_series} real storms that it "
        "never saw."
    )


def _table(rows: Sequence[words.Row]) -> str:
    head = "".join(f"<th>{escape(name)}</th>" for name in ("", *COLUMNS))
    lines = [f"<thead><tr>{head}</tr></thead>", "<tbody>"]
    for k, row in enumerate(rows):
        scores = (row.auc, row.dcr_share, row.copy_rate, row.coverage)
        cells = [row.name, *(f"{value:.2f}" for value in scores), f"{row.seconds:.1f}"]
        lines.append(_line(cells, "ours" if k == 0 else ""))
    lines += [_line(["fresh storms, ideally", *NOMINAL], "nominal"), "</tbody>"]
    reading = "".join(
        f"<div><dt>{escape(term)}</dt><dd>{escape(text)}</dd></div>"
        for term, text in READING
    )
    return (
        f'<div class="scroll"><table>{"".join(lines)}</table></div>'
        f'<dl class="reading">{reading}</dl>'
    )


def _line(cells: Iterable[str], kind: str) -> str:
    start = f'<tr class="{kind}">' if kind else "<tr>"
    return start + "".join(f"<td>{escape(cell)}</td>" for cell in cells) + "</tr>"


def _figures(folder: Path, generator: DualKLGenerator) -> list[str]:
    clusters = [cluster.stability for cluster in generator.dual_space().clusters]
    return [
        pages.figure((folder / f"{name}.png").read_bytes(), title, caption)
        for name, title, caption in (
            (
                "real_and_synthetic_lines",
                "Storms as lines",
                "Thirty real and thirty synthetic storms, on the same scales.",
            ),
            (
                "real_and_synthetic_images",
                "Storms as images",
                "Each small image is one storm: a row for each channel, time from left "
                "to right, red above and blue below the channel's mean.",
            ),
            (
                "dual_space",
                "The dual space",
                "Each storm stands at its level, the log-ratio of its probability to "
                "that of independent values: bars for training storms, an outline for "
                "synthetic ones. " + words.clusters_sentence(clusters),
            ),
            (
                "walk",
                "A walk to a new storm",
                "One synthetic storm on its way, from light to dark; on the right its "
                "level after each accepted move, with the band of the training storms.",
            ),
            (
                "divergence",
                "Where the dependency lies",
                words.path_sentence(list(generator.divergence().per_leg))
                + words.certificate_sentence(generator.certificate),
            ),
        )
    ]


def _making(generator: DualKLGenerator, seconds: float) -> list[str]:
    code = (
        "from gluonts_dualkl import DualKLEstimator\n\n"
        f'estimator = DualKLEstimator(freq="{generator.freq}", '
        f"length={generator.length})\n"
        "generator = estimator.train(dataset)\n"
        "new = list(generator.generate(num_series=500, seed=1))"
    )
    shell = (
        "gluonts-dualkl info model/\n"
        "gluonts-dualkl generate model/ -n 500 --out more.csv"
    )
    return [
        f"<p>gluonts-dualkl {escape(__version__)} took {seconds:.0f} seconds for "
        "everything on this page. The same in Python, with any GluonTS dataset:</p>",
        f"<pre>{escape(code)}</pre>",
        "<p>The trained model lies in <code>model/</code> beside this page, the new "
        "storms in <code>synthetic.csv</code> and, for GluonTS, in "
        "<code>synthetic/</code>. More of them:</p>",
        f"<pre>{escape(shell)}</pre>",
    ]
