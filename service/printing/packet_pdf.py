"""The evidence packet of a site as PDF."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from reportlab.platypus import Flowable, Paragraph, Spacer

from service.language import say, word
from service.pages.sites import area, seen
from service.pages.timeline import Event
from service.pages.view import moment
from service.printing import paper
from service.printing.bulletin_pdf import side_by_side
from service.printing.packet import Packet


def packet_pdf(found: Packet, language: str, now: datetime) -> bytes:
    """Facts, the two sentences that go with every lead, events with their seals, pictures, weights; A4."""
    site = found.site

    def story() -> Iterator[Flowable]:
        lines = (f"{site.code} · {site.name}", say(language, "bulletin.made", moment=moment(now, language)))
        yield from paper.masthead(say(language, "packet.heading"), lines)
        yield from paper.facts(_facts(found, language, now))
        yield Spacer(0, 8)
        yield paper.text(say(language, "packet.suspected"))
        yield paper.text(say(language, "packet.not_observed"))
        if found.undecided:
            yield paper.text(say(language, "packet.undecided", count=found.undecided))
        yield from paper.heading(say(language, "packet.pictures"), paper.PICTURES if found.album.pairs else 0)
        for pair in found.album.pairs:
            yield side_by_side(pair, say(language, f"packet.{pair.kind}", ref=pair.ref), language)
        if not found.album.pairs:
            yield paper.text(say(language, "packet.no_pictures"), paper.NOTE)
        if found.album.unchecked:
            yield paper.text(say(language, "packet.unchecked", count=found.album.unchecked), paper.NOTE)
        yield from paper.heading(say(language, "packet.events"))
        if found.events:
            yield from paper.labelled([_event(event, language) for event in found.events])
        else:
            yield paper.text(say(language, "packet.no_events"), paper.NOTE)
        yield from paper.heading(say(language, "packet.checks"))
        yield from paper.facts(_checks(found, language))

    title = say(language, "packet.title", code=site.code)
    return paper.pdf(lambda: list(story()), title, title, language, now)


def _facts(found: Packet, language: str, now: datetime) -> list[tuple[str, str]]:
    site = found.site
    none = say(language, "fact.none")
    texts = {
        "state": word(language, site.state),
        "courtyard_name": f"{site.courtyard.code} {site.courtyard.name}",
        "system": word(language, site.system),
        "street": " ".join(filter(None, (site.street, site.community))) or none,
        "batch": site.batch or none,
        "land_m2": area(site.land_m2, language),
        "building_m2": area(site.building_m2, language),
        "greened_m2": area(site.greened_m2, language),
        "opened_on": site.opened_on.isoformat() if site.opened_on else none,
        "closed_on": site.closed_on.isoformat() if site.closed_on else none,
        "inspector": site.inspector or none,
    }
    observed = (say(language, "packet.observed"), seen(site.observed_at, now, language).text)
    return [*((word(language, name), text) for name, text in texts.items()), observed]


def _event(event: Event, language: str) -> tuple[Paragraph, list[Flowable]]:
    when = moment(event.at, language)
    parts: list[Flowable] = [paper.text(event.title, paper.CELL)]
    if event.quote:
        parts.append(paper.text(say(language, "packet.quote", text=event.quote), paper.CELL))
    parts += [paper.text(fact, paper.NOTE) for fact in event.facts]
    if event.seal:
        number, digest = event.seal
        parts.append(paper.text(say(language, "packet.seal", number=number, hash=digest), paper.SEAL))
    return paper.text(f"{when}\n{event.who}" if event.who else when, paper.LABEL), parts


def _checks(found: Packet, language: str) -> list[tuple[str, str]]:
    broken = ", ".join(map(str, found.broken))
    seals = say(language, "packet.seals_broken" if broken else "packet.seals", count=found.sealed, numbers=broken)
    rows = [(say(language, "packet.audit"), seals), (say(language, "packet.head"), "{}\n{}".format(*found.head))]
    for each in found.weights:
        name = " ".join(filter(None, (each.name, each.version))) or say(language, "fact.unknown")
        rows.append((say(language, "fact.model"), f"{name}\nSHA-256 {each.sha256}"))
    return rows
