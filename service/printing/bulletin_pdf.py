"""The bulletin of a period in words, and as PDF."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import date, datetime
from itertools import chain

from reportlab.platypus import Flowable, Spacer

from service.language import say, word
from service.ledger.check import STALE_DAYS
from service.pages.sites import figure
from service.pages.view import moment, percent
from service.printing import paper
from service.printing.bulletin import Bulletin, Closed, Line, Period
from service.printing.pictures import Album, Picture, Sides

COLUMNS = (
    "courtyards", "sites", "land", "building", "greened", "closed_in_period", "open", "watched", "rebounds",
    "not_observed",
)  # fmt: skip


def spell(day: date, language: str) -> str:
    """A day as it is written out."""
    month = say(language, f"bulletin.month_{day.month}")
    return say(language, "bulletin.day", year=day.year, month=month, day=day.day)


def spell_period(period: Period, language: str) -> str:
    """From when to when."""
    since, until = (spell(day, language) for day in (period.since, period.until))
    return say(language, "bulletin.period", since=since, until=until)


def sentences(found: Bulletin, language: str) -> list[str]:
    """What the figures say."""
    total = found.total
    values = {
        "until": spell(found.period.until, language),
        "courtyards": f"{total.courtyards:,}",
        "sites": f"{total.sites:,}",
        "land": figure(total.land_m2, "wan"),
        "building": figure(total.building_m2, "wan"),
        "greened": figure(total.greened_m2, "wan"),
        "closed": f"{total.closed_in_period:,}",
        "closed_land": figure(found.closed_land_m2, "wan"),
        "watched": f"{total.watched:,}",
        "share": percent(total.watched / total.sites, digits=1) if total.sites else "–",
        "open": f"{total.open:,}",
        "rebounds": f"{total.rebounds:,}",
        "unseen": f"{total.not_observed:,}",
        "days": STALE_DAYS,
    }
    keys = (
        "stock",
        "closed" if total.closed_in_period else "none_closed",
        "rebounds" if total.rebounds else "no_rebounds",
        "unseen" if total.not_observed else "all_seen",
    )
    return [say(language, f"bulletin.say.{key}", **values) for key in keys]


def cells(line: Line, language: str) -> list[str]:
    """A line of the table as text: what it is about, and a figure per column."""
    name = word(language, line.system or "total")
    areas = [figure(m2, "wan") for m2 in (line.land_m2, line.building_m2, line.greened_m2)]
    after = (line.closed_in_period, line.open, line.watched, line.rebounds, line.not_observed)
    return [name, f"{line.courtyards:,}", f"{line.sites:,}", *areas, *(f"{count:,}" for count in after)]


def caption(site: Closed, language: str) -> str:
    """What a pair of pictures shows."""
    return say(
        language, "bulletin.caption", code=site.code, street=site.street or say(language, "bulletin.no_street"),
        system=word(language, site.system), land=say(language, "unit.m2", value=figure(site.land_m2, "m2")),
        date=moment(site.closed_at, language)[:10],
    )  # fmt: skip


def dated(picture: Picture, language: str) -> str:
    """Which date a picture is of."""
    taken = moment(picture.taken_at, language)[:10] if picture.taken_at else say(language, "bulletin.undated")
    return say(language, "bulletin.picture", side=word(language, picture.side), date=taken)


def side_by_side(pair: Sides, words: str, language: str) -> Flowable:
    """Both dates of a pair, with the words above and the dates below."""
    pictures = [(each.printed(), dated(each, language)) for each in (pair.before, pair.after)]
    return paper.side_by_side(words, pictures, say(language, "bulletin.gone"))


def bulletin_pdf(
    found: Bulletin, albums: Sequence[tuple[Closed, Album]], unshown: Mapping[str, int], language: str, now: datetime
) -> bytes:
    """The bulletin, A4.

    Args:
        albums: closed sites and their pictures.
        unshown: how many closed sites have no pictures here, by why (`unshown` of the page of the bulletin).
    """

    def story() -> Iterator[Flowable]:
        lines = (spell_period(found.period, language), say(language, "bulletin.made", moment=moment(now, language)))
        yield from paper.masthead(say(language, "bulletin.heading"), lines)
        yield from (paper.text(sentence) for sentence in sentences(found, language))
        yield from paper.heading(say(language, "bulletin.by_system"))
        head = [word(language, "system"), *(say(language, f"bulletin.column.{name}") for name in COLUMNS)]
        rows = [cells(line, language) for line in (*found.lines, found.total)]
        yield paper.table(head, rows, (30, 17, 9.5, 13.5, 13.5, 13, 14, 12, 12.5, 15.5, 14), total=True)
        yield Spacer(0, 4)
        yield paper.text(say(language, "bulletin.note", days=STALE_DAYS), paper.NOTE)
        yield from paper.heading(say(language, "bulletin.progress"), paper.CHART)
        yield paper.Chart(found.progress, found.total.sites, say(language, "bulletin.chart"))
        yield from paper.heading(say(language, "bulletin.pictures"), paper.PICTURES if albums else 0)
        for site, album in albums:
            for pair in album.pairs[:1]:
                yield side_by_side(pair, caption(site, language), language)
        yield from (
            paper.text(say(language, f"bulletin.unshown.{why}", count=f"{count:,}"), paper.NOTE)
            for why, count in unshown.items()
            if count
        )
        yield Spacer(0, 10)
        yield paper.text(say(language, "bulletin.care"), paper.NOTE)

    title = say(language, "bulletin.heading")
    period = spell_period(found.period, language)
    return paper.pdf(lambda: list(chain(story())), f"{title} {period}", f"{title} · {period}", language, now)
