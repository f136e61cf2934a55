"""References for the Markdown files, made from the code itself: cog calls these, tests/docs/ checks them.

A key without a line under MEANINGS raises KeyError here, so that nothing new stays undocumented.
"""

from __future__ import annotations

import types
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

import click
import msgspec

from discreet_agent.config import AgentConfig
from discreet_aggregator.config import AggregatorConfig, Exposition
from discreet_contract import durations
from discreet_contract.audit.engine import Effort, audit_policy
from discreet_contract.audit.findings import MEANINGS as AUDIT_MEANINGS
from discreet_contract.audit.render import NOT_ASKED
from discreet_contract.audit.render import as_text as audit_text
from discreet_contract.broker import Broker
from discreet_contract.cli.main import discreet
from discreet_contract.mechanisms.discrete_laplace import DiscreteLaplace
from discreet_contract.mechanisms.dithered_bit import DitheredBit
from discreet_contract.mechanisms.dithered_levels import DitheredLevels
from discreet_contract.mechanisms.dithered_mix import DitheredMix
from discreet_contract.mechanisms.k_ary import KAryResponse
from discreet_contract.mechanisms.local_hashing import LinearLocalHashing
from discreet_contract.mechanisms.multi_select import MultiSelect
from discreet_contract.mechanisms.randomized_response import RandomizedResponse
from discreet_contract.mechanisms.subset_selection import SubsetSelection
from discreet_contract.policy import model, operation, personalization, terms, trials
from discreet_contract.policy.compile import canonical_json, load_policy, policy_hash
from discreet_contract.policy.diff import diff_policies, diff_text
from discreet_contract.policy.explain import explain
from discreet_contract.policy.explain_document import arrange
from discreet_contract.policy.explain_render import as_text
from discreet_contract.policy.lint import RULES
from discreet_contract.policy.meanings import MEANINGS as POLICY_MEANINGS
from discreet_contract.policy.precision import devices_needed, expect, plan_text

if TYPE_CHECKING:
    from collections.abc import Iterator

    from discreet_contract.mechanisms.mechanism import Mechanism

EXAMPLES = Path(__file__).resolve().parents[1] / "policies" / "examples"
WIDTH = 100  # of help texts, whatever terminal cog runs in

# Records of the policy language, in the order in which a policy reads; (heading, struct).
POLICY_RECORDS: tuple[tuple[str, type[msgspec.Struct]], ...] = (
    ("top level", model.Policy),
    ("release", model.Release),
    ("aggregator", model.Aggregator),
    ("aggregator.keys[]", model.AggregatorKey),
    ("budget", model.Budget),
    ("collector", model.Collector),
    ("collector.host", model.HostCollector),
    ("collector.anomalies", model.AnomalyCollector),
    ("signals.<name>", model.Signal),
    ("signals.<name>.otlp", model.Otlp),
    ("signals.<name>.fields.<name>, type: number", model.NumberField),
    ("signals.<name>.fields.<name>, type: category", model.CategoryField),
    ("signals.<name>.fields.<name>, type: boolean", model.BooleanField),
    ("signals.<name>.fields.<name>, type: text", model.TextField),
    ("metrics.<name>", model.Metric),
    ("metrics.<name>.display", model.Display),
    ("features.<name>", personalization.Feature),
    ("scores.<name>", personalization.Score),
    ("segments.<name>", personalization.Segment),
    ("flags.<name>", personalization.Flag),
    ("cohorts.<name>", trials.Cohort),
    ("layers.<name>", trials.Layer),
    ("experiments.<name>", trials.Experiment),
    ("retention", operation.Retention),
    ("outbox", operation.Outbox),
    ("senders.<name>", operation.Sender),
    ("contracts.<signal>", operation.Contract),
    ("guards.<name>", operation.Guard),
    ("kill", operation.Kill),
)

# Names of the aliases that the records use, so that a table says "duration" and not a pattern.
ALIASES: tuple[tuple[Any, str], ...] = (
    (durations.Duration, "duration"),
    (terms.Name, "name"),
    (terms.SignalName, "signal name"),
    (terms.FleetName, "fleet name"),
    (terms.SchemaVersion, "schema version"),
    (terms.Date, "date"),
    (terms.HexKey, "key in hex"),
    (terms.KeyId, "key id"),
    (terms.Category, "text, 1 to 64 characters"),
    (terms.Percent, "share in %"),
    (terms.Salt, "text, 1 to 64 characters"),
    (terms.Label, "label"),
    (terms.ExperimentName, "experiment name"),
    (terms.AttributeName, "text, 1 to 255 characters"),
    (terms.Uid, "user or group id"),
    (terms.Logic, "JSONLogic"),
)

# Configuration files: (file, table, struct).
CONFIG_RECORDS: tuple[tuple[str, str, type[msgspec.Struct]], ...] = (
    ("agent.toml", "", AgentConfig),
    ("agent.toml", "broker", Broker),
    ("aggregator.toml", "", AggregatorConfig),
    ("aggregator.toml", "broker", Broker),
    ("aggregator.toml", "metrics", Exposition),
)

MEANINGS: dict[str, str] = POLICY_MEANINGS | {
    "AgentConfig.policy": (
        "What `discreet policy publish --output` wrote. Looked at every second; newer ones come from the broker too."
    ),
    "AgentConfig.roots": "Pinned root public keys. A policy is obeyed if one of them, or its successor, signed it.",
    "AgentConfig.witness": "Public key of a witness that must have signed the log's head. Empty: none is demanded.",
    "AgentConfig.broker": "Where the broker is; the table `[broker]` below.",
    "AgentConfig.state_dir": (
        "Database, secret, consent, last good policy. Empty: `/var/lib/discreet` for root, else "
        "`$XDG_STATE_HOME/discreet`, else `~/.local/state/discreet`."
    ),
    "AgentConfig.socket": (
        "Unix socket. Empty: `$XDG_RUNTIME_DIR/discreet/agent.sock`, else `/run/discreet/agent.sock`."
    ),
    "AgentConfig.socket_mode": "Who may open the socket: its owner, its group (`0660`), everybody (`0666`).",
    "AgentConfig.socket_group": (
        "Group of the socket; the agent's user must be in it, and the folder must let it pass. Empty: the agent's own."
    ),
    "AgentConfig.http": (
        "Where OTLP/HTTP is taken and apps are served (OFREP): a loopback address and port, like `127.0.0.1:4318`. "
        "Empty: nowhere. Senders that the policy names show their token (`Authorization: Bearer …`)."
    ),
    "AgentConfig.resend_seconds": "First wait for a receipt. It doubles with every resend, up to an hour, with jitter.",
    "AgentConfig.min_free_disk_bytes": (
        "What must stay free on the disk of `state_dir`. Below it events are refused (`STORE_UNAVAILABLE`); deleting, "
        "closing windows and sending go on. 0: no limit."
    ),
    "AgentConfig.max_database_bytes": "What the database may take. Beyond it the oldest raw events go first; "
    "the ledger and reports that wait never do.",
    "AgentConfig.deny_signals": "Signals that are not recorded on this device, whatever the policy says. "
    "Their metrics report as of a device with nothing to say, also in the window that is open. "
    "What was recorded before stays until its retention is over, or `discreet agent purge --signal`.",
    "AgentConfig.max_epsilon_per_28_days": "The owner's own cap on ε in any 28 days; "
    "holds where it is lower than the policy's.",
    "AgentConfig.max_epsilon_per_365_days": "The same for any 365 days.",
    "AgentConfig.platform": "Public fact: what kind of device this is. Experiments, cohorts and metrics may name it.",
    "AgentConfig.release": "Public fact: the release of this device's software, for the same; empty where unknown.",
    "AgentConfig.max_epsilon_lifetime": "The same for this device's lifetime.",
    "AgentConfig.log_json": "Log as JSON lines; false: as text for people.",
    "AggregatorConfig.fleet": "The one fleet this aggregator serves.",
    "AggregatorConfig.state_dir": "Database (without `database`), number of workers, and lock file.",
    "AggregatorConfig.metrics": "Figures about the aggregator for Prometheus; the table `[metrics]` below.",
    "Exposition.listen": "`host:port` at which Prometheus may read them (extra `metrics`). Empty: nothing listens.",
    "Exposition.allow_network": "Whether `listen` may be another address than loopback. There is no password.",
    "AggregatorConfig.keys_dir": (
        "Private keys `<id>.key`, mode 0600; files that come or go are noticed within seconds. `credential:`: those "
        "that systemd hands over (`LoadCredential=2026q4.key:…`)."
    ),
    "AggregatorConfig.policies": (
        "Transparency logs, which are followed as they grow; or signed policies, files or folders of `*.json`, read at "
        "start only."
    ),
    "AggregatorConfig.roots": "Pinned root public keys, as on the devices.",
    "AggregatorConfig.broker": "Where the broker is; the table `[broker]` below.",
    "AggregatorConfig.client_id": (
        "What its session at the broker is called; several workers add `-1`, `-2` … Must stay the same, and be "
        "another one on each machine. Empty: `discreet-aggregator-<fleet>`."
    ),
    "AggregatorConfig.database": (
        "`postgresql://user@host:port/name`, without a password (`?passfile=…`, or libpq's own `~/.pgpass`). "
        "Empty: SQLite in `state_dir`."
    ),
    "AggregatorConfig.workers": "Processes that open and count reports; they share the subscription.",
    "AggregatorConfig.replay_clock": "File of a replay clock. Demonstrations on a loopback broker only.",
    "AggregatorConfig.batch": "Envelopes in one transaction at the most.",
    "AggregatorConfig.flush_ms": "How long the first envelope of a batch may wait.",
    "AggregatorConfig.log_json": "Log as JSON lines; false: as text for people.",
    "Broker.url": "`mqtt://host:port` or `mqtts://host:port`. Ports default to 1883 and 8883.",
    "Broker.username": "Name of the broker account.",
    "Broker.password_file": (
        "File that holds its password and nothing else. Here and below, `credential:NAME` is the file that the unit's "
        "`LoadCredential=NAME:…` gives."
    ),
    "Broker.ca_file": (
        "PEM file of the authority that signed the broker's certificate, or of that certificate itself, which pins it. "
        "Empty: the system's authorities."
    ),
    "Broker.cert_file": "PEM file of this side's own certificate.",
    "Broker.key_file": "PEM file of that certificate's key. Refused where every user may open it.",
    "Broker.protocol": (
        "`5`, `3.1.1` or `auto`: 5, and 3.1.1 where the broker does not take 5. The aggregator speaks 5 only."
    ),
    "Broker.client_id": (
        "A device's MQTT client id, for brokers whose rules demand a certain one: it names the device to them. Empty: "
        "random, another for each connection. The aggregator has its own `client_id` above."
    ),
    "Broker.reconnect_seconds": (
        "Over how long a device's first try after a lost connection is spread; the waits after it double up to a "
        "minute, or to this. 0: half a second for a broker on this machine, else 15."
    ),
    "Broker.allow_plaintext": "Permit `mqtt://` to another machine. Envelopes stay sealed; passwords do not.",
}


def cli_reference() -> str:
    """Help of `discreet`, of each group and of each command, as Markdown."""
    return "\n\n".join(f"```text\n$ {path} --help\n{text}\n```" for path, text in help_texts())


def help_texts() -> Iterator[tuple[str, str]]:
    """(command path, its help) of everything that is not hidden, groups before their commands."""
    yield from _help(discreet, None, "discreet")


def _help(command: click.Command, parent: click.Context | None, name: str) -> Iterator[tuple[str, str]]:
    context = command.make_context(
        name, [], parent, resilient_parsing=True, terminal_width=WIDTH, max_content_width=WIDTH
    )
    text = command.get_help(context)
    yield context.command_path, "\n".join(line.rstrip() for line in text.splitlines())
    if isinstance(command, click.Group):
        for sub_name in command.list_commands(context):
            sub = command.get_command(context, sub_name)
            if sub is not None and not sub.hidden:
                yield from _help(sub, context, sub_name)


def config_reference(file: str) -> str:
    """Every key of `agent.toml` or `aggregator.toml` as Markdown tables."""
    parts = []
    for name, table, record in CONFIG_RECORDS:
        if name == file:
            title = f"`[{table}]` of `{file}`:" if table else f"Top of `{file}`:"
            parts.append(f"{title}\n\n{_table(record)}")
    return "\n\n".join(parts)


def policy_reference() -> str:
    """Every key of the policy language as Markdown tables, one a record."""
    parts = []
    for heading, record in POLICY_RECORDS:
        summary = (record.__doc__ or "").strip()
        parts.append(f"### `{heading}`\n\n{summary}\n\n{_table(record)}")
    return "\n\n".join(parts)


def lint_reference() -> str:
    """Every lint rule with what it finds."""
    rows = [(f"`{name}`", (rule.__doc__ or "").strip()) for name, rule in RULES.items()]
    rows.append(("`UNUSED_SUPPRESSION`", "A suppression that silences nothing. Cannot be suppressed."))
    rows.append(("`UNEXPLAINED_SUPPRESSION`", "A suppression whose reason has fewer than three words."))
    return _markdown_table(("rule", "finds"), rows)


def explained(example: str) -> str:
    """`discreet policy explain` of an example, tight figures included."""
    policy = load_policy(EXAMPLES / f"{example}.yaml")
    facts = explain(policy, policy_hash(canonical_json(policy)), tight=True)
    command = f"$ discreet policy explain policies/examples/{example}.yaml"
    return f"```text\n{command}\n{as_text(arrange(facts))}\n```"


def diffed() -> str:
    """`discreet policy diff` of two made-up versions of the flights policy."""
    new = load_policy(EXAMPLES / "flights.yaml")
    cheaper = msgspec.structs.replace(new.metrics["late_departure"], epsilon=0.5)
    old = msgspec.structs.replace(new, metrics=new.metrics | {"late_departure": cheaper})
    new = msgspec.structs.replace(new, version=2, spread="5m")
    return f"```text\n{diff_text(diff_policies(old, new))}\n```"


def audited(example: str) -> str:
    """`discreet policy audit --no-device` of an example: the part that is the same every time."""
    findings = list(audit_policy(load_policy(EXAMPLES / f"{example}.yaml"), None, Effort()))
    command = f"$ discreet policy audit policies/examples/{example}.yaml --no-device"
    return f"```text\n{command}\n{audit_text(findings, NOT_ASKED)}\n```"


def audit_reference() -> str:
    """Every check of the audit: what it looks at, what a failure means, what to do."""
    rows = [(f"`{check.value}`", *texts) for check, texts in AUDIT_MEANINGS.items()]
    return _markdown_table(("check", "looks at", "a failure means", "then"), rows)


def planned(example: str, devices: int, width: float) -> str:
    """`discreet policy plan` of an example."""
    policy = load_policy(EXAMPLES / f"{example}.yaml")
    text = plan_text(expect(policy, devices), devices_needed(policy, width), width)
    command = f"$ discreet policy plan policies/examples/{example}.yaml --devices {devices} --width {width:g}"
    return f"```text\n{command}\n{text}\n```"


def poisoning_reference(honest: int = 10_000) -> str:
    """What m devices that always send the most extreme legal payload do to an estimate at ε = 1."""
    rows = []
    for name, mechanism, largest, span in extreme_reports():
        half_width = 1.96 * mechanism.expected_error(honest)
        cells = [f"{_points(shift_of(m, honest, largest, span))}" for m in (1, 10, 100, 1000)]
        enough = next(m for m in range(1, honest) if shift_of(m, honest, largest, span) > half_width / span)
        rows.append((name, f"{largest / span:.2f}", *cells, f"± {_points(half_width / span)}", str(enough)))
    head = ("mechanism", "one report counts as", "m = 1", "10", "100", "1,000", "95% interval", "m that leaves it")
    return _markdown_table(head, rows)


def extreme_reports() -> Iterator[tuple[str, Mechanism, float, float]]:
    """(name, mechanism, what the largest legal payload adds to the sum of estimates, range of honest values)."""
    rr = RandomizedResponse(1.0)
    yield "`rr-1`, share", rr, rr.estimate([1, 1])[0], 1.0
    for k in (4, 17):
        krr = KAryResponse(1.0, tuple(map(str, range(k))))
        yield f"`krr-1`, share of one of {k}", krr, krr.estimate([1, 1, *([0] * (k - 1))])[0], 1.0
    for number, mechanism in ((16, SubsetSelection), (1024, LinearLocalHashing)):
        chosen = mechanism(1.0, tuple(map(str, range(number))))
        yield f"`{chosen.id}`, share of one of {number:,}", chosen, chosen.support.estimate([1.0], 1)[0], 1.0
    selected = MultiSelect(KAryResponse(1.0, ("a", "b", "c", "d", "none")), 2)
    yield "`msel-krr-1`, share, 2 of 4", selected, selected.support.estimate([1.0], 1)[0], 1.0
    bit = DitheredBit(1.0, 0, 40)
    yield "`dbit-1`, mean of 0 … 40", bit, max(bit.estimate(bit.accumulate([one]))[0] for one in bit.outputs()), 40.0
    levels = DitheredLevels(2.0, 0, 40)
    worth = max(levels.estimate(levels.accumulate([one]))[0] for one in levels.outputs())
    yield "`dlev-1`, mean of 0 … 40, ε = 2", levels, worth, 40.0
    mix = DitheredMix(1.1, 0, 40)
    worth = max(mix.estimate(mix.accumulate([one]))[0] for one in mix.outputs())
    yield "`dmix-1`, mean of 0 … 40, ε = 1.1", mix, worth, 40.0
    dlap = DiscreteLaplace(1.0, 0, 40)
    yield "`dlap-1`, mean of 0 … 40", dlap, float(dlap.high + dlap.reach), float(dlap.high - dlap.low)


def shift_of(malicious: int, honest: int, largest: float, span: float) -> float:
    """Shift of the estimate, in ranges, where the honest devices' true mean is 0."""
    return malicious * largest / (honest + malicious) / span


def _points(share: float) -> str:
    return f"{100 * share:.2f} %"


def _table(record: type[msgspec.Struct]) -> str:
    hints = get_type_hints(record, include_extras=True)
    rows = []
    for field in msgspec.structs.fields(record):
        meaning = MEANINGS[f"{record.__name__}.{field.name}"]
        rows.append((f"`{field.encode_name}`", type_text(hints[field.name]), _default(field), meaning))
    return _markdown_table(("key", "type", "default", "meaning"), rows)


def _default(field: Any) -> str:
    if field.required:
        return "required"
    value = field.default_factory() if field.default is msgspec.NODEFAULT else field.default
    if isinstance(value, msgspec.Struct):
        return "all defaults"
    return {"": "empty", "None": "none", "True": "`true`", "False": "`false`", "()": "`[]`"}.get(
        str(value), f"`{value}`"
    )


def type_text(kind: Any) -> str:
    """A type annotation in words."""
    for alias, name in ALIASES:
        if kind == alias:
            return name
    if get_origin(kind) is Annotated:
        inner, *extras = get_args(kind)
        return type_text(inner) + "".join(_limits(extra) for extra in extras if isinstance(extra, msgspec.Meta))
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is Literal:
        return " · ".join(f"`{value}`" for value in arguments)
    if origin in {Union, types.UnionType}:
        return " or ".join(type_text(part) for part in arguments if part is not type(None))
    if origin is dict:
        return f"map: {type_text(arguments[0])} → {type_text(arguments[1])}"
    if origin is tuple:
        if arguments[-1] is Ellipsis:
            return f"list of {type_text(arguments[0])}"
        return f"[{', '.join(type_text(part) for part in arguments)}]"
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        return _record_text(kind)
    return {str: "text", float: "number", int: "integer", bool: "boolean", Any: "anything"}[kind]


def _record_text(record: type[msgspec.Struct]) -> str:
    tag = record.__struct_config__.tag
    return f"`type: {tag}`" if tag else "table"


def _limits(meta: msgspec.Meta) -> str:
    texts = {
        "gt": (meta.gt, "> {}"),
        "ge": (meta.ge, "≥ {}"),
        "le": (meta.le, "≤ {}"),
        "min_length": (meta.min_length, "at least {}"),
        "max_length": (meta.max_length, "at most {}"),
    }
    said = [form.format(value) for value, form in texts.values() if value is not None]
    return f", {', '.join(said)}" if said else ""


def _markdown_table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    lines = [head, tuple("---" for _ in head), *rows]
    return "\n".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |" for line in lines)
