"""The JSON lines that supervisor and runner exchange over pipes; documents travel by reference only.

Supervisor → runner (stdin):  one RunRequest, then at most one UpcomingRequest and one StopRequest
per attempt.
Runner → supervisor (stdout): any number of Progress, Note, Checkpoint; then exactly one of
Finished, Stopped or Failed. End of stdin means the supervisor is gone: the runner exits.
"""

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, TypeAdapter

from postq.contracts.device import Device
from postq.contracts.failure import FailureClass
from postq.contracts.record import Record
from postq.contracts.specs import JobSpec


class BundleOnDisk(Record):
    """A bundle the runner is to load, with the digest it must have."""

    bundle_id: int
    path: Path
    digest: str


class RunRequest(Record):
    """Everything a runner needs for one attempt at one shard; it never opens the database."""

    type: Literal["run"] = "run"
    job_id: int
    shard_id: int
    token: int
    spec: JobSpec
    snapshot: Path
    """Folder of the corpus snapshot."""
    start_row: int
    stop_row: int
    rows: tuple[int, ...] | None = None
    """The rows to work on when not all of [start_row, stop_row) are wanted."""
    bundle: BundleOnDisk | None = None
    """The resolved bundle of an evaluation or classification."""
    device: Device
    output: Path
    """An empty folder of this attempt for result files."""
    checkpoint: Path | None = None
    """The newest registered checkpoint of this shard, to resume from."""
    checkpoints: Path | None = None
    """Folder of this attempt (one per token) for new checkpoints; training only."""
    bundles: Path | None = None
    """Folder of all bundles, whose names begin with their digests; training only."""
    batch_divisor: int = 1
    """Micro-batches and token budgets are divided by this; doubled after a device OOM."""
    extra: dict[str, str] = {}
    """Facts some kinds need besides, such as the baseline bundle's name."""


class UpcomingRequest(Record):
    """The attempt that will follow, unless something comes between: its documents may be read ahead."""

    type: Literal["upcoming"] = "upcoming"
    request: RunRequest


class StopRequest(Record):
    """Finish the batch or write a checkpoint, then answer Stopped."""

    type: Literal["stop"] = "stop"


class Progress(Record):
    """Work moved: `done` of `total` in a phase such as `reading`, `training` or `scoring`."""

    type: Literal["progress"] = "progress"
    phase: str
    done: int
    total: int
    metrics: dict[str, float] = {}


class Note(Record):
    """Something worth an event on the job, such as a detector that fired."""

    type: Literal["note"] = "note"
    event: str
    message: str
    data: dict[str, Any] = {}


class Checkpoint(Record):
    """A complete checkpoint lies at `path`; the supervisor registers it under the token."""

    type: Literal["checkpoint"] = "checkpoint"
    path: Path
    step: int


class Finished(Record):
    """The attempt's work is done; its result lies in files of the request's output folder."""

    type: Literal["finished"] = "finished"
    result: dict[str, Any] = {}
    """Small facts for the job's row: metrics, counts, paths relative to the output folder."""


class Stopped(Record):
    """The runner stopped as asked, between batches."""

    type: Literal["stopped"] = "stopped"


class Failed(Record):
    """The attempt failed with an exception the runner could still report."""

    type: Literal["failed"] = "failed"
    failure: FailureClass
    message: str
    hint: str = ""
    traceback: str = ""


RunnerMessage = Progress | Note | Checkpoint | Finished | Stopped | Failed
runner_message: TypeAdapter[RunnerMessage] = TypeAdapter(
    Annotated[RunnerMessage, Field(discriminator="type")]
)
SupervisorMessage = RunRequest | UpcomingRequest | StopRequest
supervisor_message: TypeAdapter[SupervisorMessage] = TypeAdapter(
    Annotated[SupervisorMessage, Field(discriminator="type")]
)
