"""Who may do what, in two tables: which roles an action takes, and which action an operation is.

An operation that is not in the table is refused to everybody.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, get_args

from fastapi import Request

from service import errors
from service.ledger.audit import Actor

Role = Literal["analyst", "reviewer", "inspector", "auditor", "administrator"]
ROLES: tuple[Role, ...] = get_args(Role)

Action = Literal[
    "read",
    "compare",
    "check",
    "delete",
    "originals",
    "import",
    "export",
    "decide",
    "review",
    "models",
    "audit",
    "metrics",
    "people",
    "own",
]
ACTIONS: tuple[Action, ...] = get_args(Action)
FOR_KEYS: tuple[Action, ...] = tuple(action for action in ACTIONS if action not in ("people", "own"))
"""What an API key can be given: neither administration nor a person's own matters, keys among them."""

RIGHTS: Mapping[Action, frozenset[Role]] = {
    "read": frozenset(ROLES),
    "compare": frozenset({"analyst", "reviewer", "inspector"}),
    "check": frozenset({"reviewer", "inspector"}),
    "delete": frozenset({"reviewer"}),
    "originals": frozenset({"reviewer"}),
    "import": frozenset({"reviewer"}),
    "export": frozenset({"analyst", "reviewer", "auditor"}),
    "decide": frozenset({"reviewer", "inspector"}),
    "review": frozenset({"reviewer"}),
    "models": frozenset({"reviewer"}),
    "audit": frozenset({"auditor"}),
    "metrics": frozenset({"auditor", "administrator"}),
    "people": frozenset({"administrator"}),
    "own": frozenset(ROLES),
}

OPEN = "open"
Door = Action | Literal["open"]
_BEHIND: Mapping[Door, tuple[str, ...]] = {
    "open": ("readHealth", "readReadiness", "unsubscribeByLink", "login", "sign_in", "follow_link", "oidc_begin",
        "oidc_callback", "public_ledger",
        "public_ledger_csv", "public_accuracy", "public_report", "public_report_send", "public_report_received",
        "public_report_status", "public_report_follow"),
    "read": (
        "start", "pair", "listPairs", "readPair", "readBefore", "readAfter", "readOverlay", "readThumb",
        "readFindings", "readReport", "readReview", "readGhost", "listSites", "readSite", "readSiteHistory",
        "listAlerts", "readAlert", "listCandidates", "listSchedules", "readSchedule", "listNights", "listTracks",
        "listScenes", "listImagery", "readScene", "readSceneFindings", "readSceneTiles", "readSceneTile",
        "readSceneChip", "readOgc", "readOgcConformance", "listOgcCollections", "readOgcCollection", "listOgcItems",
        "readOgcItem", "readPhotograph", "listScans", "readScan", "readScanFindings", "readScanPackage", "listModels",
        "ledger", "site", "bulletin", "bulletin_as_pdf",
        "site_packet",
        "district_map", "map_list", "map_site", "map_sites", "map_night",
    ),
    "compare": ("batch", "pick", "pick_compare", "shoot", "createPair", "createPairFromScenes", "retakeAfter",
        "writeReview", "takeInScan", "createScan", "cancelScan"),
    "check": ("checkPair", "uncheckPair"),
    "delete": ("deletePair",),
    "originals": ("readOriginal", "report_original"),
    "import": (
        "importLedger", "ledger_import", "ledger_try", "ledger_tried", "ledger_take", "createSchedule",
        "changeSchedule", "removeSchedule",
    ),
    "export": ("exportLedgerCsv", "exportLedgerXlsx", "exportLedgerGeojson", "exportLedgerGpkg", "readPacket"),
    "decide": (
        "moveSite", "site_step", "moveAlert", "decideAlert", "listDuties", "readEarlier", "takePhotograph",
        "createUpload", "readUpload", "appendUpload", "deleteUpload", "field", "field_manifest", "field_worker",
    ),
    "review": ("triage", "triage_card", "reports", "report", "report_decide", "report_photograph"),
    "models": ("replayModel", "readReplay", "promoteModel", "rollBackModel"),
    "audit": ("listAudit", "verifyAudit"),
    "metrics": ("readMetrics",),
    "people": ("listAccounts", "createAccount", "changeAccount", "resetPassword"),
    "own": (
        "password", "set_password", "sign_out", "readMe", "changePassword", "signOutEverywhere", "listKeys",
        "createKey", "revokeKey", "listEndpoints", "createEndpoint", "deleteEndpoint", "resumeEndpoint",
        "rotateSecret", "listSubscriptions", "createSubscription", "changeSubscription", "deleteSubscription",
        "explainMessage", "listInbox", "markRead", "followInbox",
    ),
}  # fmt: skip
OPERATIONS: Mapping[str, Door] = {name: door for door, names in _BEHIND.items() for name in names}
"""Operation (`operationId`, or the name of a page's function) -> action, or `open` to whoever comes."""


@dataclass(frozen=True, slots=True)
class SignedIn:
    """Who asks.

    Attributes:
        name: of the account.
        human: a person with a session, not a program with an API key. Only people take steps of people.
        actions: what this account, and this key, may do.
        session: digest of the session's token, None for a key.
        restricted: came in with a one-time password and has to choose one before anything else.
    """

    name: str
    display_name: str
    human: bool
    actions: frozenset[Action]
    session: str | None = None
    restricted: bool = False


OPERATOR = SignedIn("operator", "operator", True, frozenset(ACTIONS))
"""Whoever sits at this machine, where accounts are off."""


def actions_of(roles: list[Role]) -> frozenset[Action]:
    """What an account with these roles may do."""
    return frozenset(action for action in ACTIONS if RIGHTS[action] & set(roles))


def authorise(request: Request) -> None:
    """Dependency of every route: refuses what the table does not allow to whoever asks.

    Raises:
        SignInRequired: nobody is signed in.
        NotAllowed: no role of this account, or this key, covers the operation.
    """
    route = request.scope["route"]
    action = OPERATIONS.get(getattr(route, "operation_id", None) or route.name)
    if action == OPEN:
        return
    asking: SignedIn | None = request.state.signed_in
    if asking is None:
        raise errors.SignInRequired
    if action not in asking.actions:
        raise errors.NotAllowed


def acting(request: Request, named: Actor | None) -> Actor:
    """Who answers for a step: the account that is signed in, whatever the request says; `named` without accounts.

    A program with an API key is not a person, so that it cannot take the steps that are for people alone.

    Raises:
        PersonRequired: accounts are off, and nobody is named.
    """
    asking: SignedIn | None = getattr(request.state, "signed_in", None)
    if asking is not None and asking is not OPERATOR:
        return Actor(asking.name, asking.human)
    if named is None:
        raise errors.PersonRequired
    return named
