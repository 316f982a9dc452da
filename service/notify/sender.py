"""The sender: takes what is due out of the outbox, one attempt at a time, in as many threads as there are workers."""

from __future__ import annotations

import logging
import random
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from sqlalchemy import update
from sqlalchemy.orm import Session

from service.language import say
from service.notify import inbox
from service.notify.channels.apprise import AppriseChannel
from service.notify.channels.base import Channel, Letter, Outcome
from service.notify.channels.dingtalk import DingTalk
from service.notify.channels.email import EmailChannel, Server
from service.notify.channels.feishu import Feishu
from service.notify.channels.http import Poster
from service.notify.channels.webhook import WebhookChannel
from service.notify.channels.wecom import WeCom
from service.notify.guard import Guard
from service.notify.outbox import Claim, Outbox
from service.notify.schedule import RETRY_AFTER_FAILURE, retry_delay
from service.notify.tables import Endpoint, Message
from service.notify.texts import compose
from service.settings import Settings

log = logging.getLogger("jingdi")

POLL_S = 1.0
UNSUBSCRIBE = "/api/v1/notify/unsubscribe/"


def build_channels(settings: Settings, box: inbox.Inbox) -> dict[str, Channel]:
    """All channels that these settings allow for; no e-mail without a server.

    Raises:
        ValueError: `smtp_url` is not the address of an SMTP server.
    """
    guard = Guard(settings.receiver_networks)
    poster = Poster(guard)
    channels: dict[str, Channel] = {
        "webhook": WebhookChannel(poster),
        "wecom": WeCom(poster),
        "dingtalk": DingTalk(poster),
        "feishu": Feishu(poster),
        "apprise": AppriseChannel(guard),
        "inbox": box,
    }
    if settings.smtp_url:
        channels["email"] = EmailChannel(Server.of(settings.smtp_url.get_secret_value()), settings.mail_from)
    return channels


@dataclass(frozen=True, slots=True)
class Sender:
    """Sends what is due.

    Attributes:
        public_url: address under which receivers can open this service.
        jitter: draws 0..1.
        delays: between attempts; one more than there are delays are made.
    """

    outbox: Outbox
    channels: Mapping[str, Channel]
    public_url: str | None = None
    jitter: Callable[[], float] = random.random
    delays: tuple[timedelta, ...] = field(default=RETRY_AFTER_FAILURE)

    def step(self) -> bool:
        """Make one attempt at one message. False if nothing is due."""
        self.outbox.form()
        claim = self.outbox.claim()
        if claim is None:
            return False
        self._attempt(claim)
        return True

    def run(self, stop: threading.Event, *, workers: int = 4, poll_s: float = POLL_S) -> None:
        """Keep sending until `stop` is set; returns when attempts under way have ended."""

        def work() -> None:
            while not stop.is_set():
                try:
                    busy = self.step()
                except Exception:
                    log.exception("sending failed; the message is tried again when its lease ends")
                    busy = False
                if not busy:
                    stop.wait(poll_s)

        threads = [threading.Thread(target=work, name=f"sender-{number}") for number in range(workers)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def _attempt(self, claim: Claim) -> None:
        message, endpoint = claim.message, claim.endpoint
        channel = self.channels.get(endpoint.channel)
        if channel is None:
            self._end(claim, Outcome("retry", f"{endpoint.channel} is not set up"), uncertain=message.uncertain)
            return
        uncertain = message.uncertain
        parts = channel.parts(self._letter(claim, repeat=uncertain))
        for number in range(message.parts_done, len(parts)):
            if channel.paced and (turn := self.outbox.take_turn(endpoint.id)) is not None:
                self._settle(claim, "queued", due_at=turn)
                return
            letter = self._letter(claim, repeat=uncertain)
            outcome = channel.send(endpoint, letter, parts[number], self.outbox.clock())
            if outcome.kind != "sent":
                self._end(claim, outcome, uncertain=uncertain or outcome.uncertain)
                return
            done, uncertain = number + 1, False  # what comes next was not tried before
            if done < len(parts) and not self._settle(claim, "sending", parts_done=done, uncertain=False):
                return
        self._settle(claim, "sent", parts_done=len(parts), sent_at=self.outbox.clock(), error=None)

    def _settle(self, claim: Claim, state: Any, **values: Any) -> bool:
        with Session(self.outbox.engine) as session, session.begin():
            kept = self.outbox.settle(session, claim, state, **values)
        if not kept:
            log.warning("message %s took longer than its lease", claim.message.id)
        return kept

    def _end(self, claim: Claim, outcome: Outcome, *, uncertain: bool) -> None:
        """Write down a failed attempt, and what follows for message, endpoint and owner."""
        now, failures = self.outbox.clock(), claim.message.failures + 1
        endpoint = claim.endpoint
        delay = retry_delay(failures, self.jitter(), self.delays)
        given_up = outcome.kind == "refused" or (outcome.kind == "retry" and delay is None)
        pause = max(outcome.after or timedelta(), self.delays[0] if self.delays else timedelta())
        values: dict[str, Any] = {
            "failures": failures,
            "error": outcome.reason[:300],
            "uncertain": uncertain,
            "due_at": now + max(delay or timedelta(), outcome.after or timedelta()),
        }
        with Session(self.outbox.engine) as session, session.begin():
            if not self.outbox.settle(session, claim, "failed" if given_up else "queued", **values):
                return
            health: dict[str, Any] = {"not_before": now + pause}
            if outcome.kind == "gone":
                health = {"disabled_at": now, "disabled_reason": outcome.reason[:200]}
            session.connection().execute(update(Endpoint).where(Endpoint.id == endpoint.id).values(**health))
            if (given_up or outcome.kind == "gone") and endpoint.channel != "inbox":
                self._tell_owner(session, claim.message, endpoint, "gone" if outcome.kind == "gone" else "failed")

    def _tell_owner(self, session: Session, message: Message, endpoint: Endpoint, what: str) -> None:
        key = f"{what}_{message.id}"
        values = {"channel": say(endpoint.language, f"notify.channel.{endpoint.channel}"), "id": message.id}
        title, body = (say(endpoint.language, f"notify.notice.{what}.{part}", **values) for part in ("title", "body"))
        inbox.put(session, endpoint.owner, key, title, body, None, self.outbox.clock())

    def _letter(self, claim: Claim, *, repeat: bool) -> Letter:
        message, language = claim.message, claim.endpoint.language
        text = compose(claim.deliveries, language, self.public_url)
        base = self.public_url.rstrip("/") if self.public_url else None
        return Letter(
            id=message.id,
            at=message.created_at,
            language=language,
            title=text.title,
            body=text.body,
            why=text.why,
            url=text.url,
            data=payload(claim, text.title),
            repeat=repeat,
            unsubscribe_url=f"{base}{UNSUBSCRIBE}{message.subscription.token}" if base else None,
        )


def payload(claim: Claim, title: str) -> dict[str, Any]:
    """What a webhook carries: `type`, `timestamp`, `data`, as Standard Webhooks recommends."""
    events = [
        {
            "key": delivery.event.key,
            "kind": delivery.event.kind,
            "at": delivery.event.created_at.isoformat(),
            "rule": delivery.rule,
            "params": delivery.event.params,
        }
        | {name: getattr(delivery.event, name) for name in ("site", "area", "system", "street", "url")}
        for delivery in claim.deliveries
    ]
    kind = events[0]["kind"] if len(events) == 1 else "digest"
    return {
        "type": f"jingdi.{kind}",
        "timestamp": claim.message.created_at.isoformat(),
        "data": {"title": title, "subscription": claim.message.subscription_id, "events": events},
    }
