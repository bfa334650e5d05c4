"""Sections of the report of a benchmark, from the long table alone."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Sequence

import numpy as np
import pandas as pd

from gluonts_dualkl.evaluation import pages
from gluonts_dualkl.evaluation.comparison import (
    FewDataSetsWarning,
    compare_generators,
    draw_critical_difference,
    needed_data_sets,
)
from gluonts_dualkl.evaluation.pages import Html
from gluonts_dualkl.evaluation.reporting import words
from gluonts_dualkl.evaluation.reporting.ranks import (
    JUDGES,
    Cell,
    candidates,
    cells,
    excesses,
    failures,
    is_oracle,
    metric_names,
    metric_ranks,
    ranks,
    unique,
)
from gluonts_dualkl.plotting.plot_style import new_figure

__all__ = ["Benchmark"]

BLOCK = 5
WIDTH = 10.0


class Benchmark:
    """A long table, and what the sections of its report say.

    Parameters
    ----------
    table
        Rows of :mod:`gluonts_dualkl.evaluation.runner`: ``dataset, generator, seed``,
        the columns of a table of scores, costs, ``versions`` and ``failure``.
    """

    def __init__(self, table: pd.DataFrame) -> None:
        self.table = table
        self.datasets = unique(table, "dataset")
        self.generators = unique(table, "generator")
        self.candidates = candidates(table)
        self.grid = cells(table)
        self.ranks = ranks(self.grid, self.candidates)
        self.failures = failures(table)
        self.mean = self.ranks.mean(axis=1)
        self.order = sorted(self.candidates, key=lambda g: (self.mean[g], g))

    def headline(self) -> str:
        """Return the verdict in one sentence."""
        number = len(self.datasets)
        places = _plural(number, "data set")
        counted = {g: self._num_counting(g) for g in self.candidates}
        able = [g for g in self.candidates if counted[g]]
        if not any(cell.num_seeds for cell in self.grid.values()):
            return "Nothing could be judged: no run has scores."
        if not able:
            return f"No generator yields new series on any of {places}."
        if len(self.candidates) == 1:
            name = words.title(able[0])
            return (
                f"{name} copies nothing detectable on {counted[able[0]]} of {places}."
            )
        mean = self.mean.loc[able]
        best = [words.plain(g) for g in mean.index[np.isclose(mean, mean.min())]]
        best[0] = words.title(best[0])
        winner = str(mean.idxmin())
        cells = [self.grid[d, winner] for d in self.datasets]
        told = sum("told apart" in cell.faults for cell in cells)
        verb = "ranks" if len(best) == 1 else "rank"
        end = "" if len(best) > 1 else (
            f", but is told from real series on {told}" if told
            else ", and is told from real series on none"
        )  # fmt: skip
        return (
            f"{words.join(best)} {verb} best of {len(self.candidates)} among those "
            f"that do not copy, over {places}{end}."
        )

    def lead(self) -> str:
        """Return what was run, and how far it carries."""
        runs = self.table.drop_duplicates(["dataset", "generator", "seed"])
        seeds = runs.groupby(["dataset", "generator"])["seed"].nunique().max()
        text = (
            f"{_plural(len(self.candidates), 'generator')} on "
            f"{_plural(len(self.datasets), 'data set')} with up to "
            f"{_plural(int(seeds), 'seed')} each, {_plural(len(runs), 'run')} in all, "
            f"{len(self.failures)} of which failed."
        )
        least = needed_data_sets(max(len(self.candidates), 2))
        if len(self.datasets) < least:
            text += (
                f" No test can call a difference between them certain: "
                f"{_plural(len(self.candidates), 'generator')} would need {least} data "
                "sets or more. Read the ranks as a description."
            )
        return text

    def _num_counting(self, generator: str) -> int:
        return sum(self.grid[d, generator].counts for d in self.datasets)

    def overview(self) -> list[str]:
        """Return who counts where, best mean rank first."""
        tables = [self._overview(some) for some in _blocks(self.datasets, BLOCK)]
        return [
            pages.section("verdict", "Who counts, and where"),
            pages.paragraph(
                "A generator counts on a data set if no copying is found with any "
                "seed. Among those that count, the lower AUC above that of real series "
                "wins: 0.5 is a coin flip, 1 tells every series from a real one. Those "
                "that do not count or failed share the last rank.",
                "caption",
            ),
            *tables,
        ]

    def _overview(self, datasets: Sequence[str]) -> Html:
        rows = [
            [
                words.plain(g),
                *(self._place(self.grid[d, g]) for d in datasets),
                f"{self.mean[g]:.1f}",
            ]
            for g in self.order
        ]
        floors = [self._floor(d) for d in datasets]
        rows.append(["real series (floor)", *floors, ""])
        columns = ["Generator", *map(words.plain, datasets), "Mean rank over all"]
        caption = "AUC of the stronger judge, where the series are new"
        return pages.table(columns, rows, caption=caption, kind="even")

    def _place(self, cell: Cell) -> Html | str:
        if not cell.num_seeds:
            failed = self.failures
            here = (failed["dataset"] == cell.dataset) & (
                failed["generator"] == cell.generator
            )
            return Html(
                '<strong class="fault">✕ failed</strong>' if here.any() else "–"
            )
        if cell.judged is None:
            return "not judged"
        text = words.number(cell.auc, JUDGES[0])
        if not cell.counts:
            return Html(f'<span class="fine">({text})</span> '
                        '<strong class="fault">▲ copies</strong>')  # fmt: skip
        return text

    def _floor(self, dataset: str) -> str:
        floors = [self._yardstick(dataset, name, "floor") for name in JUDGES]
        known = sorted(floor for floor in floors if np.isfinite(floor))
        if not known:
            return "–"
        ends = [words.number(end, JUDGES[0]) for end in (known[0], known[-1])]
        return " to ".join(dict.fromkeys(ends))

    def rank_table(self) -> list[str]:
        """Return mean ranks by headline metric."""
        by_metric = metric_ranks(self.grid, self.candidates)
        if by_metric.empty or len(self.candidates) < 2:
            return []
        rows: list[list[object]] = [
            ["Fidelity at novelty", *(f"{self.mean[g]:.1f}" for g in self.order)]
        ]
        for name in by_metric:
            each = by_metric[name]
            rows.append([words.label(str(name)), *(_best(each, g) for g in self.order)])
        blocks = _blocks(self.order, 8)
        starts = np.cumsum([0, *map(len, blocks)])
        parts: list[str] = [
            pages.section("ranks", "Mean ranks"),
            pages.paragraph(
                "1 is best; a failure ranks last. Copies are ranked here too, so that "
                "a high place in one metric alone is no merit. The best are bold.",
                "caption",
            ),
        ]
        for block, start in zip(blocks, starts, strict=False):
            some = [[row[0], *row[1 + start : 1 + start + len(block)]] for row in rows]
            columns = ["Metric", *map(words.plain, block)]
            parts.append(
                pages.table(
                    columns, some, caption="Mean rank over data sets", kind="even"
                )
            )
        return parts

    def tests(self) -> list[str]:
        """Return mean ranks on an axis and the tests between pairs, where there are."""
        if len(self.candidates) < 2 or len(self.datasets) < 2:
            return []
        table = excesses(self.grid, self.candidates).rename(columns=words.plain)
        figure, axes = new_figure(width=WIDTH, height=1.4 + 0.3 * len(self.candidates))
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", FewDataSetsWarning)
            ranked = draw_critical_difference(axes[0, 0], table)
        pairs = _pairs(table)
        few = [str(w.message) for w in caught if w.category is FewDataSetsWarning]
        caption = (
            "Mean ranks over data sets, best on the left. Bars join generators that "
            "the signed-rank test with Holm's correction does not tell apart."
        )
        order = "; ".join(f"{name} {rank:.2f}" for name, rank in ranked.items())
        parts: list[str] = [pages.section("tests", "Are the differences certain?")]
        parts += [pages.paragraph(f"No: {text}.", "note") for text in few[:1]]
        picture = pages.png(figure)
        alt = f"Mean ranks: {order}."
        parts.append(pages.figure(picture, "Mean ranks", caption, alt=alt, level=0))
        return [*parts, pages.details("Tests of every pair", [_pair_table(pairs)])]

    def dataset_section(self, dataset: str, key: str) -> list[str]:
        """Return the tables of one data set and its faults in words."""
        shown = [g for g in self.generators if self.grid[dataset, g].num_seeds]
        shown.sort(key=lambda g: (is_oracle(g), self._rank(dataset, g)))
        parts: list[str] = [pages.section(key, words.title(dataset))]
        if not shown:
            return [*parts, pages.paragraph("No run has scores on this data set.")]
        rows = [[words.plain(g), self._words(self.grid[dataset, g])] for g in shown]
        columns = ["Generator", Html("What was found")]
        caption = "Verdicts"
        parts.append(pages.table(columns, rows, caption=caption, kind="words"))
        names = [m for m in words.ORDER if self._has(dataset, m)]
        names += [m for m in metric_names(self.table)
                  if m not in names and self._has(dataset, m)]  # fmt: skip
        first = [m for m in names if getattr(words.record(m), "headline", False)]
        rest = [m for m in names if m not in first]
        parts += self._tables(dataset, shown, first or names, "Headline metrics")
        if first and rest:
            tables = self._tables(dataset, shown, rest, "Further metrics")
            parts.append(pages.details(f"{len(rest)} further metrics", tables))
        return parts

    def _rank(self, dataset: str, generator: str) -> float:
        if generator not in self.ranks.index:
            return np.inf
        return float(self.ranks.loc[generator].to_dict()[dataset])

    def _has(self, dataset: str, metric: str) -> bool:
        return any(
            np.isfinite(self.grid[dataset, g].value(metric)) for g in self.generators
        )

    def _words(self, cell: Cell) -> Html:
        faults = [
            fault if count == cell.num_seeds
            else f"{fault} ({count} of {cell.num_seeds} seeds)"
            for fault, count in cell.faults.items()
        ]  # fmt: skip
        if faults:
            return Html(f'<span class="fault">▲</span> {words.join(faults)}')
        tested = set(cell.scores["metric"]) & {"dcr_share", "copy_rate"}
        novelty = "" if tested else "; copying was not tested"
        return Html(f'<span class="fine">no fault found{novelty}</span>')

    def _tables(
        self, dataset: str, generators: Sequence[str], names: Iterable[str], what: str
    ) -> list[str]:
        names = list(names)
        parts: list[str] = []
        for block in _blocks(generators, BLOCK):
            yard = ["Real (floor)", "Planted fault"]
            columns = ["Metric", *map(words.plain, block), *yard]
            rows = [self._metric_row(dataset, name, block) for name in names]
            caption = f"{what} on {words.plain(dataset)}"
            parts.append(pages.table(columns, rows, caption=caption, kind="wide"))
        return parts

    def _metric_row(
        self, dataset: str, name: str, block: Sequence[str]
    ) -> list[object]:
        here = [self.grid[dataset, g] for g in block]
        floor, ceiling = (
            self._yardstick(dataset, name, c) for c in ("floor", "ceiling")
        )
        metric = words.record(name)
        fault = words.plain(metric.ceiling) if metric else ""
        if words.blind(name, floor, ceiling):
            fault = f"{fault}: not seen here"
        title = pages.two_lines(words.label(name), words.aim(name))
        last = pages.two_lines(words.number(ceiling, name), fault)
        return [
            title,
            *(_entry(c, name) for c in here),
            words.number(floor, name),
            last,
        ]

    def _yardstick(self, dataset: str, name: str, column: str) -> float:
        values = [self.grid[dataset, g].value(name, column) for g in self.generators]
        known = [value for value in values if np.isfinite(value)]
        return float(np.mean(known)) if known else np.nan


def _pairs(table: pd.DataFrame) -> pd.DataFrame:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FewDataSetsWarning)
        return compare_generators(table)


def _pair_table(pairs: pd.DataFrame) -> Html:
    columns = [
        "Pair", "Wins, losses", "Median difference", "Effect", "p", "p by Holm",
    ]  # fmt: skip
    rows = [
        [
            f"{row['first']} against {row['second']}",
            f"{row['wins']}, {row['losses']}",
            words.number(row["median_difference"], JUDGES[0]),
            words.number(row["effect"], JUDGES[0]),
            f"{row['p']:.3f}",
            f"{row['p_holm']:.3f}",
        ]
        for row in pairs.to_dict("records")
    ]
    caption = (
        "Wilcoxon's signed-rank test on the excess AUC, lower is better; who does not "
        "count is set to 1. The effect is the rank-biserial correlation, -1 if the "
        "first is always lower."
    )
    return pages.table(columns, rows, caption=caption)


def _entry(cell: Cell, name: str) -> Html:
    text, verdict = words.number(cell.value(name), name), cell.verdict(name)
    if not words.is_fault(verdict):
        return Html(pages.escape_text(text))
    word = pages.escape_text(verdict)
    return Html(f'<strong>{text}</strong>'
                f'<span class="small fault">▲ {word}</span>')  # fmt: skip


def _best(each: pd.Series, generator: str) -> Html:
    text = f"{each[generator]:.1f}"
    best = np.isclose(each[generator], each.min())
    return Html(f"<strong>{text}</strong>" if best else text)


def _blocks(names: Sequence[str], most: int) -> list[list[str]]:
    """Split names over tables of at most ``most`` columns, evenly."""
    number = max(1, -(-len(names) // most))
    size = -(-len(names) // number)
    return [list(names[k * size : (k + 1) * size]) for k in range(number)]


def _plural(number: int, word: str) -> str:
    return f"{number} {word}{'s' * (number != 1)}"
