"""The prediction tables: every label's score per document, and the labels over threshold."""

import sqlalchemy as sa
from sqlmodel import Field, SQLModel

from postq.db import BigKey

_PLAIN_KEY = {"autoincrement": False}


class Prediction(SQLModel, table=True):
    """The one prediction of a job for a document; written in bulk under the shard's fence.

    No foreign keys here and on the labels: the fence vouches for job, bundle and attempt, `postq prune`
    sweeps up after the jobs it deletes, and checking them row by row made the bulk write on PostgreSQL more
    than twice as slow.
    """

    __table_args__ = (sa.Index("ix_prediction_fingerprint_content_hash", "fingerprint", "content_hash"),)

    job_id: int = Field(primary_key=True, sa_type=BigKey, sa_column_kwargs=_PLAIN_KEY)
    row: int = Field(primary_key=True, sa_type=BigKey, sa_column_kwargs=_PLAIN_KEY)
    """Row in the job's corpus version; (corpus_id, row) finds the document reference."""
    content_hash: bytes = Field(sa_type=sa.LargeBinary)
    """16 bytes."""
    fingerprint: bytes = Field(sa_type=sa.LargeBinary)
    """16 bytes: weights, tokenizer, labels, thresholds, preprocessing, scoring code version."""
    bundle_id: int = Field(sa_type=BigKey)
    """Names the label order and the threshold set."""
    attempt_id: int = Field(sa_type=BigKey)
    scores: bytes = Field(sa_type=sa.LargeBinary)
    """(labels,) little-endian float32 probabilities in the bundle's label order."""
    label_count: int
    """How many labels are predicted."""
    tokens_total: int
    tokens_seen: int


class PredictionLabel(SQLModel, table=True):
    """One label predicted for one document of one job."""

    __tablename__ = "prediction_label"
    __table_args__ = (sa.Index("ix_prediction_label_job_id_label", "job_id", "label"),)

    job_id: int = Field(primary_key=True, sa_type=BigKey, sa_column_kwargs=_PLAIN_KEY)
    row: int = Field(primary_key=True, sa_type=BigKey, sa_column_kwargs=_PLAIN_KEY)
    label: str = Field(primary_key=True)
    score: float


class Quarantined(SQLModel, table=True):
    """A document a job could not score, with its error: set apart so that the rest finish."""

    __tablename__ = "quarantine"

    job_id: int = Field(foreign_key="job.id", primary_key=True, sa_type=BigKey, sa_column_kwargs=_PLAIN_KEY)
    row: int = Field(primary_key=True, sa_type=BigKey, sa_column_kwargs=_PLAIN_KEY)
    attempt_id: int = Field(foreign_key="attempt.id", sa_type=BigKey)
    error: str
