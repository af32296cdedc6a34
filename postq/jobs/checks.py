"""What a submit refuses at once: unknown corpora, bundles and jobs, missing labels, hopeless waits.

What the job will name is locked against removal as it is looked up.
"""

from dataclasses import dataclass

import sqlalchemy as sa
from sqlalchemy.orm import Session

from postq.contracts.specs import ClassifySpec, JobSpec, TrainSpec
from postq.db import UNREMOVED
from postq.errors import Conflict, LabelSetMismatch, NotFound, NotTrainable
from postq.jobs.states import JOB_SUCCEEDED, JOB_TERMINAL
from postq.models.bundle import BundleRow
from postq.models.corpus import Corpus
from postq.models.job import Job
from postq.models.schedule import Schedule
from postq.models.tables import corpus as corpus_table
from postq.registry.references import hold_bundle, job_of_reference

ENCODERS_OWN = ("max_tokens_per_batch", "precision")
"""Terms of a spec that only encoders heed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """When a job may start: at once, or after another."""

    after_job_id: int | None
    blocked: bool
    waits_for: str = ""
    """Reason of a blocked job, in one sentence."""


def check_corpus(session: Session, spec: JobSpec) -> Corpus:
    """The spec's corpus. Raises NotFound, or NotTrainable when its labels are needed and it has none."""
    corpus = session.get(Corpus, spec.corpus_id, populate_existing=True, with_for_update=UNREMOVED)
    if corpus is None:
        raise NotFound(f"There is no corpus {spec.corpus_id}.", hint=_known_corpora(session))
    if not isinstance(spec, ClassifySpec) and corpus.labelled_documents == 0:
        verb = "train" if isinstance(spec, TrainSpec) else "evaluate"
        raise NotTrainable(
            f"Corpus {corpus.name} version {corpus.version} has no labels to {verb} on.",
            hint="Add it again with the labels under the right name (--labels-column), or another corpus.",
        )
    return corpus


def check_start(session: Session, spec: JobSpec, *, after_job_id: int | None, after_any: bool) -> Start:
    """Whether the job must wait: for the job given, or for the training named by its bundle reference.

    Raises NotFound, or Conflict when that job can no longer succeed.
    """
    maker_id = None if isinstance(spec, TrainSpec) else job_of_reference(spec.bundle)
    maker = _job(session, maker_id) if maker_id is not None else None
    if after_job_id is None and maker is not None and maker.state not in JOB_TERMINAL:
        after_job_id = maker.id
    if after_job_id is None:
        return Start(after_job_id=None, blocked=False)
    before = _job(session, after_job_id)
    if maker is not None and maker.state not in JOB_TERMINAL:
        _check_order(session, maker, before)
    if before.state not in JOB_TERMINAL:
        return Start(after_job_id=before.id, blocked=True, waits_for=f"waits for job {before.id}")
    if before.state not in JOB_SUCCEEDED and not after_any:
        raise Conflict(
            f"Job {before.id} has {before.state}, so nothing can follow it.",
            hint=f"Retry it with: postq retry {before.id}, or submit without --after.",
        )
    return Start(after_job_id=before.id, blocked=False)


def check_bundle(session: Session, spec: JobSpec, corpus: Corpus, *, blocked: bool) -> BundleRow | None:
    """The bundle must exist now, unless a job this one waits for is to make it; its labels must fit.

    None where no bundle is named or it is yet to be made. Raises NotFound, Conflict or LabelSetMismatch.
    """
    if isinstance(spec, TrainSpec):
        return None
    if blocked and job_of_reference(spec.bundle) is not None:
        return None
    bundle = hold_bundle(session, spec.bundle)
    if not isinstance(spec, ClassifySpec):
        _check_labels(bundle, corpus)
    return bundle


def without_effect(terms: JobSpec | Schedule, bundle: BundleRow | None) -> str:
    """One sentence on what is asked of an encoder where the bundle has none; empty otherwise."""
    if bundle is None or bundle.kind != "tfidf":
        return ""
    asked = [f"--{name.replace('_', '-')}" for name in ENCODERS_OWN if getattr(terms, name, None) is not None]
    if not asked:
        return ""
    verb = "has" if len(asked) == 1 else "have"
    named = " and ".join(asked)
    return f"Bundle {bundle.id} ({bundle.name}) is TF-IDF, on which {named} {verb} no effect."


def _job(session: Session, job_id: int) -> Job:
    found = session.get(Job, job_id, populate_existing=True, with_for_update=UNREMOVED)
    if found is None:
        raise NotFound(f"There is no job {job_id}.", hint="See all jobs with: postq status.")
    return found


def _check_order(session: Session, maker: Job, before: Job) -> None:
    """The maker of the bundle must be `before` or come before it."""
    link: Job | None = before
    while link is not None:
        if link.id == maker.id:
            return
        link = session.get(Job, link.after_job_id) if link.after_job_id is not None else None
    raise Conflict(
        f"Job {maker.id} has no bundle yet, and job {before.id} does not wait for it.",
        hint=f"Submit with --after {maker.id}.",
    )


def _check_labels(bundle: BundleRow, corpus: Corpus) -> None:
    counts = corpus.facts.get("label_counts")
    if isinstance(counts, dict) and counts and not set(bundle.labels) & set(counts):
        raise LabelSetMismatch(
            f"Bundle {bundle.id} ({bundle.name}) and corpus {corpus.name} share no label.",
            hint="Evaluate on a corpus labelled with the bundle's labels: postq bundles show lists them.",
        )


def _known_corpora(session: Session) -> str:
    names = list(session.scalars(sa.select(corpus_table.c.name).distinct().limit(5)))
    listed = f" Known: {', '.join(sorted(names))}." if names else " None was added yet."
    return f"See all corpora with: postq corpus list.{listed}"
