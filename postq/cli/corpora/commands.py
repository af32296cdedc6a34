"""`postq corpus`: add corpora, look at them, check files before adding, write a synthetic one."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from postq.cli import options
from postq.cli.command import ON_DATABASE, command, group
from postq.cli.corpora.listing import LISTING, SET_ASIDE
from postq.cli.corpora.remove import remove_corpus
from postq.cli.corpora.source import (
    Delimiter,
    Files,
    Form,
    IdColumn,
    LabelsColumn,
    SplitColumn,
    SplitFiles,
    TextColumn,
    columns_of,
    form_of,
    inputs_of,
)
from postq.cli.invocation import invocation_of
from postq.cli.printing.terminal import note, say, show, show_json
from postq.counted import counted
from postq.errors import CorpusUnreadable

if TYPE_CHECKING:
    from postq.corpus.records import SetAside
    from postq.models import Corpus

SHOWN_SET_ASIDE = 20
NAMED_FIELDS = ("jsonl", "csv", "parquet")
"""Forms whose fields have the names the options give."""


@command(
    "add",
    examples=(
        "postq corpus add opinions opinions.jsonl.gz",
        "postq corpus add reuters --split train=train.jsonl.gz --split test=test.jsonl.gz",
        "postq corpus add cases cases.csv --text-column body --labels-column topics",
    ),
    exits=(3, *ON_DATABASE),
)
def add(
    ctx: typer.Context,
    *,
    name: Annotated[str, typer.Argument(metavar="NAME", help="Name; an existing one gets a new version.")],
    files: Files = None,
    split: SplitFiles = None,
    form: Form = None,
    text_column: TextColumn = "text",
    id_column: IdColumn = "id",
    labels_column: LabelsColumn = "labels",
    split_column: SplitColumn = "split",
    delimiter: Delimiter = ";",
    json: options.Json = False,
) -> None:
    """Read files into an immutable snapshot and register it as a new version.

    Records that cannot be used are set aside with a reason each, counted and kept for
    `postq corpus show NAME --set-aside`; the rest go in. A file that cannot be read to its end adds nothing.
    """
    from postq.cli.corpora.progress import reading_progress
    from postq.registry.intake import add_corpus

    invocation = invocation_of(ctx)
    with reading_progress() as progress:
        row = add_corpus(
            invocation.database,
            invocation.settings,
            name=name,
            inputs=inputs_of(files, split),
            form=form_of(form),
            columns=columns_of(text_column, id_column, labels_column, split_column, delimiter),
            progress=progress,
        )
    if json:
        show_json(LISTING.as_dict(row))
        return
    say(
        f"Added {row.name}@{row.version}: {counted(row.documents, 'document')}, {counted(row.words, 'word')}."
    )
    _tell_set_aside(row)
    _tell_unlabelled(row)


@command("list", examples=("postq corpus list", "postq corpus list --json"), exits=ON_DATABASE)
def list_all(
    ctx: typer.Context,
    *,
    name: Annotated[
        str | None, typer.Option(metavar="NAME", help="Only versions of this corpus.", show_default=False)
    ] = None,
    json: options.Json = False,
) -> None:
    """List corpora, newest first."""
    from postq.registry.corpora import list_corpora

    with invocation_of(ctx).database.reading() as session:
        rows = list_corpora(session, name=name)
    LISTING.show(rows, json=json)


@command(
    "show",
    examples=("postq corpus show opinions", "postq corpus show opinions@2 --set-aside"),
    exits=(4, *ON_DATABASE),
)
def show_one(
    ctx: typer.Context,
    *,
    corpus: options.CorpusReference,
    set_aside: Annotated[
        bool, options.switch("--set-aside", help="List the records that were set aside.")
    ] = False,
    json: options.Json = False,
) -> None:
    """Show one corpus version: lengths, labels, splits, and what was set aside."""
    from postq.registry.corpora import resolve_corpus

    invocation = invocation_of(ctx)
    with invocation.database.reading() as session:
        row = resolve_corpus(session, corpus)
    if set_aside:
        from postq.corpus.snapshot import read_set_aside

        SET_ASIDE.show(read_set_aside(invocation.settings.home / row.path), json=json)
    elif json:
        show_json(LISTING.as_dict(row))
    else:
        from postq.cli.corpora.page import corpus_page

        show(corpus_page(row))


@command("validate", examples=("postq corpus validate opinions.jsonl.gz",), exits=(3, 6))
def validate(
    ctx: typer.Context,
    *,
    files: Files = None,
    split: SplitFiles = None,
    form: Form = None,
    text_column: TextColumn = "text",
    id_column: IdColumn = "id",
    labels_column: LabelsColumn = "labels",
    split_column: SplitColumn = "split",
    delimiter: Delimiter = ";",
    json: options.Json = False,
) -> None:
    """Read files as `corpus add` would, count everything, and write nothing."""
    from postq.cli.corpora.progress import reading_progress
    from postq.registry.intake import validate_source

    unfit: list[SetAside] = []
    try:
        with reading_progress() as progress:
            facts = validate_source(
                invocation_of(ctx).settings,
                inputs=inputs_of(files, split),
                form=form_of(form),
                columns=columns_of(text_column, id_column, labels_column, split_column, delimiter),
                on_set_aside=lambda record: unfit.append(record) if len(unfit) < SHOWN_SET_ASIDE else None,
                progress=progress,
            )
    except CorpusUnreadable:
        if unfit and not json:
            SET_ASIDE.show(unfit, json=False)
        raise
    if json:
        show_json(facts.model_dump(mode="json"))
        return
    from postq.cli.corpora.page import facts_page

    show(facts_page(facts.model_dump(mode="json")))
    if unfit:
        show("")
        SET_ASIDE.show(unfit, json=False)
        if facts.set_aside > len(unfit):
            note(f"{counted(facts.set_aside - len(unfit), 'more record')} set aside.")


@command(
    "synthesize",
    examples=("postq corpus synthesize opinions.jsonl.gz --documents 600 --seed 7",),
    exits=(3, 6),
)
def synthesize(
    *,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="File to write: .jsonl or .jsonl.gz.")],
    documents: Annotated[int, typer.Option(metavar="N", min=1, help="Sound documents.")] = 600,
    seed: Annotated[int, typer.Option(metavar="N", help="The same seed writes the same bytes.")] = 42,
    median_words: Annotated[
        int, typer.Option(metavar="N", min=1, help="Median length; a few are many times as long.")
    ] = 2500,
    flaws: Annotated[
        bool,
        typer.Option(metavar="", help="Add duplicates and a few broken records, as real corpora have."),
    ] = True,
    json: options.Json = False,
) -> None:
    """Write a corpus of synthetic judicial opinions with 41 procedural posture labels.

    For demonstrations, tests and benchmarks: a model trained on it knows nothing of real opinions.
    """
    from dataclasses import asdict

    from postq.cli.corpora.progress import writing_progress
    from postq.corpus.synthetic import write_synthetic_corpus

    with writing_progress() as progress:
        facts = write_synthetic_corpus(
            file, documents=documents, seed=seed, median_words=median_words, flaws=flaws, progress=progress
        )
    if json:
        show_json(asdict(facts))
        return
    broken = f" and {counted(facts.broken, 'broken record')}" if facts.broken else ""
    say(f"Wrote {counted(facts.documents, 'document')}{broken} to {file}.")


def _tell_set_aside(row: "Corpus") -> None:
    if not row.set_aside:
        return
    reasons = ", ".join(
        f"{number} {reason.replace('_', ' ')}" for reason, number in row.facts["reasons"].items()
    )
    note(f"{counted(row.set_aside, 'record')} set aside: {reasons}.")
    say(f"  See them with: postq corpus show {row.name}@{row.version} --set-aside", style="dim")


def _tell_unlabelled(row: "Corpus") -> None:
    """Say now what a training would only say later: a misspelt labels field costs labels, not an error."""
    if row.labelled_documents:
        return
    named = any(form in NAMED_FIELDS for form in row.facts["forms"])
    where = "; --labels-column names the field of labels if there is one" if named else ""
    note(f"no document has labels, so nothing can be trained on this corpus{where}.")


app = group(
    "Corpora: add them, look at them, check files, write a synthetic one.",
    add,
    list_all,
    show_one,
    validate,
    synthesize,
    remove_corpus,
)
