"""How a training went: true losses, quality on validation, learning rate; for TF-IDF its candidates of C."""

from collections.abc import Iterator, Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from postq.reports.charts.chart import Chart
from postq.reports.charts.style import FIRST, MUTED, SECOND, finish, house_style, new_figure
from postq.reports.content import Course
from postq.reports.estimate import decimal

Epochs = Sequence[Mapping[str, float]]


def course_charts(course: Course, *, name: str) -> Iterator[Chart]:
    """Three charts of an encoder's epochs, or one of a TF-IDF's candidates; none when nothing is known."""
    if course.epochs:
        yield _losses(course, name=f"{name}-loss")
        yield _quality(course, name=f"{name}-quality")
        yield _rate(course, name=f"{name}-rate")
    if course.candidates:
        yield _candidates(course, name=f"{name}-candidates")


def _losses(course: Course, *, name: str) -> Chart:
    """The plain binary cross-entropy, whatever weights the recipe trains with: comparable between runs."""
    epochs = course.epochs
    with house_style():
        figure, axes = new_figure()
        for key, label, colour in (
            ("train_loss_unweighted", "training", FIRST),
            ("val_loss_unweighted", "validation", SECOND),
        ):
            _line(axes, epochs, key, label=label, colour=colour)
        if course.prior_loss is not None and _is_unweighted(epochs):
            axes.axhline(course.prior_loss, color=MUTED, linewidth=1, linestyle=":", label="constant answer")
        _epoch_axis(axes, course, label="loss per document and label")
        axes.legend()
        return finish(
            figure,
            name=name,
            title="True loss",
            description=f"Unweighted training loss {_went(epochs, 'train_loss_unweighted')}, "
            f"validation loss {_went(epochs, 'val_loss_unweighted')}.",
        )


def _quality(course: Course, *, name: str) -> Chart:
    epochs = course.epochs
    with house_style():
        figure, axes = new_figure()
        _line(axes, epochs, "val_map", label="mAP", colour=FIRST)
        _line(axes, epochs, "val_micro_f1", label="micro-F1 at 0.5", colour=SECOND)
        _epoch_axis(axes, course, label="on validation")
        axes.set_ylim(0, max(0.05, axes.get_ylim()[1]))
        axes.legend()
        return finish(
            figure,
            name=name,
            title="Quality on validation",
            description=f"Mean average precision on validation {_went(epochs, 'val_map')}; "
            f"epoch {course.best_epoch} was kept.",
        )


def _rate(course: Course, *, name: str) -> Chart:
    epochs = course.epochs
    with house_style():
        figure, axes = new_figure()
        _line(axes, epochs, "learning_rate", label="", colour=FIRST)
        _epoch_axis(axes, course, label="at the end of the epoch")
        axes.set_ylim(bottom=0)
        axes.ticklabel_format(axis="y", style="sci", scilimits=(0, 0), useMathText=False)
        return finish(
            figure,
            name=name,
            title="Learning rate",
            description=f"The learning rate ended at {epochs[-1].get('learning_rate', 0):.2g}.",
        )


def _candidates(course: Course, *, name: str) -> Chart:
    values, found = list(course.candidates), list(course.candidates.values())
    with house_style():
        figure, axes = new_figure()
        axes.plot(values, found, color=FIRST, marker="o", markersize=5)
        axes.set_xscale("log")
        axes.set_xticks(values, [f"{value:g}" for value in values])
        axes.minorticks_off()
        if course.chosen is not None:
            _mark_chosen(axes, course.chosen, course.candidates[course.chosen])
        axes.margins(x=0.12)
        middle = (min(found) + max(found)) / 2
        reach = max(0.8 * (max(found) - min(found)), 0.01)
        axes.set_ylim(middle - reach, middle + reach)
        axes.ticklabel_format(axis="y", useOffset=False)
        axes.set_xlabel("regularisation C of scikit-learn")
        axes.set_ylabel("mAP out of fold")
        told = ", ".join(f"C {value:g} {decimal(one)}" for value, one in course.candidates.items())
        chosen = f" Chosen: C {course.chosen:g}." if course.chosen is not None else ""
        return finish(
            figure,
            name=name,
            title="Candidates of C (TF-IDF)",
            description=f"Mean average precision out of fold: {told}.{chosen}",
        )


def _mark_chosen(axes: Axes, value: float, found: float) -> None:
    axes.plot([value], [found], "o", color=SECOND, markersize=9)
    axes.annotate(
        "chosen", (value, found), xytext=(0, -15), textcoords="offset points", ha="center", color=SECOND
    )


def _is_unweighted(epochs: Epochs) -> bool:
    """True when the recipe's loss is the plain one, so that the constant answer's loss is comparable."""
    return all(epoch.get("val_loss") == epoch.get("val_loss_unweighted") for epoch in epochs)


def _line(axes: Axes, epochs: Epochs, key: str, *, label: str, colour: str) -> None:
    points = [(epoch["epoch"], epoch[key]) for epoch in epochs if epoch.get(key) is not None]
    if points:
        axes.plot(*zip(*points, strict=True), color=colour, marker="o", markersize=4, label=label)


def _epoch_axis(axes: Axes, course: Course, *, label: str) -> None:
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    axes.set_xlabel("epoch")
    axes.set_ylabel(label)
    if course.best_epoch:
        axes.axvline(course.best_epoch, color=MUTED, linewidth=1, linestyle="--")
        axes.annotate(
            "kept",
            (course.best_epoch, 1),
            xycoords=("data", "axes fraction"),
            xytext=(-4, -2),
            textcoords="offset points",
            ha="right",
            va="top",
            color=MUTED,
            fontsize=8.5,
        )


def _went(epochs: Epochs, key: str) -> str:
    """From where to where a figure went, or what it was after an only epoch."""
    first, last = (decimal(epochs[at].get(key)) for at in (0, -1))
    if len(epochs) == 1:
        return f"was {last} after the only epoch"
    return f"went from {first} to {last}"
