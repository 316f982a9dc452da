"""The application, put together."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from importlib.metadata import version
from threading import Event, Thread

from fastapi import Depends, FastAPI, Request, Response

from datasets.raster import Raster
from inference.compare import Asked, compare
from inference.findings import Assessment
from inference.model import ModelError
from service import errors, openapi, operations
from service.api import corrections as corrections_api
from service.api import field as field_api
from service.api import ledger as ledger_api
from service.api import models as models_api
from service.api import nightly as nightly_api
from service.api import notify as notify_api
from service.api import ogc as ogc_api
from service.api import pairs as pairs_api
from service.api import people as people_api
from service.api import photographs as photographs_api
from service.api import picking as picking_api
from service.api import scans as scans_api
from service.api import scenes as scenes_api
from service.api import triage as triage_api
from service.api import uploads as uploads_api
from service.comparisons import Assess, Comparisons, Progress
from service.database import Pairs, connect, upgrade
from service.demo import furnish, seed_demo
from service.intake import Intake
from service.ledger.rebound import keep_releasing
from service.metrics import Metrics
from service.middleware import Guard, Measure, SafeHeaders
from service.nightly.due import keep_watch
from service.notify.inbox import Inbox
from service.notify.outbox import Outbox
from service.notify.sender import Sender, build_channels
from service.pages import bulletin as bulletin_pages
from service.pages import compare as compare_pages
from service.pages import field as field_pages
from service.pages import ledger as ledger_pages
from service.pages import ledger_import
from service.pages import map as map_pages
from service.pages import people as people_pages
from service.pages import pick as pick_pages
from service.pages import public as public_pages
from service.pages import reports as report_pages
from service.pages import site as site_pages
from service.pages import triage as triage_pages
from service.pages.rendering import STATIC, Static, error_page
from service.people.gate import Gate
from service.people.rights import authorise
from service.public.photographs import Photographs
from service.public.reports import Reports, keep_erasing
from service.queue import Worker
from service.registry.store import Registry
from service.services import Services
from service.settings import Settings
from service.storage import Storage
from service.workers import Background

log = logging.getLogger("jingdi")


def load_assess(registry: Registry) -> Assess:
    """The comparison with the active weights, whichever they are by then. Without those for photographs, photographs
    are refused.

    Raises:
        ModelError: the weights for overhead imagery are missing or damaged.
    """
    registry.prepare()
    registry.models("overhead")
    try:
        registry.models("photos")
    except ModelError as error:
        log.warning("photographs are refused: %s", error)

    def run(before: Raster, after: Raster, asked: Asked, progress: Progress) -> Assessment:
        return compare(before, after, registry.models, asked, progress=progress)

    return run


def create_app(
    settings: Settings | None = None, *, load: Callable[[], Assess] | None = None, demo: bool = False
) -> FastAPI:
    """An application of its own: settings, database, queue and metrics are shared with no other.

    Args:
        settings: from the environment if not given.
        load: gives the comparison, called once at start-up; that with the active weights if not given.
        demo: put an example pair and an example district into an empty database.
    """
    settings = settings or Settings()
    settings.data_dir.mkdir(parents=True, exist_ok=True)
    pairs = Pairs(connect(settings.resolved_database_url))
    metrics = Metrics(lambda: pairs.count("queued", "running"))
    reports = Reports(pairs.engine, Photographs(settings.data_dir / "reports"))
    sender = Sender(Outbox(pairs.engine), build_channels(settings, Inbox(pairs.engine)), settings.public_url)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        upgrade(pairs.engine)
        storage = Storage(settings.data_dir)
        storage.sweep(set(pairs.ids()))
        background = Background.of(settings, pairs, storage)
        background.scans.sweep()
        workers: list[Worker] = []
        intake = None
        try:
            compare = load() if load else load_assess(background.registry)
        except ModelError:
            log.exception("the model cannot be loaded; pairs are not accepted")
        else:
            comparisons = Comparisons(pairs, storage, metrics, compare, limits=settings.limits)
            intake = Intake(pairs, storage, background.queue, settings.limits)
            comparisons.recover()
            workers = background.hire(comparisons, settings.workers)
            if demo:
                seed_demo(intake)
        app.state.services = Services(settings, pairs, storage, metrics, intake, background, reports)
        stop = Event()
        errands = [
            Thread(target=sender.run, args=(stop,), name="sender"),
            Thread(target=keep_releasing, args=(pairs.engine, settings.alert_budget, stop), name="releasing"),
            Thread(target=keep_watch, args=(background.queue, stop), name="nightly"),
            Thread(target=keep_erasing, args=(reports, settings.report_days, stop), name="erasing"),
        ]
        if demo:
            args = (pairs.engine, settings, background.scans, stop)
            errands.append(Thread(target=furnish, args=args, name="demo"))
        for worker in workers:
            worker.start()
        for errand in errands:
            errand.start()
        try:
            yield
        finally:
            stop.set()
            for worker in workers:
                worker.stop()
            for errand in errands:
                errand.join()
            pairs.engine.dispose()

    app = FastAPI(
        title="净地 Jingdi",
        summary="Compares before/after imagery and finds structures that are new, remaining or removed.",
        description="Findings are leads with a probability, not facts: a named person decides.",
        version=version("jingdi"),
        lifespan=lifespan,
        dependencies=[Depends(authorise)],
        openapi_url="/api/v1/openapi.json",
        docs_url=None,  # the documentation pages load scripts from other hosts
        redoc_url=None,
        openapi_tags=[
            {"name": "pairs", "description": "Submit, follow, read and delete pairs of pictures."},
            {"name": "photographs", "description": "Another try, a person's check, originals."},
            {"name": "ledger", "description": "Sites, what was seen there, alerts and decisions."},
            {"name": "triage", "description": "A person's verdict on a lead; evidence packets."},
            {"name": "field", "description": "What inspectors are sent to; photographs, uploaded in pieces."},
            {"name": "scans", "description": "Compare two scenes of any size, and lay the findings over the ledger."},
            {"name": "scenes", "description": "What was seen when: findings and imagery of each scan."},
            {"name": "nightly", "description": "Schedules, what became of each night, and what was seen again."},
            {"name": "ogc", "description": "The same for geographic information systems: OGC API Features."},
            {"name": "models", "description": "Weights: which there are; replay, promote, take back."},
            {"name": "notify", "description": "Who is told of what, where and when; the inbox."},
            {"name": "people", "description": "Accounts, API keys, the audit log."},
            {"name": "operations", "description": "State of the service."},
        ],
    )
    app.include_router(pairs_api.router)
    app.include_router(photographs_api.router)
    app.include_router(ledger_api.router)
    app.include_router(triage_api.router)
    app.include_router(field_api.router)
    app.include_router(uploads_api.router)
    app.include_router(scans_api.router)
    app.include_router(scenes_api.router)
    app.include_router(picking_api.router)
    app.include_router(corrections_api.router)
    app.include_router(nightly_api.router)
    app.include_router(models_api.router)
    app.include_router(ogc_api.router)
    app.include_router(notify_api.router)
    app.include_router(people_api.router)
    app.include_router(operations.router)
    openapi.install(app)
    app.mount("/static", Static(directory=STATIC), name="static")
    app.include_router(compare_pages.router)
    app.include_router(pick_pages.router)
    app.include_router(map_pages.router)
    app.include_router(ledger_pages.router)
    app.include_router(ledger_import.router)
    app.include_router(bulletin_pages.router)  # its packets before the pages of sites, whose codes may have slashes
    app.include_router(site_pages.router)
    app.include_router(people_pages.router)
    app.include_router(triage_pages.router)
    app.include_router(field_pages.router)
    app.include_router(public_pages.router)
    app.include_router(report_pages.router)
    page = partial(error_page, settings=settings)
    errors.install(app, settings.languages, settings.max_bytes, page)

    def answer(request: Request, error: Exception) -> Response:
        return page(request, error) or errors.response(error, request.headers, settings.languages, settings.max_bytes)

    app.add_middleware(Gate, settings=settings, engine=pairs.engine, answer=answer)
    app.add_middleware(Guard, settings=settings)
    app.add_middleware(Measure, metrics=metrics)
    app.add_middleware(SafeHeaders)
    return app
