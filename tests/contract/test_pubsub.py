"""Pub/Sub over Google's emulator: lanes as job sources, submitting, what `queue init` makes, and lost connections.

Time is real here: the shortest deadline of a message is 10 s.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from agent.adapters.clock import SystemClock
from agent.adapters.pubsub import connection
from agent.adapters.pubsub.connection import Connection
from agent.adapters.pubsub.lane import PubSubLane, sid_of
from agent.adapters.pubsub.queue import PubSubQueue
from agent.errors import InvalidInput, Unavailable
from agent.leases import Leases
from agent.model.job import parse_job
from agent.model.records import AttemptRecord, Submission
from agent.ports import Delivery, Lease
from agent.pubsub_plan import ACK_DEADLINE, Place, attributes_of
from agent.results import Results, is_sid
from agent.wire import decode_native, plain

from tests.fakes import FakeClock, FakeRecords
from tests.proxy import Proxy
from tests.servers import Emulator
from tests.waiting import wait_until

LANES = ("any-none", "arm64-none", "plain")
JOB = parse_job({"image": "file:///srv/a.sif"})
SHORT = 10.0  # seconds


class World:
    """One queue with three lanes, as an agent and a submitter see it."""

    def __init__(self, endpoint: str, topic: str, *, is_plain: bool = False, init: bool = True) -> None:
        self.place = Place("lab-1", topic, is_plain)
        self.stopping = threading.Event()
        self.connection = Connection(endpoint, stopping=self.stopping)
        self.records = FakeRecords(FakeClock())
        self.results = Results(self.records, "mem://results")
        self.queue = PubSubQueue("lab", self.place, self.connection, self.results, SystemClock())
        if init:
            self.queue.admin(LANES).init()

    def lane(self, name: str = "any-none", lease: float = 120.0) -> PubSubLane:
        return self.queue.lanes((name,), lease)[name]

    def publish(self, lane: str = "any-none", body: bytes = b"{}", **attributes: str) -> None:
        self.connection.publish(self.place.topic, body, {**attributes_of(lane), **attributes})

    def submit(self, sid: str, **keys: object) -> None:
        job = parse_job({"image": "file:///srv/a.sif", **keys})
        self.queue.submitter().submit(Submission(sid, plain(job), "lab", "-".join(job.lane), time.time()))


@pytest.fixture
def new_world(emulator: Emulator, request: pytest.FixtureRequest) -> Iterator[Callable[..., World]]:
    worlds: list[World] = []

    def make(**options: bool) -> World:
        name = f"t{abs(hash(request.node.name)):x}-{len(worlds)}"
        worlds.append(World(emulator.endpoint, name, **options))
        return worlds[-1]

    yield make
    for world in worlds:
        world.stopping.set()


@pytest.fixture
def world(new_world: Callable[..., World]) -> World:
    return new_world()


def pulled(lane: PubSubLane, timeout: float = 5.0) -> Delivery:
    delivery = lane.pull(timeout)
    assert delivery is not None
    return delivery


def held(delivery: Delivery, n: int | None = None, token: str | None = None) -> Lease:
    return Lease(delivery.sid, delivery.handle, n, token)


def message_id_of(delivery: Delivery) -> str:
    return delivery.sid.rpartition("-")[2]


# --- a lane as a JobSource --------------------------------------------------------------------------------------------


def test_an_empty_lane_gives_nothing_after_the_timeout(world: World) -> None:
    before = time.monotonic()
    assert world.lane().pull(3.0) is None
    assert 1.5 < time.monotonic() - before < 8


def test_a_submitted_job_arrives_in_its_lane_with_its_id_and_the_servers_time(world: World) -> None:
    world.submit("job-1")
    delivery = pulled(world.lane())
    assert (delivery.queue, delivery.sid) == ("lab", "job-1")
    assert delivery.attributes == {"edge_arch": "any", "edge_accel": "none", "edge_sid": "job-1"}
    assert decode_native(delivery.body, delivery.attributes) == JOB
    assert delivery.submitted_at == pytest.approx(time.time(), abs=5)


def test_a_message_without_an_id_gets_one_of_subscription_and_message_id(world: World) -> None:
    world.publish("plain", b"whatever")
    delivery = pulled(world.lane("plain"))
    assert delivery.sid.startswith(f"{world.place.name}.plain-")
    assert is_sid(delivery.sid)
    assert delivery.body == b"whatever"


@pytest.mark.parametrize("carried", ["", "../etc", "a b", ".x", "a.json", "x" * 128])
def test_an_id_that_is_none_is_not_believed(carried: str) -> None:
    sid = sid_of("projects/lab-1/subscriptions/j~%" + "j" * 250, "12" * 40, {"edge_sid": carried})
    assert is_sid(sid)
    assert sid != carried
    assert sid != sid_of("projects/lab-1/subscriptions/jobs", "13", {})


def test_each_pull_gives_one_message_and_leaves_the_others_to_others(world: World) -> None:
    for number in range(3):
        world.publish(edge_sid=f"job-{number}")
    one, two = world.lane(), World(world.connection.server, world.place.name, init=False).lane()
    assert {pulled(one).sid, pulled(two).sid, pulled(one).sid} == {"job-0", "job-1", "job-2"}
    assert one.pull(1.0) is None


def test_a_settled_message_is_gone_and_settling_twice_is_settling_once(world: World) -> None:
    world.publish()
    lane = world.lane()
    delivery = pulled(lane)
    lane.settle(held(delivery))
    lane.settle(held(delivery))
    lane.release(held(delivery), 0)
    assert lane.pull(3.0) is None


def test_a_released_message_comes_again_but_never_at_once(world: World) -> None:
    world.publish(edge_sid="job-1")
    lane = world.lane()
    before = time.monotonic()
    lane.release(held(pulled(lane)), 0.0)
    assert pulled(lane, 10).sid == "job-1"
    assert time.monotonic() - before > 1.5


def test_the_message_of_a_dead_agent_comes_again_and_a_renewed_one_does_not(world: World) -> None:
    for sid in ("lapsed", "renewed"):
        world.publish(edge_sid=sid)
    lane, before = world.lane(lease=SHORT), time.monotonic()
    deliveries = {each.sid: each for each in (pulled(lane), pulled(lane))}
    assert lane.pull(5.0) is None
    unknown = Lease("gone", f"{world.place.subscription('any-none')}\nno-such-ack-id")
    assert lane.extend([unknown, held(deliveries["renewed"])]) == frozenset()
    assert pulled(lane, 12).sid == "lapsed"
    assert time.monotonic() - before > SHORT - 1
    assert pulled(lane, 12).sid == "renewed"
    assert time.monotonic() - before > SHORT + 4


def test_a_message_whose_deadline_passed_is_adopted_by_the_attempt_that_runs(world: World) -> None:
    world.publish(edge_sid="job-1")
    stops: list[tuple[str, str]] = []
    lane, leases = world.lane(lease=SHORT), Leases(SHORT / 3, lambda sid, why: stops.append((sid, why)))
    assert world.results.claim(AttemptRecord("job-1", 1, "host-a", "token-a", 0.0))
    leases.hold(lane, world.results, held(pulled(lane), 1, "token-a"))
    again = pulled(lane, 20)
    assert again.sid == "job-1"
    assert leases.adopt(again.sid, again.handle)
    leases.step(0.0)
    assert stops == [], "nobody else has taken the job over"
    lease = leases.lease("job-1")
    assert lease == held(again, 1, "token-a")
    lane.settle(lease)
    subscription, _, ack_id = again.handle.partition("\n")
    world.connection.extend(subscription, [ack_id], 0)
    assert lane.pull(3.0) is None, "it is gone, and not just held"


def test_a_lease_is_lost_only_when_another_attempt_took_over(world: World) -> None:
    for sid in ("mine", "taken"):
        world.publish(edge_sid=sid)
        assert world.results.claim(AttemptRecord(sid, 1, "host-a", "token-a", 0.0))
    lane = world.lane()
    leases = [held(pulled(lane), 1, "token-a") for _ in range(2)]
    assert world.results.claim(AttemptRecord("taken", 2, "host-b", "token-b", 0.0))
    assert lane.extend(leases) == {"taken"}
    lane.settle(leases[0])
    assert lane.extend(leases) == {"taken"}


def test_a_message_that_is_not_claimed_yet_has_nothing_to_lose(world: World) -> None:
    world.publish()
    lane = world.lane()
    assert lane.extend([held(pulled(lane))]) == frozenset()
    assert lane.extend([]) == frozenset()


def test_every_lane_can_renew_and_settle_the_deliveries_of_all(world: World) -> None:
    world.publish("arm64-none")
    delivery = pulled(world.lane("arm64-none"))
    other = world.lane("plain")
    assert other.extend([held(delivery)]) == frozenset()
    other.settle(held(delivery))
    other.release(held(delivery), 2)
    assert world.lane("arm64-none").pull(3.0) is None


def test_copies_of_other_lanes_jobs_are_acknowledged_and_not_delivered(world: World) -> None:
    for lane in LANES:
        world.publish(lane, edge_sid=f"for-{lane}")
    # The emulator applies no filter: each subscription has all three messages.
    for name in LANES:
        assert pulled(world.lane(name)).sid == f"for-{name}"
        assert world.lane(name).pull(1.0) is None


def test_a_plain_queue_has_one_lane_for_everything(new_world: Callable[..., World]) -> None:
    world = new_world(is_plain=True)
    world.submit("job-1", requires={"arch": ["arm64"]})
    world.publish("arm64-none")
    world.publish("plain")
    (lane,) = world.queue.lanes(("any-none", "arm64-none"), 120.0).values()
    deliveries = [pulled(lane) for _ in range(3)]
    assert sorted(len(each.attributes) for each in deliveries) == [0, 1, 2]
    assert "job-1" in {each.sid for each in deliveries}


def test_many_threads_never_get_the_same_message(world: World) -> None:
    for number in range(20):
        world.publish(edge_sid=f"job-{number}")
    lane = world.lane()
    with ThreadPoolExecutor(8) as threads:
        got = [each for each in threads.map(lambda _: lane.pull(5), range(20)) if each]
    assert len({each.sid for each in got}) == len(got) == 20


def test_a_blocked_pull_ends_at_once_when_the_agent_stops(world: World) -> None:
    with ThreadPoolExecutor(1) as threads:
        pull = threads.submit(world.lane().pull, 60)
        wait_until(lambda: pull.running())
        world.stopping.set()
        assert pull.result(timeout=5) is None
    assert world.lane().pull(60) is None


# --- what is missing --------------------------------------------------------------------------------------------------


def test_a_subscription_that_is_not_there_is_named_with_the_remedy(new_world: Callable[..., World]) -> None:
    world = new_world(init=False)
    with pytest.raises(Unavailable, match=r"subscription t.*any-none in project lab-1: does not exist.*queue init"):
        world.lane().pull(1)


def test_a_job_for_a_lane_that_nobody_made_is_refused_and_not_recorded(world: World) -> None:
    with pytest.raises(InvalidInput, match=r"no lane \"any-nvidia\".*queue init lab --lanes any-nvidia"):
        world.submit("job-1", requires={"gpus": 1})
    assert world.results.sids() == ()


def test_a_submission_is_recorded_before_it_is_published(world: World) -> None:
    world.records.down = True
    with pytest.raises(Unavailable):
        world.submit("job-1")
    assert world.lane().pull(1.0) is None
    world.records.down = False
    world.submit("job-1")
    assert world.results.sids() == ("job-1",)


# --- queue init -------------------------------------------------------------------------------------------------------


def test_init_makes_what_is_missing_and_finds_it_the_next_time(new_world: Callable[..., World]) -> None:
    world = new_world(init=False)
    made = world.queue.admin(("any-none",)).init()
    name = world.place.name
    assert [(part.kind, part.name, part.state) for part in made] == [
        ("topic", name, "made"),
        ("topic", f"{name}-dead", "made"),
        ("subscription", f"{name}.any-none", "made"),
        ("subscription", f"{name}-dead", "made"),
    ]
    assert {part.state for part in world.queue.admin(("any-none",)).init()} == {"there"}
    assert [part.state for part in world.queue.admin(("any-none", "plain")).init()].count("made") == 1


def test_init_reports_a_filter_that_differs_and_changes_nothing(new_world: Callable[..., World]) -> None:
    world = new_world(init=False)
    world.connection.create_topic(world.place.topic)
    wrong = _subscription(world, 'attributes.edge_arch = "arm64"')
    for _ in range(2):
        part = next(each for each in world.queue.admin(("any-none",)).init() if each.name.endswith(".any-none"))
        assert part.state == "differs"
        assert any(wrong in problem and "gcloud pubsub subscriptions delete" in problem for problem in part.problems)
        assert any("--ack-deadline=20" in problem for problem in part.problems)


def _subscription(world: World, text: str) -> str:
    from google.pubsub_v1.types import Subscription

    path = world.place.subscription("any-none")
    world.connection.create_subscription(Subscription(name=path, topic=world.place.topic, filter=text))
    return text


# --- lost connections -------------------------------------------------------------------------------------------------


@pytest.fixture
def proxy(emulator: Emulator) -> Iterator[Proxy]:
    proxy = Proxy(emulator.port)
    yield proxy
    proxy.close()


def behind(proxy: Proxy, world: World) -> World:
    """The same queue as an agent sees it whose connection can be cut."""
    return World(f"127.0.0.1:{proxy.port}", world.place.name, init=False)


def resumed(lane: PubSubLane, within: float) -> Delivery:
    """Return the next delivery, trying again as the agent does."""
    found: list[Delivery] = []

    def arrived() -> bool:
        try:
            found.extend(each for each in (lane.pull(10.0),) if each is not None)
        except Unavailable:
            threading.Event().wait(0.2)
        return bool(found)

    wait_until(arrived, within, "a delivery after the outage")
    return found[0]


def test_a_cut_connection_is_an_error_and_traffic_resumes_within_seconds(world: World, proxy: Proxy) -> None:
    lane = behind(proxy, world).lane()
    assert lane.pull(0.5) is None
    proxy.cut()
    with pytest.raises(Unavailable, match=r"Pub/Sub at 127\.0\.0\.1:\d+: does not answer"):
        lane.pull(30)
    world.publish(edge_sid="job-1")
    proxy.restore()
    assert resumed(lane, 5).sid == "job-1"


def test_a_connection_that_goes_silent_is_noticed_long_before_the_pull_ends(world: World, proxy: Proxy) -> None:
    lane = behind(proxy, world).lane()
    assert lane.pull(0.5) is None
    with ThreadPoolExecutor(1) as threads:
        pull = threads.submit(lane.pull, 60)
        wait_until(lambda: pull.running())
        proxy.silence()
        error = pull.exception(timeout=20)
        assert isinstance(error, Unavailable)
    world.publish(edge_sid="job-1")
    proxy.restore()
    # The server may have handed it to the connection that is dead: then it comes again after its ack deadline.
    assert resumed(lane, ACK_DEADLINE + 10).sid == "job-1"


def test_a_server_that_ends_a_quiet_connection_in_the_orderly_way_is_no_outage(
    new_world: Callable[..., World], monkeypatch: pytest.MonkeyPatch
) -> None:
    # The emulator takes the third sign of life in a row, with nothing else between them, for one too many.
    often = {**dict(connection.OPTIONS), "grpc.keepalive_time_ms": 1000}
    monkeypatch.setattr(connection, "OPTIONS", tuple(often.items()))
    ended = threading.Event()
    is_farewell = connection._is_farewell

    def watched(call: object) -> bool:
        if is_farewell(call):
            ended.set()
        return is_farewell(call)

    monkeypatch.setattr(connection, "_is_farewell", watched)
    world = new_world()
    subscription = world.place.subscription("any-none")
    wait_until(lambda: world.connection.pull(subscription, 6.0) is None and ended.is_set(), 60, "it was ended")
    assert world.connection.topic(world.place.topic) is not None


def test_a_restarted_server_has_forgotten_the_queue_until_it_is_made_again(own_emulator: Emulator) -> None:
    world = World(own_emulator.endpoint, "jobs")
    lane = world.lane()
    assert lane.pull(0.5) is None
    own_emulator.stop()
    with pytest.raises(Unavailable, match="does not answer"):
        lane.pull(5)
    own_emulator.start()
    wait_until(lambda: "does not exist" in _said(lane), 5, "the server says that it knows no such subscription")
    world.queue.admin(LANES).init()
    world.publish(edge_sid="job-1")
    assert resumed(lane, 5).sid == "job-1"
    world.stopping.set()


def _said(lane: PubSubLane) -> str:
    try:
        lane.pull(1.0)
    except Unavailable as error:
        return str(error)
    return ""
