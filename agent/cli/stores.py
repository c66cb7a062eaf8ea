"""Finding jobs through the stores that the configuration names; no agent needs to run."""

from __future__ import annotations

from agent.client import Client, JobView
from agent.config import Config, Queue
from agent.errors import EdgeAgentError, InvalidInput, NotFound
from agent.wiring import Stores


def client(config: Config, queue: Queue) -> Client:
    """Return the submitters' view of one queue."""
    stores = Stores(config)
    submitter, dead_letters = stores.submitter(queue), stores.dead_letters(queue)
    return Client(queue.name, submitter, dead_letters, stores.results(queue), stores.artifacts)


def clients(config: Config, name: str | None = None) -> list[Client]:
    """Return the views of all queues, or of the one called `name`. Raises InvalidInput, StoreUnavailable."""
    queues = config.queues if name is None else (config.queue(name),)
    return [client(config, queue) for queue in queues]


def default_queue(config: Config, name: str | None) -> Queue:
    """Return the queue called `name`, or the only one there is. Raises InvalidInput."""
    if name is not None:
        return config.queue(name)
    if len(config.queues) == 1:
        return config.queues[0]
    names = ", ".join(queue.name for queue in config.queues)
    raise InvalidInput(f"several queues are configured ({names})", hint="say which one with --queue NAME")


def find_job(config: Config, job: str, queue: str | None = None) -> tuple[Client, JobView]:
    """Return the job with the submission id `job`, or the one whose id begins so, or that has this name.

    Raises NotFound when there is none, or when several match.
    """
    found: list[tuple[Client, JobView]] = []
    failure: EdgeAgentError | None = None
    for each in clients(config, queue):
        try:
            sids = each.sids()
            matching = [job] if job in sids else [sid for sid in sids if job and sid.startswith(job)]
            found += [(each, each.find(sid)) for sid in matching]
            if not matching:
                found += [(each, view) for view in each.jobs() if view.name == job]
        except EdgeAgentError as error:
            failure = error
    if len(found) == 1:
        return found[0]
    if failure is not None:
        raise failure
    if found:
        raise NotFound(f'"{job}" means several jobs: ' + ", ".join(view.sid for _, view in found[-5:]))
    raise NotFound(f'no job "{job}"; `edge-agent jobs` lists them')
