"""How a page is made: templates, language, navigation, files that scripts and styles load."""

from __future__ import annotations

import hashlib
from functools import cache, partial
from importlib.resources import files
from pathlib import Path
from typing import Any

from fastapi import Request
from fastapi.responses import HTMLResponse, Response
from jinja2 import Environment, PackageLoader, StrictUndefined
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

from service.errors import describe
from service.language import COOKIE, negotiate, say
from service.pages import view
from service.people.rights import OPEN, OPERATIONS, SignedIn
from service.settings import Settings

HTML_LANG = {"zh": "zh-CN"}
_YEAR_S = 365 * 24 * 3600
STATIC = Path(str(files("service"))) / "static"


class Static(StaticFiles):
    """Kept for good where the address carries the version, asked for again where it does not."""

    async def get_response(self, path: str, scope: Scope) -> Response:
        response = await super().get_response(path, scope)
        versioned = scope["query_string"].startswith(b"v=")
        response.headers["Cache-Control"] = f"public, max-age={_YEAR_S}, immutable" if versioned else "no-cache"
        return response


@cache
def version() -> str:
    """Of all static files together."""
    digest = hashlib.sha256()
    for path in sorted(STATIC.rglob("*")):
        if path.is_file():
            digest.update(path.read_bytes())
    return digest.hexdigest()[:12]


def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("service"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals["static"] = lambda name: f"/static/{name}?v={version()}"
    return environment


_templates = _environment()


NAVIGATION = (
    ("start", "/"),
    ("triage", "/triage"),
    ("field", "/field"),
    ("district_map", "/map"),
    ("ledger", "/ledger"),
    ("reports", "/reports"),
    ("bulletin", "/bulletin"),
)
"""Pages of the head, in order: name of the page's function (what a reader may open, service.people.rights), address."""


def page_language(request: Request, languages: tuple[str, ...]) -> str:
    """What the reader chose here, chose before, or prefers in general."""
    for chosen in (request.query_params.get("lang"), request.cookies.get(COOKIE)):
        if chosen in languages:
            return chosen
    return negotiate(request.headers.get("accept-language"), languages)


def _person(request: Request) -> str | None:
    """Who can sign out here."""
    asking: SignedIn | None = getattr(request.state, "signed_in", None)
    return asking.display_name if asking and asking.session else None


def _navigation(request: Request) -> list[tuple[str, str, bool]]:
    """(name, address, whether it is this one) of the pages that whoever asks may open."""
    asking: SignedIn | None = getattr(request.state, "signed_in", None)
    path = request.url.path
    return [
        (name, address, path == address or (address != "/" and path.startswith(f"{address}/")))
        for name, address in NAVIGATION
        if OPERATIONS[name] == OPEN or (asking is not None and OPERATIONS[name] in asking.actions)
    ]


def render(
    request: Request, template: str, settings: Settings, *, status_code: int = 200, **context: Any
) -> HTMLResponse:
    """A page in the reader's language."""
    language = page_language(request, settings.languages)
    others = [
        (other, f"{request.url.path}?{request.url.include_query_params(lang=other).query}", say(other, "language"))
        for other in settings.languages
        if other != language
    ]
    html = _templates.get_template(template).render(
        t=partial(say, language),
        language=language,
        html_lang=HTML_LANG.get(language, language),
        other_languages=others,
        moment=partial(view.moment, language=language),
        person=_person(request),
        navigation=_navigation(request),
        **context,
    )
    headers = {
        "Cache-Control": "private, no-cache",
        "Content-Language": language,
        "Vary": "Accept-Language, Cookie",
    }
    response = HTMLResponse(html, status_code=status_code, headers=headers)
    if request.query_params.get("lang") == language:
        response.set_cookie(COOKIE, language, max_age=_YEAR_S, samesite="lax", httponly=True)
    return response


def error_page(request: Request, error: Exception, settings: Settings) -> HTMLResponse | None:
    """A problem in words for a person with a browser; None for a program."""
    program = request.url.path.startswith(("/api/", "/static/"))
    if program or "text/html" not in request.headers.get("accept", ""):
        return None
    problem = describe(error, page_language(request, settings.languages), settings.max_bytes)
    return render(request, "error.html", settings, status_code=problem.status, problem=problem)
