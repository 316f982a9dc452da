"""What can go wrong, as RFC 9457 problem details in the reader's language. No internals leave the service."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, HTTPException, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException as StarletteHTTPException

from inference.reasons import InputError, Reason
from service.language import negotiate, say
from service.openapi import PROBLEM_MEDIA_TYPE
from service.schemas import Problem, ProblemField


class ServiceError(Exception):
    """Something a client asked for that cannot be given.

    Attributes:
        code: names its sentences in the catalogue. Where one kind has several, whoever raises it says which.
        values: figures that its sentences name.
    """

    code: str
    values: Mapping[str, Any]

    def __init__(self, code: str | None = None, **values: Any) -> None:
        self.code = code or self.code
        self.values = values
        super().__init__(f"{self.code}: {values}" if values else self.code)


class PairNotFound(ServiceError):
    """No pair has this id."""

    code = "pair_not_found"


class NotFinished(ServiceError):
    """The comparison has not come to an end yet."""

    code = "not_finished"


class NoImagery(ServiceError):
    """The pair was refused before the two pictures lay on one grid, so there is nothing to show."""

    code = "no_imagery"


class NoGhost(ServiceError):
    """The pair is none of photographs, so that there is nothing to lay over a camera's view."""

    code = "no_ghost"


class OriginalsClosed(ServiceError):
    """This service does not give out pictures as they were uploaded."""

    code = "originals_closed"


class ModelUnavailable(ServiceError):
    """The weights could not be loaded; nothing can be compared."""

    code = "model_unavailable"


class WrongMediaType(ServiceError):
    """Pictures come as multipart/form-data."""

    code = "unsupported_media_type"


class CrossSite(ServiceError):
    """A page of another site tried to change something here."""

    code = "cross_site"


class SiteNotFound(ServiceError):
    """No site has this code."""

    code = "site_not_found"


class AlertNotFound(ServiceError):
    """No alert has this id."""

    code = "alert_not_found"


class TransitionNotAllowed(ServiceError):
    """No step leads from the one state to the other."""

    code = "transition_not_allowed"


class StateChanged(ServiceError):
    """The state is not what the request expected."""

    code = "state_changed"


class PersonRequired(ServiceError):
    """Only a named person may do this."""

    code = "person_required"


class ReasonRequired(ServiceError):
    """Whoever decides says why."""

    code = "reason_required"


class EvidenceRequired(ServiceError):
    """Closing an entry needs a verdict `clear` on photos or a scan."""

    code = "evidence_required"


class EvidenceNotFound(ServiceError):
    """What is cited as evidence is not there, not finished, or of another site."""

    code = "evidence_not_found"


class SecondPersonRequired(ServiceError):
    """Whoever claimed a site clear may not accept it."""

    code = "second_person_required"


class SecondLookRequired(ServiceError):
    """A rebound needs two looks, or one look and a person."""

    code = "second_look_required"


class BaselineRequired(ServiceError):
    """A site is watched against imagery of its acceptance."""

    code = "baseline_required"


class AlertPending(ServiceError):
    """An alert on the site has not been dismissed."""

    code = "alert_pending"


class LedgerRowsRefused(ServiceError):
    """A ledger file has rows that cannot be imported."""

    code = "ledger_rows_refused"


class ImportNotFound(ServiceError):
    """No file of a ledger waits under this token, or it is somebody else's."""

    code = "import_not_found"


class EndpointNotFound(ServiceError):
    """Nobody, or somebody else, has this endpoint."""

    code = "endpoint_not_found"


class SubscriptionNotFound(ServiceError):
    """Nobody, or somebody else, has this subscription, or it has ended."""

    code = "subscription_not_found"


class MessageNotFound(ServiceError):
    """There is no such message, or it went to somebody else."""

    code = "message_not_found"


class EndpointExists(ServiceError):
    """The address is registered already."""

    code = "address_taken"


class UnusableReceiver(ServiceError):
    """The channel cannot use the address; `code` says why (`service.notify.channels.base.AddressError`)."""

    code = "receiver_malformed"


class LoopbackOnly(ServiceError):
    """Without accounts the service answers this machine alone."""

    code = "loopback_only"


class SignInRequired(ServiceError):
    """Nobody is signed in, or the key is not valid."""

    code = "sign_in_required"
    headers: Mapping[str, str] = {"WWW-Authenticate": "Bearer"}


class NotAllowed(ServiceError):
    """Whoever is signed in may not do this; `code` says why."""

    code = "not_allowed"


class AccountNotFound(ServiceError):
    """No account has this name, or no key of one's own this id."""

    code = "account_not_found"


class AccountConflict(ServiceError):
    """The name is taken, or it is the last administrator's."""

    code = "account_exists"


class AccountUnusable(ServiceError):
    """A name or a password cannot be used; `code` says why."""

    code = "account_name"


class TooManyAttempts(ServiceError):
    """Too many sign-ins failed; the next one has to wait."""

    code = "too_many_attempts"

    def __init__(self, wait_s: int = 1) -> None:
        super().__init__()
        self.headers = {"Retry-After": str(wait_s)}


class IdempotencyKeyUnusable(ServiceError):
    """The key came with another request before, or is no key."""

    code = "idempotency_key_reused"


class IdempotencyPending(ServiceError):
    """The first request with this key has not been answered yet."""

    code = "idempotency_pending"
    headers: Mapping[str, str] = {"Retry-After": "1"}


class RequestTooLarge(HTTPException):
    """The request is longer than two pictures may be.

    An HTTPException, because that is what form parsing lets through unchanged.
    """

    def __init__(self, max_bytes: int | None = None) -> None:
        super().__init__(HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
        self.max_bytes = max_bytes


STATUS: dict[type[Exception], HTTPStatus] = {
    PairNotFound: HTTPStatus.NOT_FOUND,
    NoImagery: HTTPStatus.NOT_FOUND,
    NoGhost: HTTPStatus.NOT_FOUND,
    OriginalsClosed: HTTPStatus.FORBIDDEN,
    EndpointNotFound: HTTPStatus.NOT_FOUND,
    SubscriptionNotFound: HTTPStatus.NOT_FOUND,
    MessageNotFound: HTTPStatus.NOT_FOUND,
    EndpointExists: HTTPStatus.CONFLICT,
    UnusableReceiver: HTTPStatus.UNPROCESSABLE_ENTITY,
    NotFinished: HTTPStatus.CONFLICT,
    ModelUnavailable: HTTPStatus.SERVICE_UNAVAILABLE,
    WrongMediaType: HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
    CrossSite: HTTPStatus.FORBIDDEN,
    SiteNotFound: HTTPStatus.NOT_FOUND,
    AlertNotFound: HTTPStatus.NOT_FOUND,
    TransitionNotAllowed: HTTPStatus.CONFLICT,
    StateChanged: HTTPStatus.CONFLICT,
    PersonRequired: HTTPStatus.FORBIDDEN,
    ReasonRequired: HTTPStatus.UNPROCESSABLE_ENTITY,
    EvidenceRequired: HTTPStatus.UNPROCESSABLE_ENTITY,
    EvidenceNotFound: HTTPStatus.UNPROCESSABLE_ENTITY,
    SecondPersonRequired: HTTPStatus.FORBIDDEN,
    SecondLookRequired: HTTPStatus.CONFLICT,
    BaselineRequired: HTTPStatus.CONFLICT,
    AlertPending: HTTPStatus.CONFLICT,
    LedgerRowsRefused: HTTPStatus.UNPROCESSABLE_ENTITY,
    ImportNotFound: HTTPStatus.NOT_FOUND,
    LoopbackOnly: HTTPStatus.FORBIDDEN,
    SignInRequired: HTTPStatus.UNAUTHORIZED,
    NotAllowed: HTTPStatus.FORBIDDEN,
    AccountNotFound: HTTPStatus.NOT_FOUND,
    AccountConflict: HTTPStatus.CONFLICT,
    AccountUnusable: HTTPStatus.UNPROCESSABLE_ENTITY,
    TooManyAttempts: HTTPStatus.TOO_MANY_REQUESTS,
    IdempotencyKeyUnusable: HTTPStatus.UNPROCESSABLE_ENTITY,
    IdempotencyPending: HTTPStatus.CONFLICT,
    InputError: HTTPStatus.UNPROCESSABLE_ENTITY,
    RequestValidationError: HTTPStatus.UNPROCESSABLE_ENTITY,
}
# The reasons of an InputError for which HTTP has a better word.
INPUT_STATUS: dict[str, HTTPStatus] = {
    "too_many_bytes": HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    "too_many_pixels": HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    "photo_too_large": HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    "not_an_image": HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
    "unsupported_bands": HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
}
HTTP_CODES: dict[int, str] = {
    400: "bad_request",
    404: "not_found",
    405: "method_not_allowed",
    415: "unsupported_media_type",
}


def describe(error: Exception, language: str, max_bytes: int) -> Problem:
    """The problem details of any exception."""
    if isinstance(error, InputError):
        status = INPUT_STATUS.get(error.reason.code, STATUS[InputError])
        return _of_reason(error.reason, status, language, error.side)
    if isinstance(error, RequestTooLarge):
        limit = error.max_bytes or max_bytes
        reason = Reason("too_many_bytes", {"limit_mb": max(1, limit // 2**20)})
        return _of_reason(reason, HTTPStatus.REQUEST_ENTITY_TOO_LARGE, language)
    if isinstance(error, RequestValidationError):
        return _of_validation(error.errors(), language)
    if isinstance(error, ServiceError):
        return _of_code(error.code, STATUS[type(error)], language, error.values)
    if isinstance(error, StarletteHTTPException):
        return _of_code(HTTP_CODES.get(error.status_code, "other"), error.status_code, language)
    return _of_code("internal", HTTPStatus.INTERNAL_SERVER_ERROR, language)


def _of_reason(reason: Reason, status: int, language: str, side: str | None = None) -> Problem:
    detail = reason.say(language)
    if side:
        detail = say(language, "problem.about_side", side=say(language, f"word.{side}"), detail=detail)
    title = say(language, "problem.input.title")
    return _problem(reason.code, title, status, detail, remedy=reason.remedy(language), side=side)


def _of_code(code: str, status: int, language: str, values: Mapping[str, Any] = {}) -> Problem:
    texts = {part: say(language, f"problem.{code}.{part}", **values) for part in ("title", "detail", "remedy")}
    return _problem(code, texts["title"], status, texts["detail"], remedy=texts["remedy"])


def _of_validation(errors: Sequence[Any], language: str) -> Problem:
    # What pydantic says is English and may repeat the input; where and what kind of mistake is enough.
    fields = [
        ProblemField(field=".".join(str(part) for part in error["loc"][1:]) or "body", code=error["type"])
        for error in errors
    ]
    names = say(language, "problem.invalid.separator").join(dict.fromkeys(field.field for field in fields))
    title, remedy = (say(language, f"problem.invalid.{part}") for part in ("title", "remedy"))
    detail = say(language, "problem.invalid.detail", fields=names)
    status = STATUS[RequestValidationError]
    return _problem("invalid", title, status, detail, remedy=remedy, errors=fields)


def _problem(code: str, title: str, status: int, detail: str, **more: Any) -> Problem:
    kind = f"urn:jingdi:problem:{code.replace('_', '-')}"
    return Problem(type=kind, title=title, status=int(status), detail=detail, code=code, **more)


def response(error: Exception, headers: Headers, languages: tuple[str, ...], max_bytes: int) -> JSONResponse:
    """The problem details of an exception, ready to send."""
    language = negotiate(headers.get("accept-language"), languages)
    problem = describe(error, language, max_bytes)
    extra = dict(getattr(error, "headers", None) or {})
    extra |= {"Content-Language": language, "Vary": "Accept-Language", "Cache-Control": "no-store"}
    content = problem.model_dump(exclude_none=True)
    return JSONResponse(content, status_code=problem.status, headers=extra, media_type=PROBLEM_MEDIA_TYPE)


Page = Callable[[Request, Exception], Response | None]


def install(app: FastAPI, languages: tuple[str, ...], max_bytes: int, page: Page) -> None:
    """Have the application answer with problem details whatever is raised on purpose.

    What is raised by accident is caught further out, by `service.middleware.Guard`.

    Args:
        page: the same for a person with a browser; None where a program asked.
    """

    async def handle(request: Request, error: Exception) -> Response:
        return page(request, error) or response(error, request.headers, languages, max_bytes)

    for kind in (ServiceError, InputError, RequestValidationError, StarletteHTTPException):
        app.add_exception_handler(kind, handle)
