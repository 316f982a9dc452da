"""The application, put together."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from importlib.metadata import version

from fastapi import FastAPI

from datasets.raster import Raster
from inference.assess import assess
from inference.findings import Assessment
from inference.model import Model, ModelError
from service import api, errors, openapi, operations, pages
from service.database import Pairs, connect, upgrade
from service.demo import seed_demo
from service.intake import Intake
from service.jobs import Assess, Jobs, Progress
from service.metrics import Metrics
from service.middleware import Guard, Measure, SafeHeaders
from service.services import Services
from service.settings import Settings
from service.storage import Storage

log = logging.getLogger("jingdi")


def load_assess() -> Assess:
    """The comparison with the weights that come with Jingdi.

    Raises:
        ModelError: the weights are missing or damaged.
    """
    model = Model.load("overhead")

    def compare(before: Raster, after: Raster, progress: Progress) -> Assessment:
        return assess(before, after, model, progress=progress)

    return compare


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
        try:
            yield
        finally:
            if jobs is not None:
                jobs.stop()
            pairs.engine.dispose()

    app = FastAPI(
        title="净地 Jingdi",
        summary="Compares before/after imagery and finds structures that are new, remaining or removed.",
        description="Findings are leads with a probability, not facts: a named person decides.",
        version=version("jingdi"),
        lifespan=lifespan,
        openapi_url="/api/v1/openapi.json",
        docs_url=None,  # the documentation pages load scripts from other hosts
        redoc_url=None,
        openapi_tags=[
            {"name": "pairs", "description": "Submit, follow, read and delete pairs of pictures."},
            {"name": "operations", "description": "State of the service."},
        ],
    )
    app.include_router(api.router)
    app.include_router(operations.router)
    openapi.install(app)
    pages.install(app)
    page = partial(pages.error_page, settings=settings)
    errors.install(app, settings.languages, settings.max_bytes, page)
    app.add_middleware(Guard, settings=settings)
    app.add_middleware(Measure, metrics=metrics)
    app.add_middleware(SafeHeaders)
    return app
