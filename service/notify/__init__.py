"""Delivery: who is told of what, when and how, through an outbox that loses nothing.

from service.notify.outbox import Event, enqueue

with Session(engine) as session, session.begin():
    ...                                                    # what happened
    enqueue(session, Event("rebound_suspected", f"alert:{alert.id}:corroborated", {...}, site=..., system=...))
"""
