"""Which rules may be tried: mined from documents of a training, or from truths that a bundle keeps."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from postq.contracts.document import Document
from postq.contracts.facets import Facets
from postq.contracts.recipes import EncoderRecipe, RuleChoice, TfidfRecipe, missing_for_rules
from postq.contracts.rules import Rule, RuleKind, RuleSet
from postq.errors import NotTrainable
from postq.learning.bundle.bundle import Bundle
from postq.learning.bundle.manifest import MEMBERS
from postq.learning.bundle.score_file import ScoredPart, read_scores
from postq.learning.bundle.split_file import read_split
from postq.learning.labels import indicator_matrix
from postq.learning.rules.choosing import Proposed
from postq.learning.rules.mining import TrainingLabels, broader_columns

CHOICE_OF: Mapping[RuleKind, RuleChoice] = {"implies": "implications", "outranks": "most_specific"}


def proposed_in_training(
    recipe: TfidfRecipe | EncoderRecipe,
    train: Sequence[Document],
    tuning: Sequence[Document],
    labels: tuple[str, ...],
) -> Proposed | None:
    """Candidates from the training documents; None when the recipe wants no rules.

    Raises NotTrainable where facets are missing.
    """
    if recipe.rules == "off":
        return None
    known = _training_labels(
        indicator_matrix(train, labels),
        [document.document_id for document in train],
        [document.document_id for document in tuning],
        labels,
    )
    return _proposed(recipe.rules, known, recipe.facets)


def proposed_from_bundle(
    choice: RuleChoice,
    bundle: Bundle,
    tuning: ScoredPart,
    facts: Mapping[str, Any],
    *,
    facets: Facets | None = None,
) -> Proposed | None:
    """Candidates from truths of training documents in the bundle's folder, else those listed in `facts`.

    A bundle trained with rules lists its candidates in `metrics.json`, under `rules`; those of an encoder
    stay honest, since it is tuned on other documents than it was trained on. Raises NotTrainable where there
    is neither, or where facets are missing.
    """
    if choice == "off":
        return None
    labels = bundle.labels
    train = {entry.document_id for entry in read_split(bundle.path) if entry.split == "train"}
    for part in _parts(bundle.path):
        rows = [at for at, name in enumerate(part.document_ids) if name in train]
        if rows and part.truth.shape[1] == len(labels):
            names = [part.document_ids[at] for at in rows]
            known = _training_labels(part.truth[rows], names, list(tuning.document_ids), labels)
            return _proposed(choice, known, facets)
    return _listed(choice, facts)


def _listed(choice: RuleChoice, facts: Mapping[str, Any]) -> Proposed:
    if (facts.get("rules") or {}).get("choice") not in (choice, "both"):
        raise NotTrainable(
            "The bundle keeps no labels of its training documents, so no rules can be mined.",
            hint=f"Train it with --set rules={choice}, or with the TF-IDF baseline beside it.",
        )
    listed = tuple(_rule(each) for each in facts["rules"]["candidates"])
    found = tuple(each for each in listed if choice in (CHOICE_OF[each.kind], "both"))
    return Proposed(choice=choice, propose=lambda without: found, mined_on=int(facts["rules"]["mined_on"]))


def _parts(folder: Path) -> Sequence[ScoredPart]:
    """Stored tuning parts, the bundle's own first, then its members'."""
    stored = sorted(read_scores(folder).items(), reverse=True)
    found = [part for (_, name), part in stored if name == "tuning"]
    for member in sorted((folder / MEMBERS).glob("*")):
        found += _parts(member)
    return found


def _training_labels(
    truth: Any, train: Sequence[str], tuning: Sequence[str], labels: tuple[str, ...]
) -> TrainingLabels:
    place = {name: at for at, name in enumerate(tuning)}
    rows = np.array([place.get(name, -1) for name in train], np.int64)
    return TrainingLabels(labels=labels, truth=truth, tuning_rows=rows)


def _proposed(choice: RuleChoice, known: TrainingLabels, facets: Facets | None) -> Proposed:
    missing = missing_for_rules(choice, facets)
    if missing:
        raise NotTrainable(missing, hint="Name a file of labels and their parents with --facets FILE.")
    if facets is not None:
        known = replace(known, broader=broader_columns(facets, known.labels))
    return Proposed(
        choice=choice,
        propose=lambda without: known.rules(choice, without=without),
        mined_on=len(known),
    )


def kept_rules(facts: Mapping[str, Any]) -> RuleSet | None:
    """The rules that a model with these facts decides by, as it had them when it was judged."""
    found = facts.get("rules")
    if not found or not found["kept"]:
        return None
    rules = tuple(_rule(each) for each in found["candidates"] if each["chosen"])
    names = ("choice", "mined_on", "documents", "gain")
    return RuleSet.model_validate({name: found[name] for name in names} | {"rules": rules})


def _rule(facts: Mapping[str, Any]) -> Rule:
    return Rule.model_validate({name: value for name, value in facts.items() if name != "chosen"})
