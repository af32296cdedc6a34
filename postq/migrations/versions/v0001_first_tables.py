"""The first tables: jobs, shards, attempts, events, corpora, bundles, predictions, schedules, workers."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

# Where SQLite is told to autoincrement, a number is given once, even when the row with the highest one goes.
BIG_KEY = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "bundle",
        sa.Column("id", BIG_KEY, nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("digest", sa.String(), nullable=False),
        sa.Column("path", sa.String(), nullable=False),
        sa.Column("fingerprint", sa.LargeBinary(), nullable=False),
        sa.Column("threshold_digest", sa.String(), nullable=False),
        sa.Column("labels", sa.JSON(), nullable=False),
        sa.Column("metrics", sa.JSON(), nullable=False),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        sa.Column("job_id", sa.BigInteger(), nullable=True),
        sa.Column("test_touches", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_bundle"),
        sa.UniqueConstraint("digest", name="uq_bundle_digest"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_bundle_job_id", "bundle", ["job_id"], unique=False)
    op.create_index("ix_bundle_name", "bundle", ["name"], unique=False)
    op.create_table(
        "corpus",
        sa.Column("id", BIG_KEY, nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("path", sa.String(), nullable=False),
        sa.Column("digest", sa.String(), nullable=False),
        sa.Column("source", sa.String(), nullable=False),
        sa.Column("documents", sa.BigInteger(), nullable=False),
        sa.Column("words", sa.BigInteger(), nullable=False),
        sa.Column("labelled_documents", sa.BigInteger(), nullable=False),
        sa.Column("set_aside", sa.BigInteger(), nullable=False),
        sa.Column("facts", sa.JSON(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_corpus"),
        sa.UniqueConstraint("name", "version", name="uq_corpus_name_version"),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "schedule",
        sa.Column("id", BIG_KEY, nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("cron", sa.String(), nullable=False),
        sa.Column("timezone", sa.String(), nullable=False),
        sa.Column("corpus", sa.String(), nullable=False),
        sa.Column("bundle", sa.String(), nullable=False),
        sa.Column("device_kind", sa.String(), nullable=False),
        sa.Column("missed", sa.String(40), nullable=False),
        sa.Column("overlap", sa.String(40), nullable=False),
        sa.Column("paused", sa.Boolean(), nullable=False),
        sa.Column("next_slot", sa.DateTime(timezone=True), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("removed_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_schedule"),
        sa.UniqueConstraint("name", name="uq_schedule_name"),
    )
    op.create_index("ix_schedule_next_slot", "schedule", ["next_slot"], unique=False)
    op.create_table(
        "worker",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("hostname", sa.String(), nullable=False),
        sa.Column("pid", sa.Integer(), nullable=False),
        sa.Column("device", sa.JSON(), nullable=False),
        sa.Column("device_kind", sa.String(), nullable=False),
        sa.Column("memory_bytes", sa.BigInteger(), nullable=False),
        sa.Column("version", sa.String(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("shard_id", sa.BigInteger(), nullable=True),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("seen_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("stopped_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_worker"),
    )
    op.create_index("ix_worker_seen_at", "worker", ["seen_at"], unique=False)
    op.create_table(
        "alias",
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("bundle_id", BIG_KEY, nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["bundle_id"], ["bundle.id"], name="fk_alias_bundle_id_bundle"),
        sa.PrimaryKeyConstraint("name", name="pk_alias"),
    )
    op.create_table(
        "document",
        sa.Column("corpus_id", BIG_KEY, nullable=False),
        sa.Column("row", BIG_KEY, autoincrement=False, nullable=False),
        sa.Column("document_id", sa.String(), nullable=False),
        sa.Column("content_hash", sa.LargeBinary(), nullable=False),
        sa.Column("word_count", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(["corpus_id"], ["corpus.id"], name="fk_document_corpus_id_corpus"),
        sa.PrimaryKeyConstraint("corpus_id", "row", name="pk_document"),
    )
    op.create_index(
        "ix_document_corpus_id_document_id", "document", ["corpus_id", "document_id"], unique=False
    )
    op.create_table(
        "job",
        sa.Column("id", BIG_KEY, nullable=False),
        sa.Column("kind", sa.String(40), nullable=False),
        sa.Column("state", sa.String(40), nullable=False),
        sa.Column("reason", sa.String(), nullable=False),
        sa.Column("spec", sa.JSON(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("priority", sa.Integer(), nullable=False),
        sa.Column("device_kind", sa.String(), nullable=False),
        sa.Column("memory_bytes", sa.BigInteger(), nullable=False),
        sa.Column("idempotency_key", sa.String(), nullable=True),
        sa.Column("spec_digest", sa.String(), nullable=False),
        sa.Column("after_job_id", BIG_KEY, nullable=True),
        sa.Column("after_any", sa.Boolean(), nullable=False),
        sa.Column("schedule_id", BIG_KEY, nullable=True),
        sa.Column("corpus_id", BIG_KEY, nullable=False),
        sa.Column("bundle_id", BIG_KEY, nullable=True),
        sa.Column("fingerprint", sa.LargeBinary(), nullable=True),
        sa.Column("cancel_requested_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("documents_total", sa.BigInteger(), nullable=False),
        sa.Column("documents_predicted", sa.BigInteger(), nullable=False),
        sa.Column("documents_quarantined", sa.BigInteger(), nullable=False),
        sa.Column("documents_skipped", sa.BigInteger(), nullable=False),
        sa.Column("result", sa.JSON(), nullable=True),
        sa.Column("error", sa.String(), nullable=True),
        sa.Column("hint", sa.String(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(["after_job_id"], ["job.id"], name="fk_job_after_job_id_job"),
        sa.ForeignKeyConstraint(["bundle_id"], ["bundle.id"], name="fk_job_bundle_id_bundle"),
        sa.ForeignKeyConstraint(["corpus_id"], ["corpus.id"], name="fk_job_corpus_id_corpus"),
        sa.ForeignKeyConstraint(["schedule_id"], ["schedule.id"], name="fk_job_schedule_id_schedule"),
        sa.PrimaryKeyConstraint("id", name="pk_job"),
        sa.UniqueConstraint("idempotency_key", name="uq_job_idempotency_key"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_job_after_job_id", "job", ["after_job_id"], unique=False)
    op.create_index("ix_job_schedule_id", "job", ["schedule_id"], unique=False)
    op.create_index("ix_job_state_id", "job", ["state", "id"], unique=False)
    op.create_table(
        "event",
        sa.Column("id", BIG_KEY, nullable=False),
        sa.Column("job_id", BIG_KEY, nullable=False),
        sa.Column("shard_id", sa.BigInteger(), nullable=True),
        sa.Column("token", sa.BigInteger(), nullable=True),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("type", sa.String(), nullable=False),
        sa.Column("from_state", sa.String(), nullable=True),
        sa.Column("to_state", sa.String(), nullable=True),
        sa.Column("message", sa.String(), nullable=False),
        sa.Column("data", sa.JSON(), nullable=True),
        sa.ForeignKeyConstraint(["job_id"], ["job.id"], name="fk_event_job_id_job"),
        sa.PrimaryKeyConstraint("id", name="pk_event"),
    )
    op.create_index("ix_event_job_id", "event", ["job_id"], unique=False)
    op.create_table(
        "fire",
        sa.Column("id", BIG_KEY, nullable=False),
        sa.Column("schedule_id", BIG_KEY, nullable=False),
        sa.Column("slot", sa.DateTime(timezone=True), nullable=False),
        sa.Column("job_id", BIG_KEY, nullable=True),
        sa.Column("outcome", sa.String(), nullable=False),
        sa.Column("fired_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["job_id"], ["job.id"], name="fk_fire_job_id_job"),
        sa.ForeignKeyConstraint(["schedule_id"], ["schedule.id"], name="fk_fire_schedule_id_schedule"),
        sa.PrimaryKeyConstraint("id", name="pk_fire"),
        sa.UniqueConstraint("schedule_id", "slot", name="uq_fire_schedule_id_slot"),
    )
    op.create_table(
        "prediction_label",
        sa.Column("job_id", BIG_KEY, autoincrement=False, nullable=False),
        sa.Column("row", BIG_KEY, autoincrement=False, nullable=False),
        sa.Column("label", sa.String(), nullable=False),
        sa.Column("score", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("job_id", "row", "label", name="pk_prediction_label"),
    )
    op.create_index("ix_prediction_label_job_id_label", "prediction_label", ["job_id", "label"], unique=False)
    op.create_table(
        "shard",
        sa.Column("id", BIG_KEY, nullable=False),
        sa.Column("job_id", BIG_KEY, nullable=False),
        sa.Column("parent_id", BIG_KEY, nullable=True),
        sa.Column("state", sa.String(40), nullable=False),
        sa.Column("start_row", sa.BigInteger(), nullable=False),
        sa.Column("stop_row", sa.BigInteger(), nullable=False),
        sa.Column("priority", sa.Integer(), nullable=False),
        sa.Column("device_kind", sa.String(), nullable=False),
        sa.Column("memory_bytes", sa.BigInteger(), nullable=False),
        sa.Column("sticky", sa.String(), nullable=False),
        sa.Column("token", sa.BigInteger(), nullable=False),
        sa.Column("owner", sa.String(), nullable=True),
        sa.Column("lease_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("not_before", sa.DateTime(timezone=True), nullable=True),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("crashes", sa.Integer(), nullable=False),
        sa.Column("batch_divisor", sa.Integer(), nullable=False),
        sa.Column("phase", sa.String(), nullable=False),
        sa.Column("progress_done", sa.BigInteger(), nullable=False),
        sa.Column("progress_total", sa.BigInteger(), nullable=False),
        sa.Column("progress_metrics", sa.JSON(), nullable=True),
        sa.Column("progress_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("checkpoint", sa.String(), nullable=True),
        sa.Column("checkpoint_step", sa.Integer(), nullable=False),
        sa.Column("failure", sa.String(40), nullable=True),
        sa.Column("error", sa.String(), nullable=True),
        sa.Column("hint", sa.String(), nullable=True),
        sa.Column("documents_predicted", sa.BigInteger(), nullable=False),
        sa.Column("documents_quarantined", sa.BigInteger(), nullable=False),
        sa.Column("documents_skipped", sa.BigInteger(), nullable=False),
        sa.Column("ready_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(["job_id"], ["job.id"], name="fk_shard_job_id_job"),
        sa.ForeignKeyConstraint(["parent_id"], ["shard.id"], name="fk_shard_parent_id_shard"),
        sa.PrimaryKeyConstraint("id", name="pk_shard"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_shard_claim", "shard", ["state", "priority", "id"], unique=False)
    op.create_index("ix_shard_job_state", "shard", ["job_id", "state"], unique=False)
    op.create_index("ix_shard_lease", "shard", ["state", "lease_until"], unique=False)
    op.create_index("ix_shard_sticky", "shard", ["state", "sticky", "priority", "id"], unique=False)
    op.create_table(
        "attempt",
        sa.Column("id", BIG_KEY, nullable=False),
        sa.Column("shard_id", BIG_KEY, nullable=False),
        sa.Column("job_id", BIG_KEY, nullable=False),
        sa.Column("token", sa.BigInteger(), nullable=False),
        sa.Column("worker_id", sa.String(), nullable=False),
        sa.Column("device", sa.String(), nullable=False),
        sa.Column("outcome", sa.String(40), nullable=False),
        sa.Column("failure", sa.String(40), nullable=True),
        sa.Column("message", sa.String(), nullable=True),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(["job_id"], ["job.id"], name="fk_attempt_job_id_job"),
        sa.ForeignKeyConstraint(["shard_id"], ["shard.id"], name="fk_attempt_shard_id_shard"),
        sa.PrimaryKeyConstraint("id", name="pk_attempt"),
        sa.UniqueConstraint("shard_id", "token", name="uq_attempt_shard_id_token"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_attempt_job_id", "attempt", ["job_id"], unique=False)
    op.create_table(
        "prediction",
        sa.Column("job_id", BIG_KEY, autoincrement=False, nullable=False),
        sa.Column("row", BIG_KEY, autoincrement=False, nullable=False),
        sa.Column("content_hash", sa.LargeBinary(), nullable=False),
        sa.Column("fingerprint", sa.LargeBinary(), nullable=False),
        sa.Column("bundle_id", BIG_KEY, nullable=False),
        sa.Column("attempt_id", BIG_KEY, nullable=False),
        sa.Column("scores", sa.LargeBinary(), nullable=False),
        sa.Column("label_count", sa.Integer(), nullable=False),
        sa.Column("tokens_total", sa.Integer(), nullable=False),
        sa.Column("tokens_seen", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("job_id", "row", name="pk_prediction"),
    )
    op.create_index(
        "ix_prediction_fingerprint_content_hash", "prediction", ["fingerprint", "content_hash"], unique=False
    )
    op.create_table(
        "quarantine",
        sa.Column("job_id", BIG_KEY, autoincrement=False, nullable=False),
        sa.Column("row", BIG_KEY, autoincrement=False, nullable=False),
        sa.Column("attempt_id", BIG_KEY, nullable=False),
        sa.Column("error", sa.String(), nullable=False),
        sa.ForeignKeyConstraint(["attempt_id"], ["attempt.id"], name="fk_quarantine_attempt_id_attempt"),
        sa.ForeignKeyConstraint(["job_id"], ["job.id"], name="fk_quarantine_job_id_job"),
        sa.PrimaryKeyConstraint("job_id", "row", name="pk_quarantine"),
    )


def downgrade() -> None:
    for table in (
        "quarantine",
        "prediction",
        "attempt",
        "shard",
        "prediction_label",
        "fire",
        "event",
        "job",
        "document",
        "alias",
        "worker",
        "schedule",
        "corpus",
        "bundle",
    ):
        op.drop_table(table)
