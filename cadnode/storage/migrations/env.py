"""Run by Alembic: the migrations, over the connection that `database.upgrade` hands in."""

from __future__ import annotations

from alembic import context

from cadnode.storage.tables import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    transactional_ddl=True,
)
with context.begin_transaction():
    context.run_migrations()
