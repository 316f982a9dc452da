"""Everything an operator can set, as environment variables `JINGDI_...`."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from inference.decode import Limits
from inference.reasons import LANGUAGES


class Settings(BaseSettings):
    """Settings of one service.

    Attributes:
        data_dir: where pictures, results and the embedded database are kept.
        database_url: SQLAlchemy URL; the embedded SQLite database in `data_dir` if not given.
        host, port: where to listen. The default is reachable from this machine only.
        max_bytes, max_pixels: the largest file that is accepted and the largest picture that is decoded.
        workers: comparisons that run at the same time; each uses the processor cores well on its own.
        languages: of the pages and problem texts, the first one where a reader asks for none of them.
    """

    model_config = SettingsConfigDict(env_prefix="JINGDI_", frozen=True)

    data_dir: Path = Path("var")
    database_url: str | None = None
    host: str = "127.0.0.1"
    port: int = Field(default=8000, ge=0, le=65535)
    max_bytes: int = Field(default=64 * 2**20, gt=0)
    max_pixels: int = Field(default=100_000_000, gt=0)
    workers: int = Field(default=1, ge=1)
    languages: tuple[str, ...] = Field(default=LANGUAGES, min_length=1)

    @property
    def limits(self) -> Limits:
        """What a single picture may measure."""
        return Limits(max_bytes=self.max_bytes, max_pixels=self.max_pixels)

    @property
    def max_request_bytes(self) -> int:
        """Two pictures, and room for the multipart wrapping around them."""
        return 2 * self.max_bytes + 2**20

    @property
    def resolved_database_url(self) -> str:
        """`database_url`, or the embedded database."""
        return self.database_url or f"sqlite:///{self.data_dir / 'jingdi.db'}"
