"""Run by Alembic. The connection comes from `service.database.upgrade`; there is no offline mode."""

from __future__ import annotations

from alembic import context

import service.idempotency
import service.ledger.tables
import service.notify.tables
import service.people.tables  # noqa: F401
from service.database import Base

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=Base.metadata,
    render_as_batch=True,  # SQLite cannot alter most things in place
)
with context.begin_transaction():
    context.run_migrations()
