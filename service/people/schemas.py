"""What the API says of people, as types."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from service.people.passwords import MAX_LENGTH
from service.people.rights import Action, Role, actions_of
from service.people.tables import Account, ApiKey

DisplayName = Annotated[str, Field(min_length=1, max_length=128, description="As others see it.")]
Email = Annotated[str, Field(max_length=254, pattern=r"^[^@\s]+@[^@\s]+$", description="For notifications.")]
Password = Annotated[str, Field(min_length=1, max_length=4 * MAX_LENGTH)]


class _In(BaseModel):
    model_config = ConfigDict(extra="forbid")


class AccountIn(_In):
    """A new account."""

    name: Annotated[str, Field(min_length=2, max_length=64, description="To sign in with; can never be changed.")]
    display_name: DisplayName
    email: Email | None = None
    roles: Annotated[list[Role], Field(min_length=1, max_length=5)]


class AccountChange(_In):
    """What is given is changed."""

    display_name: DisplayName = ""
    email: Email | None = None
    roles: Annotated[list[Role], Field(min_length=1, max_length=5)] = []
    disabled: Annotated[bool, Field(description="Signed out everywhere; its API keys end for good.")] = False


class AccountOut(BaseModel):
    """An account and what it may do."""

    name: str
    display_name: str
    email: str | None
    roles: list[Role]
    actions: list[Action]
    created_at: datetime
    disabled_at: datetime | None
    password_chosen: bool = Field(description="False until the one-time password was replaced.")

    @classmethod
    def of(cls, account: Account) -> AccountOut:
        """From a row of the database."""
        columns = ("name", "display_name", "email", "roles", "created_at", "disabled_at")
        own: dict[str, Any] = {name: getattr(account, name) for name in columns}
        chosen = account.password_hash is not None and account.temporary_until is None
        return cls(**own, actions=sorted(actions_of(account.roles)), password_chosen=chosen)


class NewAccountOut(AccountOut):
    """An account and, this once, its one-time password."""

    one_time_password: str


class OneTimePasswordOut(BaseModel):
    """A one-time password, shown this once."""

    one_time_password: str


class PasswordIn(_In):
    """A change of password."""

    current: Password
    new: Password


class KeyIn(_In):
    """A new API key."""

    label: Annotated[str, Field(min_length=1, max_length=64, description="What it is for.")]
    actions: Annotated[list[Action], Field(min_length=1, description="What it may do, of what its owner may.")]
    days: Annotated[int, Field(ge=1, le=366, description="How long it can be used.")] = 90


class KeyOut(BaseModel):
    """An API key, without its secret."""

    model_config = ConfigDict(from_attributes=True)

    id: str
    label: str
    actions: list[Action]
    created_at: datetime
    expires_at: datetime
    used_at: datetime | None

    @classmethod
    def of(cls, key: ApiKey) -> KeyOut:
        """From a row of the database."""
        return cls.model_validate(key)


class NewKeyOut(KeyOut):
    """An API key and, this once, what to send in `Authorization: Bearer`."""

    key: str


class AuditEntryOut(BaseModel):
    """An entry of the audit log."""

    model_config = ConfigDict(from_attributes=True)

    number: int
    at: datetime
    actor: str
    human: bool
    action: str
    subject: str
    detail: str = Field(description="JSON, as it was hashed.")
    hash: str


class AuditPage(BaseModel):
    """Entries, newest first."""

    items: list[AuditEntryOut]
    total: int
    limit: int
    offset: int


class AuditOut(BaseModel):
    """What verifying the audit log found."""

    model_config = ConfigDict(from_attributes=True)

    length: int
    hash: str = Field(description="Of the last entry. Keep it where the database administrator cannot write.")
    broken_at: int | None = Field(description="Number of the first entry that is not as it was written.")
    problem: str | None = Field(description="`changed`, `missing` or `truncated`; null if all is well.")
