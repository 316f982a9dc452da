"""The parts of one running application, and how a route gets at them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Path, Request

from service.database import PairRow, Pairs
from service.errors import PairNotFound
from service.intake import Intake
from service.metrics import Metrics
from service.public.reports import Reports
from service.settings import Settings
from service.storage import Storage
from service.workers import Background

_ID = re.compile(r"[0-9a-f]{32}")


@dataclass(frozen=True, slots=True)
class Services:
    """Made at start-up, kept on the application. `intake` is None if the model could not be loaded."""

    settings: Settings
    pairs: Pairs
    storage: Storage
    metrics: Metrics
    intake: Intake | None
    background: Background
    reports: Reports


def base_url(request: Request, settings: Settings) -> str:
    """Address under which the service is known, without a slash at its end: the one set, or the one asked."""
    return (settings.public_url or str(request.base_url)).rstrip("/")


def services(request: Request) -> Services:
    """Dependency: the parts of the application that got the request."""
    found: Services = request.app.state.services
    return found


ServicesDep = Annotated[Services, Depends(services)]


def known_pair(parts: ServicesDep, id: Annotated[str, Path(description="Id of a pair.")]) -> PairRow:
    """Dependency: the row of the pair in the address.

    Raises:
        PairNotFound: there is none.
    """
    row = parts.pairs.get(id) if _ID.fullmatch(id) else None
    if row is None:
        raise PairNotFound
    return row


PairDep = Annotated[PairRow, Depends(known_pair)]
