"""The page of the demonstration: one self-contained HTML file."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

from gluonts_dualkl import __version__
from gluonts_dualkl.evaluation import demo_words as words

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

STYLE = """
:root { --ink: #22262c; --muted: #5f6670; --line: #e1e4e9; --real: #3b4048;
  --accent: #b84f00; --wash: #f6f7f9; }
* { box-sizing: border-box; }
body { margin: 0; color: var(--ink); background: #fff;
  font: 17px/1.55 system-ui, -apple-system, "Segoe UI", "Helvetica Neue", Arial,
  sans-serif; }
main { max-width: 1080px; margin: 0 auto; padding: 56px 40px 72px; }
h1 { font-size: 36px; line-height: 1.2; letter-spacing: -.015em; margin: 6px 0 14px;
  text-wrap: balance; }
h2 { font-size: 22px; line-height: 1.3; margin: 56px 0 6px; }
p { margin: 0 0 12px; max-width: 46em; }
.kicker { color: var(--accent); font-weight: 600; margin: 0; }
.lead, .caption, footer { color: var(--muted); }
.findings { display: grid; gap: 0 32px;
  grid-template-columns: repeat(4, minmax(0, 1fr));
  margin: 36px 0 0; }
.findings > div { border-top: 2px solid var(--ink); padding-top: 12px; }
.findings h3 { font-size: 15px; margin: 0; color: var(--muted); font-weight: 600; }
.findings .number { font-size: 34px; line-height: 1.25; font-weight: 650;
  font-variant-numeric: tabular-nums; white-space: nowrap; }
.findings .number small { display: block; font-size: 15px; font-weight: 400;
  color: var(--muted); }
.findings p { font-size: 15px; line-height: 1.5; margin: 10px 0 0; }
table { border-collapse: collapse; width: 100%; margin: 14px 0 12px;
  font-variant-numeric: tabular-nums; }
th, td { padding: 9px 14px; text-align: right; border-bottom: 1px solid var(--line); }
th { font-size: 15px; font-weight: 600; color: var(--muted);
  border-bottom-color: var(--ink); }
th:first-child, td:first-child { text-align: left; padding-left: 10px; }
tr.ours td { font-weight: 650; background: #fdf3ec; }
tr.ours td:first-child { box-shadow: inset 3px 0 var(--accent); }
tr.nominal td { color: var(--muted); border-bottom: 0; }
dl.reading { display: grid; grid-template-columns: repeat(2, 1fr); gap: 2px 32px;
  margin: 0; font-size: 15px; color: var(--muted); }
dl.reading div { display: flex; gap: 8px; }
dl.reading dt { font-weight: 600; white-space: nowrap; }
dl.reading dd { margin: 0; }
figure { margin: 14px 0 0; }
figure img { display: block; width: 100%; height: auto; }
code, pre { font: 14.5px/1.6 ui-monospace, "SF Mono", Menlo, Consolas,
  "DejaVu Sans Mono", monospace; }
pre { background: var(--wash); border-radius: 6px; padding: 16px 20px; margin: 14px 0;
  overflow-x: auto; }
footer { border-top: 1px solid var(--line); margin-top: 56px; padding-top: 18px;
  font-size: 14.5px; }
footer p { max-width: none; }
@media (max-width: 860px) {
  main { padding: 32px 20px; }
  .findings { grid-template-columns: repeat(2, 1fr); gap: 28px 24px; }
  dl.reading { grid-template-columns: 1fr; }
  .scroll { overflow-x: auto; }
}
"""


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
        :func:`~gluonts_dualkl.pictures.save_pictures`.
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
        _findings(findings, numbers),
        "<h2>The numbers</h2>",
        _table(rows),
        *_figures(folder, generator),
        "<h2>How it was made</h2>",
        *_making(generator, seconds),
        f"<footer><p>{escape(ATTRIBUTION)}</p></footer>",
    ]
    path = folder / PAGE
    path.write_text(_document("Storms from few storms", body), encoding="utf-8")
    return path


def _document(title: str, body: Iterable[str]) -> str:
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{STYLE}</style>\n</head>\n"
        "<body>\n<main>\n" + "\n".join(body) + "\n</main>\n</body>\n</html>\n"
    )


def _lead(generator: DualKLGenerator, num_series: int) -> str:
    return (
        f"The generator saw {generator.num_series} Atlantic storms of "
        f"{generator.length} six-hourly steps: position, wind and pressure. It drew "
        f"{num_series} new ones, compared here with {num_series} real storms that it "
        "never saw."
    )


def _findings(findings: dict[str, str], numbers: Iterable[tuple[str, str]]) -> str:
    cells = [
        f"<div><h3>{escape(name)}</h3>"
        f'<div class="number">{escape(number)} <small>{escape(unit)}</small></div>'
        f"<p>{escape(text)}</p></div>"
        for (name, text), (number, unit) in zip(findings.items(), numbers, strict=True)
    ]
    return '<div class="findings">\n' + "\n".join(cells) + "\n</div>"


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
        _figure(folder / f"{name}.png", title, caption)
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


def _figure(path: Path, title: str, caption: str) -> str:
    data = b64encode(path.read_bytes()).decode("ascii")
    return (
        f'<h2>{escape(title)}</h2>\n<p class="caption">{escape(caption)}</p>\n'
        f'<figure><img alt="{escape(title)}" src="data:image/png;base64,{data}">'
        "</figure>"
    )


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
