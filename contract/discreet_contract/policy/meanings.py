"""What each key of the policy language means, in one line: for policies/README.md and the JSON Schema.

A key without a line fails the tests, so nothing new stays undocumented.
"""

MEANINGS: dict[str, str] = {
    "Policy.discreet": "Version of the policy language.",
    "Policy.fleet": "The fleet this policy is for. It stands in every topic and every report.",
    "Policy.version": "Rises with every release. A device refuses a version that is not above its last one.",
    "Policy.release": "Who released this version and why.",
    "Policy.consent": (
        "`opt-in`: nothing happens before `discreet agent on`. `opt-out` and `managed`: on until `discreet agent off`."
    ),
    "Policy.aggregator": "Who can open the envelopes.",
    "Policy.signals": "What a device may record. Everything else is refused.",
    "Policy.metrics": "What a device sends: one randomised value per metric and window.",
    "Policy.budget": "Caps on what one device may lose.",
    "Policy.lateness": "How long after its end a window stays open for events that reach the device late.",
    "Policy.late_horizon": (
        "How long the aggregator takes reports after the window's end, `lateness` and `spread`; how long devices keep "
        "what they sent."
    ),
    "Policy.spread": "Each report waits for a random time of up to this, so that a fleet does not publish at once.",
    "Policy.receipt_buckets": "Over how many topics the receipts are spread. More: less traffic for each device.",
    "Policy.collector": "Built-in sources of events.",
    "Policy.padding": "Smallest size, in bytes, to which an envelope is padded. What a broker sees of it: its length.",
    "Policy.expected_devices": "How many devices the fleet has, about. Lints judge by it whether a figure can be seen.",
    "Policy.undeclared": "What becomes of a field that its signal does not declare: it goes, or its event. Counted.",
    "Policy.retention": "Upper bounds for each layer of data on the device.",
    "Policy.outbox": "Bounds on what waits for a receipt.",
    "Policy.senders": (
        "Local programs that may speak to the agent. Empty: whoever may open its socket may emit every signal and read "
        "everything that apps may read. Else a program that is none of them is refused, but for root and the agent's "
        "own user: these may emit and read everything unless an entry states them."
    ),
    "Policy.contracts": "What a signal's sender promises: signal → contract. `status` says whether it is kept.",
    "Policy.features": "What the device computes from its events, for its own apps.",
    "Policy.scores": "Sums of weighted features.",
    "Policy.segments": "Groups a device puts itself in.",
    "Policy.flags": "Switches that apps read, in flagd's own form.",
    "Policy.evaluators": "Conditions that several flags share, taken in by `$ref`; flagd's `$evaluators`.",
    "Policy.cohorts": "Devices that share public facts.",
    "Policy.holdout": "Share of all devices that takes part in no experiment.",
    "Policy.layers": "Experiments in one layer exclude one another. If any is declared, experiments name one of them.",
    "Policy.experiments": "What is compared with what.",
    "Policy.guards": "What reverts a flag on the device by itself.",
    "Policy.kill": "What is stopped.",
    "Policy.suppress": "Lints that are meant: rule → reason, three words or more.",
    "Release.author": "Who answers for this version.",
    "Release.reason": "Why it exists.",
    "Release.migration": "What a breaking change asks of others. Free text; nothing checks it yet.",
    "Aggregator.keys": "Public keys to seal to. Periods of validity may overlap; the youngest valid key is taken.",
    "AggregatorKey.id": "Name of the key; it stands in every envelope in the clear.",
    "AggregatorKey.public_key": "X25519 public key, as `discreet aggregator keys new` prints it.",
    "AggregatorKey.from_": "First day (UTC) on which devices seal to it.",
    "AggregatorKey.until": "First day (UTC) on which they no longer do. Without a valid key releases pause.",
    "Budget.per_28_days": "Cap on the sum of ε over any 28 days of windows.",
    "Budget.per_365_days": "Cap on the sum of ε over any 365 days of windows.",
    "Budget.lifetime": "Cap on the sum of ε for ever.",
    "Budget.device_life": "How long a device is expected to report. The lifetime cap must last for it.",
    "Budget.exhaustible": "Why a device may run out of budget, three words or more. Without it that is an error.",
    "Collector.host": "Samples of the host the agent runs on.",
    "Collector.anomalies": "Events of what the agent finds unlike the usual in its other sources.",
    "AnomalyCollector.signal": (
        "Signal that takes them. The agent fills its categories `signal` (which source), `kind` (spike, drop, stuck) "
        "and `measure` (rate, mean) where they are declared and have the value. The signal itself is not watched."
    ),
    "HostCollector.signal": (
        "Signal that a sample becomes. Read where declared: `load_percent`, `memory_percent`, `memory_pressure`, "
        "`temperature`, `uptime`."
    ),
    "HostCollector.every": "Time between two samples, at least one second.",
    "Signal.version": "SchemaVer of its fields. An event names the version it was made for.",
    "Signal.role": "Whether it triggers personalization or is measured. Read by the lint `TRIGGER_MEASURED` only.",
    "Signal.kind": "What the event tells. Documentation; nothing reads it yet.",
    "Signal.sensitivity": "How private it is. The highest one is part of what consent was given to.",
    "Signal.why": "Why it is collected and how it is read.",
    "Signal.owner": "Address of who answers for it.",
    "Signal.expires": "Day its approval ends. Checked by the lints; the device goes on recording.",
    "Signal.retention": "How long raw events are kept, counted from the event's own time, rounded up to a whole day.",
    "Signal.fields": "Its fields. Of others `undeclared` decides.",
    "Signal.review": "Where it was approved.",
    "Signal.otlp": "Metric of OpenTelemetry, sent to `/v1/metrics`, whose data points are events of this signal.",
    "Otlp.metric": (
        "Name of the metric, a gauge or a sum. A sum that only rises is taken as what it rose by since its last point."
    ),
    "Otlp.value": "Number field that takes the data point's value.",
    "Otlp.unit": "Unit that the metric must have, as it is sent. Empty: any.",
    "Otlp.attributes": "Field → attribute of the data point that fills it. Other attributes are not kept.",
    "Otlp.only": (
        "Attribute → text it must have. Of several signals for one metric, a point becomes an event of the one whose "
        "`only` holds and asks most."
    ),
    "NumberField.default": (
        "What an event of an accepted older version is given where it lacks the field. One of the present version is "
        "given nothing: its sender knows the field."
    ),
    "CategoryField.default": "As for numbers.",
    "BooleanField.default": "As for numbers.",
    "Signal.max_per_minute": "Most events that one sender may add in a minute, and at once. Empty: no bound.",
    "Signal.accepts": (
        "Older schema versions that are still taken: held to the present bounds, and given defaults for what they lack."
    ),
    "NumberField.min": "Least value that is accepted.",
    "NumberField.max": "Greatest value that is accepted.",
    "NumberField.unit": "Unit, for people.",
    "NumberField.grid": "Step to which a metric rounds it; bounds of metrics lie on this grid.",
    "NumberField.required": "Whether an event without this field is refused.",
    "CategoryField.values": "The closed list. Its order breaks ties and numbers the payload. `none` is reserved.",
    "CategoryField.required": "As for numbers.",
    "TextField.max_length": "Most characters that are accepted; at least one is.",
    "TextField.required": "As for numbers.",
    "TextField.default": "As for numbers.",
    "BooleanField.required": "As for numbers.",
    "Metric.from_": "Signal whose events count.",
    "Metric.per_device": (
        "One reduction: window's events → one value. `any`, `count` and `active_days` read no field and may stand "
        "alone; the others are written `{reduction: field}`."
    ),
    "Metric.type": "What the value is, and so which mechanism may carry it.",
    "Metric.window": "Length of the window, at least a minute. Windows are aligned to the UTC epoch.",
    "Metric.epsilon": "What one report may cost.",
    "Metric.owner": "Address of who reads it.",
    "Metric.why": "Why it exists and how to read it.",
    "Metric.where": (
        "Only events for which this holds count. JSONLogic comparisons of one field with a constant: "
        "`<`, `<=`, `>`, `>=`, `==`, `!=`, `in`, joined by `and`, `or`, `!`."
    ),
    "Metric.bounds": "The value is clamped to it; `count` and `mean` need it. In the raw unit, on the grid.",
    "Metric.display": "How a reader scales it.",
    "Metric.mechanism": "`auto` takes the one of least variance. Compiling writes down which.",
    "Metric.longitudinal": (
        "`fresh`: new noise in every window. `memoised`: for a value that stays; the noise is drawn once, its lifetime "
        "paid at first use, and it does not average out over windows. `binary` and `category` only."
    ),
    "Metric.min_devices": "Below this number of reports the aggregator withholds the figure.",
    "Metric.by": "Public facts that a report carries in the clear, so that figures can be split by them.",
    "Metric.rotate": (
        "Metrics of one group take turns, one in each window at its full ε, and cost what the dearest one costs."
    ),
    "Metric.edges": "Edges of a `histogram`'s buckets, rising, in the raw unit, on the grid.",
    "Metric.at_most": "How many values one device gives in a `multi_select` at the most: the most frequent ones.",
    "Metric.salt": "Public text under which an `open` metric hashes its strings. Another metric takes another one.",
    "Metric.dictionary": "Words whose shares an `open` metric shows. The reader's: it may grow, the series goes on.",
    "Metric.redraw": "After how long a memoised response may be drawn anew, aligned to the UTC epoch.",
    "Metric.draws": "How many such responses a device's lifetime has, and pays for at first use.",
    "Display.divide": "Divide by this for display.",
    "Display.unit": "Unit after division.",
    "Feature.from_": "Signal whose events it is computed from.",
    "Feature.aggregate": (
        "How. `count`, `decayed_count`, `time_since`, `active_days`, `streak` and `session` read no field; the others "
        "read `value`."
    ),
    "Feature.value": "Field that is read. A number, but for `last` and `distinct`.",
    "Feature.by": "Category field: one value for each category.",
    "Feature.top": "Keep only the largest so many of them.",
    "Feature.where": "Only events for which this holds count; as for metrics.",
    "Feature.window": "How far back it looks, one minute to 366 days. Decayed ones, `last` and `time_since` need none.",
    "Feature.alignment": "`sliding`: the window ends now. `tumbling`: it is aligned to the UTC epoch.",
    "Feature.half_life": "After how long an event counts half. Decayed ones need it.",
    "Feature.ttl": "How long it lives without a new event.",
    "Feature.quantile": "Which quantile, between 0 and 1.",
    "Feature.at_most": "Up to how many values `distinct` counts exactly; from there it says “at least”.",
    "Feature.gap": "Silence that ends a `session`.",
    "Feature.measure": "What of a `session`: how many there were, or how long the last one was.",
    "Feature.fallback": "What is read where there is no value.",
    "Feature.default": "The value for `fallback: default`.",
    "Feature.why": "What it is for.",
    "Score.kind": "`linear`: bias + sum of weight × feature. `logistic`: that, through 1 / (1 + e^−x).",
    "Score.weights": "Feature → weight.",
    "Score.bias": "Added to the sum.",
    "Score.fallbacks": "Feature → what is taken where it has no value. Without one the score has none either.",
    "Score.why": "What it is for.",
    "Score.model": (
        "JSON file beside this one, or below, that holds its `weights`, and `bias` and `fallbacks` if need be: what a "
        "training wrote, say. Compiling takes them in: what is signed holds the weights themselves."
    ),
    "Segment.when": "A device enters where this holds. Variables: names of features and scores.",
    "Segment.until": "A device leaves where this holds. Empty: where `when` no longer does.",
    "Segment.min_stay": "Shortest stay.",
    "Segment.why": "What it is for.",
    "Flag.state": "`DISABLED`: apps get their own default.",
    "Flag.variants": "Variant → value. All of one type.",
    "Flag.default_variant": "Variant where targeting gives none.",
    "Flag.targeting": (
        "JSONLogic that gives a variant. The agent adds `features`, `scores`, `segments`, `experiments` to the "
        "app's own context."
    ),
    "Flag.metadata": "Notes for whoever reads the flag.",
    "Cohort.installed_from": "Installed on this day (UTC) or later.",
    "Cohort.installed_until": "Installed before this day.",
    "Cohort.platforms": "On one of these platforms. Empty: any.",
    "Cohort.releases": "On one of these releases of the software. Empty: any.",
    "Cohort.why": "What it is for.",
    "Layer.holdout": "Share of its devices that takes part in none of its experiments.",
    "Layer.why": "What it is for.",
    "Experiment.hypothesis": "What is expected to move, where, when, and why.",
    "Experiment.layer": "Layer whose devices it shares with others.",
    "Experiment.algorithm": "How arms are drawn from the device's secret; pinned for the experiment's life.",
    "Experiment.salt": "What makes its draw unlike that of any other.",
    "Experiment.arms": "Arm → share in whole percent of those who take part; 100 in all. Each is a variant.",
    "Experiment.traffic": "Share of the layer that takes part.",
    "Experiment.flag": "Flag that it turns.",
    "Experiment.start": "First day (UTC).",
    "Experiment.end": "First day (UTC) after it.",
    "Experiment.primary": "The one metric that decides. It has `by: [experiments]`.",
    "Experiment.guardrails": "Metrics that must not get worse; with `by: [experiments]` too.",
    "Experiment.effect": "Smallest difference of the primary metric that matters, as displayed.",
    "Experiment.enrol": (
        "Who is drawn from, by public facts only: `platform`, `release`, `cohorts.<name>`. Anything else is an error."
    ),
    "Experiment.eligible": (
        "Who is shown a variant, by features, scores and segments; nobody while one that it reads has no value. Acts "
        "on the device; enters a report only inside the randomised value."
    ),
    "Experiment.slots": (
        'Which positions of its layer it has, like `["10%-30%"]`, as many as its `traffic`. Empty: the lowest that are '
        "free, in the order of start and name. A release says where they have to be written down, so that nobody moves."
    ),
    "Experiment.owner": "Address of who answers for it.",
    "Retention.raw": "Longest `retention` that a signal may have.",
    "Retention.enriched": "How long feature buckets, segment memberships and exposures are kept.",
    "Retention.metrics": (
        "How long the bytes that were sent, and what they say, are kept after the receipt. Not shorter than "
        "`late_horizon`, within which they may be asked for again. Empty: `late_horizon`."
    ),
    "Outbox.max_reports": "Most reports that wait; with so many, windows wait uncharged. Empty: no bound.",
    "Outbox.max_bytes": "The same in bytes of envelopes; the next is taken to have 4096. Empty: no bound.",
    "Sender.uid": (
        "User it runs as. A sender is who meets all that its entry states; who meets several entries is the one that "
        "states a token, else a user, else a group, then the first by name."
    ),
    "Sender.gid": "Group it runs as, supplementary ones included.",
    "Sender.token_sha256": ("SHA-256 of the token it shows. A token that no entry has is refused, whoever shows it."),
    "Sender.signals": "Signals it may emit, corrections of them included. Empty: none; it only reads.",
    "Sender.features": "Features it may read, and scores of no others. Empty: none. Others do not exist for it.",
    "Sender.segments": "Segments it may read. Empty: none. Others do not exist for it.",
    "Sender.flags": "Flags it may read. Empty: none. Others do not exist for it.",
    "Contract.latency": "Within so long after they happened, 95 % of its events come in.",
    "Contract.max_refused": "Largest share of its events that is refused, 0 to 1.",
    "Guard.from_": "Signal that is watched, say of crashes.",
    "Guard.flags": "Flags that are reverted.",
    "Guard.at_most": "How many events after a change are still tolerated.",
    "Guard.window": "Within how long.",
    "Guard.where": "Only events for which this holds count; as for metrics.",
    "Guard.why": "What it is for.",
    "Kill.personalization": "Stops features, scores, segments and targeting: every flag gives its default.",
    "Kill.flags": "Flags that give their default.",
    "Kill.experiments": "Experiments that stop.",
    "Kill.metrics": "Metrics that are no longer sent.",
    "Kill.signals": "Signals that are no longer recorded.",
}
