"""Whom a dispatched alert is for, and where it is: what an inspector takes along."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from sqlalchemy import select
from sqlalchemy.orm import Session, joinedload

from datasets.gcj02 import gcj02
from service.ledger.audit import Actor
from service.ledger.tables import Alert, Site
from service.ledger.watch import rank
from service.people.rights import SignedIn

DECIMALS = 6
"""Of degrees: a tenth of a metre."""


def duties(session: Session, asking: SignedIn) -> Sequence[Alert]:
    """Dispatched alerts of sites whose inspector somebody is, the most urgent first; for reviewers all of them.

    The ledger names inspectors as people do: by the name of the account or by the name that is shown of it.
    """
    sent = select(Alert).join(Alert.site).where(Alert.state == "dispatched").options(joinedload(Alert.site))
    if "review" not in asking.actions:
        own = {Actor(asking.name).key, Actor(asking.display_name).key}
        named = session.scalars(select(Site.inspector).where(Site.inspector.is_not(None)).distinct())
        sent = sent.where(Site.inspector.in_([name for name in named if name and Actor(name).key in own]))
    return sorted(session.scalars(sent), key=rank)


def geo_uri(lon: float, lat: float) -> str:
    """`geo:` with latitude and longitude in WGS-84, the one datum that RFC 5870 has without naming it."""
    return f"geo:{lat:.{DECIMALS}f},{lon:.{DECIMALS}f}"


def in_gcj02(lon: float, lat: float) -> tuple[float, float]:
    """Longitude and latitude as Amap and WeChat have them."""
    x, y = gcj02(np.array([[lon, lat]]))[0].tolist()
    return round(x, DECIMALS), round(y, DECIMALS)
