"""The page of the field: on a phone, installable, and of use without a line."""

from __future__ import annotations

import json

from fastapi import APIRouter, Request
from fastapi.responses import FileResponse, HTMLResponse, Response

from service.language import say
from service.pages.rendering import HTML_LANG, STATIC, page_language, render, version
from service.pages.triage import account
from service.services import ServicesDep
from service.triage.reasons import NOT_REAL

router = APIRouter(include_in_schema=False)

_ICONS = (("icon-192.png", "192x192", "any"), ("icon-512.png", "512x512", "any"),
          ("icon-maskable.png", "512x512", "maskable"))  # fmt: skip


@router.get("/field")
def field(request: Request, parts: ServicesDep) -> HTMLResponse:
    """The shell: what one is sent to is filled in by script, from the server or from what was kept on the phone."""
    return render(
        request, "field.html", parts.settings,
        account=account(request), codes=NOT_REAL, version=version(), max_bytes=parts.settings.max_bytes,
    )  # fmt: skip


@router.get("/field.webmanifest")
def field_manifest(request: Request, parts: ServicesDep) -> Response:
    """What a phone needs to install the page (W3C Web Application Manifest)."""
    language = page_language(request, parts.settings.languages)
    manifest = {
        "id": "/field",
        "name": say(language, "field.app_name"),
        "short_name": say(language, "brand.name"),
        "description": say(language, "field.app_about"),
        "lang": HTML_LANG.get(language, language),
        "start_url": "/field",
        "scope": "/field",
        "display": "standalone",
        "background_color": "#f6f5f0",
        "theme_color": "#17624a",
        "icons": [
            {"src": f"/static/{name}", "sizes": sizes, "type": "image/png", "purpose": purpose}
            for name, sizes, purpose in _ICONS
        ],
    }
    body = json.dumps(manifest, ensure_ascii=False)
    return Response(body, media_type="application/manifest+json", headers={"Cache-Control": "private, no-cache"})


@router.get("/field-worker.js")
def field_worker() -> FileResponse:
    """The service worker. It stands at the root so that it may serve `/field`, and serves nothing else."""
    headers = {"Cache-Control": "no-cache"}
    return FileResponse(STATIC / "field-worker.js", media_type="text/javascript", headers=headers)
