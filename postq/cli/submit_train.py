"""`postq submit-train`: train a bundle on a corpus."""

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from postq.cli import options
from postq.cli.command import command
from postq.cli.facets_file import read_facets
from postq.cli.invocation import invocation_of
from postq.cli.submitting import EXAMPLE_EXITS, Answer, Placement, submit_and_tell
from postq.errors import BadInput

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from postq.contracts.recipes import Recipe
    from postq.contracts.specs import TrainSpec

RECIPE = "Recipe"
BUNDLE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


@command(
    "submit-train",
    examples=(
        "postq submit-train opinions --preset tfidf --wait",
        "postq submit-train opinions --backbone models/legal-longformer --epochs 3",
        "postq submit-train opinions --backbone models/legal-longformer --devices all",
        "postq submit-train opinions --preset tfidf --set labels.min_label_count=50",
        "postq submit-train opinions --preset tfidf --facets facets.yaml --set rules=both",
    ),
    exits=EXAMPLE_EXITS,
)
def submit_train(
    ctx: typer.Context,
    *,
    corpus: options.CorpusReference,
    preset: Annotated[
        str,
        typer.Option(
            metavar="NAME",
            help="tfidf, default (a Longformer), legal-longformer, recipe-tfidf or tiny-longformer.",
            rich_help_panel=RECIPE,
        ),
    ] = "default",
    name: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Name of the bundle; by default the corpus and the preset.",
            show_default=False,
        ),
    ] = None,
    backbone: Annotated[
        str | None,
        typer.Option(
            metavar="FOLDER|ID",
            help="Pretrained encoder: a folder in Hub layout, or a Hub id.",
            rich_help_panel=RECIPE,
            show_default=False,
        ),
    ] = None,
    epochs: Annotated[
        int | None,
        typer.Option(metavar="N", min=1, help="Most passes over the data.", rich_help_panel=RECIPE),
    ] = None,
    max_tokens: Annotated[
        int | None,
        typer.Option(metavar="N", min=8, help="Tokens read of each document.", rich_help_panel=RECIPE),
    ] = None,
    learning_rate: Annotated[
        float | None, typer.Option(metavar="X", help="Peak learning rate.", rich_help_panel=RECIPE)
    ] = None,
    min_label_count: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            min=1,
            help="Learn labels that at least this many training documents carry.",
            rich_help_panel=RECIPE,
        ),
    ] = None,
    facets: options.FacetsFile = None,
    seed: Annotated[
        int | None, typer.Option(metavar="N", help="Seed of training.", rich_help_panel=RECIPE)
    ] = None,
    no_baseline: Annotated[
        bool,
        options.switch(
            "--no-baseline",
            help="Do not train the TF-IDF baseline beside an encoder.",
            panel=RECIPE,
        ),
    ] = False,
    assignments: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="FIELD=VALUE",
            help="Any other field of the recipe; repeatable.",
            rich_help_panel=RECIPE,
            show_default=False,
        ),
    ] = None,
    devices: Annotated[
        Literal["one", "all"],
        typer.Option(
            help="Train an encoder on one device, or data-parallel on all of a worker that owns several.",
            rich_help_panel=options.PLACEMENT,
        ),
    ] = "one",
    device_kind: options.DeviceKind = "any",
    memory: options.Memory = None,
    priority: options.Priority = 100,
    after: options.After = None,
    idempotency_key: options.IdempotencyKey = None,
    wait: options.Wait = False,
    quiet: options.Quiet = False,
    json: options.Json = False,
) -> None:
    """Train a bundle on a corpus, tune its thresholds and test it."""
    from postq.cli.recipe_flags import parse_assignments, recipe_from_flags

    flags = {
        "backbone": _backbone(backbone),
        "epochs": epochs,
        "max_tokens": max_tokens,
        "learning_rate": learning_rate,
        "labels.min_label_count": min_label_count,
        "seed": seed,
        "baseline": False if no_baseline else None,
        "facets": None if facets is None else read_facets(facets).model_dump(mode="json"),
    }
    given = {field: value for field, value in flags.items() if value is not None}
    recipe = recipe_from_flags(preset, {**given, **parse_assignments(assignments or ())})
    _check_devices(recipe, devices)
    _check_rules(recipe)
    submit_and_tell(
        invocation_of(ctx),
        lambda session: _spec(session, corpus=corpus, name=name, recipe=recipe, devices=devices),
        placement=Placement(
            device_kind=device_kind,
            memory=memory,
            priority=priority,
            after=after,
            idempotency_key=idempotency_key,
        ),
        answer=Answer(wait=wait, json=json, quiet=quiet),
    )


def _spec(
    session: "Session",
    *,
    corpus: str,
    name: str | None,
    recipe: "Recipe",
    devices: 'Literal["one", "all"]',
) -> "TrainSpec":
    from postq.contracts.specs import TrainSpec
    from postq.registry.corpora import resolve_corpus

    row = resolve_corpus(session, corpus)
    assert row.id is not None
    bundle_name = name or f"{row.name}-{recipe.preset}"
    if not BUNDLE_NAME.fullmatch(bundle_name):
        raise BadInput(
            f"'{bundle_name}' cannot name a bundle.",
            hint="Use letters, digits, '.', '_' and '-', beginning with a letter or digit: --name NAME.",
        )
    return TrainSpec(corpus_id=row.id, bundle_name=bundle_name, recipe=recipe, devices=devices)


def _check_devices(recipe: "Recipe", devices: str) -> None:
    if devices == "all" and recipe.model != "encoder":
        raise BadInput(
            "Only encoders are trained on several devices; TF-IDF uses the cores of one process.",
            hint="Leave --devices out.",
        )


def _check_rules(recipe: "Recipe") -> None:
    from postq.contracts.recipes import missing_for_rules

    missing = missing_for_rules(recipe.rules, recipe.facets)
    if missing:
        raise BadInput(missing, hint="Name a file of labels and their parents with --facets FILE.")


def _backbone(given: str | None) -> str | None:
    """A folder that exists is given to the worker as an absolute path: its working folder differs."""
    return str(Path(given).absolute()) if given and Path(given).is_dir() else given
