"""What a schedule's jobs need and how an encoder scores them, as a submit says it."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    for column in (
        sa.Column("memory_bytes", sa.BigInteger(), nullable=False, server_default="0"),
        sa.Column("priority", sa.Integer(), nullable=False, server_default="100"),
        sa.Column("max_tokens_per_batch", sa.Integer(), nullable=True),
        sa.Column("precision", sa.String(), nullable=True),
    ):
        op.add_column("schedule", column)


def downgrade() -> None:
    for name in ("precision", "max_tokens_per_batch", "priority", "memory_bytes"):
        op.drop_column("schedule", name)
