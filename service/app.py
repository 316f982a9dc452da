"""The application, put together."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import cache, partial
from importlib.metadata import version
from threading import Event, Thread

from fastapi import Depends, FastAPI, Request, Response

from datasets.raster import Raster
from inference.compare import Asked, compare, released
from inference.findings import Assessment
from inference.model import ModelError
from service import (
    api,
    errors,
    ledger_api,
    notify_api,
    openapi,
    operations,
    people_api,
    photographs_api,
)
from service.database import Pairs, connect, upgrade
from service.demo import seed_demo
from service.intake import Intake
from service.jobs import Assess, Jobs, Progress
from service.ledger.rebound import keep_releasing
from service.metrics import Metrics
from service.middleware import Guard, Measure, SafeHeaders
from service.notify.inbox import Inbox
from service.notify.outbox import Outbox
from service.notify.sender import Sender, build_channels
from service.pages import compare as compare_pages
from service.pages import people as people_pages
from service.pages.rendering import STATIC, Static, error_page
from service.people.gate import Gate
from service.people.rights import authorise
from service.services import Services
from service.settings import Settings
from service.storage import Storage

log = logging.getLogger("jingdi")


def load_assess() -> Assess:
    """The comparison with the weights that come with Jingdi. Without those for photographs, photographs are refused.

    Raises:
        ModelError: the weights for overhead imagery are missing or damaged.
    """
    models = cache(released)
    models("overhead")
    try:
        models("photos")
    except ModelError as error:
        log.warning("photographs are refused: %s", error)

    def run(before: Raster, after: Raster, asked: Asked, progress: Progress) -> Assessment:
        return compare(before, after, models, asked, progress=progress)

    return run


def create_app(
    settings: Settings | None = None, *, load: Callable[[], Assess] = load_assess, demo: bool = False
) -> FastAPI:
    """An application of its own: settings, database, queue and metrics are shared with no other.

    Args:
        settings: from the environment if not given.
        load: gives the comparison; called once at start-up.
        demo: put an example pair into an empty database.
    """
    settings = settings or Settings()
    settings.data_dir.mkdir(parents=True, exist_ok=True)
    pairs = Pairs(connect(settings.resolved_database_url))
    metrics = Metrics(lambda: pairs.count("queued", "running"))
    sender = Sender(Outbox(pairs.engine), build_channels(settings, Inbox(pairs.engine)), settings.public_url)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        upgrade(pairs.engine)
        storage = Storage(settings.data_dir)
        storage.sweep(set(pairs.ids()))
        jobs = intake = None
        try:
            compare = load()
        except ModelError:
            log.exception("the model cannot be loaded; pairs are not accepted")
        else:
            jobs = Jobs(pairs, storage, metrics, compare, limits=settings.limits, workers=settings.workers)
            intake = Intake(pairs, storage, jobs, settings.limits)
            jobs.recover()
            if demo:
                seed_demo(intake)
        app.state.services = Services(settings, pairs, storage, metrics, intake)
        stop = Event()
        errands = [
            Thread(target=sender.run, args=(stop,), name="sender"),
            Thread(target=keep_releasing, args=(pairs.engine, settings.alert_budget, stop), name="releasing"),
        ]
        for errand in errands:
            errand.start()
        try:
            yield
        finally:
            stop.set()
            for errand in errands:
                errand.join()
            if jobs is not None:
                jobs.stop()
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
            {"name": "notify", "description": "Who is told of what, where and when; the inbox."},
            {"name": "people", "description": "Accounts, API keys, the audit log."},
            {"name": "operations", "description": "State of the service."},
        ],
    )
    app.include_router(api.router)
    app.include_router(photographs_api.router)
    app.include_router(ledger_api.router)
    app.include_router(notify_api.router)
    app.include_router(people_api.router)
    app.include_router(operations.router)
    openapi.install(app)
    app.mount("/static", Static(directory=STATIC), name="static")
    app.include_router(compare_pages.router)
    app.include_router(people_pages.router)
    page = partial(error_page, settings=settings)
    errors.install(app, settings.languages, settings.max_bytes, page)

    def answer(request: Request, error: Exception) -> Response:
        return page(request, error) or errors.response(error, request.headers, settings.languages, settings.max_bytes)

    app.add_middleware(Gate, settings=settings, engine=pairs.engine, answer=answer)
    app.add_middleware(Guard, settings=settings)
    app.add_middleware(Measure, metrics=metrics)
    app.add_middleware(SafeHeaders)
    return app
