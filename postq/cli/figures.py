"""The figures of a training, an evaluation or a bundle as one table, a line per model and split."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rich.console import RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from postq.cli.terminal import clean

CUTS = {"half": "at 0.5", "global": "global", "default": "per label"}
"""The ways to cut scores into labels, in the order of the columns."""
CROSS_FITTED = "cross-fitted"
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


def figures_table(found: Sequence[Figures]) -> RenderableType:
    """`micro/macro` F1 in each cell, at 0.5, at one threshold for all labels, and at one per label."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    table.add_column("F1 micro/macro", overflow="fold")
    table.add_column("on", no_wrap=True)
    for cut in CUTS:
        table.add_column(CUTS[cut], justify="right", no_wrap=True)
    table.add_column("mAP", justify="right")
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
