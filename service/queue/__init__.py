"""The queue: work that outlives the process that accepted it, on SQLite and PostgreSQL.

    job_id = enqueue(engine, "compare", {"pair": pair_id}, key=f"pair:{pair_id}")   # or a session: in its transaction

    def run(work: Work) -> Any:         # what it returns (JSON) is kept as the result of the job
        for part in parts:
            work.report("parts", share) # raises Interrupted when the service stops, or the job is cancelled or lost
        raise Refused("bad_area")       # will never succeed; any other exception is tried again, later and later

    worker = Worker(Queue(engine), {"compare": run}, threads=2)
    worker.start(); worker.stop()       # stopping gives back what is unfinished; the next worker takes it up

A job is run **at least once**, by one worker at a time: whoever has its lease, which it renews while it is alive. A
worker that dies loses it, and after at most `LEASE` another worker, in whatever process, takes the job up. So running
a job again must do no harm. Any number of processes may work on one database; their clocks must agree to within less
than a lease. A session that enqueues must be on that database too.

Why own code: procrastinate and PgQueuer are for PostgreSQL alone; huey has both databases, but deletes a task when it
hands it out, so that it is lost with its worker; the next APScheduler has leases on both, and its authors say of it
not to use it in production.
"""

from service.queue.store import LEASE, MAX_ATTEMPTS, Queue, enqueue
from service.queue.tables import STATES, Job, State
from service.queue.worker import GivenUp, Handler, Interrupted, Refused, Work, Worker

__all__ = [
    "LEASE",
    "MAX_ATTEMPTS",
    "STATES",
    "GivenUp",
    "Handler",
    "Interrupted",
    "Job",
    "Queue",
    "Refused",
    "State",
    "Work",
    "Worker",
    "enqueue",
]
