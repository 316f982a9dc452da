"""Channels: signed as the receiver expects it, believed only in the receiver's own words, kept out of the network."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from ipaddress import ip_network
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from standardwebhooks import Webhook

from service.notify.channels import dingtalk, feishu, webhook
from service.notify.channels.apprise import AppriseChannel
from service.notify.channels.base import AddressError, Letter, Outcome
from service.notify.channels.dingtalk import DingTalk
from service.notify.channels.email import EmailChannel, Server, compose
from service.notify.channels.feishu import Feishu
from service.notify.channels.http import Poster
from service.notify.channels.robot import Robot
from service.notify.channels.webhook import WebhookChannel
from service.notify.channels.wecom import WeCom
from service.notify.guard import Forbidden, Guard
from service.notify.tables import Endpoint
from tests.fakes_notify import LOOPBACK, Receiver, http_receiver, smtp_receiver

NOW = datetime(2017, 7, 3, 2, 0, tzinfo=UTC)
POSTER = Poster(Guard((LOOPBACK,)))
IMPATIENT = Poster(Guard((LOOPBACK,)), timedelta(seconds=0.4))
LETTER = Letter(
    id="msg_" + "0" * 32, at=NOW, language="zh", title="疑似反弹：SJS-001", body="请核实。", why="您收到本消息。",
    url=None, data={"type": "jingdi.rebound_suspected", "data": {"名": "铸造厂"}},
)  # fmt: skip
ROBOTS: dict[str, type[Robot]] = {"wecom": WeCom, "dingtalk": DingTalk, "feishu": Feishu}


def endpoint(address: str, **values: Any) -> Endpoint:
    return Endpoint(address=address, language="zh", **values)


# --- Standard Webhooks ------------------------------------------------------------------------------------


def test_the_official_vector_is_reproduced() -> None:
    """From the tests of the reference libraries."""
    made = webhook.signature(
        endpoint("", secret="whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"),
        "msg_p5jXN8AQM9LWM0D4loKWxJek",
        datetime.fromtimestamp(1614265330, UTC),
        '{"test": 2432232314}',
    )
    assert made == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_a_receiver_with_the_reference_library_accepts_what_is_sent() -> None:
    secret, now = webhook.new_secret(), datetime.now(UTC)
    receiver = Receiver()
    with http_receiver("webhook", receiver) as url:
        channel = WebhookChannel(POSTER)
        (part,) = channel.parts(LETTER)
        assert channel.send(endpoint(url, secret=secret), LETTER, part, now) == Outcome("sent")
    headers, body = receiver.requests[0]
    assert Webhook(secret).verify(body, headers) == LETTER.data
    assert headers["webhook-id"] == headers["idempotency-key"] == LETTER.id
    assert len(base64.b64decode(secret.removeprefix("whsec_"))) == 32


def test_while_a_secret_is_replaced_both_sign_and_afterwards_only_the_new_one() -> None:
    old, new, now = webhook.new_secret(), webhook.new_secret(), datetime.now(UTC)
    there = endpoint("", secret=new, previous_secret=old, previous_until=now + timedelta(days=1))
    headers = {
        "webhook-id": "msg_1",
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": webhook.signature(there, "msg_1", now, "{}"),
    }
    assert len(headers["webhook-signature"].split()) == 2
    for secret in (old, new):
        Webhook(secret).verify("{}", headers)
    later = webhook.signature(there, "msg_1", now + timedelta(days=2), "{}")
    assert later == Webhook(new).sign("msg_1", now + timedelta(days=2), "{}")


@pytest.mark.parametrize(
    ("mood", "outcome"),
    [
        ("500", Outcome("retry", "HTTP 500")),
        ("429", Outcome("retry", "HTTP 429", timedelta(seconds=2))),
        ("410", Outcome("gone", "HTTP 410")),
        ("errcode", Outcome("sent")),  # to a webhook, any 2xx is success
    ],
)
def test_a_webhook_is_judged_by_its_status(mood: Any, outcome: Outcome) -> None:
    with http_receiver("webhook", Receiver(mood)) as url:
        assert WebhookChannel(POSTER).send(endpoint(url, secret="whsec_AAAA"), LETTER, "{}", NOW) == outcome


@pytest.mark.parametrize("channel", [WebhookChannel(IMPATIENT), WeCom(IMPATIENT)], ids=["webhook", "robot"])
def test_no_answer_in_time_leaves_it_uncertain(channel: Any) -> None:
    with http_receiver("wecom", Receiver("timeout")) as url:
        outcome = channel.send(endpoint(url), LETTER, "{}", NOW)
    assert (outcome.kind, outcome.uncertain) == ("retry", True)


def test_nobody_there_is_certain() -> None:
    with http_receiver("webhook", Receiver()) as url:
        pass
    outcome = WebhookChannel(POSTER).send(endpoint(url), LETTER, "{}", NOW)
    assert (outcome.kind, outcome.uncertain) == ("retry", False)
    assert "key" not in outcome.reason


# --- Robots -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ROBOTS)
def test_a_robot_is_judged_by_its_code_not_by_its_status(kind: str) -> None:
    receiver = Receiver("errcode")
    with http_receiver(kind, receiver) as url:
        outcome = ROBOTS[kind](POSTER).send(endpoint(url), LETTER, "x", NOW)
        assert outcome.kind == "retry"
        assert outcome.after
        assert outcome.after >= timedelta(minutes=1)
        receiver.mood = "well"
        assert ROBOTS[kind](POSTER).send(endpoint(url), LETTER, "x", NOW) == Outcome("sent")


@pytest.mark.parametrize("answer", ["hello", [], {}, {"errcode": "0"}, {"errcode": False}, {"errcode": None}])
def test_a_page_of_somebody_else_is_no_success(answer: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.fakes_notify._ANSWERS", {"wecom": (answer, answer)})
    with http_receiver("wecom", Receiver()) as url:
        assert WeCom(POSTER).send(endpoint(url), LETTER, "x", NOW).kind == "retry"


def test_an_older_feishu_robot_says_it_differently() -> None:
    assert Feishu(POSTER).code({"StatusCode": 0}) == 0
    assert Feishu(POSTER).code({"code": 19001, "StatusCode": 0}) == 19001


def test_dingtalk_is_signed_in_the_query() -> None:
    receiver = Receiver()
    with http_receiver("dingtalk", receiver) as url:
        DingTalk(POSTER).send(endpoint(url, secret="SEC1"), LETTER, "x", NOW)
    query = parse_qs(urlsplit(receiver.paths[0]).query)
    stamp = str(int(NOW.timestamp() * 1000))
    expected = base64.b64encode(hmac.digest(b"SEC1", f"{stamp}\nSEC1".encode(), hashlib.sha256)).decode()
    assert query == {"key": ["secret"], "timestamp": [stamp], "sign": [expected]}
    assert "+" not in dingtalk.sign("SEC1", NOW)  # a plus would be read as a space


def test_feishu_is_signed_in_the_body() -> None:
    receiver = Receiver()
    with http_receiver("feishu", receiver) as url:
        Feishu(POSTER).send(endpoint(url, secret="S"), LETTER, "x", NOW)
        Feishu(POSTER).send(endpoint(url), LETTER, "x", NOW)
    signed, plain = (json.loads(body) for _, body in receiver.requests)
    stamp = str(int(NOW.timestamp()))
    expected = base64.b64encode(hmac.digest(f"{stamp}\nS".encode(), b"", hashlib.sha256)).decode()
    assert signed == {"timestamp": stamp, "sign": expected, "msg_type": "text", "content": {"text": "x"}}
    assert "sign" not in plain
    assert feishu.sign("S", NOW) != feishu.sign("S", NOW + timedelta(seconds=1))


@pytest.mark.parametrize(("kind", "limit"), [("wecom", 2048), ("dingtalk", 4096), ("feishu", 4096)])
@pytest.mark.parametrize("language", ["zh", "en"])
def test_a_long_text_is_split_below_the_limit_even_with_the_line_about_repeats(
    kind: str, limit: int, language: str
) -> None:
    receiver, robot = Receiver(), ROBOTS[kind](POSTER)
    letter = replace(LETTER, body="疑" * 3000, repeat=True, language=language)
    parts = robot.parts(letter)
    with http_receiver(kind, receiver) as url:
        for part in parts:
            robot.send(endpoint(url), letter, part, NOW)
    texts = [text for _, text in receiver.accepted]
    assert len(texts) > 1
    assert all(limit // 2 < len(text.encode()) <= limit for text in texts[:-1])
    assert sum(text.count("疑") for text in texts) == 3000 + LETTER.title.count("疑")
    assert all("重复" in text or "repeat" in text for text in texts)


# --- E-mail -----------------------------------------------------------------------------------------------


def mail(port: int) -> EmailChannel:
    return EmailChannel(Server("127.0.0.1", port, "none"), "净地 <jingdi@example.org>", timedelta(seconds=5))


def test_a_mail_arrives_whole_with_the_headers_it_needs() -> None:
    receiver = Receiver()
    letter = replace(LETTER, unsubscribe_url="https://jingdi.example/u/1")
    with smtp_receiver(receiver) as port:
        assert mail(port).send(endpoint("wang@example.org"), letter, "", NOW) == Outcome("sent")
    headers, _ = receiver.requests[0]
    assert headers["Subject"] == LETTER.title
    assert headers["From"] == "净地 <jingdi@example.org>"
    assert headers["Message-ID"] == f"<{LETTER.id}@example.org>"
    assert headers["List-Unsubscribe"] == "<https://jingdi.example/u/1>"
    assert headers["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
    assert headers["Date"] == "Mon, 03 Jul 2017 02:00:00 +0000"
    assert headers["Auto-Submitted"] == "auto-generated"
    assert headers["Content-Language"] == "zh-CN"
    ((message_id, text),) = receiver.accepted
    assert message_id == LETTER.id
    assert text.replace("\r\n", "\n").strip() == LETTER.plain()


def test_a_title_cannot_add_headers() -> None:
    message = compose(replace(LETTER, title="a\r\nBcc: all@example.org"), "j@example.org", "w@example.org")
    assert message["Bcc"] is None
    assert message["Subject"] == "a Bcc: all@example.org"


def test_without_a_public_address_a_mail_can_still_be_unsubscribed_from() -> None:
    message = compose(LETTER, "净地 <jingdi@example.org>", "w@example.org")
    assert message["List-Unsubscribe"] == f"<mailto:jingdi@example.org?subject=unsubscribe%20{LETTER.id}>"
    assert message["List-Unsubscribe-Post"] is None


@pytest.mark.parametrize(
    ("mood", "kind", "uncertain"), [("500", "retry", False), ("410", "refused", False), ("drop", "retry", True)]
)
def test_a_mail_is_judged_by_the_answer_to_the_whole_of_it(mood: Any, kind: str, uncertain: bool) -> None:
    with smtp_receiver(Receiver(mood)) as port:
        outcome = mail(port).send(endpoint("wang@example.org"), LETTER, "", NOW)
    assert (outcome.kind, outcome.uncertain) == (kind, uncertain)


def test_a_server_without_tls_gets_nothing_where_tls_is_asked_for() -> None:
    receiver = Receiver()
    with smtp_receiver(receiver) as port:
        for security in ("starttls", "tls"):
            server = Server("127.0.0.1", port, security)  # type: ignore[arg-type]
            channel = EmailChannel(server, "j@example.org", timedelta(seconds=1))
            outcome = channel.send(endpoint("wang@example.org"), LETTER, "", NOW)
            assert (outcome.kind, outcome.uncertain) == ("retry", False)
    assert receiver.accepted == []


@pytest.mark.parametrize(
    ("url", "server"),
    [
        ("smtps://a%40b:p%3Aw@mail.example.org", Server("mail.example.org", 465, "tls", "a@b", "p:w")),
        ("smtp://mail.example.org", Server("mail.example.org", 587, "starttls")),
        ("smtp+plain://127.0.0.1:1025", Server("127.0.0.1", 1025, "none")),
    ],
)
def test_a_mail_server_is_given_as_an_address(url: str, server: Server) -> None:
    assert Server.of(url) == server


@pytest.mark.parametrize("url", ["mail.example.org", "http://mail.example.org", "smtp://"])
def test_what_is_no_mail_server_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="smtps://"):
        Server.of(url)


@pytest.mark.parametrize("address", ["wang", "a b@c", "a@b\r\nBcc: c@d", "王@例.cn", "<a@b>", "a@b,c@d"])
def test_what_is_no_mailbox_is_refused(address: str) -> None:
    with pytest.raises(AddressError):
        mail(25).check(address)


# --- Where to ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1", "10.1.2.3", "192.168.1.1", "172.16.0.1", "169.254.169.254", "100.64.0.1", "0.0.0.0", "224.0.0.1",
        "[::1]", "[::]", "[fe80::1]", "[fd00::1]", "[::ffff:127.0.0.1]", "[64:ff9b::7f00:1]", "[2002:7f00:1::]",
        "localhost", "2130706433", "0x7f.1",
    ],
)  # fmt: skip
def test_the_network_the_service_is_in_cannot_be_reached(host: str) -> None:
    with pytest.raises(Forbidden):
        Guard().check_url(f"http://{host}/")
    with pytest.raises(AddressError, match="receiver_forbidden"):
        Poster(Guard()).check(f"https://{host}:8443/")


@pytest.mark.parametrize(
    "url",
    ["ftp://8.8.8.8/", "file:///etc/passwd", "//8.8.8.8", "https://", "https://u:p@8.8.8.8/", "https://8.8.8.8:x/", ""],
)
def test_only_plain_web_addresses_are_receivers(url: str) -> None:
    with pytest.raises(Forbidden):
        Guard().check_url(url)


def test_public_addresses_and_named_networks_are_allowed() -> None:
    Guard().check_url("https://8.8.8.8/hook")
    Guard((ip_network("10.20.0.0/16"),)).check_url("http://10.20.3.4:8080/hook")
    with pytest.raises(Forbidden):
        Guard((ip_network("10.20.0.0/16"),)).check_url("http://10.21.3.4/hook")


def test_the_address_is_checked_again_when_it_is_sent_to() -> None:
    """A name may mean another address by then."""
    receiver = Receiver()
    with http_receiver("webhook", receiver) as url:
        outcome = WebhookChannel(Poster(Guard())).send(endpoint(url), LETTER, "{}", NOW)
    assert (outcome.kind, outcome.reason, receiver.requests) == ("retry", "address not allowed", [])


def test_the_receiver_sees_the_name_it_was_called_by() -> None:
    receiver = Receiver()
    with http_receiver("webhook", receiver) as url:
        WebhookChannel(POSTER).send(endpoint(url.replace("127.0.0.1", "localhost")), LETTER, "{}", NOW)
    if receiver.requests:  # where localhost is ::1 only, nobody listens there
        assert receiver.requests[0][0]["host"].startswith("localhost:")


# --- Apprise ----------------------------------------------------------------------------------------------

loads_plugins = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # Apprise imports what Python is to drop


@loads_plugins
@pytest.mark.parametrize(
    "address",
    [
        "wecombot://00000000-0000-0000-0000-000000000000",
        "https://qyapi.weixin.qq.com/cgi-bin/webhook/send?key=00000000-0000-0000-0000-000000000000",
        "dingtalk://aaaaaaaaaa",
        "feishu://aaaaaaaaaa",
        "lark://00000000-0000-0000-0000-000000000000",
    ],
)
def test_robots_with_a_channel_of_their_own_do_not_go_through_apprise(address: str) -> None:
    with pytest.raises(AddressError, match="receiver_own_adapter"):
        AppriseChannel(Guard()).check(address)


@loads_plugins
@pytest.mark.parametrize(
    ("address", "code"),
    [
        ("json://8.8.8.8/hook", "receiver_forbidden"),
        ("syslog://", "receiver_forbidden"),
        ("gotify://127.0.0.1/token", "receiver_forbidden"),
        ("nothing://x", "receiver_malformed"),
        ("hello", "receiver_malformed"),
    ],
)
def test_apprise_does_not_reach_what_other_channels_may_not(address: str, code: str) -> None:
    with pytest.raises(AddressError, match=code):
        AppriseChannel(Guard()).check(address)


@loads_plugins
def test_what_apprise_says_is_what_is_believed(monkeypatch: pytest.MonkeyPatch) -> None:
    from apprise.plugins.gotify import NotifyGotify

    said: list[str] = []

    def send(self: Any, body: str, **_: Any) -> bool:
        said.append(body)
        return len(said) > 1

    monkeypatch.setattr(NotifyGotify, "send", send)
    channel, there = AppriseChannel(Guard((LOOPBACK,))), endpoint("gotify://127.0.0.1/token")
    channel.check(there.address)
    (part,) = channel.parts(LETTER)
    assert channel.send(there, LETTER, part, NOW).kind == "retry"
    assert channel.send(there, replace(LETTER, repeat=True), part, NOW) == Outcome("sent")
    assert LETTER.id in said[0]
    assert "可能重复" in said[1]
