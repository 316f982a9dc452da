"""The HTTP interface of people: one's own account and keys, accounts of others for administrators, the audit log."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from fastapi import APIRouter, Depends, Path, Query, Request, Response
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from service.ledger import audit
from service.ledger.audit import Actor
from service.ledger.tables import AuditEntry
from service.openapi import problems
from service.people.accounts import Accounts
from service.people.gate import drop_session, keep_session
from service.people.keys import Keys
from service.people.rights import SignedIn
from service.people.schemas import (
    AccountChange,
    AccountIn,
    AccountOut,
    AuditEntryOut,
    AuditOut,
    AuditPage,
    KeyIn,
    KeyOut,
    NewAccountOut,
    NewKeyOut,
    OneTimePasswordOut,
    PasswordIn,
)
from service.people.sessions import Sessions
from service.services import ServicesDep

router = APIRouter(prefix="/api/v1", tags=["people"])

NO_ACCOUNT = "No account has this name."
LAST = "The name is taken, or nobody would be left to administer accounts."


def signed_in(request: Request) -> SignedIn:
    """Dependency: who asks; `service.people.rights.authorise` has let nobody else through."""
    asking: SignedIn = request.state.signed_in
    return asking


def accounts_of(parts: ServicesDep) -> Accounts:
    """Dependency: the accounts of this application."""
    return Accounts(parts.pairs.engine)


def sessions_of(parts: ServicesDep) -> Sessions:
    """Dependency: the sessions of this application."""
    return Sessions(parts.pairs.engine)


def keys_of(parts: ServicesDep) -> Keys:
    """Dependency: the API keys of this application."""
    return Keys(parts.pairs.engine)


Asking = Annotated[SignedIn, Depends(signed_in)]
AccountsDep = Annotated[Accounts, Depends(accounts_of)]
SessionsDep = Annotated[Sessions, Depends(sessions_of)]
KeysDep = Annotated[Keys, Depends(keys_of)]
NamePath = Annotated[str, Path(max_length=64, description="Name of an account.")]


def address(request: Request) -> str:
    """Where the request comes from, as sign-ins are counted."""
    return request.client.host if request.client else ""


@router.get("/people/me", operation_id="readMe", summary="Read your account")
def read_me(asking: Asking, accounts: AccountsDep) -> AccountOut:
    """Who you are here, and what you may do."""
    return AccountOut.of(accounts.get(asking.name))


@router.post(
    "/people/me/password",
    operation_id="changePassword",
    summary="Change your password",
    status_code=204,
    responses=problems(
        s403="The current password is wrong.", s422="The new one is too weak.", s429="Too many were wrong."
    ),
)
def change_password(
    body: PasswordIn,
    asking: Asking,
    accounts: AccountsDep,
    sessions: SessionsDep,
    parts: ServicesDep,
    request: Request,
    response: Response,
) -> None:
    """You are signed out everywhere else."""
    accounts.replace(asking, body.current, body.new, address(request))
    keep_session(response, request, parts.settings, sessions.open(asking.name))


@router.post(
    "/people/me/sign-out-everywhere", operation_id="signOutEverywhere", summary="Sign out everywhere", status_code=204
)
def sign_out_everywhere(
    asking: Asking, sessions: SessionsDep, parts: ServicesDep, request: Request, response: Response
) -> None:
    """Ends all your sessions, this one too. API keys are revoked one by one."""
    sessions.close_all(asking.name)
    drop_session(response, request, parts.settings)


@router.get("/people/me/keys", operation_id="listKeys", summary="List your API keys")
def list_keys(asking: Asking, keys: KeysDep) -> Sequence[KeyOut]:
    """Newest first, without their secrets."""
    return [KeyOut.of(key) for key in keys.of(asking.name)]


@router.post(
    "/people/me/keys",
    operation_id="createKey",
    summary="Make an API key",
    status_code=201,
    responses=problems(s403="It should do what you may not, or no key may.", s422="A field cannot be used."),
)
def create_key(body: KeyIn, asking: Asking, keys: KeysDep) -> NewKeyOut:
    """For a program, which sends `Authorization: Bearer KEY`. It is not a person: no decision can be made with it."""
    row, sent = keys.make(asking, body.label, body.actions, body.days)
    return NewKeyOut(**KeyOut.of(row).model_dump(), key=sent)


@router.delete(
    "/people/me/keys/{id}",
    operation_id="revokeKey",
    summary="Revoke an API key",
    status_code=204,
    responses=problems(s404="You have no such key."),
)
def revoke_key(id: Annotated[str, Path(max_length=16)], asking: Asking, keys: KeysDep) -> None:
    """From now on nobody can use it."""
    keys.revoke(asking.name, id)


@router.get("/people", operation_id="listAccounts", summary="List accounts")
def list_accounts(accounts: AccountsDep) -> Sequence[AccountOut]:
    """By name."""
    return [AccountOut.of(account) for account in accounts.all()]


@router.post(
    "/people",
    operation_id="createAccount",
    summary="Make an account",
    status_code=201,
    responses=problems(s409=LAST, s422="A field cannot be used."),
)
def create_account(body: AccountIn, asking: Asking, accounts: AccountsDep) -> NewAccountOut:
    """Its one-time password is shown this once; hand it over yourself."""
    password = accounts.add(_actor(asking), body.name, body.display_name, body.roles, body.email)
    return NewAccountOut(**AccountOut.of(accounts.get(body.name)).model_dump(), one_time_password=password)


@router.patch(
    "/people/{name}",
    operation_id="changeAccount",
    summary="Change an account",
    responses=problems(s404=NO_ACCOUNT, s409=LAST, s422="A field cannot be used."),
)
def change_account(name: NamePath, body: AccountChange, asking: Asking, accounts: AccountsDep) -> AccountOut:
    """Holds from the next request on. Accounts are disabled, not deleted: their names stand in the records."""
    return AccountOut.of(accounts.change(_actor(asking), name, **body.model_dump(exclude_unset=True)))


@router.post(
    "/people/{name}/password",
    operation_id="resetPassword",
    summary="Give a one-time password",
    responses=problems(s404=NO_ACCOUNT),
)
def reset_password(name: NamePath, asking: Asking, accounts: AccountsDep) -> OneTimePasswordOut:
    """In place of a forgotten password. Signed out everywhere."""
    return OneTimePasswordOut(one_time_password=accounts.reset(_actor(asking), name))


@router.get(
    "/audit", operation_id="listAudit", summary="Read the audit log", responses=problems(s422="A parameter is wrong.")
)
def list_audit(
    parts: ServicesDep,
    limit: Annotated[int, Query(ge=1, le=1000, description="How many.")] = 100,
    offset: Annotated[int, Query(ge=0, le=1_000_000, description="How many to skip.")] = 0,
) -> AuditPage:
    """Newest first."""
    query = select(AuditEntry).order_by(AuditEntry.number.desc()).limit(limit).offset(offset)
    with Session(parts.pairs.engine) as session:
        items = [AuditEntryOut.model_validate(entry) for entry in session.scalars(query)]
        total = session.scalar(select(func.count()).select_from(AuditEntry)) or 0
    return AuditPage(items=items, total=total, limit=limit, offset=offset)


@router.get("/audit/verify", operation_id="verifyAudit", summary="Verify the audit log")
def verify_audit(parts: ServicesDep) -> AuditOut:
    """Holds every entry against its hash, its predecessor and the head."""
    with Session(parts.pairs.engine) as session:
        return AuditOut.model_validate(audit.verify(session), from_attributes=True)


def _actor(asking: SignedIn) -> Actor:
    return Actor(asking.name, asking.human)
