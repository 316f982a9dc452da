"""Taking a ledger file over: all of it or nothing, unless bad rows are to be skipped. Sites are known by their code.

What an import never does: delete a site that the file lacks, or change the state of one that is there; states
change by `service.ledger.states` alone.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any

from sqlalchemy import Engine, select
from sqlalchemy.orm import Session, joinedload

from service import errors
from service.ledger.audit import Actor, append, writing
from service.ledger.coordinates import UnknownSystem, system
from service.ledger.fields import Problem
from service.ledger.reading import read
from service.ledger.rows import Record, check_rows
from service.ledger.tables import DEFAULT_SENSITIVITY, Courtyard, Site, new_id

_DEFAULTS: dict[str, Any] = {"greened_m2": 0.0, "state": "open", "sensitivity": DEFAULT_SENSITIVITY}
_COURTYARD = ("courtyard_code", "courtyard_name")


@dataclass(frozen=True, slots=True)
class Report:
    """What an import did or, if it was not `written`, would do.

    Attributes:
        created, updated, unchanged: codes of sites.
        skipped: numbers of the rows that cannot be imported.
        problems: all of them, warnings too, by row.
    """

    written: bool
    created: tuple[str, ...] = ()
    updated: tuple[str, ...] = ()
    unchanged: tuple[str, ...] = ()
    skipped: tuple[int, ...] = ()
    problems: tuple[Problem, ...] = ()

    @property
    def refused(self) -> bool:
        """Whether there are problems that keep rows out."""
        return any(problem.fatal for problem in self.problems)


def import_ledger(
    engine: Engine,
    data: bytes,
    crs: str,
    actor: Actor,
    *,
    file_name: str = "",
    dry_run: bool = False,
    skip_bad: bool = False,
    at: datetime | None = None,
) -> Report:
    """Check a ledger file and, if nothing is wrong with it, write it in one transaction with one audit entry.

    Args:
        data: CSV (UTF-8 or GB18030), xlsx, GeoJSON or GeoPackage.
        crs: coordinate system of the file, see `service.ledger.coordinates.system`. The file is not asked.
        dry_run: check only.
        skip_bad: write the good rows although others are bad. A bad heading still keeps everything out.

    Raises:
        PersonRequired: `actor` is not a named human (a dry run is everybody's).
    """
    if not dry_run and not actor.person:
        raise errors.PersonRequired
    try:
        named = system(crs)
    except UnknownSystem:
        return Report(False, problems=(Problem(0, None, "unknown_crs", values={"crs": crs[:40]}),))
    table = read(data)
    records, problems = check_rows(table, named)
    good = {record.row for record in records}
    skipped = tuple(row.number for row in table.rows if row.number not in good)
    fatal_rows = {problem.row for problem in problems if problem.fatal}
    write = not dry_run and 0 not in fatal_rows and (skip_bad or not fatal_rows)
    if not write:
        with Session(engine) as session:
            plan = _Plan.of(session, records)
    else:
        moment = at or datetime.now(UTC)
        with writing(engine) as session:
            plan = _Plan.of(session, records)
            changes = plan.write(session, moment)
            if changes:
                source = {"file": file_name, "sha256": hashlib.sha256(data).hexdigest(), "crs": named.name}
                detail = {"source": source, "skipped_rows": list(skipped), "changes": changes}
                append(session, actor, "ledger.import", "ledger:import", detail, moment)
    return Report(
        write,
        tuple(record.code for record in plan.new),
        tuple(record.code for record, _, changed in plan.known if changed),
        tuple(record.code for record, _, changed in plan.known if not changed),
        skipped,
        tuple(sorted([*problems, *plan.warnings], key=lambda problem: problem.row)),
    )


@dataclass(frozen=True, slots=True)
class _Plan:
    """Records against what is stored. `known` are (record, site, column -> old and new value)."""

    new: list[Record]
    known: list[tuple[Record, Site, dict[str, tuple[Any, Any]]]]
    warnings: list[Problem]

    @classmethod
    def of(cls, session: Session, records: Sequence[Record]) -> _Plan:
        stored = {site.code: site for site in session.scalars(select(Site).options(joinedload(Site.courtyard)))}
        plan = cls([], [], [])
        for record in records:
            site = stored.get(record.code)
            if site is None:
                plan.new.append(record)
                continue
            state = record.values.get("state")
            if state is not None and state != site.state:
                values = {"state": site.state}
                plan.warnings.append(Problem(record.row, "state", "state_kept", fatal=False, values=values))
            plan.known.append((record, site, _difference(record, site)))
        return plan

    def write(self, session: Session, at: datetime) -> dict[str, Any]:
        """Write it all. Code -> what changed, for the audit log."""
        changes: dict[str, Any] = {}
        courtyards = {courtyard.code: courtyard for courtyard in session.scalars(select(Courtyard))}

        def courtyard(record: Record) -> Courtyard:
            code, name = (record.values[key] for key in _COURTYARD)
            if code not in courtyards:
                courtyards[code] = Courtyard(id=new_id(), code=code, name=name, created_at=at)
                session.add(courtyards[code])
            courtyards[code].name = name
            return courtyards[code]

        for record in self.new:
            values = {key: value for key, value in record.values.items() if key not in _COURTYARD}
            values |= {key: value for key, value in _DEFAULTS.items() if values.get(key) is None}
            session.add(Site(**values, courtyard=courtyard(record), created_at=at))
            changes[record.code] = {"created": values["state"]}
        for record, site, changed in self.known:
            if not changed:
                continue
            changes[record.code] = {key: [_plain(value) for value in pair] for key, pair in changed.items()}
            for key, (_, value) in changed.items():
                if key not in _COURTYARD:
                    setattr(site, key, value)
            if changed.keys() & set(_COURTYARD):
                site.courtyard = courtyard(record)
        session.flush()
        return changes


def _difference(record: Record, site: Site) -> dict[str, tuple[Any, Any]]:
    values = {key: _DEFAULTS.get(key) if value is None else value for key, value in record.values.items()}
    pairs = {key: (_stored(site, key), value) for key, value in values.items() if key != "state"}
    return {key: (old, new) for key, (old, new) in pairs.items() if old != new}


def _stored(site: Site, key: str) -> Any:
    return getattr(site.courtyard, key.removeprefix("courtyard_")) if key in _COURTYARD else getattr(site, key)


def _plain(value: Any) -> Any:
    return value.isoformat() if isinstance(value, date) else value
