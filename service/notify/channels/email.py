"""E-mail through an SMTP server of the operator."""

from __future__ import annotations

import re
import smtplib
import ssl
from dataclasses import dataclass
from datetime import datetime, timedelta
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime, parseaddr
from typing import ClassVar, Literal
from urllib.parse import unquote, urlsplit

from service.notify.channels.base import SENT, AddressError, Letter, Outcome
from service.notify.tables import Endpoint

TIMEOUT = timedelta(seconds=20)
_MAILBOX = re.compile(r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}@[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)*")
_PORTS = {"smtps": 465, "smtp": 587, "smtp+plain": 25}
_TAG = {"zh": "zh-CN", "en": "en"}


@dataclass(frozen=True, slots=True)
class Server:
    """An SMTP server.

    Attributes:
        security: `tls` from the first byte, `starttls` and not without it, or `none` (a relay on the same machine).
    """

    host: str
    port: int
    security: Literal["tls", "starttls", "none"]
    user: str | None = None
    password: str | None = None

    @classmethod
    def of(cls, url: str) -> Server:
        """From `smtps://`, `smtp://` (STARTTLS) or `smtp+plain://`, with `user:password@` where needed.

        Raises:
            ValueError: it is none of these.
        """
        parts = urlsplit(url)
        if parts.scheme not in _PORTS or not parts.hostname:
            raise ValueError("an SMTP server is given as smtps://, smtp:// (STARTTLS) or smtp+plain://host:port")
        security: Literal["tls", "starttls", "none"]
        security = "tls" if parts.scheme == "smtps" else "starttls" if parts.scheme == "smtp" else "none"
        user, password = (unquote(part) if part else None for part in (parts.username, parts.password))
        return cls(parts.hostname, parts.port or _PORTS[parts.scheme], security, user, password)


def compose(letter: Letter, sender: str, recipient: str) -> EmailMessage:
    """The message. Its Message-ID is made of the id, so that mailboxes recognise a repeat."""
    message = EmailMessage(policy=SMTP)
    message["From"] = sender
    message["To"] = recipient
    message["Subject"] = " ".join(letter.title.split())  # a line break would end the header
    message["Date"] = format_datetime(letter.at)
    message["Message-ID"] = f"<{letter.id}@{_domain(sender)}>"
    message["Auto-Submitted"] = "auto-generated"
    if letter.unsubscribe_url:
        message["List-Unsubscribe"] = f"<{letter.unsubscribe_url}>"
        message["List-Unsubscribe-Post"] = "List-Unsubscribe=One-Click"  # RFC 8058
    else:
        message["List-Unsubscribe"] = f"<mailto:{parseaddr(sender)[1]}?subject=unsubscribe%20{letter.id}>"
    message.set_content(letter.plain())
    message["Content-Language"] = _TAG[letter.language]  # afterwards: setting the content drops such headers
    return message


@dataclass(frozen=True, slots=True)
class EmailChannel:
    """Success is the server's answer to the whole message, not to the recipient alone."""

    server: Server
    sender: str
    timeout: timedelta = TIMEOUT
    paced: ClassVar[bool] = False

    def check(self, address: str) -> None:
        """See `Channel`."""
        if not _MAILBOX.fullmatch(address):
            raise AddressError("receiver_malformed")

    def parts(self, letter: Letter) -> list[str]:
        """See `Channel`."""
        return [letter.plain()]

    def send(self, endpoint: Endpoint, letter: Letter, part: str, now: datetime) -> Outcome:
        """See `Channel`. A 5xx about recipient or message is final (RFC 5321, 4.2.1), any other failure is not."""
        message = compose(letter, self.sender, endpoint.address)
        handed_over = False
        try:
            with self._connect() as smtp:
                self._introduce(smtp)
                handed_over = True
                smtp.send_message(message)
                return SENT  # inside: a failing QUIT changes nothing
        except smtplib.SMTPRecipientsRefused as error:
            return _answer(*error.recipients[endpoint.address])
        except (smtplib.SMTPSenderRefused, smtplib.SMTPDataError) as error:
            return _answer(error.smtp_code, error.smtp_error)
        except smtplib.SMTPResponseException as error:
            return Outcome("retry", f"SMTP {error.smtp_code}")
        except (smtplib.SMTPException, OSError) as error:
            return Outcome("retry", type(error).__name__, uncertain=handed_over)

    def _connect(self) -> smtplib.SMTP:
        seconds, host, port = self.timeout.total_seconds(), self.server.host, self.server.port
        name = _domain(self.sender)
        if self.server.security == "tls":
            return smtplib.SMTP_SSL(host, port, name, timeout=seconds, context=ssl.create_default_context())
        return smtplib.SMTP(host, port, name, timeout=seconds)

    def _introduce(self, smtp: smtplib.SMTP) -> None:
        if self.server.security == "starttls":
            smtp.starttls(context=ssl.create_default_context())
        if self.server.user and self.server.password:
            smtp.login(self.server.user, self.server.password)


def _answer(code: int, text: bytes | str) -> Outcome:
    said = text.decode(errors="replace") if isinstance(text, bytes) else text
    return Outcome("refused" if 500 <= code < 600 else "retry", f"SMTP {code} {said}"[:200])


def _domain(sender: str) -> str:
    return parseaddr(sender)[1].rpartition("@")[2] or "localhost"
