"""The tables of plain facts: data and split, exact configuration, versions and digests."""

from collections.abc import Iterator, Mapping
from typing import Any

from postq.counted import counted
from postq.learning.facets import facets_sentence
from postq.reports.looks import looks_at_test
from postq.reports.stored import StoredBundle
from postq.reports.subject import Subject

Pairs = tuple[tuple[str, str], ...]
SHOWN_ITEMS = 20


def data_facts(subject: Subject, stored: StoredBundle, report: Mapping[str, Any]) -> Pairs:
    """Documents, labels, clusters, documents without label, and how often the test split was looked at."""
    sizes, corpus = stored.split_sizes, subject.corpus
    facets = stored.metrics.get("facets")
    unlabelled = int(report["documents"]) - int(report["labelled_documents"])
    left_out = subject.evaluation.documents - int(report["documents"]) if subject.evaluation else 0
    rows = [
        ("corpus", stored.bundle.manifest.corpus),
        ("documents in the corpus", _number(corpus.get("documents"))),
        ("of these with labels", _number(corpus.get("labelled_documents"))),
        ("records set aside", _number(corpus.get("set_aside"))),
        *((f"documents for {name}", _number(size)) for name, size in sizes.items()),
        ("near-duplicate clusters", f"{stored.clusters:,} over {counted(len(stored.split), 'document')}"),
        ("labels learned", _number(len(stored.bundle.labels))),
        ("facets of labels", facets_sentence(facets) if facets else ""),
        ("documents judged here", _number(report["documents"])),
        ("left out, since they could not be scored", _number(left_out or None)),
        ("of these without a learned label", _number(unlabelled)),
        ("label mentions the model does not know", _number(report.get("unlearned_mentions"))),
        ("labels on no document judged here", _listed(report.get("labels_without_support") or [])),
        ("test split evaluated", looks_at_test(subject.test_touches) if sizes["test"] else ""),
    ]
    return tuple((name, value) for name, value in rows if value)


def configuration(stored: StoredBundle) -> Pairs:
    """Every field of the recipe, nested ones with dots, as it was run."""
    recipe = stored.bundle.recipe
    facets = getattr(recipe, "facets", None)
    told = recipe.model_dump(mode="json", exclude={"facets"})
    return tuple(_flat(told if facets is None else {**told, "facets": facets.sentence()}))


def _flat(value: Mapping[str, Any], *, path: str = "") -> Iterator[tuple[str, str]]:
    for name, inner in value.items():
        if isinstance(inner, Mapping):
            yield from _flat(inner, path=f"{path}{name}.")
        else:
            yield f"{path}{name}", _plain(inner)


def training_facts(metrics: Mapping[str, Any]) -> Pairs:
    """What the training did, as it stored it."""
    facts = {
        name: value
        for name, value in (metrics.get("facts") or {}).items()
        if name not in ("candidates", "versions")
    }
    return tuple(_flat(facts))


def versions(stored: StoredBundle) -> Pairs:
    """Of the libraries that made the bundle."""
    return tuple(sorted(stored.bundle.manifest.versions.items()))


def digests(subject: Subject, stored: StoredBundle) -> Pairs:
    """What identifies the model, its predictions and its data."""
    bundle = stored.bundle
    rows = [
        ("bundle", f"{subject.bundle_id}"),
        ("bundle digest", bundle.digest),
        ("model digest", bundle.model_digest),
        ("fingerprint", subject.fingerprint),
        ("score space", bundle.score_space),
        ("corpus digest", str(subject.corpus.get("digest") or "")),
        ("trained by job", str(subject.job_id or "")),
        ("registered", f"{subject.created_at:%Y-%m-%d %H:%M} UTC"),
    ]
    return tuple((name, value) for name, value in rows if value)


def _plain(value: Any) -> str:
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list | tuple):
        return _listed(value) or "none"
    return f"{value:,}" if isinstance(value, int) else str(value)


def _listed(items: Any) -> str:
    shown = ", ".join(map(str, items[:SHOWN_ITEMS]))
    return f"{shown} and {len(items) - SHOWN_ITEMS} more" if len(items) > SHOWN_ITEMS else shown


def _number(value: Any) -> str:
    return "" if value is None else f"{int(value):,}"
