"""Killed between the commit that charges and the head outside the database: nothing left, nothing is drawn again."""

from deployment import Listener
from discreet_agent.store.head import HEAD, read_head

# Every step from the call that writes the head to the one after which it stands.
BEFORE_IT_STANDS = [("follow", 8), ("write_head", 1), *(("write_head", step) for step in range(2, 7))]
AFTERWARDS = [("write_head", 20), ("publishable", 1), ("publishable", 3), ("publish", 1)]


def envelopes_waiting(deployment):
    return sorted(deployment.query("agent/agent.db", "SELECT report_id, envelope FROM outbox"))


def test_killed_between_commit_and_head(deployment):
    """The head rolls forward, whatever it takes; no report leaves before it stands; every window counts once."""
    windows = deployment.seed(windows=20)
    head = deployment.folder / "agent" / HEAD
    deployment.start_aggregator()
    killed_at, drawn = [], None
    with Listener(deployment.port, "#") as listener:
        for trigger, step in BEFORE_IT_STANDS:
            killed_at.append(deployment.kill_at("agent", trigger, step))
            if (
                read_head(head).sequence > 0
            ):  # steps of the MQTT thread count as well, so this comes a little sooner or later
                break
            assert listener.envelopes == []
            waiting = envelopes_waiting(deployment)
            assert drawn is None or set(drawn) <= set(waiting)  # only windows that ended since came in addition
            drawn = waiting or None
        assert drawn, killed_at
        assert len(killed_at) >= 4, killed_at
        killed_at += [deployment.kill_at("agent", trigger, step) for trigger, step in AFTERWARDS]
        assert read_head(head).sequence >= 3 * len(windows)
        deployment.start_agent()
        deployment.wait_until(
            lambda: deployment.made() >= 3 * len(windows) and deployment.waiting() == 0, "all is settled", 60
        )
        assert deployment.status()["releases"] == "running"
        assert deployment.stop("agent") == 0
        deployment.check_exactly_once(windows)
        deployment.check_same_bytes(listener.envelopes)
    steps = {name.split(" ", 1)[1] for name in killed_at if name}
    assert "write_head" in steps, killed_at
