"""The documents of a split as tokens and targets, ready to train or validate on."""

from collections.abc import Sequence

import torch

from postq.contracts.document import Document
from postq.learning.encoder.steps.workbench import Examples
from postq.learning.encoder.tokens.tokeniser import TextTokeniser, TokenisedText
from postq.learning.encoder.training.facet_targets import FacetTargets
from postq.learning.hooks import Hooks, StopRequested
from postq.learning.labels import indicator_matrix

BATCH = 64
"""Documents handed to the tokenizer at once."""


def tokenise(
    documents: Sequence[Document], tokeniser: TextTokeniser, *, hooks: Hooks, phase: str = "tokenising"
) -> list[TokenisedText]:
    """Tokens of every document, in order; reports progress and stops when asked to."""
    texts: list[TokenisedText] = []
    for start in range(0, len(documents), BATCH):
        if hooks.should_stop():
            raise StopRequested
        texts += tokeniser.encode([document.text for document in documents[start : start + BATCH]])
        hooks.progress(phase, len(texts), len(documents), {})
    return texts


def build_examples(
    documents: Sequence[Document],
    texts: Sequence[TokenisedText],
    *,
    labels: tuple[str, ...],
    facets: FacetTargets,
) -> Examples:
    """Documents with their tokens and their (docs, labels) and (docs, facet targets) targets."""
    return Examples(
        names=[document.document_id for document in documents],
        texts=texts,
        targets=torch.from_numpy(indicator_matrix(documents, labels)).float(),
        facets=torch.from_numpy(facets.of(documents)).float(),
    )


def readable_only(examples: Examples) -> tuple[Examples, list[str]]:
    """The examples with at least one known token, and the names of the others."""
    keep = [i for i, text in enumerate(examples.texts) if text.readable]
    lost = [name for name, text in zip(examples.names, examples.texts, strict=True) if not text.readable]
    if not lost:
        return examples, lost
    kept = Examples(
        names=[examples.names[i] for i in keep],
        texts=[examples.texts[i] for i in keep],
        targets=examples.targets[keep],
        facets=examples.facets[keep],
    )
    return kept, lost
