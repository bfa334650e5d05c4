"""Pieces of a self-contained page: style, document, tables, pictures as data.

Text is escaped wherever it enters a page; only :class:`Html` passes as it is. Nothing
here refers to a file or to the network.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterable, Sequence
from html import escape
from io import BytesIO
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = [
    "REPORT",
    "STYLE",
    "Html",
    "contents",
    "details",
    "document",
    "escape_text",
    "facts",
    "figure",
    "findings",
    "paragraph",
    "png",
    "section",
    "table",
    "two_lines",
]

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
h3 { font-size: 18px; line-height: 1.35; margin: 32px 0 4px; }
p { margin: 0 0 12px; max-width: 46em; }
a { color: inherit; text-underline-offset: 3px; }
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
  color: var(--muted); white-space: normal; line-height: 1.4; }
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

REPORT = """
h2 { scroll-margin-top: 16px; }
.scroll { overflow-x: auto; }
.small { display: block; font-size: 13.5px; line-height: 1.4; font-weight: 400;
  color: var(--muted); }
caption { text-align: left; font-size: 15px; font-weight: 600; padding: 6px 10px; }
table { font-size: 15.5px; }
table.metrics tbody th { min-width: 230px; }
nav { margin: 30px 0 0; font-size: 15px; display: flex; flex-wrap: wrap;
  gap: 4px 22px; }
nav a { color: var(--muted); }
th, td { padding: 7px 12px; vertical-align: middle; }
thead th { font-size: 14px; line-height: 1.35; vertical-align: bottom; }
tbody th { font-size: inherit; color: var(--ink); text-align: left;
  border-bottom-color: var(--line); }
tr.group th { color: var(--muted); padding-top: 20px; }
table.metrics th:last-child, table.metrics td:last-child,
td.words, th.words { text-align: left; }
table.metrics td:nth-child(5), table.metrics th:nth-child(5) { text-align: left; }
td { white-space: nowrap; }
table.wide, table.even { table-layout: fixed; }
table.wide { font-size: 14.5px; }
table.wide th:first-child { width: 24%; }
table.wide td:last-child { width: 14%; }
table.even th:first-child { width: 26%; }
table.wide th, table.wide td { padding: 6px 9px; }
table.wide .small { font-size: 12.5px; }
table.wide .small { white-space: normal; }
table.words th:nth-child(2), table.words td:nth-child(2) { text-align: left;
  width: 75%; white-space: normal; }
.note { border-left: 3px solid var(--accent); padding: 4px 0 4px 14px; }
.fault, .small.fault { color: var(--accent); }
.fine { color: var(--muted); }
svg { display: block; }
svg .rail { stroke: var(--line); stroke-width: 2; }
svg .floor { stroke: var(--real); stroke-width: 2.5; fill: none; }
svg .ceiling { stroke: var(--muted); stroke-width: 1.5; fill: #fff; }
svg .span { stroke: #d55e00; stroke-width: 2; }
svg .dot { fill: #d55e00; }
ul.verdict { padding: 0; margin: 12px 0 0; list-style: none; max-width: 56em; }
ul.verdict li { padding: 10px 0 10px 14px; border-left: 3px solid var(--line);
  margin-bottom: 10px; }
details { margin: 16px 0; }
summary { cursor: pointer; padding: 10px; background: var(--wash); border-radius: 6px; }
dl.facts { display: grid; grid-template-columns: 1fr; margin: 12px 0; font-size: 15px; }
dl.facts div { display: grid; grid-template-columns: 17em 1fr; gap: 16px;
  padding: 6px 10px; border-bottom: 1px solid var(--line); }
dl.facts dt { font-weight: 600; }
dl.facts dd { margin: 0; overflow-wrap: anywhere; }
"""


class Html(str):
    """Markup that enters a page as it is; every other text is escaped."""

    __slots__ = ()


def escape_text(text: object) -> str:
    """Return a text for a page: escaped, unless it is markup."""
    return text if isinstance(text, Html) else escape(str(text))


def document(title: str, body: Iterable[str], style: str = "") -> str:
    """Return a whole HTML document around the parts of its body.

    Parameters
    ----------
    title
        Title of the window, escaped here.
    body
        Parts of the page, markup.
    style
        Rules after those of :data:`STYLE`.
    """
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{STYLE}{style}</style>\n</head>\n"
        "<body>\n<main>\n" + "\n".join(body) + "\n</main>\n</body>\n</html>\n"
    )


def paragraph(text: object, kind: str = "") -> Html:
    """Return a paragraph, of class ``kind`` where one is given."""
    start = f'<p class="{escape(kind)}">' if kind else "<p>"
    return Html(f"{start}{escape_text(text)}</p>")


def findings(cells: Iterable[tuple[str, str, str, str]]) -> Html:
    """Return the row of findings: ``(name, number, unit, text)`` each."""
    parts = [
        f"<div><h3>{escape_text(name)}</h3>"
        f'<div class="number">{escape_text(number)} '
        f"<small>{escape_text(unit)}</small></div>"
        f"<p>{escape_text(text)}</p></div>"
        for name, number, unit, text in cells
    ]
    return Html('<div class="findings">\n' + "\n".join(parts) + "\n</div>")


def figure(
    data: bytes,
    title: str,
    caption: str = "",
    *,
    alt: str | None = None,
    level: int = 2,
) -> Html:
    """Return a picture (PNG) under its title and caption.

    Parameters
    ----------
    alt
        What the picture shows, for those who cannot see it; ``title`` by default.
    level
        Rank of the heading; no heading for 0.
    """
    parts = [f"<h{level}>{escape(title)}</h{level}>"] if level else []
    if caption:
        parts.append(f'<p class="caption">{escape(caption)}</p>')
    source = b64encode(data).decode("ascii")
    parts.append(
        f'<figure><img alt="{escape(alt or title)}" '
        f'src="data:image/png;base64,{source}"></figure>'
    )
    return Html("\n".join(parts))


def png(drawing: Figure, dpi: int = 120, colours: int | None = None) -> bytes:
    """Return a figure as the bytes of a PNG, of few ``colours`` to make it small."""
    buffer = BytesIO()
    drawing.savefig(buffer, format="png", dpi=dpi)
    if colours is None:
        return buffer.getvalue()
    from PIL import Image

    small = BytesIO()
    Image.open(buffer).convert("RGB").quantize(colours).save(small, "png")
    return small.getvalue()


def table(
    columns: Sequence[object],
    rows: Iterable[Sequence[object]],
    *,
    caption: str = "",
    kind: str = "",
) -> Html:
    """Return a table whose first column names its rows.

    A row of one cell becomes a heading over the rows below it.
    """
    head = "".join(f'<th scope="col">{escape_text(name)}</th>' for name in columns)
    start = f'<table class="{escape(kind)}">' if kind else "<table>"
    lines = [start]
    if caption:
        lines.append(f"<caption>{escape(caption)}</caption>")
    lines += [f"<thead><tr>{head}</tr></thead>", "<tbody>"]
    lines += [_row(list(row), len(columns)) for row in rows]
    return Html('<div class="scroll">' + "\n".join([*lines, "</tbody></table></div>"]))


def _row(cells: list[object], width: int) -> str:
    name, *others = map(escape_text, cells)
    if not others and width > 1:
        return (
            f'<tr class="group"><th scope="rowgroup" colspan="{width}">{name}</th></tr>'
        )
    tail = "".join(f"<td>{cell}</td>" for cell in others)
    return f'<tr><th scope="row">{name}</th>{tail}</tr>'


def contents(links: Iterable[tuple[str, str]]) -> Html:
    """Return links to the sections ``(id, name)`` of the page."""
    parts = [f'<a href="#{escape(key)}">{escape(name)}</a>' for key, name in links]
    return Html(f'<nav aria-label="Sections">{"".join(parts)}</nav>')


def section(key: str, title: str) -> Html:
    """Return the heading of a section that :func:`contents` can point to."""
    return Html(f'<h2 id="{escape(key)}">{escape(title)}</h2>')


def two_lines(first: object, second: object = "") -> Html:
    """Return a line with a smaller one under it, if any."""
    top, below = escape_text(first), escape_text(second)
    return Html(f'{top}<span class="small">{below}</span>' if below else top)


def facts(pairs: Iterable[tuple[object, object]]) -> Html:
    """Return a list of terms and what they are."""
    parts = [
        f"<div><dt>{escape_text(term)}</dt><dd>{escape_text(text)}</dd></div>"
        for term, text in pairs
    ]
    return Html('<dl class="facts">' + "".join(parts) + "</dl>")


def details(summary: str, body: Iterable[str], is_open: bool = False) -> Html:
    """Return parts that unfold under a summary line."""
    start = "<details open>" if is_open else "<details>"
    return Html(
        f"{start}<summary>{escape_text(summary)}</summary>{''.join(body)}</details>"
    )
