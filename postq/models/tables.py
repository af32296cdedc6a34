"""The same tables as SQLAlchemy Core sees them, for statements over sets of rows."""

import sqlalchemy as sa
from sqlmodel import SQLModel


def _table(name: str) -> sa.Table:
    # The package's __init__ ran before this module and registered every table.
    return SQLModel.metadata.tables[name]


alias = _table("alias")
attempt = _table("attempt")
bundle = _table("bundle")
corpus = _table("corpus")
document = _table("document")
event = _table("event")
fire = _table("fire")
job = _table("job")
prediction = _table("prediction")
prediction_label = _table("prediction_label")
quarantine = _table("quarantine")
schedule = _table("schedule")
shard = _table("shard")
worker = _table("worker")
EVERY = tuple(SQLModel.metadata.sorted_tables)
