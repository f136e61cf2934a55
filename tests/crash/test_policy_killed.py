"""Killed in the middle of taking a policy: the old one or the new one, never neither; the trail names each once."""

import json

from discreet_agent.policies import KEPT

KEEPING = [("_with_successions", step) for step in (1, 3, 5, 6, 7, 8, 9, 10, 12, 15)]
NOTING = [("adopt", 1), ("adopt", 4), *(("in_force", step) for step in (1, 3, 5, 7, 9, 12, 15, 18, 22, 26))]


def kept_version(deployment):
    return json.loads((deployment.folder / "agent" / KEPT).read_bytes())["head"]["size"]


def trail(deployment):
    return [row[0] for row in deployment.query("agent/agent.db", "SELECT version FROM policies ORDER BY sequence")]


def test_killed_while_it_takes_a_policy(deployment):
    """At every stage, from the judgement to the trail."""
    deployment.start_agent()
    deployment.wait_until(deployment.socket.exists, "the agent is up, its tables made")
    deployment.wait_until(lambda: trail(deployment) == [1], "the first is in force")
    deployment.stop("agent")
    killed_at, left = [], set()
    for version, (trigger, step) in enumerate([*KEEPING, *NOTING], start=2):
        deployment.publish(deployment.release())
        killed_at.append(deployment.kill_at("agent", trigger, step))
        assert kept_version(deployment) in {version - 1, version}, killed_at[-1]
        left.add((kept_version(deployment) == version, len(trail(deployment)) == version))
        deployment.start_agent()
        deployment.wait_until(lambda v=version: trail(deployment) == list(range(1, v + 1)), "it is in force, once")
        assert kept_version(deployment) == version
        deployment.stop("agent")

    assert len([name for name in killed_at if name]) >= 15, killed_at
    assert {(False, False), (True, False), (True, True)} == left, (killed_at, left)
