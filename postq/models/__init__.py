"""The SQL tables, one noun per file; importing this package registers them all."""

from postq.models.attempt import Attempt, AttemptOutcome
from postq.models.bundle import Alias, BundleRow
from postq.models.corpus import Corpus
from postq.models.document import DocumentRef
from postq.models.event import Event
from postq.models.job import Job, JobState
from postq.models.prediction import Prediction, PredictionLabel, Quarantined
from postq.models.schedule import Fire, MissedPolicy, OverlapPolicy, Schedule
from postq.models.shard import Shard, ShardState
from postq.models.worker import Worker

__all__ = [
    "Alias",
    "Attempt",
    "AttemptOutcome",
    "BundleRow",
    "Corpus",
    "DocumentRef",
    "Event",
    "Fire",
    "Job",
    "JobState",
    "MissedPolicy",
    "OverlapPolicy",
    "Prediction",
    "PredictionLabel",
    "Quarantined",
    "Schedule",
    "Shard",
    "ShardState",
    "Worker",
]
