"""`postq db`: the version of the database's schema, and bringing it up to this postq."""

import typer

from postq.cli import options
from postq.cli.command import command, group
from postq.cli.invocation import invocation_of
from postq.cli.printing.terminal import say, show, show_json


@command("upgrade", examples=("postq db upgrade",), exits=(6, 7))
def upgrade(ctx: typer.Context) -> None:
    """Bring the database's schema up to this postq.

    Safe to run more than once and from several machines at once. Stop workers of an older version first.
    """
    from postq.migrations import current_revision, head_revision
    from postq.migrations import upgrade as bring_up

    database = invocation_of(ctx).unchecked_database
    before = current_revision(database)
    bring_up(database)
    if before == head_revision():
        say(f"The schema is at {before}, which is current.")
    else:
        say(f"The schema went from {before or 'nothing'} to {head_revision()}.")


@command("current", examples=("postq db current", "postq db current --json"), exits=(6, 7))
def current(ctx: typer.Context, *, json: options.Json = False) -> None:
    """Show the schema the database has and the one this postq needs; exit 7 when they differ."""
    from postq.errors import SchemaMismatch
    from postq.migrations import current_revision, head_revision

    found, needed = current_revision(invocation_of(ctx).unchecked_database), head_revision()
    if json:
        show_json({"current": found, "needed": needed})
    else:
        show(f"{found or 'none'} (this postq needs {needed})")
    if found != needed:
        raise typer.Exit(SchemaMismatch.exit_code)


app = group("The database's schema: see it and bring it up to date.", upgrade, current)
