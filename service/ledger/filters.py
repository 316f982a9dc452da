"""Which sites an address asks for: the same words for the page, the list and the files of the ledger."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, Field

from service.ledger.listing import Wanted
from service.ledger.tables import SiteState, System

EMPTY = BeforeValidator(lambda value: value or None)
"""Of a field in an address: forms send empty what was not chosen."""
Words = Annotated[Annotated[str, Field(max_length=64)] | None, EMPTY]


class Filter(BaseModel):
    """Part of the ledger; all of it if nothing is said."""

    q: Annotated[
        str, Field(max_length=100, description="Words that all occur in code, courtyard, name, street or community.")
    ] = ""
    state: Annotated[SiteState | None, EMPTY, Field(description="Only in this state.")] = None
    system: Annotated[System | None, EMPTY, Field(description="Only of this responsible system.")] = None
    street: Annotated[Words, Field(description="Only in this street.")] = None
    batch: Annotated[Words, Field(description="Only of this batch.")] = None
    unseen: Annotated[
        Literal["7", "30", "90", "never"] | None,
        EMPTY,
        Field(description="Only what was not seen whole for so many days, or never."),
    ] = None

    def wanted(self, now: datetime) -> Wanted:
        """As the ledger takes it."""
        since = now - timedelta(days=int(self.unseen)) if self.unseen not in (None, "never") else None
        return Wanted(self.q, self.state, self.system, self.street, self.batch, since, self.unseen == "never")

    @property
    def narrowed(self) -> bool:
        """Whether it leaves any site out."""
        return bool(self.q.strip() or self.state or self.system or self.street or self.batch or self.unseen)
