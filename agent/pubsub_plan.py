"""What a queue on Pub/Sub consists of: names, filters and settings from the queue's URL and its lanes. Pure.

    topic         <topic>                    jobs
    subscription  <topic>.<arch>-<accel>     one a lane; the server's filter hands it the jobs of its lane only
    subscription  <topic>.plain              messages without lane attributes
    topic         <topic>-dead               messages that nobody can run, with the reason in their attributes
    subscription  <topic>-dead               keeps them

A plain queue is one subscription, without lanes and dead letters. Clients whose topic is <queue> call it <queue>_sub.

Subscriptions never expire and keep a message for 31 days, the most that there is. None has a dead-letter policy of the
broker: Pub/Sub counts every refusal as a delivery attempt and would bury jobs that merely wait for a host.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple
from urllib.parse import urlsplit

from agent.errors import InvalidInput
from agent.model.job import ARCHITECTURES

SCHEME = "pubsub"
PLAIN = "plain"  # the lane of messages without attributes
# Seconds that a message stays with whoever pulled it until the agent's own lease begins, at once: what the server hands
# to a connection that has just died comes again after this time.
ACK_DEADLINE = 20
RETENTION_DAYS = 31
EMULATOR_RETENTION_DAYS = 7  # Google's emulator refuses more
ARCH_ATTRIBUTE = "edge_arch"
ACCEL_ATTRIBUTE = "edge_accel"
SID_ATTRIBUTE = "edge_sid"
DELETED_TOPIC = "_deleted-topic_"  # what the server shows as the topic of a subscription whose topic was deleted
LANES = (*(f"{arch}-{accel}" for arch in ("any", *ARCHITECTURES) for accel in ("none", "nvidia", "jetson")), PLAIN)

_NAME = re.compile(r"(?!goog)[A-Za-z][A-Za-z0-9._~+%-]{2,225}")
_PROJECT = re.compile(r"[a-z][a-z0-9.:-]{0,61}[a-z0-9]")
_SHAPE = 'write "pubsub://PROJECT/TOPIC", or "pubsub://PROJECT/SUBSCRIPTION?plain" for one subscription without lanes'
_EVERYTHING = "/*"  # the path of a URL that names all queues of a project


class Place(NamedTuple):
    """Where a queue is. name: of its topic, or of the one subscription of a plain queue."""

    project: str
    name: str
    plain: bool = False

    @property
    def topic(self) -> str:
        """The full name of the topic of jobs (a plain queue's subscription may belong to any other one)."""
        return topic_path(self.project, self.queue)

    @property
    def dead_topic(self) -> str:
        """The full name of the topic of dead letters."""
        return topic_path(self.project, f"{self.name}-dead")

    @property
    def queue(self) -> str:
        """What clients call the queue: they name the subscription that they make of it `<queue>_sub`."""
        return self.name.removesuffix("_sub") if self.plain else self.name

    @property
    def response_topic(self) -> str:
        """The full name of the topic where clients read reports, if they made it."""
        return topic_path(self.project, f"{self.queue}_response")

    def subscription(self, lane: str) -> str:
        """Return the full name of the subscription that holds the jobs of a lane."""
        return subscription_path(self.project, self.name if self.plain else f"{self.name}.{lane}")


def topic_path(project: str, name: str) -> str:
    """Return the full name of a topic."""
    return f"projects/{project}/topics/{name}"


def subscription_path(project: str, name: str) -> str:
    """Return the full name of a subscription."""
    return f"projects/{project}/subscriptions/{name}"


def short(path: str) -> str:
    """Return the last part of a full name."""
    return path.rpartition("/")[2]


def is_pubsub(url: str) -> bool:
    """Say whether the URL of a queue is one of Pub/Sub."""
    return url.startswith(f"{SCHEME}:")


def is_project(url: str) -> bool:
    """Say whether the URL names no queue but a project, whose queues are to be found: "pubsub://PROJECT/*"."""
    return is_pubsub(url) and urlsplit(url).path == _EVERYTHING


def has_lanes(url: str) -> bool:
    """Say whether the URL is of a queue with lanes, and of none that programs of others made."""
    return is_pubsub(url) and not is_project(url) and urlsplit(url).query != "plain"


def project_of(url: str) -> str:
    """Return the project that "pubsub://PROJECT/*" names. Raises InvalidInput."""
    parts = urlsplit(url)
    if parts.query or parts.fragment:
        raise InvalidInput(f'"{url}" is no project of Pub/Sub', hint='write "pubsub://PROJECT/*" for all its queues')
    return _checked_project(parts.netloc)


def _checked_project(project: str) -> str:
    if not _PROJECT.fullmatch(project):
        raise InvalidInput(f'"{project}" is no project id', hint=_SHAPE)
    return project


def place_of(url: str) -> Place:
    """Return the place that "pubsub://PROJECT/TOPIC" or "pubsub://PROJECT/SUBSCRIPTION?plain" names.

    Raises InvalidInput.
    """
    parts = urlsplit(url)
    name = parts.path.removeprefix("/")
    if is_project(url):
        hint = f'name one, such as "{url_of(Place(parts.netloc, "SUBSCRIPTION", plain=True))}"'
        raise InvalidInput(f'"{url}" is no queue but all queues of a project', hint=hint)
    if parts.scheme != SCHEME or parts.fragment or parts.query not in ("", "plain"):
        raise InvalidInput(f'"{url}" is no queue on Pub/Sub', hint=_SHAPE)
    project = _checked_project(parts.netloc)
    if not _NAME.fullmatch(name):
        hint = "3 to 226 of letters, digits and -._~+%, a letter first, and not beginning with goog"
        raise InvalidInput(f'"{name}" is no name of a topic or subscription', hint=hint)
    return Place(project, name, parts.query == "plain")


def url_of(place: Place) -> str:
    """Return the URL of a place."""
    return f"{SCHEME}://{place.project}/{place.name}{'?plain' if place.plain else ''}"


def attributes_of(lane: str) -> dict[str, str]:
    """Return the attributes of the messages of a lane."""
    arch, _, accel = lane.rpartition("-")
    return {} if lane == PLAIN else {ARCH_ATTRIBUTE: arch, ACCEL_ATTRIBUTE: accel}


def filter_of(lane: str) -> str:
    """Return the server's filter of a lane."""
    if lane == PLAIN:
        return f"NOT attributes:{ARCH_ATTRIBUTE}"
    return " AND ".join(f'attributes.{key} = "{value}"' for key, value in attributes_of(lane).items())


def belongs(lane: str, attributes: Mapping[str, str]) -> bool:
    """Say whether a message with these attributes is one of the lane: what `filter_of` makes the server decide."""
    if lane == PLAIN:
        return ARCH_ATTRIBUTE not in attributes
    return all(attributes.get(key) == value for key, value in attributes_of(lane).items())


class Subscription(NamedTuple):
    """A subscription as it should be, or as it is. topic and name are full names, ack_deadline in seconds.

    odd: settings that no subscription of a queue may have, in words.
    """

    name: str
    topic: str
    filter: str = ""
    ack_deadline: int = ACK_DEADLINE
    retention_days: float = RETENTION_DAYS
    expires: bool = False
    odd: tuple[str, ...] = ()


class Plan(NamedTuple):
    """Everything a queue needs on the server."""

    place: Place
    topics: tuple[str, ...]
    subscriptions: tuple[Subscription, ...]


def plan(place: Place, lanes: Iterable[str] = LANES, retention_days: int = RETENTION_DAYS) -> Plan:
    """Return what the queue with these lanes needs; a plain queue has none."""
    names = [(PLAIN, "")] if place.plain else [(lane, filter_of(lane)) for lane in lanes]
    subscriptions = [Subscription(place.subscription(lane), place.topic, text) for lane, text in names]
    if not place.plain:
        subscriptions.append(Subscription(subscription_path(place.project, short(place.dead_topic)), place.dead_topic))
    kept = tuple(each._replace(retention_days=retention_days) for each in subscriptions)
    return Plan(place, (place.topic,) if place.plain else (place.topic, place.dead_topic), kept)


def differences(wanted: Subscription, found: Subscription, *, plain: bool = False) -> tuple[str, ...]:
    """Return in words what is wrong with a subscription that is there, and the command that puts it right.

    The subscription of a plain queue belongs to whoever publishes: its topic, deadline and retention are theirs.
    """
    project, name = wanted.name.split("/")[1], short(wanted.name)
    where = f"{name} --project={project}"
    wrong = list(found.odd)
    if found.filter != wanted.filter or (found.topic != wanted.topic and not plain):
        is_, should = _identity(found), _identity(wanted)
        command = f"when it is empty: `gcloud pubsub subscriptions delete {where}`, then `edge-agent queue init`"
        wrong.append(f"it has {is_}, not {should}; neither can be changed: {command}")
    updates = [] if plain else list(_updates(wanted, found))
    if found.expires:
        updates.append("--expiration-period=never")
    if updates:
        wrong.append(f"its settings differ: `gcloud pubsub subscriptions update {where} {' '.join(updates)}`")
    return tuple(wrong)


def _identity(subscription: Subscription) -> str:
    return f"topic {short(subscription.topic)} and the filter '{subscription.filter}'"


def _updates(wanted: Subscription, found: Subscription) -> Iterator[str]:
    if found.ack_deadline != wanted.ack_deadline:
        yield f"--ack-deadline={wanted.ack_deadline}"
    if found.retention_days != wanted.retention_days:
        yield f"--message-retention-duration={wanted.retention_days:g}d"


class Grant(NamedTuple):
    """One role for one account on one topic or subscription. on: its full name; why: what needs it."""

    account: str
    role: str
    on: str
    why: str

    @property
    def permission(self) -> str:
        """The one permission of the role that is needed."""
        return _NEEDED[self.role].format(_kind(self.on))

    @property
    def member(self) -> str:
        """The account as policies name it; a project of a domain, "example.com:lab", has it the other way round."""
        domain, _, name = self.on.split("/")[1].rpartition(":")
        return f"serviceAccount:{self.account}@{name}{domain and '.'}{domain}.iam.gserviceaccount.com"


# One account for all agents, one for all who submit, one for whoever looks after the queue.
AGENT, SUBMITTER, OPERATOR = ACCOUNTS = ("edge-agent", "edge-submit", "edge-operator")
SUBSCRIBE, PUBLISH, VIEW = "roles/pubsub.subscriber", "roles/pubsub.publisher", "roles/pubsub.viewer"


_NEEDED = {
    SUBSCRIBE: "pubsub.subscriptions.consume",
    PUBLISH: "pubsub.topics.publish",
    VIEW: "pubsub.{}s.get",
}


def grants(plan: Plan) -> tuple[Grant, ...]:
    """Return the least rights for the work on a queue with lanes, each on the one part that it is for.

    Nobody has a right on the project: other queues in it stay out of reach.
    """
    lanes = [each.name for each in plan.subscriptions if each.topic == plan.place.topic]
    dead = [each.name for each in plan.subscriptions if each.topic != plan.place.topic]
    return (
        *(Grant(AGENT, SUBSCRIBE, lane, "pulls jobs, renews leases, acknowledges") for lane in lanes),
        *(Grant(AGENT, VIEW, lane, "tells a lane that is missing from one that it may not read") for lane in lanes),
        *(Grant(AGENT, PUBLISH, topic, "buries jobs that nobody can run") for topic in plan.topics[1:]),
        Grant(SUBMITTER, PUBLISH, plan.place.topic, "submits jobs"),
        *(Grant(SUBMITTER, VIEW, lane, "refuses a job for a lane that is not there") for lane in lanes),
        *(Grant(OPERATOR, SUBSCRIBE, name, "reads dead letters, and takes them off") for name in dead),
        *(Grant(OPERATOR, VIEW, name, "sees its settings") for name in (*lanes, *dead)),
        *(Grant(OPERATOR, PUBLISH, topic, "submits again what was buried") for topic in plan.topics[:1]),
        *(Grant(OPERATOR, VIEW, topic, "sees whether it is there") for topic in plan.topics),
    )


def accounts_as_gcloud(plan: Plan) -> str:
    """Return the accounts and their rights as commands of the Google Cloud CLI, one a line below its reason."""
    project = plan.place.project
    made = [f"gcloud iam service-accounts create {account} --project={project}" for account in ACCOUNTS]
    given = [
        f"# {each.account} {each.why}: {each.permission}\n"
        f"gcloud pubsub {_kind(each.on)}s add-iam-policy-binding {short(each.on)} --project={project}"
        f" --member={each.member} --role={each.role}"
        for each in grants(plan)
    ]
    return "".join(f"{line}\n" for line in (*made, *given))


def accounts_as_terraform(plan: Plan) -> str:
    """Return the accounts and their rights as Terraform resources, which refer to those of `as_terraform`."""
    project = plan.place.project
    made = [
        _block("google_service_account", account, [("account_id", _quoted(account)), ("project", _quoted(project))])
        for account in ACCOUNTS
    ]
    return "\n".join([*made, *(_terraform_grant(each, project) for each in grants(plan))])


def _terraform_grant(grant: Grant, project: str) -> str:
    kind, name = _kind(grant.on), _identifier(short(grant.on))
    lines = [
        (kind, f"google_pubsub_{kind}.{name}.name"),
        ("project", _quoted(project)),
        ("role", _quoted(grant.role)),
        ("member", f"google_service_account.{grant.account}.member"),
    ]
    label = f"{grant.account}_{grant.role.rpartition('.')[2]}_{kind}_{name}"
    return f"# {grant.account} {grant.why}: {grant.permission}\n" + _block(
        f"google_pubsub_{kind}_iam_member", label, lines
    )


def _kind(path: str) -> str:
    """Return "topic" or "subscription" for a full name."""
    return path.split("/")[2].removesuffix("s")


def _quoted(text: str) -> str:
    return f'"{text}"'


def _block(kind: str, label: str, lines: Iterable[tuple[str, str]]) -> str:
    rows = list(lines)
    width = max(len(key) for key, _ in rows)
    body = "".join(f"  {key:<{width}} = {value}\n" for key, value in rows)
    return f'resource "{kind}" "{label}" {{\n{body}}}\n'


def as_gcloud(plan: Plan) -> str:
    """Return the plan as commands of the Google Cloud CLI, one a line."""
    project = f"--project={plan.place.project}"
    lines = [f"gcloud pubsub topics create {short(topic)} {project}" for topic in plan.topics]
    for each in plan.subscriptions:
        options = [
            f"--topic={short(each.topic)}",
            *([f"--message-filter='{each.filter}'"] if each.filter else []),
            f"--ack-deadline={each.ack_deadline}",
            f"--message-retention-duration={each.retention_days:g}d",
            "--expiration-period=never",
        ]
        lines.append(f"gcloud pubsub subscriptions create {short(each.name)} {project} {' '.join(options)}")
    return "".join(f"{line}\n" for line in lines)


def as_terraform(plan: Plan) -> str:
    """Return the plan as Terraform resources of the provider hashicorp/google."""
    topics = [_resource("google_pubsub_topic", short(topic), plan.place.project, []) for topic in plan.topics]
    return "\n".join([*topics, *(_terraform(each, plan.place.project) for each in plan.subscriptions)])


def _terraform(subscription: Subscription, project: str) -> str:
    quoted = subscription.filter.replace('"', '\\"')
    lines = [
        f"topic                      = google_pubsub_topic.{_identifier(short(subscription.topic))}.id",
        *([f'filter                     = "{quoted}"'] if quoted else []),
        f"ack_deadline_seconds       = {subscription.ack_deadline}",
        f'message_retention_duration = "{int(subscription.retention_days * 86400)}s"',
        "",
        "expiration_policy {",
        '  ttl = "" # never',
        "}",
    ]
    return _resource("google_pubsub_subscription", short(subscription.name), project, lines)


def _resource(kind: str, name: str, project: str, lines: list[str]) -> str:
    width = 26 if lines else 7
    head = [f'{"name":<{width}} = "{name}"', f'{"project":<{width}} = "{project}"']
    body = "".join(f"  {line}\n" if line else "\n" for line in [*head, *lines])
    return f'resource "{kind}" "{_identifier(name)}" {{\n{body}}}\n'


def _identifier(name: str) -> str:
    """Return a name as Terraform allows it; what replaces each other character keeps two names apart."""
    return re.sub(r"[^A-Za-z0-9_-]", lambda found: "_" if found[0] == "." else f"_{ord(found[0]):x}_", name)
