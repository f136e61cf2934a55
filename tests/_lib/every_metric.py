"""A policy with every metric type, and a fleet of made-up people whose truth is known."""

import random
from collections import Counter
from dataclasses import dataclass

WINDOW = 28 * 86_400
START = 700 * WINDOW  # second

POLICY = """
discreet: 1
fleet: everything
version: 1
release: {{author: tests@example.org, reason: every metric type there is}}
consent: managed
aggregator: {{keys: [{{id: k1, public_key: "{public_key}", from: 2020-01-01, until: 2040-01-01}}]}}
budget: {{per_28_days: 1000, per_365_days: 10000, lifetime: 100000, exhaustible: "tests of one window or two"}}
signals:
  played:
    version: 1-0-0
    role: observation
    kind: outcome
    sensitivity: interaction
    why: Something was played, in tests
    owner: tests@example.org
    expires: 2039-01-01
    retention: 60d
    fields:
      genre: {{type: category, values: [{genres}]}}
      kind: {{type: category, values: [news, drama, sport, music]}}
      title: {{type: text, max_length: 40}}
      seconds: {{type: number, min: 0, max: 1000, grid: 10}}
metrics:
"""

METRICS = {
    "played_at_all": "per_device: any, type: binary",
    "stays": "per_device: any, type: binary, longitudinal: memoised, redraw: 364d, draws: 2",
    "genre": "per_device: {most_frequent: genre}, type: category",
    "kind": "per_device: {last: kind}, type: category",
    "kind_memoised": "per_device: {most_frequent: kind}, type: category, longitudinal: memoised",
    "kinds": "per_device: {most_frequent: kind}, type: multi_select, at_most: 2",
    "title": "per_device: {most_frequent: title}, type: open, salt: everything, dictionary: [solaris, stalker, mirror]",
    "plays": "per_device: count, type: count, bounds: [0, 8]",
    "plays_laplace": "per_device: count, type: count, bounds: [0, 8], mechanism: dlap-1",
    "days": "per_device: active_days, type: count, bounds: [0, 28]",
    "seconds": "per_device: {sum: seconds}, type: mean, bounds: [0, 4000]",
    "longest": "per_device: {max: seconds}, type: histogram, edges: [100, 500]",
    "how_often": "per_device: count, type: histogram, edges: [1, 3]",
}
GENRES = [f"g{number}" for number in range(40)]
KINDS = ["news", "drama", "sport", "music"]
TITLES = ["solaris", "stalker", "unlisted"]


def policy_text(public_key: str, epsilon: float) -> str:
    """The policy in YAML."""
    common = f"window: 28d, epsilon: {epsilon}, min_devices: 1, owner: a@b.c, why: tests"
    lines = [f"  {name}: {{from: played, {own}, {common}}}" for name, own in METRICS.items()]
    return POLICY.format(public_key=public_key, genres=", ".join(GENRES)) + "\n".join(lines) + "\n"


@dataclass(frozen=True)
class Play:
    """One event, and what it says."""

    at: int  # seconds
    genre: str
    kind: str
    title: str
    seconds: int

    def line(self) -> dict:
        """As a sender writes it."""
        fields = {"genre": self.genre, "kind": self.kind, "title": self.title, "seconds": self.seconds}
        return {"signal": "played", "version": "1-0-0", "time": self.at * 1000, "fields": fields}


def people(count: int, seed: int) -> list[list[Play]]:
    """Everybody's plays in the window, in order of time; some play nothing."""
    chance = random.Random(seed)  # noqa: S311 - made-up people, not noise
    return [[_play(chance, START + 3600 * at) for at in range(chance.choice([0, 0, 1, 2, 3, 6]))] for _ in range(count)]


def _play(chance: random.Random, at: int) -> Play:
    genre = chance.choice(GENRES[:3]) if chance.random() < 0.7 else chance.choice(GENRES)
    kind = chance.choice(KINDS[:2]) if chance.random() < 0.8 else chance.choice(KINDS)
    return Play(at + chance.randrange(3600), genre, kind, chance.choice(TITLES), 10 * chance.randrange(101))


def truth(fleet: list[list[Play]]) -> dict[tuple[str, str], float]:
    """(metric, label) → what a perfect measurement would say."""
    sums: Counter[tuple[str, str]] = Counter()
    for plays in fleet:
        for metric, values in _said(plays).items():
            for label, value in values.items():
                sums[metric, label] += value
    return {key: total / len(fleet) for key, total in sums.items()}


def _said(plays: list[Play]) -> dict[str, dict[str, float]]:
    """One device's contribution to each metric's figures, in raw units."""
    count, total = len(plays), sum(play.seconds for play in plays)
    kinds = _most(KINDS, [play.kind for play in plays], 2)
    title = _most(sorted(TITLES, key=_cell), [play.title for play in plays], 1) or ["none"]
    longest = "none" if not plays else _bucket(max(play.seconds for play in plays), [100, 500])
    return {
        "played_at_all": {"yes": count > 0},
        "stays": {"yes" if count else "no": 1},
        "genre": {(_most(GENRES, [play.genre for play in plays], 1) or ["none"])[0]: 1},
        "kind": {plays[-1].kind if plays else "none": 1},
        "kind_memoised": {(kinds or ["none"])[0]: 1},
        "kinds": dict.fromkeys(kinds, 1),
        "title": {title[0]: 1},
        "plays": {"mean": min(count, 8)},
        "plays_laplace": {"mean": min(count, 8)},
        "days": {"mean": len({play.at // 86_400 for play in plays})},
        "seconds": {"mean": min(total, 4000)},
        "longest": {longest: 1},
        "how_often": {_bucket(count, [1, 3]): 1},
    }


def _cell(title: str) -> int:
    from discreet_contract.mechanisms.open_strings import cell_of

    return cell_of(title, "everything")


def _most(order: list[str], named: list[str], most: int) -> list[str]:
    counts = Counter(named)
    return sorted(counts, key=lambda name: (-counts[name], order.index(name)))[:most]


def _bucket(value: float, edges: list[int]) -> str:
    low, high = edges
    if value < low:
        return f"< {low}"
    return f"{low} … < {high}" if value < high else f"≥ {high}"
