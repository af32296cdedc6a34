"""Named recipes: the paper recipe and its baseline to the letter, and postq's own defaults."""

from postq.contracts.recipes import EncoderRecipe, LabelRecipe, Recipe, SplitRecipe, TfidfRecipe
from postq.errors import NotFound

PRESETS: dict[str, Recipe] = {
    "tfidf": TfidfRecipe(preset="tfidf"),
    "longformer": EncoderRecipe(preset="longformer", attention_dropout=0.0),
    "legal-longformer": EncoderRecipe(
        preset="legal-longformer",
        backbone="lexlms/legal-longformer-base",
        text="paragraphs",
        split=SplitRecipe(train=0.70, validation=0.15, seed=42, method="random", official=False),
        labels=LabelRecipe(min_label_count=50, keep_unlabelled=False),
        max_tokens=4096,
        epochs=5,
        batch_documents=4,
        accumulation=4,
        learning_rate=1e-5,
        warmup_share=0.1,
        weight_decay=0.01,
        max_gradient_norm=1.0,
        patience=2,
        select_on="f1_at_0.5",
        loss="bce_pos_weight",
        pos_weight_power=1.0,
        pos_weight_cap=50.0,
        prior_bias=False,
        thresholds="per_label",
    ),
    "recipe-tfidf": TfidfRecipe(
        preset="recipe-tfidf",
        text="paragraphs",
        split=SplitRecipe(train=0.70, validation=0.15, seed=42, method="random", official=False),
        labels=LabelRecipe(min_label_count=50, keep_unlabelled=False),
        max_features=10_000,
        ngram_max=2,
        min_df=2,
        max_df=0.95,
        term_weightings=("raw",),
        stop_words="english",
        class_weight="balanced",
        regularisation=(1.0,),
        fit_on="train",
        thresholds="half",
    ),
    "tiny-longformer": EncoderRecipe(
        preset="tiny-longformer",
        max_tokens=512,
        epochs=6,
        batch_documents=8,
        accumulation=1,
        learning_rate=2e-3,
        weight_decay=0.0,
        patience=0,
        select_on="tuned_micro_f1",
        baseline=False,
    ),
}
"""`tiny-longformer` goes with the backbone of `learning/encoder/backbones/tiny.py`: demo and tests."""

ALIASES = {"default": "longformer"}


def preset_names() -> tuple[str, ...]:
    """Every name `preset_recipe` knows."""
    return (*PRESETS, *ALIASES)


def preset_recipe(name: str) -> Recipe:
    """The recipe called `name`; NotFound lists the names there are."""
    recipe = PRESETS.get(ALIASES.get(name, name))
    if recipe is None:
        raise NotFound(
            f"There is no recipe called '{name}'.", hint=f"Choose one of: {', '.join(preset_names())}."
        )
    return recipe
