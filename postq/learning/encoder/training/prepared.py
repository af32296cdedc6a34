"""A training made ready: tokens, targets and schedule, all that its processes need besides the weights."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from postq.contracts.document import Document
from postq.contracts.recipes import EncoderRecipe
from postq.errors import NotTrainable
from postq.learning.data import TrainingData
from postq.learning.encoder.backbones.loading import Backbone, load_backbone
from postq.learning.encoder.checkpoints.randomness import seed_everything
from postq.learning.encoder.checkpoints.resume import training_identity
from postq.learning.encoder.scoring.space import EncoderSettings
from postq.learning.encoder.steps.losses import positive_weight
from postq.learning.encoder.steps.optimizer import SchedulePlan, plan_schedule
from postq.learning.encoder.steps.workbench import Examples
from postq.learning.encoder.tokens.tokeniser import TextTokeniser
from postq.learning.encoder.training.examples import build_examples, readable_only, tokenise
from postq.learning.encoder.training.facet_targets import FacetTargets
from postq.learning.hooks import Hooks


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """What is to be learned from what, in the form the training reads it."""

    recipe: EncoderRecipe
    labels: tuple[str, ...]
    facets: tuple[str, ...]
    """Names of the facet targets: outputs after the labels'."""
    identity: str
    """Tells this training's checkpoints from others'."""
    train: Examples
    validation: Examples
    unreadable: dict[str, list[str]]
    """Names of documents without a known token, by split."""
    settings: EncoderSettings
    plan: SchedulePlan

    @property
    def share(self) -> NDArray[np.float64]:
        """(labels,) share of training documents that carry each label."""
        share: NDArray[np.float64] = self.train.targets.double().mean(dim=0).numpy()
        return share

    @property
    def output_share(self) -> NDArray[np.float64]:
        """(labels + facet targets,) the same for every output of the head that trains."""
        return np.concatenate([self.share, self.train.facets.double().mean(dim=0).numpy()])

    def packed(self) -> "PackedPreparation":
        """The same for another process. Tensors would travel through shared memory, arrays do not."""
        nothing: Any = None
        return PackedPreparation(
            rest=replace(
                self,
                train=replace(self.train, targets=nothing, facets=nothing),
                validation=replace(self.validation, targets=nothing, facets=nothing),
            ),
            train=(self.train.targets.numpy(), self.train.facets.numpy()),
            validation=(self.validation.targets.numpy(), self.validation.facets.numpy()),
        )


@dataclass(frozen=True, kw_only=True)
class PackedPreparation:
    """A Prepared on its way to another process: targets of labels and of facets as arrays."""

    rest: Prepared
    train: tuple[NDArray[np.float32], NDArray[np.float32]]
    validation: tuple[NDArray[np.float32], NDArray[np.float32]]

    def unpacked(self) -> Prepared:
        """The Prepared it was made of."""
        return replace(
            self.rest,
            train=_with_targets(self.rest.train, *self.train),
            validation=_with_targets(self.rest.validation, *self.validation),
        )


def _with_targets(examples: Examples, targets: NDArray[np.float32], facets: NDArray[np.float32]) -> Examples:
    return replace(examples, targets=torch.from_numpy(targets), facets=torch.from_numpy(facets))


def fresh_backbone(recipe: EncoderRecipe, labels: tuple[str, ...], facets: tuple[str, ...] = ()) -> Backbone:
    """The recipe's backbone with a head drawn from its seed; every process draws the same.

    Facet targets get outputs after the labels': whatever head there is, both learn from the same states.
    """
    seed_everything(recipe.seed)
    return load_backbone(
        recipe.backbone,
        labels=(*labels, *facets),
        max_tokens=recipe.max_tokens,
        chunked=recipe.long_text.startswith("chunk"),
        extend=recipe.extend_positions,
        attention_dropout=recipe.attention_dropout,
        head=recipe.head,
    )


def prepare(
    recipe: EncoderRecipe,
    data: TrainingData,
    tokeniser: TextTokeniser,
    *,
    hooks: Hooks,
    facets: FacetTargets = FacetTargets(),  # noqa: B008 (frozen)
) -> Prepared:
    """Tokenise both splits and lay out the schedule. Raises NotTrainable, StopRequested."""

    def examples(documents: Any) -> Examples:
        listed: list[Document] = list(documents)
        texts = tokenise(listed, tokeniser, hooks=hooks)
        return build_examples(listed, texts, labels=data.labels, facets=facets)

    train, lost = readable_only(examples(data.train))
    validation, lost_validation = readable_only(examples(data.validation))
    if not train.texts or not validation.texts:
        raise NotTrainable(
            "The tokenizer knows no token of any training or validation document.",
            hint="Use a backbone for the corpus' language and script.",
        )
    return Prepared(
        recipe=recipe,
        labels=data.labels,
        facets=facets.names,
        identity=training_identity(recipe, data),
        train=train,
        validation=validation,
        unreadable={"train": lost, "validation": lost_validation},
        settings=_settings(recipe, tokeniser, share=train.targets.double().mean(dim=0).numpy()),
        plan=plan_schedule(len(train.texts), recipe),
    )


def require_documents(data: TrainingData) -> None:
    """Both splits must hold documents, and there must be labels; raises NotTrainable."""
    for name, documents in (("training", data.train), ("validation", data.validation)):
        if not documents:
            raise NotTrainable(
                f"The {name} split is empty.", hint="Add documents, or change the shares of the split."
            )
    if not data.labels:
        raise NotTrainable("There are no labels to learn.", hint="Lower min_label_count.")


def _settings(
    recipe: EncoderRecipe, tokeniser: TextTokeniser, *, share: NDArray[np.float64]
) -> EncoderSettings:
    shift = None
    if recipe.debias and recipe.loss == "bce_pos_weight":
        weight = positive_weight(share, power=recipe.pos_weight_power, cap=recipe.pos_weight_cap)
        shift = tuple(float(value) for value in np.log(weight))
    return EncoderSettings(
        text=recipe.text,
        max_tokens=recipe.max_tokens,
        piece_tokens=tokeniser.piece_tokens,
        long_text=recipe.long_text,
        head=recipe.head,
        logit_shift=shift,
    )
