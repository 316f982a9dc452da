"""Run by Alembic. The connection comes from `service.database.upgrade`; there is no offline mode."""

from __future__ import annotations

from alembic import context

import service.corrections.tables
import service.field.tables
import service.idempotency
import service.ledger.tables
import service.nightly.tables
import service.notify.tables
import service.people.tables
import service.public.tables
import service.queue.tables
import service.registry.tables
import service.scenes.tables
import service.triage.tables  # noqa: F401
from service.database import Base

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=Base.metadata,
    render_as_batch=True,  # SQLite cannot alter most things in place
)
with context.begin_transaction():
    context.run_migrations()
