"""The pages of people: sign in, choose a password, sign out. Plain forms, no script."""

from __future__ import annotations

import secrets
from typing import Annotated
from urllib.parse import urlsplit

from fastapi import APIRouter, Form, Query, Request
from fastapi.responses import RedirectResponse, Response

from service.api.people import AccountsDep, Asking, SessionsDep, address
from service.errors import CrossSite, NotAllowed, ServiceError, SignInRequired, TooManyAttempts, describe
from service.pages.rendering import page_language, render
from service.people.gate import LOGIN, cookie_name, drop_session, keep_session, secure
from service.people.oidc import ATTEMPT_FOR, Oidc, OidcRefused
from service.people.passwords import MAX_LENGTH, MIN_LENGTH
from service.services import Services, ServicesDep

router = APIRouter(include_in_schema=False)

NextQuery = Annotated[str, Query(max_length=2000)]
Text = Annotated[str, Form(max_length=4 * MAX_LENGTH)]


def local(path: str) -> str:
    """`path`, if it leads to a page of this service, else the start page: nobody is sent elsewhere after signing in."""
    parts = urlsplit(path)
    own = path.startswith("/") and not path.startswith(("//", "/\\")) and not parts.netloc and path.isprintable()
    return path if own and not path.startswith(LOGIN) else "/"


@router.get("/login")
def login(request: Request, parts: ServicesDep, next: NextQuery = "/") -> Response:
    """Name and password."""
    if request.state.signed_in:
        return RedirectResponse(local(next), 303)
    oidc = parts.settings.oidc_issuer is not None
    return render(request, "login.html", parts.settings, next=local(next), problem=None, name="", oidc=oidc)


@router.post("/login")
def sign_in(
    request: Request,
    parts: ServicesDep,
    accounts: AccountsDep,
    sessions: SessionsDep,
    name: Text = "",
    password: Text = "",
    next: Text = "/",
) -> Response:
    """A new session, whatever the browser had before."""
    try:
        found = accounts.check(name, password, address(request))
        if found is None:
            raise NotAllowed("sign_in_failed")
    except (NotAllowed, TooManyAttempts) as error:
        return _again(request, parts, error, "login.html", next=local(next), name=name)
    account, restricted = found
    if request.state.signed_in and request.state.signed_in.session:
        sessions.close(request.state.signed_in.session)
    response = RedirectResponse(local(next), 303)
    keep_session(response, request, parts.settings, sessions.open(account, restricted=restricted))
    return response


@router.get("/login/oidc")
def oidc_begin(request: Request, parts: ServicesDep, next: NextQuery = "/") -> Response:
    """Off to the OpenID provider."""
    oidc, name = Oidc(parts.pairs.engine, parts.settings), _oidc_cookie(request, parts)
    browser = request.cookies.get(name) or secrets.token_urlsafe(32)
    try:
        response = RedirectResponse(oidc.begin(browser, _oidc_callback(request, parts), local(next)), 303)
    except OidcRefused as error:
        return _again(request, parts, error, "login.html", next=local(next), name="")
    response.set_cookie(
        name, browser, max_age=int(ATTEMPT_FOR.total_seconds()), path="/", httponly=True, samesite="lax",
        secure=secure(request, parts.settings),
    )  # fmt: skip
    return response


@router.get("/login/oidc/callback")
def oidc_callback(request: Request, parts: ServicesDep, sessions: SessionsDep) -> Response:
    """Back from there: a new session, whatever the browser had before."""
    oidc, browser = Oidc(parts.pairs.engine, parts.settings), request.cookies.get(_oidc_cookie(request, parts), "")
    try:
        account, next = oidc.finish(browser, _oidc_callback(request, parts), request.query_params)
    except OidcRefused as error:
        return _again(request, parts, error, "login.html", next="/", name="")
    if request.state.signed_in and request.state.signed_in.session:
        sessions.close(request.state.signed_in.session)
    response = RedirectResponse(local(next), 303)
    keep_session(response, request, parts.settings, sessions.open(account))
    return response


@router.get("/login/{token}")
def follow_link(request: Request, token: str, parts: ServicesDep, sessions: SessionsDep) -> Response:
    """The link that `jingdi serve --demo` prints, followed from there and not from another site."""
    if request.headers.get("sec-fetch-site") in ("cross-site", "same-site"):
        raise CrossSite
    session = sessions.follow(token)
    if session is None:
        return _again(request, parts, NotAllowed("link_used"), "login.html", next="/", name="")
    response = RedirectResponse("/", 303)
    keep_session(response, request, parts.settings, session)
    return response


@router.post("/logout")
def sign_out(request: Request, asking: Asking, parts: ServicesDep, sessions: SessionsDep) -> Response:
    """Ends this session."""
    if asking.session:
        sessions.close(asking.session)
    response = RedirectResponse(LOGIN, 303)
    drop_session(response, request, parts.settings)
    return response


@router.get("/password")
def password(request: Request, asking: Asking, parts: ServicesDep) -> Response:
    """Choose another password."""
    return _password(request, parts, restricted=asking.restricted)


@router.post("/password")
def set_password(
    request: Request,
    asking: Asking,
    parts: ServicesDep,
    accounts: AccountsDep,
    sessions: SessionsDep,
    new: Text,
    current: Text = "",
) -> Response:
    """Signed out everywhere else, and on to the start page."""
    try:
        accounts.replace(asking, current, new, address(request))
    except SignInRequired:
        raise
    except ServiceError as error:
        return _again(
            request, parts, error, "password.html", name=asking.name, restricted=asking.restricted, length=MIN_LENGTH
        )
    response = RedirectResponse("/", 303)
    keep_session(response, request, parts.settings, sessions.open(asking.name))
    return response


def _oidc_cookie(request: Request, parts: Services) -> str:
    return f"{cookie_name(request, parts.settings)}_oidc"


def _oidc_callback(request: Request, parts: Services) -> str:
    """The address that is registered with the provider."""
    return f"{(parts.settings.public_url or str(request.base_url)).rstrip('/')}/login/oidc/callback"


def _password(request: Request, parts: Services, *, restricted: bool) -> Response:
    name = request.state.signed_in.name
    return render(
        request, "password.html", parts.settings, problem=None, name=name, restricted=restricted, length=MIN_LENGTH
    )


def _again(request: Request, parts: Services, error: ServiceError, template: str, **context: object) -> Response:
    """The form once more, with what was wrong."""
    problem = describe(error, page_language(request, parts.settings.languages), parts.settings.max_bytes)
    context |= {"oidc": parts.settings.oidc_issuer is not None, "problem": problem}
    response = render(request, template, parts.settings, status_code=problem.status, **context)
    response.headers.update(getattr(error, "headers", {}))
    return response
