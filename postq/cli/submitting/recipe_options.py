"""The options by which a training's recipe is chosen and changed."""

from typing import Annotated, Literal

import typer

from postq.cli import options

RECIPE = "Recipe"

Preset = Annotated[
    str,
    typer.Option(
        metavar="NAME",
        help="tfidf, default (a Longformer), legal-longformer, recipe-tfidf or tiny-longformer.",
        rich_help_panel=RECIPE,
    ),
]
Name = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help="Name of the bundle; by default the corpus and the preset.",
        show_default=False,
    ),
]
Backbone = Annotated[
    str | None,
    typer.Option(
        metavar="FOLDER|ID",
        help="Pretrained encoder: a folder in Hub layout, or a Hub id.",
        rich_help_panel=RECIPE,
        show_default=False,
    ),
]
Epochs = Annotated[
    int | None,
    typer.Option(metavar="N", min=1, help="Most passes over the data.", rich_help_panel=RECIPE),
]
MaxTokens = Annotated[
    int | None,
    typer.Option(metavar="N", min=8, help="Tokens read of each document.", rich_help_panel=RECIPE),
]
LearningRate = Annotated[
    float | None, typer.Option(metavar="X", help="Peak learning rate.", rich_help_panel=RECIPE)
]
Precision = Annotated[
    options.PrecisionName | None,
    options.precision(", in training and in scoring with the bundle", panel=RECIPE),
]
MinLabelCount = Annotated[
    int | None,
    typer.Option(
        metavar="N",
        min=1,
        help="Learn labels that at least this many training documents carry.",
        rich_help_panel=RECIPE,
    ),
]
Seed = Annotated[int | None, typer.Option(metavar="N", help="Seed of training.", rich_help_panel=RECIPE)]
NoBaseline = Annotated[
    bool,
    options.switch(
        "--no-baseline",
        help="Do not train the TF-IDF baseline beside an encoder.",
        panel=RECIPE,
    ),
]
Assignments = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="FIELD=VALUE",
        help="Any other field of the recipe; repeatable.",
        rich_help_panel=RECIPE,
        show_default=False,
    ),
]
Devices = Annotated[
    Literal["one", "all"],
    typer.Option(
        help="Train an encoder on one device, or data-parallel on all of a worker that owns several.",
        rich_help_panel=options.PLACEMENT,
    ),
]
