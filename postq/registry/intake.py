"""Taking a corpus in: a snapshot on disk first, then its rows in one transaction; and the dry run of it."""

import re
import shutil
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import sqlalchemy as sa
from sqlalchemy.orm import Session

from postq.corpus.fields import Columns
from postq.corpus.location import Input
from postq.corpus.records import SetAside
from postq.corpus.screening import Progress, survey
from postq.corpus.snapshot import SnapshotFacts, SourceFacts, write_snapshot
from postq.corpus.source import SourceForm, locate_inputs, read_source
from postq.corpus.streams import Meter
from postq.crash_points import CrashPoint, reach
from postq.database_tag import database_tag, tagged
from postq.db import Database, database_now, insert_if_absent
from postq.errors import BadInput, PostqError
from postq.models.corpus import Corpus
from postq.models.tables import corpus as corpus_table
from postq.registry.corpora import CORPORA_FOLDER
from postq.registry.document_rows import insert_document_rows
from postq.settings import Settings

_NAME = re.compile(r"(?!\d+$)[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


def add_corpus(
    database: Database,
    settings: Settings,
    *,
    name: str,
    inputs: Sequence[Input],
    form: SourceForm | None = None,
    columns: Columns | None = None,
    progress: Progress | None = None,
) -> Corpus:
    """Read `inputs` into a snapshot below home and register it as the next version of `name`.

    Nothing is registered, and no snapshot stays, unless all of it succeeds. Raises BadInput for the name or a
    place outside the corpus roots, CorpusUnreadable, ExtraMissing, StorageUnavailable, DatabaseUnavailable.
    """
    check_corpus_name(name)
    with database.reading() as session:  # a database that is down is found out before an hour of reading
        created = database_now(session)
        tag = database_tag(session, home=settings.home)
    path = f"{CORPORA_FOLDER}/{tagged(f'{name}-{uuid4().hex[:12]}', tag)}"
    folder = settings.home / path
    facts = _write(settings, folder, inputs, form=form, columns=columns, created=created, progress=progress)
    reach(CrashPoint.AFTER_SNAPSHOT)
    try:
        with database.transaction() as session:
            return _register(session, name=name, path=path, folder=folder, facts=facts)
    except BaseException:
        _discard(folder, database=database, path=path)
        raise


def validate_source(
    settings: Settings,
    *,
    inputs: Sequence[Input],
    form: SourceForm | None = None,
    columns: Columns | None = None,
    on_set_aside: Callable[[SetAside], None] | None = None,
    progress: Progress | None = None,
) -> SourceFacts:
    """Read everything as `add_corpus` would and only count; `on_set_aside` sees each record set aside.

    Raises as `add_corpus` does while it reads.
    """
    meter = Meter()
    records = read_source(inputs, form=form, columns=columns, roots=settings.corpus_roots, meter=meter)
    return survey(records, meter=meter, on_set_aside=on_set_aside, progress=progress)


def check_corpus_name(name: str) -> None:
    """Raise BadInput unless `name` can be told from a number and from `NAME@VERSION`."""
    if not _NAME.fullmatch(name):
        raise BadInput(
            f"'{name}' cannot name a corpus.",
            hint="Use letters, digits, '.', '_' and '-', beginning with a letter or digit, not digits alone.",
        )


def _write(
    settings: Settings,
    folder: Path,
    inputs: Sequence[Input],
    *,
    form: SourceForm | None,
    columns: Columns | None,
    created: datetime,
    progress: Progress | None,
) -> SnapshotFacts:
    meter = Meter()
    roots = settings.corpus_roots
    return write_snapshot(
        read_source(inputs, form=form, columns=columns, roots=roots, meter=meter),
        folder,
        sources=[place.name for place in locate_inputs(inputs, roots=roots)],
        created=created,
        meter=meter,
        progress=progress,
    )


def _register(session: Session, *, name: str, path: str, folder: Path, facts: SnapshotFacts) -> Corpus:
    row = {
        "name": name,
        "path": path,
        "digest": facts.digest,
        "source": ", ".join(facts.sources),
        "documents": facts.documents,
        "words": facts.words.total,
        "labelled_documents": facts.labelled_documents,
        "set_aside": facts.set_aside,
        "facts": facts.model_dump(mode="json"),
        "created_at": facts.created,
    }
    corpus_id = _insert_next_version(session, row)
    insert_document_rows(session, corpus_id=corpus_id, snapshot=folder)
    return session.get_one(Corpus, corpus_id)


def _discard(folder: Path, *, database: Database, path: str) -> None:
    """Remove a snapshot unless its row may be there: a COMMIT can succeed though its answer is lost."""
    try:
        with database.reading() as session:
            registered = session.scalar(sa.select(corpus_table.c.id).where(corpus_table.c.path == path))
    except PostqError:
        return  # cannot tell; `prune_snapshots` removes it a day later if no row names it
    if registered is None:
        shutil.rmtree(folder, ignore_errors=True)


def _insert_next_version(session: Session, row: dict[str, Any]) -> int:
    """Insert under the next free version; another add of the same name may take it first, hence the loop."""
    newest = sa.select(sa.func.max(corpus_table.c.version)).where(corpus_table.c.name == row["name"])
    while True:
        version = (session.scalar(newest) or 0) + 1
        key = insert_if_absent(session, corpus_table, {**row, "version": version})
        if key is not None:
            return int(key)
