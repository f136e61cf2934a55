"""What a feature ought to be, worked out from all events at once, slowly: shares no line with the product's states."""

import math

DAY = 86_400


def naive_value(feature, width, span, events, now_ms, order=()):
    """Value of a feature (as builtins) over [(time_ms, fields)]; None where nothing says anything."""
    chosen = [e for e in events if _concerns(feature, e[1]) and _in_window(feature, width, span, e[0], now_ms)]
    if feature.get("by") is None:
        return naive_aggregate(feature, chosen, now_ms)
    keys = {e[1][feature["by"]] for e in chosen}
    values = {key: naive_aggregate(feature, [e for e in chosen if e[1][feature["by"]] == key], now_ms) for key in keys}
    ranked = sorted(values, key=lambda key: (0 if isinstance(values[key], str) else -values[key], order.index(key)))
    return {key: values[key] for key in ranked[: feature.get("top")]}


def _concerns(feature, fields):
    if any(name is not None and name not in fields for name in (feature.get("value"), feature.get("by"))):
        return False
    where = feature.get("where")
    return where is None or fields.get(where["=="][0]["var"]) == where["=="][1]


def _in_window(feature, width, span, time_ms, now_ms):
    """Whole buckets that lie in the window, and the one that is open now."""
    start = time_ms // 1000 // width * width
    if start * 1000 > now_ms:
        return False
    if feature.get("alignment") == "tumbling":
        return start >= now_ms // 1000 // span * span
    return start * 1000 > now_ms - span * 1000 - 1000 and start >= now_ms // 1000 - span + 1


def naive_aggregate(feature, events, now_ms):  # noqa: C901, PLR0911, PLR0912 - one line for each aggregate
    name = feature.get("value")
    values = [fields[name] for _, fields in events] if name else []
    times = sorted(t for t, _ in events)
    match feature["aggregate"]:
        case "count":
            return len(events)
        case "sum":
            return math.fsum(values)
        case "mean":
            return math.fsum(values) / len(values) if values else None
        case "min":
            return min(values, default=None)
        case "max":
            return max(values, default=None)
        case "last":
            return max(((t, fields[name]) for t, fields in events), default=(0, None))[1]
        case "distinct":
            return min(len(set(values)), feature["at_most"])
        case "decayed_count":
            return math.fsum(_weight(feature, t, now_ms) for t in times)
        case "decayed_sum":
            return math.fsum(_weight(feature, t, now_ms) * fields[name] for t, fields in events)
        case "quantile":
            return sorted(values)[math.floor(feature["quantile"] * (len(values) - 1))] if values else None
        case "time_since":
            return max(0, now_ms - times[-1]) / 1000 if times else None
        case "active_days":
            return len({t // 1000 // DAY for t in times})
        case "streak":
            return _streak({t // 1000 // DAY for t in times}, now_ms // 1000 // DAY)
        case "session":
            return _sessions(feature, times)
    raise AssertionError(feature)


def _weight(feature, time_ms, now_ms):
    return 0.5 ** ((now_ms - time_ms) / 1000 / _seconds(feature["half_life"]))


def _streak(days, today):
    day = today if today in days else today - 1
    length = 0
    while day - length in days:
        length += 1
    return length


def _sessions(feature, times):
    gap = _seconds(feature["gap"]) * 1000
    borders = [i for i in range(1, len(times)) if times[i] - times[i - 1] > gap]
    if feature.get("measure", "count") == "count":
        return len(borders) + bool(times)
    return (times[-1] - times[borders[-1] if borders else 0]) / 1000 if times else None


def _seconds(text):
    return int(text[:-1]) * {"s": 1, "m": 60, "h": 3600, "d": DAY}[text[-1]]
