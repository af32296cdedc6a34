"""`postq corpus remove` and `postq bundles remove`: what nothing stands on any more, with its files."""

from typing import Annotated

import typer

from postq.cli import options
from postq.cli.command import ON_DATABASE, command
from postq.cli.invocation import invocation_of
from postq.cli.terminal import note, say
from postq.counted import counted

Yes = Annotated[bool, options.switch("--yes", help="Do it; without it nothing is removed.")]


@command("remove", examples=("postq corpus remove opinions@1 --yes",), exits=(4, 5, *ON_DATABASE))
def remove_corpus(ctx: typer.Context, *, corpus: options.CorpusReference, yes: Yes = False) -> None:
    """Remove one version of a corpus with its snapshot. There is no way back.

    Refused while a job was given this version or a schedule would classify it next; `postq prune` forgets
    old jobs.
    """
    from postq.registry.removal import clear_folder, removable_corpus
    from postq.registry.removal import remove_corpus as remove

    invocation = invocation_of(ctx)
    if not yes:
        with invocation.database.reading() as session:
            row = removable_corpus(session, corpus)
        note(f"{row.name}@{row.version} would be removed; add --yes to do it.")
        return
    with invocation.database.transaction() as session:
        row = remove(session, corpus)
    clear_folder(invocation.settings.home, row.path)
    say(f"Removed {row.name}@{row.version} with its {counted(row.documents, 'document')}.")


@command("remove", examples=("postq bundles remove opinions-tfidf --yes",), exits=(4, 5, *ON_DATABASE))
def remove_bundle(ctx: typer.Context, *, bundle: options.BundleReference, yes: Yes = False) -> None:
    """Remove a bundle with its folder. There is no way back.

    Refused while an alias points at it, a job made, used or waits to use it, or a schedule classifies with
    it; `postq prune` forgets old jobs.
    """
    from postq.registry.bundle_place import take_away
    from postq.registry.removal import removable_bundle
    from postq.registry.removal import remove_bundle as remove

    invocation = invocation_of(ctx)
    if not yes:
        with invocation.database.reading() as session:
            row = removable_bundle(session, bundle)
        note(f"Bundle {row.id} ({row.name}) would be removed; add --yes to do it.")
        return
    with invocation.database.transaction() as session:
        row = remove(session, bundle)
    take_away(invocation.database, row, home=invocation.settings.home)
    say(f"Removed bundle {row.id} ({row.name}).")
