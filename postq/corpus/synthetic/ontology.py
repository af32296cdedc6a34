"""The posture labels and how often they occur alone and together, from `ontology.yaml`."""

from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

import yaml


@dataclass(frozen=True, slots=True, kw_only=True)
class Posture:
    """One label and its facts among the documents counted."""

    name: str
    documents: int
    facets: tuple[str, ...]
    group: str
    parent: str | None
    """The broader label, where there is one."""
    with_parent: float
    """Share of the label's documents that carry the parent too."""
    stages: dict[str, float]
    """Share of the label's documents that carry a stage label."""

    @property
    def is_stage(self) -> bool:
        """True for the stage of a case: on appeal, under review, a certified question."""
        return "stage" in self.facets


@dataclass(frozen=True, slots=True, kw_only=True)
class Ontology:
    """All labels and what is known of their joint occurrence."""

    documents_counted: int
    unlabelled_share: float
    postures: dict[str, Posture]
    together: dict[frozenset[str], int]
    """Documents that carry both of two labels, where that is known."""


@cache
def load_ontology() -> Ontology:
    """Read the ontology that ships with postq."""
    raw = load_yaml("ontology.yaml")
    return Ontology(
        documents_counted=raw["documents_counted"],
        unlabelled_share=raw["unlabelled_share"],
        postures={fields["name"]: _posture(fields) for fields in raw["labels"]},
        together={frozenset(pair["labels"]): pair["documents"] for pair in raw["together"]},
    )


def load_yaml(name: str) -> Any:
    """Parse one of the data files beside this module."""
    return yaml.safe_load(files(__package__).joinpath(name).read_text(encoding="utf-8"))


def _posture(fields: dict[str, Any]) -> Posture:
    return Posture(
        name=fields["name"],
        documents=fields["documents"],
        facets=tuple(fields["facets"]),
        group=fields["group"],
        parent=fields.get("parent"),
        with_parent=fields.get("with_parent", 0.0),
        stages=fields.get("stages", {}),
    )
