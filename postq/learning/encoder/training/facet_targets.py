"""What an encoder may learn beside its labels: which facets, groups and broader labels a document is of.

A rare label has few documents, its facet or group has many; learning them from the same states gives the
rare label's neighbours a say (multi-task learning, Caruana 1997). Nothing is claimed about which labels go
together.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from postq.contracts.document import Document
from postq.contracts.facets import Facets
from postq.contracts.recipes import EncoderRecipe
from postq.errors import NotTrainable
from postq.learning.data import TrainingData
from postq.learning.labels import indicator_matrix


@dataclass(frozen=True, kw_only=True)
class FacetTargets:
    """Further outputs of the head while it trains; none of them is kept."""

    names: tuple[str, ...] = ()
    """Such as `facet: motion`; none where nothing is learned beside the labels."""
    members: tuple[frozenset[str], ...] = ()
    """The labels that make a document one of each; learned or not."""

    def of(self, documents: Sequence[Document]) -> NDArray[np.bool_]:
        """(docs, targets) True where a document carries any label of the target."""
        rows = [[bool(found & carried) for found in self.members] for carried in _carried(documents)]
        return np.array(rows, np.bool_).reshape(len(documents), len(self.members))


def choose_facet_targets(recipe: EncoderRecipe, data: TrainingData) -> FacetTargets:
    """The targets worth learning; none where the recipe gives them no weight.

    Left out are those that all training documents share or none has, and those that are on the same training
    documents as a learned label or an earlier target: they would teach nothing. Raises NotTrainable when a
    weight is given, and no facets, or none that is worth learning.
    """
    if not recipe.facet_loss:
        return FacetTargets()
    if recipe.facets is None:
        raise NotTrainable(
            "facet_loss gives weight to facets, and the recipe has none.",
            hint="Give them with --facets FILE.",
        )
    proposed = FacetTargets(
        names=tuple(name for name, _ in _proposed(recipe.facets)),
        members=tuple(members for _, members in _proposed(recipe.facets)),
    )
    columns = proposed.of(data.train)
    seen = {column.tobytes() for column in indicator_matrix(data.train, data.labels).T}
    kept = []
    for at, column in enumerate(columns.T):
        if 0 < column.sum() < len(column) and column.tobytes() not in seen:
            seen.add(column.tobytes())
            kept.append(at)
    if not kept:
        raise NotTrainable(
            "Every facet, group and broader label is on the same training documents as a learned label, or "
            "on all or none of them: facet_loss has nothing to learn.",
            hint="Leave facet_loss out, or give facets that hold several of the learned labels.",
        )
    return FacetTargets(
        names=tuple(proposed.names[at] for at in kept), members=tuple(proposed.members[at] for at in kept)
    )


def _proposed(facets: Facets) -> Iterator[tuple[str, frozenset[str]]]:
    """Every facet, every group, and every label that is broader than another, with the labels it holds."""
    for name in facets.facet_names:
        yield f"facet: {name}", frozenset(one.label for one in facets.labels if name in one.facets)
    for group in sorted({one.group for one in facets.labels if one.group}):
        yield f"group: {group}", frozenset(one.label for one in facets.labels if one.group == group)
    above = facets.ancestors()
    for broad in sorted(frozenset[str]().union(*above.values())):
        narrower = {label for label, found in above.items() if broad in found}
        yield f"broader: {broad}", frozenset({broad, *narrower})


def _carried(documents: Sequence[Document]) -> Iterator[frozenset[str]]:
    return (frozenset(document.labels) for document in documents)
