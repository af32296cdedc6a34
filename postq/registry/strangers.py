"""Folders below home that this database does not know: another's, or from before names bore tags."""

from collections import defaultdict
from pathlib import Path, PurePosixPath

import sqlalchemy as sa
from sqlalchemy.orm import Session

from postq.database_tag import database_tag, tag_in
from postq.models.shard import ShardState
from postq.models.tables import bundle, corpus, shard

KINDS = ("corpora", "bundles", "checkpoints", "attempts")
"""The folders of home whose folders belong to one database each."""


def strange_folders(session: Session, *, home: Path) -> dict[str | None, list[Path]]:
    """Folders that are neither this database's by their name nor named by its rows, by the tag they bear.

    Under None are those that bear none, and those with a tag that rows here name too: this database's own of
    before it was moved, or those of the one it was copied from.
    """
    own, named = database_tag(session, home=home), _named(session)
    before = {tag_in(path) for path in named}
    found: dict[str | None, list[Path]] = defaultdict(list)
    for kind in KINDS:
        for folder in sorted((home / kind).glob("[!.]*/")):
            tag = tag_in(folder.name)
            if tag != own and f"{kind}/{folder.name}" not in named:
                found[None if tag in before else tag].append(folder)
    return dict(found)


def _named(session: Session) -> set[str]:
    """Folders, relative to home, that rows name; of trainings those that may still be resumed."""
    resumable = sa.select(shard.c.checkpoint).where(
        shard.c.checkpoint.is_not(None), shard.c.state != ShardState.DONE
    )
    paths = (
        path
        for query in (sa.select(corpus.c.path), sa.select(bundle.c.path), resumable)
        for path in session.scalars(query)
    )
    return {"/".join(PurePosixPath(path).parts[:2]) for path in paths}
