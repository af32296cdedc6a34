"""`postq submit-train`: train a bundle on a corpus."""

from pathlib import Path
from typing import TYPE_CHECKING, Literal

import typer

from postq.cli import options
from postq.cli.bundles.name import checked_name
from postq.cli.command import command
from postq.cli.invocation import invocation_of
from postq.cli.printing.terminal import note
from postq.cli.submitting import recipe_options
from postq.cli.submitting.submission import EXAMPLE_EXITS, Answer, Placement, submit_and_tell
from postq.errors import BadInput

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from postq.contracts.recipes import Recipe
    from postq.contracts.specs import TrainSpec


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
    preset: recipe_options.Preset = "default",
    name: recipe_options.Name = None,
    backbone: recipe_options.Backbone = None,
    epochs: recipe_options.Epochs = None,
    max_tokens: recipe_options.MaxTokens = None,
    learning_rate: recipe_options.LearningRate = None,
    precision: recipe_options.Precision = None,
    min_label_count: recipe_options.MinLabelCount = None,
    facets: options.FacetsFile = None,
    seed: recipe_options.Seed = None,
    no_baseline: recipe_options.NoBaseline = False,
    assignments: recipe_options.Assignments = None,
    devices: recipe_options.Devices = "one",
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
    from postq.cli.bundles.facets_file import read_facets
    from postq.cli.submitting.recipe_flags import parse_assignments, recipe_from_flags

    flags = {
        "backbone": _backbone(backbone),
        "epochs": epochs,
        "max_tokens": max_tokens,
        "learning_rate": learning_rate,
        "precision": precision,
        "labels.min_label_count": min_label_count,
        "seed": seed,
        "baseline": False if no_baseline else None,
        "facets": None if facets is None else read_facets(facets).model_dump(mode="json"),
    }
    given = {field: value for field, value in flags.items() if value is not None}
    recipe = recipe_from_flags(preset, {**given, **parse_assignments(assignments or (), beside=given)})
    _check_split(recipe)
    _check_devices(recipe, devices)
    _check_rules(recipe)
    _check_backbone(recipe)
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
    bundle_name = checked_name(name or f"{row.name}-{recipe.preset}")
    return TrainSpec(corpus_id=row.id, bundle_name=bundle_name, recipe=recipe, devices=devices)


def _check_split(recipe: "Recipe") -> None:
    from postq.contracts.recipes import over_one

    exceeding = over_one(recipe.split)
    if exceeding:
        raise BadInput(exceeding, hint="Lower one of them; what is left over is the test split.")


def _check_devices(recipe: "Recipe", devices: str) -> None:
    if devices == "all" and recipe.model != "encoder":
        raise BadInput(
            "Only encoders are trained on several devices; TF-IDF uses the cores of one process.",
            hint="Leave --devices out.",
        )


def _check_rules(recipe: "Recipe") -> None:
    from postq.contracts.recipes import missing_for_rules

    missing = missing_for_rules(recipe.rules, recipe.facets)
    if recipe.model == "encoder" and recipe.facet_loss and recipe.facets is None:
        raise BadInput(
            "facet_loss gives weight to facets, and there are none.", hint="Give them with --facets FILE."
        )
    if missing:
        raise BadInput(missing, hint="Name a file of labels and their parents with --facets FILE.")


def _check_backbone(recipe: "Recipe") -> None:
    """The tiny preset is made for a small random backbone: another is fetched for nothing, and unlearned."""
    from postq.contracts.recipes import EncoderRecipe

    default = EncoderRecipe.model_fields["backbone"].default
    if recipe.model == "encoder" and recipe.preset == "tiny-longformer" and recipe.backbone == default:
        raise BadInput(
            "The preset tiny-longformer goes with a small backbone of your own, and none is named.",
            hint="Make one: `postq bundles tiny-backbone FOLDER --corpus CORPUS`; add --backbone FOLDER.",
        )


def _backbone(given: str | None) -> str | None:
    """A folder that exists is given to the worker as an absolute path: its working folder differs."""
    if given and Path(given).is_dir():
        return str(Path(given).absolute())
    if given and (given[0] in "/.~" or given.count("/") > 1):
        note(f"there is no folder {given} here; the training fails unless its worker finds it.")
    return given
