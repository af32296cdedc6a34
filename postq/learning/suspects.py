"""The queue of doubtful given labels of a bundle's corpus, from the honest scores the bundle keeps."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from postq.errors import NotTrainable
from postq.learning.bundle.bundle import Bundle
from postq.learning.bundle.score_file import Part, ScoredPart, read_scores
from postq.learning.label_noise import LabelNoise, find_label_noise
from postq.learning.rejudging import BASELINE, MAIN

Problem = Literal["missing", "wrong"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Suspect:
    """One given label of one document that is probably an error."""

    rank: int
    """From 1, the most doubtful."""
    document_id: str
    label: str
    problem: Problem
    """`missing`: not given, but probably true; `wrong`: given, but probably false."""
    margin: float
    """Probability of what is given minus that of the other, from -1; the lower, the more doubtful."""
    score: float
    """Honest probability of the label."""
    model: str
    """Which model gave it: `main`, or `baseline` for documents the main model has learned from."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Suspects:
    """All suspects and what they were found among."""

    items: tuple[Suspect, ...]
    """Most doubtful first."""
    documents: int
    given: int
    """Labels given to these documents, of those judged."""
    expected_missing: float
    """Errors there should be, at the rates found among confident documents."""
    expected_wrong: float
    labels_left_out: tuple[str, ...]
    """Given to too few documents to judge."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Judged:
    """One stored part, and its documents that no earlier part held."""

    part: ScoredPart
    fresh: NDArray[np.bool_]
    noise: LabelNoise

    @property
    def given(self) -> NDArray[np.int64]:
        """(labels,) fresh documents given each judged label."""
        return np.asarray(self.part.truth[self.fresh].sum(axis=0) * self.noise.judged)

    @property
    def not_given(self) -> NDArray[np.int64]:
        """(labels,) the others."""
        return np.asarray(self.fresh.sum() * self.noise.judged - self.given)


def find_suspects(bundle: Bundle) -> Suspects:
    """Every doubtful given label among the bundle's training and validation documents.

    Judged where honest scores are kept: out of fold, or of validation documents the model did not learn
    from; and by a baseline trained beside an encoder for documents that the encoder did learn from. The test
    split is left alone, so that its labels and figures stay untouched. Raises NotTrainable when the bundle
    keeps no such scores.
    """
    judged = list(_judged_parts(bundle))
    if not judged:
        raise NotTrainable(
            f"Bundle '{bundle.name}' keeps no honest scores of documents with labels.",
            hint="Train it again on a corpus with labels; bundles keep their scores up to 256 MiB.",
        )
    found = [one for each in judged for one in _suspects(each, bundle.labels)]
    found.sort(key=lambda one: (one.margin, one.document_id, one.label))
    kept = np.any([each.noise.judged for each in judged], axis=0)
    return Suspects(
        items=tuple(replace(one, rank=rank) for rank, one in enumerate(found, start=1)),
        documents=sum(int(each.fresh.sum()) for each in judged),
        given=sum(int(each.given.sum()) for each in judged),
        expected_missing=sum(float(each.noise.missing_rate @ each.not_given) for each in judged),
        expected_wrong=sum(float(each.noise.wrong_rate @ each.given) for each in judged),
        labels_left_out=tuple(label for label, fine in zip(bundle.labels, kept, strict=True) if not fine),
    )


def _judged_parts(bundle: Bundle) -> Iterator[_Judged]:
    stored = read_scores(bundle.path)
    wanted: tuple[tuple[str, Part], ...] = (
        (MAIN, "tuning"),
        (MAIN, "validation"),
        (BASELINE, "tuning"),
    )
    seen: set[str] = set()
    for key in wanted:
        part = stored.get(key)
        if part is None or not part.truth.any():
            continue
        fresh = np.array([name not in seen for name in part.document_ids], np.bool_)
        seen.update(part.document_ids)
        if fresh.any():
            yield _Judged(part=part, fresh=fresh, noise=find_label_noise(part.truth, part.scores))


def _suspects(judged: _Judged, labels: Sequence[str]) -> Iterator[Suspect]:
    noise, part = judged.noise, judged.part
    doubtful = (noise.missing | noise.wrong) & judged.fresh[:, None]
    for document, column in np.argwhere(doubtful).tolist():
        yield Suspect(
            rank=0,
            document_id=part.document_ids[document],
            label=labels[column],
            problem="missing" if noise.missing[document, column] else "wrong",
            margin=float(noise.margins[document, column]),
            score=float(part.scores[document, column]),
            model=part.model,
        )
