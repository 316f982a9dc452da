"""For those who run the service: alive, ready, metrics."""

from __future__ import annotations

import logging

from fastapi import APIRouter, Response

from service.metrics import CONTENT_TYPE
from service.schemas import Health
from service.services import ServicesDep

log = logging.getLogger("jingdi")
router = APIRouter(tags=["operations"])


@router.get("/healthz", operation_id="readHealth", summary="Is the process alive?", response_model_exclude_none=True)
def health() -> Health:
    """Always `ok`; whoever cannot read this should restart the service."""
    return Health(status="ok")


@router.get(
    "/readyz",
    operation_id="readReadiness",
    summary="Can pairs be compared?",
    responses={503: {"model": Health, "description": "Not now; `checks` says what is missing."}},
)
def readiness(parts: ServicesDep, response: Response) -> Health:
    """`ok` if the database answers and the model is loaded."""
    try:
        parts.pairs.ping()
        database = True
    except Exception:
        log.exception("the database does not answer")
        database = False
    checks = {"database": database, "model": parts.intake is not None}
    if all(checks.values()):
        return Health(status="ok", checks=checks)
    response.status_code = 503
    return Health(status="unavailable", checks=checks)


@router.get(
    "/metrics",
    operation_id="readMetrics",
    summary="Metrics for Prometheus",
    response_class=Response,
    responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}}},
)
def metrics(parts: ServicesDep) -> Response:
    """Requests, durations, comparisons by verdict, length of the queue."""
    return Response(parts.metrics.render(), media_type=CONTENT_TYPE)
