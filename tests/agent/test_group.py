"""Group commit: one commit for all that came within a few milliseconds, each told what became of its own."""

import asyncio
import hashlib

from msgspec.structs import replace

from device_bench import make_policy
from discreet_agent.event import Batch, EventRefusal, Refused
from discreet_agent.receive.edge import HttpEdge
from discreet_agent.receive.group import GROUP_EVENTS, GroupCommit
from discreet_contract.policy.operation import Sender

REFUSED = Refused(EventRefusal.DUPLICATE, "in tests")


def commit_all(*batches):
    """Commit batches at the same time; returns (the groups as they were stored, what each was told)."""
    groups = []

    def record(group):
        groups.append(list(group))
        return [REFUSED if item == "bad" else None for batch in group for item in batch.items]

    async def all_at_once():
        group = GroupCommit(record)
        return await asyncio.gather(*(group.commit(Batch(name, items)) for name, items in batches))

    return groups, asyncio.run(all_at_once())


def test_batches_of_one_moment_share_a_commit_and_each_gets_its_own_outcomes():
    groups, told = commit_all(("a", ["good"]), ("b", ["bad", "good"]), ("c", []), ("d", ["bad"]))
    assert [[batch.sender for batch in group] for group in groups] == [["a", "b", "c", "d"]]
    assert told == [[None], [REFUSED, None], [], [REFUSED]]


def test_a_large_batch_does_not_wait():
    groups, _ = commit_all(("a", ["good"] * GROUP_EVENTS), ("b", ["good"]))
    assert [[batch.sender for batch in group] for group in groups] == [["a"], ["b"]]


def test_who_a_token_names_follows_the_policy_in_force():
    """A policy that names senders from now on asks for tokens from now on."""
    policy = make_policy().policy
    digest = hashlib.sha256(b"a-token").hexdigest()
    named = {"doors": Sender(token_sha256=digest, signals=("door.opened",)), "by_user": Sender(uid=0)}
    now = [policy]
    edge = HttpEdge("127.0.0.1:4318", list, lambda: now[0], lambda: 0)
    assert edge._identify(None).may_send("door.opened")
    now[0] = replace(policy, senders=named)
    assert edge._identify(None) is None
    assert edge._identify("another") is None
    assert edge._identify("a-token").name == "doors"
    assert not edge._identify("a-token").may_send("door.closed")
