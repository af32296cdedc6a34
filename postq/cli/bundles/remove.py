"""`postq bundles remove`: a bundle that nothing stands on any more, with its folder."""

import typer

from postq.cli import options
from postq.cli.command import ON_DATABASE, command
from postq.cli.invocation import invocation_of
from postq.cli.printing.terminal import note, say
from postq.cli.printing.wording import folder_stays


@command("remove", examples=("postq bundles remove opinions-tfidf --yes",), exits=(4, 5, *ON_DATABASE))
def remove_bundle(ctx: typer.Context, *, bundle: options.BundleReference, yes: options.Yes = False) -> None:
    """Remove a bundle with its folder. There is no way back.

    Refused while an alias points at it, a job made, used or waits to use it, or a schedule classifies with
    it; `postq prune` forgets old jobs.
    """
    from postq.database_tag import is_own
    from postq.registry.bundle_place import take_away
    from postq.registry.removal import removable_bundle
    from postq.registry.removal import remove_bundle as remove

    invocation = invocation_of(ctx)
    if not yes:
        with invocation.database.reading() as session:
            row = removable_bundle(session, bundle)
        note(f"Bundle {row.id} ({row.name}) would be removed; add --yes to do it.")
        return
    home = invocation.settings.home
    with invocation.database.transaction() as session:
        row = remove(session, bundle)
        own = is_own(session, home / row.path, home=home)
    take_away(invocation.database, row, home=home)
    say(f"Removed bundle {row.id} ({row.name}).")
    if not own:
        note(folder_stays(home / row.path))
