"""A running agent takes released policies from a real broker, and refuses every bad one under a counted reason."""

import json
import time

import msgspec
from nacl.signing import SigningKey

from discreet_agent.ask import ask
from discreet_contract.policy.bundle import MAX_BUNDLE_BYTES, make_bundle
from discreet_contract.policy.compile import build_policy, canonicalize
from discreet_contract.policy.log import PolicyLog
from discreet_contract.policy.read import parse_policy_text
from discreet_contract.policy.release import _SIGNED, sign_policy
from discreet_contract.policy.signatures import sign

MORE_FIELDS = ("      seconds: {", "      rooms: {type: number, min: 0, max: 99, required: false}\n      seconds: {")
NEWER_SIGNAL = ("version: 1-0-0", "version: 1-0-1\n    accepts: [1-0-0]")
HIGHER_CAP = ("lifetime: 100000", "lifetime: 200000")


def line(version="1-0-0", **fields):
    at = time.time_ns() // 1_000_000
    fields = {"seconds": 1, "side": "left"} | fields
    return json.dumps({"signal": "door.opened", "version": version, "time": at, "fields": fields}).encode()


def version(deployment):
    return deployment.status().get("policy", {}).get("version")


def counted(deployment):
    return deployment.status()["counters"].get("policies_refused", {})


def trail(deployment):
    done = deployment.discreet("agent", "policies", "--json", "--config", deployment.agent_toml)
    return [(row["version"], row["source"]) for row in json.loads(done.stdout)["policies"]]


def started(deployment):
    deployment.start_agent()
    deployment.wait_until(lambda: deployment.status().get("broker") == "connected", "the agent is connected")


def test_a_released_policy_is_taken_from_the_broker_without_a_restart(deployment):
    """At once for what is received. What the device shows can be held against the log."""
    started(deployment)
    assert "refused" in ask(deployment.socket, line("1-0-1", rooms=2))
    deployment.publish(deployment.release(MORE_FIELDS, NEWER_SIGNAL))
    deployment.wait_until(lambda: version(deployment) == 2, "the new policy is in force")

    assert ask(deployment.socket, line("1-0-1", rooms=2)) == {"ok": 1}
    assert ask(deployment.socket, line()) == {"ok": 1}
    assert trail(deployment) == [(1, "file"), (2, "broker")]
    shown = deployment.status()["policy"]["log"]
    seen = f"{shown['size']}:{shown['root']}"
    proof = deployment.discreet(
        "policy", "log", "verify", str(deployment.folder / "releases"), "--root", deployment.root_hex, "--seen", seen
    )
    assert proof.returncode == 0, proof.stderr

    deployment.stop("agent")
    deployment.kill("broker")
    deployment.start_agent()
    deployment.wait_until(lambda: version(deployment) == 2, "it is kept over a restart without a broker")


def test_a_running_aggregator_follows_the_log(deployment):
    """Reports under a policy that was released after its start are counted."""
    deployment.start_aggregator()
    deployment.wait_until(lambda: "ready" in (deployment.folder / "aggregator.log").read_text(), "it serves")
    windows = deployment.seed(windows=2)
    (deployment.folder / "policy.json").write_bytes(deployment.release(MORE_FIELDS, NEWER_SIGNAL))
    deployment.start_agent()
    deployment.wait_until(
        lambda: deployment.made() >= 3 * len(windows) and deployment.waiting() == 0, "the reports are settled"
    )
    with deployment.reader() as reader:
        hashes = {policy_hash for _, policy_hash, _, _ in reader.archived()}
    assert hashes == {bytes.fromhex(deployment.status()["policy"]["hash"])[:16]}


def test_a_running_agent_refuses_bad_policies_and_goes_on(deployment, tmp_path):
    """More than ten kinds, from the broker and from the file; then a good one is taken all the same."""
    for _ in range(2):
        newest = deployment.release()
    (deployment.folder / "policy.json").write_bytes(newest)
    started(deployment)
    good = deployment.release(MORE_FIELDS, NEWER_SIGNAL)
    bad = dict(bad_policies(deployment, good, tmp_path))
    for number, (reason, content) in enumerate(bad.items(), start=1):
        if number == 3:
            (deployment.folder / "policy.json").write_bytes(content)
        else:
            deployment.publish(content)
        deployment.wait_until(lambda r=reason: counted(deployment).get(r) == 1, f"{reason} is counted")
        status = deployment.status()
        assert status["policy"]["version"] == 3
        assert status["policy"]["refused"]["reason"] == reason
        assert status["policy"]["refused"]["source"] == ("file" if number == 3 else "broker")
        assert ask(deployment.socket, line()) == {"ok": 1}
    assert len(bad) >= 10
    assert trail(deployment) == [(3, "file")]
    deployment.publish(good)
    deployment.wait_until(lambda: version(deployment) == 4, "the good one is in force")
    assert counted(deployment) == dict.fromkeys(bad, 1)
    assert (deployment.folder / "agent" / "policy.conflict.json").read_bytes() == bad["SPLIT_VIEW"]


def bad_policies(deployment, good, folder):
    """Reason → what is delivered."""

    def spoilt(**changes):
        return json.dumps(json.loads(good) | changes).encode()

    outer = json.loads(good)
    stranger = SigningKey.generate()

    def entry(content, key=deployment.root):
        return {"policy": content, "signatures": msgspec.to_builtins(sign(_SIGNED + canonicalize(content), [key]))}

    head = outer["head"]
    yield "FORM", good[:-100]
    yield "SIZE", b" " * (MAX_BUNDLE_BYTES + 1)
    yield "NO_PINNED_SIGNATURE", spoilt(policy=entry(outer["policy"]["policy"], stranger))
    yield "ALTERED", good.replace(b'"retention":"2d"', b'"retention":"9d"')
    yield "LANGUAGE", spoilt(policy=entry(outer["policy"]["policy"] | {"colour": "blue"}))
    yield "HEAD_UNSIGNED", spoilt(head=head | {"signatures": []})
    yield "HEAD_ALTERED", spoilt(head=head | {"time_ms": head["time_ms"] + 1})
    yield "NOT_INCLUDED", spoilt(inclusion=[])
    yield "GROWTH_UNPROVEN", spoilt(consistency=[])
    yield "FLEET", spoilt(head=head | {"fleet": "others"})
    yield "NOT_NEWEST", spoilt(policy=json.loads(deployment.log.entries[0]))
    yield "ROLLBACK", older(deployment)
    yield "INCONSISTENT", forked(deployment, folder / "longer", 4)
    yield "SPLIT_VIEW", forked(deployment, folder / "fork", 3)
    yield "EXPIRED", expired(deployment, folder)


def older(deployment):
    log = PolicyLog(deployment.log.folder, deployment.log.entries[:2], None)
    return rehead(log, deployment)


def forked(deployment, folder, releases):
    """Another log under the same root."""
    log = PolicyLog.open(folder)
    for number in range(1, releases + 1):
        text = deployment._text.replace("version: 1\n", f"version: {number}\n", 1).replace("in force", "forked")
        text = text.replace("a policy for whole deployments", "another policy")
        log = log.append(
            sign_policy(build_policy(parse_policy_text(text.encode(), "x")), [deployment.root]), [deployment.root], 1
        )
    return make_bundle(log)


def expired(deployment, folder):
    """A release that grew from the true log, but whose approvals ended long ago."""
    text = deployment._text.replace("version: 1\n", "version: 4\n", 1).replace("2039-01-01", "2021-01-01")
    log = PolicyLog(folder / "old", deployment.log.entries[:3], deployment.log.head)
    signed = sign_policy(build_policy(parse_policy_text(text.encode(), "x")), [deployment.root])
    return make_bundle(log.append(signed, [deployment.root], int(time.time() * 1000)))


def rehead(log, deployment):
    from dataclasses import replace

    from discreet_contract.policy.log import LogHead

    statement = LogHead("crashers", len(log.entries), log.root().hex(), int(time.time() * 1000))
    signed = msgspec.structs.replace(statement, signatures=sign(statement.signed_part(), [deployment.root]))
    return make_bundle(replace(log, head=signed))


def test_a_policy_that_asks_for_more_pauses_and_a_lesser_one_resumes(deployment):
    """While it pauses the agent listens for policies and sends nothing; a rollback reaches it."""
    deployment.discreet("agent", "on", "--config", deployment.agent_toml)
    started(deployment)
    deployment.publish(deployment.release(HIGHER_CAP))
    deployment.wait_until(lambda: version(deployment) == 2, "the demanding policy is in force")
    paused = deployment.status()
    assert paused["state"] == "off"
    assert "asks for more" in paused["why_off"]
    assert "CONSENT_OFF" in json.dumps(ask(deployment.socket, line()))
    deployment.publish(deployment.release(HIGHER_CAP[::-1]))
    deployment.wait_until(lambda: version(deployment) == 3, "the rollback is in force")

    assert deployment.status()["state"] == "on"
    assert ask(deployment.socket, line()) == {"ok": 1}


def test_off_is_off_for_policies_too(deployment):
    """No connection, no look, nothing kept (P6); `on` brings the newest."""
    started(deployment)
    deployment.discreet("agent", "off", "--config", deployment.agent_toml)
    deployment.wait_until(lambda: deployment.status()["broker"] != "connected", "the connection is closed")
    kept = (deployment.folder / "agent" / "policy.kept.json").read_bytes()
    newest = deployment.release(MORE_FIELDS, NEWER_SIGNAL)
    deployment.publish(newest)
    (deployment.folder / "policy.json").write_bytes(newest)
    time.sleep(2.5)
    assert version(deployment) == 1
    assert (deployment.folder / "agent" / "policy.kept.json").read_bytes() == kept
    deployment.discreet("agent", "on", "--config", deployment.agent_toml)
    deployment.wait_until(lambda: version(deployment) == 2, "the newest is in force")
