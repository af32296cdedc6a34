"""Alembic's entry: runs the revisions on the connection, and in the transaction, of the caller."""

from alembic import context

connection = context.config.attributes["connection"]
context.configure(connection=connection, transactional_ddl=False, render_as_batch=True)
context.run_migrations()
