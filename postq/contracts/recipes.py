"""How a bundle is trained: every hyperparameter with its default, for TF-IDF and for encoders."""

from typing import Annotated, Any, Literal

from pydantic import Field, TypeAdapter, model_validator

from postq.contracts.facets import Facets
from postq.contracts.record import Record, is_none

TextView = Literal["paragraphs", "headings_and_paragraphs"]
ThresholdMethod = Literal["half", "global", "per_label", "bagged", "shrunk", "micro", "micro_macro"]
SelectionMetric = Literal["map", "f1_at_0.5", "tuned_micro_f1", "tuned_macro_f1"]
LossName = Literal["bce", "bce_pos_weight", "asl", "focal"]
HeadName = Literal["pooled", "label_attention"]
RuleChoice = Literal["off", "implications", "most_specific", "both"]
TermWeighting = Literal["raw", "log", "bm25"]
LongText = Literal["truncate", "head_tail", "chunk_max", "chunk_mean"]
Precision = Literal["auto", "fp32", "bf16"]
"""What an encoder multiplies in: `auto` is bfloat16 on CUDA devices that have it, and float32 elsewhere."""


def _is_pooled(head: str) -> bool:
    return head == "pooled"


def _is_auto(precision: str) -> bool:
    return precision == "auto"


def _is_off(rules: str) -> bool:
    return rules == "off"


def _is_zero(weight: float) -> bool:
    return weight == 0


class SplitRecipe(Record):
    """How documents are divided when the corpus has no official split."""

    train: float = Field(0.70, gt=0, lt=1)
    validation: float = Field(0.15, gt=0, lt=1)
    seed: int = Field(42, ge=0, lt=2**63)
    method: Literal["stratified", "random"] = "stratified"
    """`stratified` keeps near-duplicate clusters together and balances labels; `random` is the preset's."""
    official: bool = True
    """Use the corpus' own split where it has one."""


class LabelRecipe(Record):
    """Which labels are learned; decided on the training split only."""

    min_label_count: int = Field(2, ge=1)
    """A label is kept when at least this many training documents carry it."""
    keep_unlabelled: bool = True
    """Keep documents without a kept label as all-negative examples."""


class TfidfRecipe(Record):
    """TF-IDF features with one logistic regression per label."""

    model: Literal["tfidf"] = "tfidf"
    preset: str = "default"
    text: TextView = "headings_and_paragraphs"
    split: SplitRecipe = SplitRecipe()
    labels: LabelRecipe = LabelRecipe()
    max_features: int = Field(20_000, ge=1)
    ngram_max: int = Field(2, ge=1, le=3)
    min_df: int = Field(2, ge=1)
    max_df: float = Field(0.95, gt=0, le=1)
    term_weightings: tuple[TermWeighting, ...] = Field(("log",), min_length=1)
    """What a term's count in a document is worth: the count (`raw`), 1 + ln(count) (`log`, scikit-learn's
    sublinear form), or BM25's (`bm25`), which also looks at the document's length; more than one is chosen
    out of fold, at three more fits each."""
    stop_words: Literal["english"] | None = None
    class_weight: Literal["balanced"] | None = "balanced"
    regularisation: tuple[float, ...] = (4.0, 16.0, 64.0, 256.0)
    """Candidate values of scikit-learn's C; more than one is chosen out of fold on the training split."""
    fit_on: Literal["train", "train_and_validation"] = "train_and_validation"
    """Nothing is tuned on the validation split, so its documents may teach too; test never does."""
    folds: int = Field(10, ge=2)
    """Folds for out-of-fold scores, used to choose C and to tune thresholds."""
    thresholds: ThresholdMethod = "micro_macro"
    """The reasons for this default are in `docs/thresholds.md`."""
    rules: RuleChoice = Field("off", exclude_if=_is_off)
    """Rules between labels on top of thresholds, kept only where they help; see `docs/rules.md`.

    The default is left out of what is stored, for the reason told at `EncoderRecipe.head`."""
    facets: Facets | None = Field(None, exclude_if=is_none)
    """What is known of the labels, from the file given with `--facets`; kept here, so that a training can be
    done again without the file."""
    seed: int = Field(42, ge=0, lt=2**63)

    @model_validator(mode="before")
    @classmethod
    def _read_older(cls, values: Any) -> Any:
        """Recipes from before there was BM25 say `sublinear_tf` instead."""
        if not isinstance(values, dict) or "sublinear_tf" not in values:
            return values
        kept = {name: value for name, value in values.items() if name != "sublinear_tf"}
        return {"term_weightings": ("log" if values["sublinear_tf"] else "raw",), **kept}


class EncoderRecipe(Record):
    """Fine-tuning of a Hugging Face encoder with a multi-label head."""

    model: Literal["encoder"] = "encoder"
    preset: str = "default"
    backbone: str = "lexlms/legal-longformer-base"
    """A local folder in the Hub's layout, or a Hub id; loaded with `from_pretrained`."""
    text: TextView = "headings_and_paragraphs"
    split: SplitRecipe = SplitRecipe()
    labels: LabelRecipe = LabelRecipe()
    max_tokens: int = Field(4096, ge=8)
    long_text: LongText = "truncate"
    epochs: int = Field(5, ge=1)
    batch_documents: int = Field(4, ge=1)
    accumulation: int = Field(4, ge=1)
    """One optimizer step takes batch_documents x accumulation documents; how they are cut into micro-batches
    is decided by the device's memory and changes no gradient."""
    learning_rate: float = Field(2e-5, gt=0, allow_inf_nan=False)
    warmup_share: float = Field(0.1, ge=0, lt=1)
    """Share of all optimizer steps over which the learning rate rises linearly."""
    weight_decay: float = Field(0.01, ge=0)
    max_gradient_norm: float = Field(1.0, gt=0)
    patience: int = Field(2, ge=0)
    """Epochs without a better selection metric before training stops; 0 never stops early."""
    select_on: SelectionMetric = "map"
    head: HeadName = Field("pooled", exclude_if=_is_pooled)
    """`pooled` reads the first token, `label_attention` gives each label its own weights over all tokens.

    The default is left out of what is stored, so that a training done again gives the fingerprint it gave
    before there was a choice. A new field needs no such care for old bundles to open."""
    loss: LossName = "bce"
    pos_weight_power: float = Field(1.0, gt=0)
    pos_weight_cap: float = Field(50.0, ge=1)
    facet_loss: float = Field(0.0, ge=0, le=10, exclude_if=_is_zero)
    """Weight of a further loss, on which facets, groups and broader labels a document is of; needs `facets`.
    The outputs it trains are not kept."""
    prior_bias: bool = True
    """Start the output bias at the logit of each label's share in the training split."""
    debias: bool = False
    """Subtract log(pos_weight) from the logits when scoring."""
    extend_positions: bool = False
    """Lengthen the backbone's position table to `max_tokens` by tiling its learned rows."""
    attention_dropout: float | None = Field(None, ge=0, lt=1)
    """Dropout on attention probabilities; unset keeps the backbone's. Zero lets faster kernels run."""
    gradient_checkpointing: bool = False
    precision: Precision = Field("auto", exclude_if=_is_auto)
    """Of training, and of scoring with the bundle unless a job says otherwise. `bf16` keeps weights, sums and
    the residual stream in float32; it pays on a CPU with AMX or AVX512_BF16 and is slow on any other.

    The default is left out of what is stored, for the reason told at `head`."""
    schedule_bug: bool = False
    """Count schedule steps in micro-batches, as the original recipe did; for reproduction only."""
    baseline: bool = True
    """Train the TF-IDF baseline on the same split and report both."""
    thresholds: ThresholdMethod = "micro_macro"
    """The reasons for this default are in `docs/thresholds.md`."""
    rules: RuleChoice = Field("off", exclude_if=_is_off)
    """Rules between labels on top of thresholds, kept only where they help; see `docs/rules.md`.

    The default is left out of what is stored, for the reason told at `EncoderRecipe.head`."""
    facets: Facets | None = Field(None, exclude_if=is_none)
    """What is known of the labels, from the file given with `--facets`; kept here, so that a training can be
    done again without the file."""
    seed: int = Field(42, ge=0, lt=2**63)


def over_one(split: SplitRecipe) -> str:
    """Why nothing can be divided by these shares, as a sentence; empty when it can."""
    if split.train + split.validation <= 1 + 1e-9:
        return ""
    return f"The shares of train ({split.train}) and validation ({split.validation}) exceed 1 together."


def missing_for_rules(rules: RuleChoice, facets: Facets | None) -> str:
    """Why these rules cannot be tried with these facets, as a sentence; empty when they can."""
    if rules not in ("most_specific", "both"):
        return ""
    if facets is None:
        return f"rules={rules} needs to know which labels are broader than which."
    if not any(each.parents for each in facets.labels):
        return f"rules={rules} needs labels with a parent, and the facets name none."
    return ""


EnsembleMethod = Literal["mean_logit", "stacking", "cascade", "and", "or"]


class EnsembleRecipe(Record):
    """Bundles combined into one; made from stored scores, not trained."""

    model: Literal["ensemble"] = "ensemble"
    preset: str = "ensemble"
    method: EnsembleMethod
    text: TextView
    """The view all members read."""
    members: tuple[str, ...]
    """Digests of the members, in order."""
    thresholds: ThresholdMethod
    seed: int = Field(42, ge=0, lt=2**63)


Recipe = Annotated[TfidfRecipe | EncoderRecipe, Field(discriminator="model")]
"""How a training is done."""
BundleRecipe = Annotated[TfidfRecipe | EncoderRecipe | EnsembleRecipe, Field(discriminator="model")]
"""How a bundle came about."""
bundle_recipe: TypeAdapter[TfidfRecipe | EncoderRecipe | EnsembleRecipe] = TypeAdapter(BundleRecipe)
"""Parses and validates a stored recipe."""
