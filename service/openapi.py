"""The OpenAPI document: what FastAPI makes of the routes, with the problem details that it does not know of."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic.json_schema import models_json_schema

from service.schemas import Problem

PROBLEM_MEDIA_TYPE = "application/problem+json"
_SCHEMAS = "#/components/schemas/"


def problems(**descriptions: str) -> dict[int | str, dict[str, Any]]:
    """Entries for problem responses: `problems(s404="No such pair.")`."""
    content = {PROBLEM_MEDIA_TYPE: {"schema": {"$ref": f"{_SCHEMAS}{Problem.__name__}"}}}
    return {int(key[1:]): {"description": text, "content": content} for key, text in descriptions.items()}


def install(app: FastAPI) -> None:
    """Have the application give this document instead of FastAPI's own."""

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = _document(app)
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]


def _document(app: FastAPI) -> dict[str, Any]:
    document = get_openapi(
        title=app.title,
        version=app.version,
        summary=app.summary,
        description=app.description,
        routes=app.routes,
        tags=app.openapi_tags,
    )
    # FastAPI adds its own 422 to every route with a parameter, in a shape that is never sent from here.
    for operation in (each for methods in document["paths"].values() for each in methods.values()):
        if "application/json" in operation["responses"].get("422", {}).get("content", {}):
            del operation["responses"]["422"]
    schemas = document["components"]["schemas"]
    for name in ("HTTPValidationError", "ValidationError"):
        schemas.pop(name, None)
    _, problem = models_json_schema([(Problem, "serialization")], ref_template=_SCHEMAS + "{model}")
    schemas.update(problem["$defs"])
    return document
