"""The registry: which weights there are, and which of them speak now.

Files of a version are in `<data_dir>/models/<domain>/<id>/` and never change. The first version of a domain is
its active one; the weights that come with Jingdi are, in a new installation. Whatever comes later, new weights of an
upgrade among it, is a candidate until a person promotes it (`service.registry.promoting`).
"""

from __future__ import annotations

import hashlib
import logging
import shutil
import threading
from collections import OrderedDict
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from tempfile import mkdtemp

from sqlalchemy import Engine, select
from sqlalchemy.orm import Session

from inference.compare import WEIGHTS
from inference.findings import PictureKind
from inference.model import BUNDLED, Model, ModelError
from inference.scan.journal import sync_folder, write_whole
from service.ledger.audit import SYSTEM, Actor, append, writing
from service.registry.checking import DOMAINS, inspect
from service.registry.errors import ModelNotFound, ModelRefused
from service.registry.tables import ModelVersion

log = logging.getLogger("jingdi")

_KEPT_LOADED = 4
_SHORTEST_ID = 8


class Registry:
    """The versions of one service."""

    def __init__(self, engine: Engine, data_dir: Path) -> None:
        self.engine, self._folder = engine, data_dir / "models"
        self._loaded: OrderedDict[str, Model] = OrderedDict()
        self._loading = threading.Lock()

    # --- Looking ------------------------------------------------------------------------------------------

    def versions(self) -> Sequence[ModelVersion]:
        """By domain, newest first."""
        query = select(ModelVersion).order_by(ModelVersion.domain, ModelVersion.added_at.desc(), ModelVersion.id)
        with Session(self.engine) as session:
            return session.scalars(query).all()

    def find(self, start: str) -> ModelVersion:
        """The version whose id begins so.

        Raises:
            ModelNotFound: none does, several do, or that is too little.
        """
        with Session(self.engine) as session:
            return find(session, start)

    def active(self, domain: str) -> ModelVersion | None:
        """The version that speaks now."""
        with Session(self.engine) as session:
            return active(session, domain)

    # --- Using --------------------------------------------------------------------------------------------

    def models(self, kind: PictureKind) -> Model:
        """The active weights for a kind of picture, asked anew for each comparison (`inference.compare.Models`).

        Raises:
            ModelError: there are none, or their files are missing or damaged.
        """
        domain = WEIGHTS[kind]
        version = self.active(domain)
        if version is None:
            raise ModelError(f"there are no weights of the domain {domain}; add some with `jingdi models add`")
        return self.model(version)

    def model(self, version: ModelVersion) -> Model:
        """A version, loaded once as long as it is in use.

        Raises:
            ModelError: its files are missing or damaged.
        """
        with self._loading:
            model = self._loaded.pop(version.id, None) or self.load(version)
            self._loaded[version.id] = model
            while len(self._loaded) > _KEPT_LOADED:
                self._loaded.popitem(last=False)
        return model

    def load(self, version: ModelVersion) -> Model:
        """A version, from its files as they are now.

        Raises:
            ModelError: they are missing or damaged.
        """
        onnx, manifest = self.files(version.domain, version.id)
        model = Model(onnx, manifest)
        if _id(manifest) != version.id:
            raise ModelError(f"{manifest} was changed since the version was added")
        return model

    def files(self, domain: str, version_id: str) -> tuple[Path, Path]:
        """ONNX file and manifest of a version."""
        folder = self._folder / domain / version_id
        return folder / f"{domain}.onnx", folder / f"{domain}.json"

    # --- Adding -------------------------------------------------------------------------------------------

    def prepare(self) -> None:
        """Take in the weights that come with Jingdi, if they are not here yet."""
        for domain in DOMAINS:
            onnx, manifest = BUNDLED / f"{domain}.onnx", BUNDLED / f"{domain}.json"
            try:
                version_id = _id(manifest)
                if not (self._known(version_id) and all(path.exists() for path in self.files(domain, version_id))):
                    self.add(SYSTEM, onnx, manifest)
            except (OSError, ModelRefused) as error:
                log.warning("the weights for %s that come with Jingdi cannot be used: %s", domain, error)

    def add(self, actor: Actor, onnx: Path, manifest: Path) -> ModelVersion:
        """Take weights in, as a candidate. The same ones again change nothing.

        Raises:
            ModelRefused: they cannot be used here.
        """
        facts = inspect(onnx, manifest)
        version_id, domain, now = _id(manifest), facts["domain"], datetime.now(UTC)
        self._keep(domain, version_id, onnx, manifest)
        with writing(self.engine) as session:
            known = session.get(ModelVersion, version_id)
            if known is not None:
                return known
            version = ModelVersion(
                id=version_id, sha256=facts["sha256"], domain=domain, name=facts["name"], version=facts["version"],
                metrics=facts.get("metrics") or {}, state="candidate" if active(session, domain) else "active",
                added_at=now, added_by=actor.name,
            )  # fmt: skip
            session.add(version)
            detail = {"domain": domain, "version": version.version, "weights": version.sha256, "state": version.state}
            append(session, actor, "model.added", f"model:{version.id}", detail, now)
        return version

    def _known(self, version_id: str) -> bool:
        with Session(self.engine) as session:
            return session.get(ModelVersion, version_id) is not None

    def _keep(self, domain: str, version_id: str, onnx: Path, manifest: Path) -> None:
        """Both files, or none."""
        kept = self.files(domain, version_id)
        folder = kept[0].parent
        if all(path.exists() for path in kept):
            return
        shutil.rmtree(folder, ignore_errors=True)  # a part of it has been taken away
        folder.parent.mkdir(parents=True, exist_ok=True)
        arriving = Path(mkdtemp(dir=self._folder))
        try:
            for source, target in zip((onnx, manifest), kept, strict=True):
                write_whole(arriving / target.name, source.read_bytes())
            arriving.chmod(0o755)
            arriving.rename(folder)
            sync_folder(folder.parent)
        except OSError:
            if not folder.exists():  # another process was faster
                raise
        finally:
            shutil.rmtree(arriving, ignore_errors=True)


def _id(manifest: Path) -> str:
    return hashlib.sha256(manifest.read_bytes()).hexdigest()


def find(session: Session, start: str) -> ModelVersion:
    """As `Registry.find`, in a transaction."""
    text = start.lower()
    if len(text) < _SHORTEST_ID or not text.isalnum():
        raise ModelNotFound
    found = session.scalars(select(ModelVersion).where(ModelVersion.id.startswith(text)).limit(2)).all()
    if len(found) != 1:
        raise ModelNotFound
    return found[0]


def active(session: Session, domain: str) -> ModelVersion | None:
    """As `Registry.active`, in a transaction."""
    query = select(ModelVersion).where(ModelVersion.domain == domain, ModelVersion.state == "active")
    return session.scalars(query).one_or_none()
