"""The figures of a training, an evaluation or a bundle as one table, a line per model and split."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from postq.cli.printing.terminal import clean

CUTS = {"half": "at 0.5", "global": "global", "default": "default"}
"""The ways to cut scores into labels, in the order of the columns."""
CROSS_FITTED = "cross-fitted"
NAME_COLUMNS = 14
"""Kept for a model's name, which is folded when longer."""
MOST_COLUMNS = 1000
SPLITS = ("test", "all", "validation", CROSS_FITTED)


@dataclass(frozen=True, kw_only=True)
class Figures:
    """One model on one set of documents: micro-F1 and macro-F1 at each cut, and mean average precision."""

    model: str
    on: str
    f1: Mapping[str, tuple[float | None, float | None]]
    mean_average_precision: float | None

    @property
    def order(self) -> int:
        """Test figures stand first: they are the ones to believe."""
        return SPLITS.index(self.on) if self.on in SPLITS else len(SPLITS)


def figures_of(facts: Mapping[str, Any], *, model: str = "bundle") -> list[Figures]:
    """The figures in a job's result or a bundle's metrics; empty when there are none."""
    rows = facts.get("comparison") or (facts.get("metrics") or {}).get("comparison")
    if rows:
        models = list(dict.fromkeys(str(row["model"]) for row in rows))
        return sorted(_of_training(rows), key=lambda found: (models.index(found.model), found.order))
    report = facts.get("report")
    if report:
        return [_of_evaluation(report, model=model, on=str(facts.get("split", "all")))]
    return []


@dataclass(frozen=True)
class FiguresTable:
    """`micro/macro` F1 at 0.5, at one threshold for all labels, and at the default ones: a column each.

    On a terminal too narrow for that, a line each, so that no figure is cut.
    """

    found: Sequence[Figures]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """What Rich calls to draw it."""
        wide = _wide(self.found)
        fits = console.measure(wide, options=options.update(width=MOST_COLUMNS)).minimum <= options.max_width
        yield wide if fits else _tall(self.found)


def _wide(found: Sequence[Figures]) -> RenderableType:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    table.add_column("F1 micro/macro", overflow="fold", min_width=NAME_COLUMNS)
    table.add_column("on", no_wrap=True)
    for cut in CUTS:
        table.add_column(CUTS[cut], justify="right", no_wrap=True)
    table.add_column("mAP", justify="right", no_wrap=True)
    for before, figures in zip([None, *found], found, strict=False):
        again = before is not None and before.model == figures.model
        cells = [_pair(figures.f1.get(cut), best=cut == "default") for cut in CUTS]
        table.add_row(
            Text("" if again else clean(figures.model)),
            Text(figures.on, style="dim"),
            *cells,
            Text(_number(figures.mean_average_precision)),
        )
    return Padding(table, (0, 0, 0, 2))


def _tall(found: Sequence[Figures]) -> RenderableType:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    table.add_column("F1 micro/macro", overflow="fold")
    for heading in ("on", "", ""):
        table.add_column(heading, no_wrap=True)
    for before, figures in zip([None, *found], found, strict=False):
        again = before is not None and before.model == figures.model
        named = [Text("" if again else clean(figures.model)), Text(figures.on, style="dim")]
        lines = [(CUTS[cut], _pair(pair, best=cut == "default")) for cut, pair in figures.f1.items()]
        for name, value in [*lines, ("mAP", Text(_number(figures.mean_average_precision)))]:
            table.add_row(*named, Text(name, style="dim"), value)
            named = [Text(""), Text("")]
    return Padding(table, (0, 0, 0, 2))


def _of_training(rows: Sequence[Mapping[str, Any]]) -> Iterator[Figures]:
    """One line per model and split; the cross-fitted figures are the honest ones of the tuned thresholds."""
    for model, on in dict.fromkeys((row["model"], _on(row)) for row in rows):
        own = [row for row in rows if (row["model"], _on(row)) == (model, on)]
        yield Figures(
            model=str(model),
            on=on,
            f1={_cut(row): (row["micro_f1"], row["macro_f1"]) for row in own},
            mean_average_precision=next((row["map"] for row in own if row.get("map") is not None), None),
        )


def _on(row: Mapping[str, Any]) -> str:
    return CROSS_FITTED if row["thresholds"] == "cross_fitted" else str(row["split"])


def _cut(row: Mapping[str, Any]) -> str:
    return "default" if row["thresholds"] == "cross_fitted" else str(row["thresholds"])


def _of_evaluation(report: Mapping[str, Any], *, model: str, on: str) -> Figures:
    cuts: Mapping[str, Mapping[str, Any]] = report["tracks"]["all"]
    return Figures(
        model=model,
        on=on,
        f1={cut: (facts["micro_f1"], facts["macro_f1"]) for cut, facts in cuts.items()},
        mean_average_precision=report["ranking"]["map"],
    )


def _pair(values: tuple[float | None, float | None] | None, *, best: bool) -> Text:
    if values is None:
        return Text("")
    return Text("/".join(map(_number, values)), style="bold" if best else "")


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"
