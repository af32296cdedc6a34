"""What a submitted job is to do: one frozen spec per kind, stored as JSON in the job's row."""

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import Field, TypeAdapter

from postq.contracts.recipes import Precision, Recipe
from postq.contracts.record import Record, is_none

EvaluationSplit = Literal["test", "validation", "all"]
TrainingDevices = Literal["one", "all"]


class JobKind(StrEnum):
    """The kinds of job postq runs."""

    TRAIN = "train"
    EVALUATE = "evaluate"
    CLASSIFY = "classify"


class TrainSpec(Record):
    """Train a bundle on a corpus version."""

    kind: Literal[JobKind.TRAIN] = JobKind.TRAIN
    corpus_id: int
    bundle_name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$")
    recipe: Recipe
    devices: TrainingDevices = "one"
    """`all` trains an encoder data-parallel on every device of the worker that takes the job, be it one or
    several; the steps are the same but for rounding, so it is no part of the recipe."""


class EvaluateSpec(Record):
    """Evaluate a bundle on documents it was neither trained nor tuned on."""

    kind: Literal[JobKind.EVALUATE] = JobKind.EVALUATE
    corpus_id: int
    bundle: str
    """A bundle reference: a number, a name, `@alias` or `job:N`; resolved when the job becomes ready."""
    split: EvaluationSplit = "test"
    """`all` is for a corpus the bundle has never seen; otherwise the bundle's own split manifest is used."""
    allow_leak: bool = False
    precision: Precision | None = Field(None, exclude_if=is_none)
    """Of an encoder; None is what the bundle's recipe says. Left out of what is stored then, so that a job
    submitted again with its key is the one from before there was a choice."""


class ClassifySpec(Record):
    """Predict labels for every document of a corpus version."""

    kind: Literal[JobKind.CLASSIFY] = JobKind.CLASSIFY
    corpus_id: int
    bundle: str
    """A bundle reference, as in EvaluateSpec."""
    only_new: bool = False
    """Skip documents that have a prediction for the same content and fingerprint."""
    max_tokens_per_batch: int | None = Field(None, ge=1)
    """Of an encoder; None scores one document at a time on a CPU, where the result is then the same however
    the work is cut."""
    precision: Precision | None = Field(None, exclude_if=is_none)
    """As in EvaluateSpec."""


JobSpec = Annotated[TrainSpec | EvaluateSpec | ClassifySpec, Field(discriminator="kind")]
job_spec: TypeAdapter[TrainSpec | EvaluateSpec | ClassifySpec] = TypeAdapter(JobSpec)
"""Parses and validates a stored spec."""


class Requirements(Record):
    """What a job needs of a device."""

    device_kind: Literal["any", "cpu", "cuda", "mps"] = "any"
    memory_bytes: int = Field(0, ge=0)
