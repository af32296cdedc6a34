"""`postq bundles`: trained models, their figures and their aliases; and making backbones to train from."""

from pathlib import Path
from typing import Annotated

import typer

from postq.cli import options
from postq.cli.bundles.ensemble import ensemble
from postq.cli.bundles.listing import LISTING, ListedBundle
from postq.cli.bundles.remove import remove_bundle
from postq.cli.bundles.suspects import suspects
from postq.cli.bundles.tiers import tiers
from postq.cli.command import ON_DATABASE, command, group
from postq.cli.invocation import invocation_of
from postq.cli.printing.terminal import note, say, show, show_json
from postq.counted import counted


@command(
    "list",
    examples=("postq bundles list", "postq bundles list --name opinions-tfidf --json"),
    exits=ON_DATABASE,
)
def list_all(
    ctx: typer.Context,
    *,
    name: Annotated[str | None, typer.Option(help="Only bundles of this name.", show_default=False)] = None,
    json: options.Json = False,
) -> None:
    """List bundles, newest first."""
    from postq.registry.bundles import aliases, list_bundles

    with invocation_of(ctx).database.reading() as session:
        pointing: dict[int, list[str]] = {}
        for alias_row in aliases(session):
            pointing.setdefault(alias_row.bundle_id, []).append(alias_row.name)
        rows = [
            ListedBundle(row=row, aliases=tuple(pointing.get(row.id or 0, ())))
            for row in list_bundles(session, name=name)
        ]
    LISTING.show(rows, json=json)


@command("show", examples=("postq bundles show @production",), exits=(4, 5, *ON_DATABASE))
def show_one(ctx: typer.Context, *, bundle: options.BundleReference, json: options.Json = False) -> None:
    """Show one bundle: its figures, labels and folder."""
    from postq.registry.bundles import show_bundle

    invocation = invocation_of(ctx)
    with invocation.database.reading() as session:
        row, names = show_bundle(session, bundle)
    listed = ListedBundle(row=row, aliases=tuple(names))
    if json:
        show_json({**LISTING.as_dict(listed), "label_names": row.labels})
        return
    from postq.cli.bundles.page import bundle_page

    show(bundle_page(listed, home=invocation.settings.home))


@command(
    "add",
    examples=("postq bundles add /old/home/bundles/63e7f8e350ab8aff0377f8b0d6d027c7",),
    exits=(3, 8, *ON_DATABASE),
)
def add(
    ctx: typer.Context,
    *,
    folder: Annotated[
        Path, typer.Argument(metavar="FOLDER", help="A bundle's folder; `postq bundles show` names it.")
    ],
    json: options.Json = False,
) -> None:
    """Take in a bundle that was made in another home or on another machine.

    Its folder is copied, every file checked against the manifest; it keeps its name, digest and fingerprint.
    What its home's database knew stays there: aliases, its training job, and how often its test split was
    evaluated. Where the same bundle is here and its folder is damaged, it gets the copy.
    """
    from postq.cli.bundles.name import checked_name
    from postq.db import database_now
    from postq.learning.bundle import copy_bundle
    from postq.registry.derived import drafted, keep_bundle

    invocation = invocation_of(ctx)
    database, home = invocation.database, invocation.settings.home
    with drafted(home, lambda draft: copy_bundle(folder.expanduser(), draft)) as copied:
        checked_name(copied.name)
        with database.transaction() as session:
            row = keep_bundle(session, copied, home=home, parents=(), now=database_now(session))
    if json:
        show_json(LISTING.as_dict(ListedBundle(row=row, aliases=())))
        return
    say(f"Bundle {row.id} is {row.name}, {row.kind} with {counted(len(row.labels), 'label')}.")
    if row.metrics.get("brought_in"):
        note("how often its test split was evaluated elsewhere is not known here.")


@command(
    "alias",
    examples=("postq bundles alias @production job:2", "postq bundles alias @production opinions-tfidf"),
    exits=(3, 4, 5, *ON_DATABASE),
)
def alias(
    ctx: typer.Context,
    *,
    name: Annotated[str, typer.Argument(metavar="@ALIAS", help="The alias, such as @production.")],
    bundle: options.BundleReference,
) -> None:
    """Point an alias at a bundle; an alias that exists moves there.

    Jobs already submitted keep the bundle they resolved; schedules follow the alias at their next fire.
    """
    from postq.db import database_now
    from postq.registry.bundles import set_alias

    with invocation_of(ctx).database.transaction() as session:
        row = set_alias(session, name, bundle, now=database_now(session))
    say(f"@{name.removeprefix('@')} is bundle {row.id}, {row.name}.")


@command(
    "tiny-backbone",
    examples=("postq bundles tiny-backbone models/tiny --corpus opinions",),
    exits=(3, 4, *ON_DATABASE),
)
def tiny_backbone(
    ctx: typer.Context,
    *,
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="Where to write the backbone.")],
    corpus: Annotated[
        str, typer.Option(metavar="CORPUS", help="Its texts train the tokenizer.", show_default=False)
    ],
    seed: Annotated[int, typer.Option(metavar="N", help="Seed of the random weights.")] = 42,
) -> None:
    """Make a small, untrained Longformer in Hub layout, for demonstrations and tests.

    Needs the extra `encoders`. Its weights are random: expect nothing of it before it is trained.
    """
    from postq.cli.bundles.backbones import make_tiny
    from postq.registry.corpora import resolve_corpus

    invocation = invocation_of(ctx)
    with invocation.database.reading() as session:
        snapshot = invocation.settings.home / resolve_corpus(session, corpus).path
    make_tiny(folder, snapshot=snapshot, seed=seed)
    say(f"The backbone is in {folder}; train it with --preset tiny-longformer --backbone {folder}.")


@command(
    "convert",
    examples=("postq bundles convert models/minilm models/minilm-longformer --max-tokens 4096",),
    exits=(3, 5, 6),
)
def convert(
    *,
    source: Annotated[Path, typer.Argument(metavar="SOURCE", help="Folder of a BERT encoder in Hub layout.")],
    target: Annotated[Path, typer.Argument(metavar="TARGET", help="Folder to write the Longformer to.")],
    max_tokens: Annotated[
        int, typer.Option(metavar="N", min=8, help="Longest text the Longformer is to read.")
    ] = 4096,
    window: Annotated[
        int, typer.Option(metavar="N", min=2, help="Tokens each token attends to; even.")
    ] = 512,
) -> None:
    """Convert a BERT encoder into a Longformer: positions tiled, global projections copied.

    Needs the extra `encoders`.
    """
    from postq.cli.bundles.backbones import convert_to_longformer

    convert_to_longformer(source, target, max_tokens=max_tokens, window=window)
    say(f"The Longformer is in {target}; train it with --backbone {target}.")


app = group(
    "Trained models: take them in, look at them, name them; make backbones.",
    add,
    list_all,
    show_one,
    tiers,
    alias,
    suspects,
    ensemble,
    convert,
    tiny_backbone,
    remove_bundle,
)
