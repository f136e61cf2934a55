"""Facts of `explain` → one document of sections, under the headings of NIST SP 800-226.

That guide judges a promise of differential privacy as a pyramid: from how data is collected,
through trust and correctness, up to the unit of privacy and ε. Blocks are plain values that
`explain_render` writes as text, Markdown or HTML; nothing here knows a format.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

# What a device does with what it measured; the paper or proof is named in the mechanism's own module.
_MECHANISMS = {
    "rr-1": "tells the truth or its opposite by fixed odds (randomised response)",
    "krr-1": "names its own category or any other by fixed odds (k-ary randomised response)",
    "dlap-1": "adds discrete Laplace noise to an integer kept within its bounds",
    "dbit-1": "says whether a number reaches a public random threshold, truly or not by fixed odds (dithered bit)",
    "dlev-1": "says how many public thresholds a number reaches, truly or not by fixed odds (dithered levels)",
    "dmix-1": "answers as dbit-1 or as dlev-1 does, as a public coin says",
    "sss-1": "names a set of categories that holds its own by fixed odds (subset selection)",
    "llh-1": "gives a public random hash of its category, truly or not by fixed odds (linear local hashing)",
    "lgrr-1": "answers once by fixed odds, keeps that answer, and in each window repeats it by fixed odds (L-GRR)",
    "msel-krr-1": "picks one of its values, or none, at random and names it as krr-1 does",
    "msel-sss-1": "picks one of its values, or none, at random and names it as sss-1 does",
    "msel-llh-1": "picks one of its values, or none, at random and names it as llh-1 does",
}


@dataclass(frozen=True, slots=True)
class Paragraph:
    """One or more sentences."""

    text: str


@dataclass(frozen=True, slots=True)
class Items:
    """A list; each entry is its first line and lines that belong to it."""

    entries: tuple[tuple[str, tuple[str, ...]], ...]


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of cells under a head; the first column names its row."""

    caption: str
    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


Block = Paragraph | Items | Table


@dataclass(frozen=True, slots=True)
class Section:
    """A heading and what stands under it."""

    title: str
    blocks: tuple[Block, ...]


@dataclass(frozen=True, slots=True)
class Document:
    """What every rendering writes."""

    title: str
    summary: tuple[str, ...]
    sections: tuple[Section, ...]


def arrange(facts: dict[str, Any]) -> Document:
    """The document of these facts."""
    summary = (
        f"Fleet {facts['fleet']}, policy version {facts['version']}, consent: {facts['consent']}",
        f"hash {facts['hash']}",
        f"released by {facts['release']['author']}: {facts['release']['reason']}",
    )
    sections = (
        Section("Data collection exposure: what is collected and STAYS on the device", tuple(_stays(facts))),
        Section("Data released: what LEAVES the device", tuple(_leaves(facts))),
        Section("What it can reveal, in plain words", tuple(_reveals(facts))),
        Section("Privacy parameters: ε and δ", tuple(_parameters(facts))),
        Section("Unit of privacy", (Paragraph(_UNIT),)),
        Section("Algorithms and correctness", tuple(_algorithms(facts))),
        Section("Utility and bias", tuple(_utility(facts))),
        Section("Trust model", (Paragraph(_TRUST),)),
        Section("Security and access control", tuple(_access(facts))),
        Section("Side channels", (Paragraph(_SIDE_CHANNELS.format(**facts["delivery"])),)),
    )
    return Document(f"What the policy of fleet {facts['fleet']} collects, sends and can reveal", summary, sections)


_UNIT = (
    "One device, whatever it did and however often. A device gives exactly one bounded value per metric and window, "
    "also when it has nothing to say. A person with several devices loses on each of them; people who share a device "
    "share its protection."
)
_TRUST = (
    "Local model: the noise is drawn on the device, before anything is stored for sending. The promise holds against "
    "the aggregator, the broker and whoever breaks into them. It asks for trust in the device itself, in its "
    "randomness, and in the people who sign policies."
)
_SIDE_CHANNELS = (
    "That a device is installed and reachable is public; a silent one can be noticed. Reports have one length, and "
    "each waits for a random time of up to {spread} so that sending tells little about when a device was used. A sent "
    "report cannot be recalled. What the network sees, such as addresses, is the broker operator's to limit."
)


def _stays(facts: dict[str, Any]) -> Iterator[Block]:
    yield Paragraph("Raw values never leave the device.")
    entries = []
    for name, signal in facts["stays"].items():
        fields = ", ".join(signal["fields"]) or "no fields"
        approved = f", reviewed in {signal['review']}" if signal["review"] else ""
        lines = (
            f"kept for {signal['kept_for']}, approved until {signal['expires']}{approved}",
            *([f"made of the metric {signal['metric']} that apps send by OTLP"] if signal["metric"] else []),
            f"why: {signal['why']}",
            f"owner: {signal['owner']}",
        )
        entries.append((f"{name} ({signal['sensitivity']}; {fields})", lines))
    yield Items(tuple(entries))
    if facts["not_acted_on"]:
        parts = ", ".join(facts["not_acted_on"])
        yield Paragraph(f"Declared and signed, but this version does not act on it yet: {parts}.")
    if facts["collector"]:
        yield Paragraph(f"The agent samples its own host every {facts['collector']}.")


def _leaves(facts: dict[str, Any]) -> Iterator[Block]:
    if not facts["leaves"]:
        yield Paragraph("Nothing: this policy declares no metric.")
        return
    yield Paragraph("Each value is randomised before it is stored for sending.")
    entries = []
    for name, metric in facts["leaves"].items():
        condition = () if metric["only_where"] is None else (f"only where {json.dumps(metric['only_where'])}",)
        cost = f"mechanism {metric['mechanism']} at ε = {metric['epsilon']:g}, {metric['payload_bytes']} byte(s)"
        if metric["is_memoised"]:
            cost += " for a lifetime, noise drawn once and repeated"
        lines = (
            *condition,
            f"why: {metric['why']}",
            f"owner: {metric['owner']}",
            f"{cost}, at most {metric['reports_in_365_days']:,} report(s) in 365 days",
        )
        source = f"{metric['per_device']} of {metric['from']}"
        entries.append((f"{name}: one {metric['type']} value ({source}) every {metric['window']}", lines))
    yield Items(tuple(entries))


_MOMENTS = (("before", "before"), ("one_report", "1 report"), ("30_days", "30 days"), ("365_days", "365 days"))


def _reveals(facts: dict[str, Any]) -> Iterator[Block]:
    yield Paragraph(
        "Somebody who reads every report of one device, and knows all else, guesses at a yes-or-no secret "
        "of it. The figures are the surest that this guess can be: for a secret that was 50 : 50, and for a rare one "
        "that holds for 1 device in 100. They are limits, not what happens to most devices."
    )
    for prior, total, caption in (
        ("even", "best_guess", "Best possible guess of a secret that was 50 : 50"),
        ("rare", "best_guess_of_the_rare", "Best possible guess of a rare secret"),
    ):
        yield _guess_table(facts, prior, total, caption)


def _guess_table(facts: dict[str, Any], prior: str, total: str, caption: str) -> Table:
    rows = []
    before = "50%" if prior == "even" else "1%"
    for name, metric in facts["leaves"].items():
        rows.append((name, *(chance(metric["guesses"][moment][prior]) for moment, _ in _MOMENTS)))
    together = (chance(facts["epsilon"][span][total]) for span in ("per_30_days", "per_365_days"))
    rows.append(("all together", before, "-", *together))
    return Table(caption, ("metric", *(label for _, label in _MOMENTS)), tuple(rows))


def _parameters(facts: dict[str, Any]) -> Iterator[Block]:
    epsilon = facts["epsilon"]
    rows = []
    for key, label in (
        ("per_day", "any day"),
        ("per_28_days", "any 28 days"),
        ("per_30_days", "any 30 days"),
        ("per_365_days", "any 365 days"),
    ):
        loss = epsilon[key]
        tight = "-" if loss["tight"] is None else f"{loss['tight']:.4g}"
        rows.append((label, f"{loss['at_most']:g}", tight, f"{loss['asked']:g}", f"{loss['cap']:g}"))
    yield Paragraph(
        "ε by plain addition is pure differential privacy (δ = 0); it is what the device's ledger enforces. The tight "
        f"figure (privacy loss distributions) fails with probability at most δ = {epsilon['delta']:g}."
    )
    head = ("span", "loss: at most ε", "tight ε", "asked for", "cap")
    yield Table("Loss of one device", head, tuple(rows))
    yield Paragraph(f"Lifetime: at most ε = {epsilon['lifetime_cap']:g}.")
    if "note" in epsilon:
        yield Paragraph(f"Not worked out here: {epsilon['note']}.")


def _algorithms(facts: dict[str, Any]) -> Iterator[Block]:
    used = sorted({metric["mechanism"] for metric in facts["leaves"].values()})
    if not used:
        yield Paragraph("No mechanism draws: nothing is sent.")
        return
    yield Items(tuple((f"{one}: the device {_MECHANISMS.get(one, 'draws as its module says')}", ()) for one in used))
    yield Paragraph(
        "OpenDP draws the noise and proves what a draw costs; a value is clamped and its domain checked. A report "
        "is drawn once: resending repeats the same bytes. The charge is written in the same transaction."
    )
    entries = [(f"{name}: {_choice(metric)}", ()) for name, metric in facts["leaves"].items()]
    yield Items(tuple(entries))


def _choice(metric: dict[str, Any]) -> str:
    taken = metric["mechanism"]
    others = {one: cost for one, cost in metric["compared_with"].items() if one != taken}
    if not others:
        return f"{taken}, the only mechanism in this version that carries a {metric['type']} value"
    own = metric["compared_with"][taken]
    said = ", ".join(f"{one} would have {other / own:.2f} times its variance" for one, other in others.items())
    return f"{taken}; {said}"


def _utility(facts: dict[str, Any]) -> Iterator[Block]:
    yield Paragraph(
        "Estimates are unbiased for the devices that reported. Devices that are off, or whose owner said no, are "
        "missing, and clamping to the bounds shifts a mean if many values lie outside."
    )
    rows = tuple(
        (
            name,
            f"{metric['standard_error_at_10000_devices']:.3g} {metric['unit']}".rstrip(),
            f"{metric['withheld_below_devices']:,} devices",
            "-" if metric["bounds"] is None else "{:g} … {:g}".format(*metric["bounds"]),
        )
        for name, metric in facts["leaves"].items()
    )
    if rows:
        head = ("metric", "standard error at 10,000 devices", "withheld below", "clamped to")
        yield Table("Noise, and when a figure is withheld", head, rows)


def _access(facts: dict[str, Any]) -> Iterator[Block]:
    keys = ", ".join(f"{key['id']} ({key['from']} to {key['until']})" for key in facts["keys"])
    kept = facts["delivery"]["late_horizon"]
    yield Paragraph(
        f"Reports are sealed to the aggregator's key: {keys}. They carry no device id. On the device, raw values last "
        f"as long as stated above; a copy of a sent report stays for {kept}, so that its owner can see it."
    )


def chance(probability: float) -> str:
    """A probability as a percentage that never rounds up to certainty."""
    percent = 100 * probability
    if percent >= 99.99:
        return "over 99.99%"
    return f"{percent:.2f}%" if percent > 99 else f"{percent:.3g}%"
