"""The HTTP interface of delivery: endpoints, subscriptions, inbox, and why somebody was told."""

from __future__ import annotations

from collections.abc import AsyncIterator
from functools import partial
from typing import Annotated

import anyio
import anyio.to_thread
from fastapi import APIRouter, Depends, Header, Query, Request
from fastapi.sse import EventSourceResponse, ServerSentEvent

from service import errors
from service.language import negotiate
from service.notify.channels.base import AddressError
from service.notify.inbox import Inbox
from service.notify.schedule import utc_now
from service.notify.schemas import (
    EndpointIn,
    EndpointOut,
    InboxItem,
    InboxPage,
    NewEndpointOut,
    SecretOut,
    SubscriptionChange,
    SubscriptionIn,
    SubscriptionOut,
    WhyOut,
)
from service.notify.sender import build_channels
from service.notify.subscriptions import AddressTaken, Subscriptions
from service.openapi import problems
from service.services import ServicesDep

router = APIRouter(prefix="/api/v1/notify", tags=["notify"])

NO_ENDPOINT, NO_SUBSCRIPTION = "You have no such endpoint.", "You have no such subscription."
NO_MESSAGE = "You have no such message."
LOOK_EVERY_S, STREAM_FOR_S = 1.0, 60.0
"""How often the inbox is looked at, and when the stream ends for the client to connect again, in seconds."""


def current_person(request: Request) -> str:
    """Dependency: who is asking, as authentication left it on the request; without accounts, there is one person."""
    return str(getattr(request.state, "person", "operator"))


PersonDep = Annotated[str, Depends(current_person)]


def inbox_of(parts: ServicesDep) -> Inbox:
    """Dependency: the inbox of this application."""
    return Inbox(parts.pairs.engine)


InboxDep = Annotated[Inbox, Depends(inbox_of)]


def subscriptions_of(parts: ServicesDep, box: InboxDep) -> Subscriptions:
    """Dependency: endpoints and subscriptions of this application."""
    return Subscriptions(parts.pairs.engine, build_channels(parts.settings, box))


SubscriptionsDep = Annotated[Subscriptions, Depends(subscriptions_of)]


@router.get("/endpoints", operation_id="listEndpoints", summary="List endpoints")
def list_endpoints(mine: SubscriptionsDep, person: PersonDep) -> list[EndpointOut]:
    """Where your messages go."""
    return [EndpointOut.of(row) for row in mine.endpoints(person)]


@router.post(
    "/endpoints",
    operation_id="createEndpoint",
    summary="Register an endpoint",
    status_code=201,
    responses=problems(s409="The address is registered already.", s422="The address cannot be used."),
)
def create_endpoint(body: EndpointIn, mine: SubscriptionsDep, person: PersonDep) -> NewEndpointOut:
    """Registers where messages may go. A webhook's secret is shown this once."""
    try:
        row = mine.register(person, body.channel, body.address, body.language, body.secret)
    except AddressTaken as error:
        raise errors.EndpointExists from error
    except AddressError as error:
        raise errors.UnusableReceiver(error.code) from error
    secret = row.secret if row.channel == "webhook" else None
    return NewEndpointOut(**EndpointOut.of(row).model_dump(), secret=secret)


@router.delete(
    "/endpoints/{id}",
    operation_id="deleteEndpoint",
    summary="Remove an endpoint",
    status_code=204,
    responses=problems(s404=NO_ENDPOINT),
)
def delete_endpoint(id: str, mine: SubscriptionsDep, person: PersonDep) -> None:
    """Forgets the address, ends its subscriptions and cancels what is queued."""
    if not mine.remove(person, id):
        raise errors.EndpointNotFound


@router.post(
    "/endpoints/{id}/resume",
    operation_id="resumeEndpoint",
    summary="Send there again",
    status_code=204,
    responses=problems(s404=NO_ENDPOINT),
)
def resume_endpoint(id: str, mine: SubscriptionsDep, person: PersonDep) -> None:
    """After it was disabled or messages were given up: everything that is left goes out."""
    if not mine.resume(person, id):
        raise errors.EndpointNotFound


@router.post(
    "/endpoints/{id}/secret",
    operation_id="rotateSecret",
    summary="Replace the secret of a webhook",
    responses=problems(s404="You have no such webhook."),
)
def rotate_secret(id: str, mine: SubscriptionsDep, person: PersonDep) -> SecretOut:
    """For a day both secrets sign, so that the receiver can change over without losing anything."""
    secret = mine.rotate(person, id)
    if secret is None:
        raise errors.EndpointNotFound
    return SecretOut(secret=secret)


@router.get("/subscriptions", operation_id="listSubscriptions", summary="List subscriptions")
def list_subscriptions(mine: SubscriptionsDep, person: PersonDep) -> list[SubscriptionOut]:
    """What you are told of."""
    return [SubscriptionOut.model_validate(row) for row in mine.subscriptions(person)]


@router.post(
    "/subscriptions",
    operation_id="createSubscription",
    summary="Subscribe",
    status_code=201,
    responses=problems(s404=NO_ENDPOINT, s422="A field cannot be used."),
)
def create_subscription(body: SubscriptionIn, mine: SubscriptionsDep, person: PersonDep) -> SubscriptionOut:
    """By area, system, street and kind; with quiet hours, digest and mute."""
    row = mine.subscribe(person, **body.model_dump())
    if row is None:
        raise errors.EndpointNotFound
    return SubscriptionOut.model_validate(row)


@router.patch(
    "/subscriptions/{id}",
    operation_id="changeSubscription",
    summary="Change a subscription",
    responses=problems(s404=NO_SUBSCRIPTION, s422="A field cannot be used."),
)
def change_subscription(
    id: str, body: SubscriptionChange, mine: SubscriptionsDep, person: PersonDep
) -> SubscriptionOut:
    """Changes the fields that are given; holds for what waits already."""
    row = mine.change(person, id, **body.model_dump(exclude_unset=True))
    if row is None:
        raise errors.SubscriptionNotFound
    return SubscriptionOut.model_validate(row)


@router.delete(
    "/subscriptions/{id}",
    operation_id="deleteSubscription",
    summary="Unsubscribe",
    status_code=204,
    responses=problems(s404=NO_SUBSCRIPTION),
)
def delete_subscription(id: str, mine: SubscriptionsDep, person: PersonDep) -> None:
    """Ends the subscription and cancels what is queued."""
    if not mine.unsubscribe(person, id):
        raise errors.SubscriptionNotFound


@router.post(
    "/unsubscribe/{token}",
    operation_id="unsubscribeByLink",
    summary="Unsubscribe by the link in a message",
    status_code=204,
    responses=problems(s404="The link is of no subscription, or of one that has ended."),
)
def unsubscribe_by_link(token: str, mine: SubscriptionsDep) -> None:
    """One click in a mail program (RFC 8058); whoever holds the link needs no account."""
    if not mine.unsubscribe_by_token(token):
        raise errors.SubscriptionNotFound


@router.get(
    "/messages/{id}/why",
    operation_id="explainMessage",
    summary="Why am I getting this?",
    responses=problems(s404=NO_MESSAGE),
)
def explain_message(
    id: str,
    mine: SubscriptionsDep,
    person: PersonDep,
    parts: ServicesDep,
    accept_language: Annotated[str | None, Header()] = None,
) -> WhyOut:
    """By the reference at the end of every message (`webhook-id` of a webhook)."""
    found = mine.why(person, id, negotiate(accept_language, parts.settings.languages))
    if found is None:
        raise errors.MessageNotFound
    sentence, deliveries = found
    return WhyOut(
        sentence=sentence,
        subscription_id=deliveries[0].subscription_id,
        rules=[delivery.rule for delivery in deliveries],
        events=[delivery.event.key for delivery in deliveries],
    )


@router.get("/inbox", operation_id="listInbox", summary="Read the inbox", responses=problems(s422="A parameter."))
def list_inbox(
    box: InboxDep,
    person: PersonDep,
    limit: Annotated[int, Query(ge=1, le=100, description="How many.")] = 20,
    offset: Annotated[int, Query(ge=0, le=1_000_000, description="How many to skip.")] = 0,
) -> InboxPage:
    """Newest first."""
    items = [InboxItem.model_validate(row) for row in box.recent(person, limit, offset)]
    return InboxPage(items=items, total=box.count(person), unread=box.count(person, unread=True))


@router.post(
    "/inbox/{number}/read",
    operation_id="markRead",
    summary="Mark a message as read",
    status_code=204,
    responses=problems(s404=NO_MESSAGE),
)
def mark_read(number: int, box: InboxDep, person: PersonDep) -> None:
    """The moment of the first reading stands."""
    if not box.read(person, number, utc_now()):
        raise errors.MessageNotFound


@router.get(
    "/inbox/stream",
    operation_id="followInbox",
    summary="Follow the inbox",
    response_class=EventSourceResponse,
    responses=problems(s422="`Last-Event-ID` is not a number."),
)
async def follow_inbox(
    box: InboxDep,
    person: PersonDep,
    last_event_id: Annotated[int | None, Header(ge=0, description="Number of the last message you have.")] = None,
) -> AsyncIterator[ServerSentEvent]:
    """Server-sent events `message`: everything after `Last-Event-ID`, then what comes in, each with its number as id.

    Without `Last-Event-ID` only what comes in from now on. Ends after a minute; an EventSource connects again by
    itself and goes on where it was.
    """
    number = last_event_id
    if number is None:
        newest = await anyio.to_thread.run_sync(box.recent, person, 1)
        number = newest[0].number if newest else 0
    end = anyio.current_time() + STREAM_FOR_S
    while anyio.current_time() < end:
        for row in await anyio.to_thread.run_sync(partial(box.after, person, number)):
            number = row.number
            item = InboxItem.model_validate(row)
            yield ServerSentEvent(data=item, event="message", id=str(number), retry=1000)
        await anyio.sleep(LOOK_EVERY_S)
