"""Everything an operator can set, as environment variables `JINGDI_...`."""

from __future__ import annotations

from importlib.util import find_spec
from ipaddress import IPv4Network, IPv6Network, ip_address
from pathlib import Path
from typing import Literal, Self
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from inference.decode import Limits
from inference.reasons import LANGUAGES


def loopback(host: str) -> bool:
    """Whether it is a name or an address of this machine for itself."""
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def trusted(address: str) -> bool:
    """Whether nobody can listen in or answer in its place: https, or this machine itself."""
    parts = urlsplit(address)
    return bool(parts.hostname) and (
        parts.scheme == "https" or (parts.scheme == "http" and loopback(parts.hostname or ""))
    )


class Settings(BaseSettings):
    """Settings of one service.

    Attributes:
        data_dir: where pictures, results and the embedded database are kept.
        database_url: SQLAlchemy URL; the embedded SQLite database in `data_dir` if not given.
        host, port: where to listen. The default is reachable from this machine only.
        accounts: `off` leaves out signing in, for the one person at this machine; then nobody else can be let in.
        max_bytes, max_pixels: the largest file that is accepted and the largest picture that is decoded.
        serve_originals: give out pictures as they were uploaded, with everything that cameras wrote into them.
        public: `on` shows strangers the pages below `/public`: the ledger without places and persons, how often the
            system is wrong, and a form to report with.
        report_days: so many days after it came, what a report says and its photograph are deleted.
        workers: comparisons that run at the same time; each uses the processor cores well on its own. 0 leaves all
            work to processes of `jingdi work` beside this one.
        scene_dirs: folders that scenes may be scanned and shown from, e.g. `["/data/scenes"]`; `scenes` below
            `data_dir` if not given.
        scene_hosts, scene_buckets: host names (with port, if any) and S3 buckets that nightly scans may read from,
            e.g. `["tiles.example.cn"]`. An allowed host is trusted with where it redirects to.
        tianditu_token: key (`tk`, for browsers) of the operator's own account with Tianditu (天地图). Without it the
            map asks for nothing from there; with it, whoever opens the map can read the key, and tiles are fetched
            only once somebody chooses that layer.
        languages: of the pages and problem texts, the first one where a reader asks for none of them.
        alert_budget: how many alerts an inspector is sent to on one day at most.
        public_url: address under which people open the service; without it, messages carry no links to it.
        smtp_url: server for e-mail: `smtps://`, `smtp://` (STARTTLS) or `smtp+plain://user:password@host:port`.
        mail_from: sender of e-mail.
        receiver_networks: private networks that webhooks and robots may be in, e.g. `["10.20.0.0/16"]`.
        oidc_issuer, oidc_client_id, oidc_client_secret: OpenID provider that people may sign in with as well, and
            this service there (needs the `oidc` extra; callback `<public_url>/login/oidc/callback`).
        oidc_name_claim: what the provider calls the name of an account.
        oidc_create: make accounts, without roles, for people of the provider who have none.
    """

    model_config = SettingsConfigDict(env_prefix="JINGDI_", frozen=True)

    data_dir: Path = Path("var")
    database_url: str | None = None
    host: str = "127.0.0.1"
    port: int = Field(default=8000, ge=0, le=65535)
    accounts: Literal["on", "off"] = "on"
    max_bytes: int = Field(default=64 * 2**20, gt=0)
    max_pixels: int = Field(default=100_000_000, gt=0)
    serve_originals: bool = False
    public: Literal["on", "off"] = "off"
    report_days: int = Field(default=180, ge=1, le=3650)
    workers: int = Field(default=1, ge=0)
    scene_dirs: tuple[Path, ...] = ()
    scene_hosts: tuple[str, ...] = ()
    scene_buckets: tuple[str, ...] = ()
    tianditu_token: SecretStr | None = None
    languages: tuple[str, ...] = Field(default=LANGUAGES, min_length=1)

    alert_budget: int = Field(default=20, ge=1)
    public_url: str | None = None
    smtp_url: SecretStr | None = None
    mail_from: str = "jingdi@localhost"
    receiver_networks: tuple[IPv4Network | IPv6Network, ...] = ()

    oidc_issuer: str | None = None
    oidc_client_id: str | None = None
    oidc_client_secret: SecretStr | None = None
    oidc_name_claim: str = "preferred_username"
    oidc_create: bool = False

    @model_validator(mode="after")
    def _closed_without_accounts(self) -> Self:
        if self.accounts == "off" and not loopback(self.host):
            raise ValueError(
                f"没有账号时只能监听本机地址，而 {self.host} 可从别处访问："
                "请去掉 JINGDI_ACCOUNTS=off，或改为 127.0.0.1。 "
                f"Without accounts the service may listen on this machine only, but {self.host} can be reached from "
                "elsewhere: leave out JINGDI_ACCOUNTS=off, or listen on 127.0.0.1."
            )
        return self

    @model_validator(mode="after")
    def _whole_provider(self) -> Self:
        if self.oidc_issuer is None:
            return self
        if not self.oidc_client_id or not trusted(self.oidc_issuer) or find_spec("authlib") is None:
            raise ValueError(
                "统一身份登录未配置完整：需要 https 的 JINGDI_OIDC_ISSUER、JINGDI_OIDC_CLIENT_ID，"
                "并安装 pip install 'jingdi[oidc]'。 "
                "Signing in with an OpenID provider is not set up completely: it needs JINGDI_OIDC_ISSUER with https, "
                "JINGDI_OIDC_CLIENT_ID, and pip install 'jingdi[oidc]'."
            )
        return self

    @property
    def limits(self) -> Limits:
        """What a single picture may measure."""
        return Limits(max_bytes=self.max_bytes, max_pixels=self.max_pixels)

    @property
    def max_request_bytes(self) -> int:
        """Two pictures, and room for the multipart wrapping around them."""
        return 2 * self.max_bytes + 2**20

    @property
    def scene_folders(self) -> tuple[Path, ...]:
        """`scene_dirs`, or the one folder below `data_dir`."""
        return self.scene_dirs or (self.data_dir / "scenes",)

    @property
    def resolved_database_url(self) -> str:
        """`database_url`, or the embedded database."""
        return self.database_url or f"sqlite:///{self.data_dir / 'jingdi.db'}"
