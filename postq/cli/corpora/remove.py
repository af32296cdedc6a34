"""`postq corpus remove`: one version of a corpus that nothing stands on any more, with its snapshot."""

import typer

from postq.cli import options
from postq.cli.command import ON_DATABASE, command
from postq.cli.invocation import invocation_of
from postq.cli.printing.terminal import note, say
from postq.cli.printing.wording import folder_stays
from postq.counted import counted


@command("remove", examples=("postq corpus remove opinions@1 --yes",), exits=(4, 5, *ON_DATABASE))
def remove_corpus(ctx: typer.Context, *, corpus: options.CorpusReference, yes: options.Yes = False) -> None:
    """Remove one version of a corpus with its snapshot. There is no way back.

    Refused while a job was given this version or a schedule would classify it next; `postq prune` forgets
    old jobs.
    """
    from postq.database_tag import is_own
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
    home = invocation.settings.home
    with invocation.database.reading() as session:
        clear_folder(session, row.path, home=home)
        own = is_own(session, home / row.path, home=home)
    say(f"Removed {row.name}@{row.version} with its {counted(row.documents, 'document')}.")
    if not own:
        note(folder_stays(home / row.path))
