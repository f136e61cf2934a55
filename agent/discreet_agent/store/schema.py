"""The tables, as named migrations; each is applied once, in one transaction with its own record."""

from __future__ import annotations

MIGRATIONS: tuple[tuple[str, str], ...] = (
    (
        "0001_first_tables",
        """
        CREATE TABLE meta (
            name TEXT PRIMARY KEY,           -- what is remembered
            value BLOB NOT NULL              -- MessagePack
        ) STRICT, WITHOUT ROWID;

        CREATE TABLE raw_blocks (
            id INTEGER PRIMARY KEY,
            expires_at INTEGER NOT NULL,     -- second after which the block is forgotten
            events INTEGER NOT NULL,         -- how many events it holds
            body BLOB NOT NULL               -- zlib of a MessagePack array of events
        ) STRICT;
        CREATE INDEX raw_blocks_by_expiry ON raw_blocks (expires_at);

        CREATE TABLE event_ids (
            digest BLOB PRIMARY KEY,         -- BLAKE2b-128 of a sender's event id
            expires_at INTEGER NOT NULL      -- second after which the id may be used again
        ) STRICT, WITHOUT ROWID;

        CREATE TABLE tallies (
            metric TEXT NOT NULL,            -- metric name
            version TEXT NOT NULL,           -- hash of the metric's definition
            window_start INTEGER NOT NULL,   -- second
            state BLOB NOT NULL,             -- MessagePack; see tally.fold
            PRIMARY KEY (metric, version, window_start)
        ) STRICT, WITHOUT ROWID;

        CREATE TABLE schedule (
            metric TEXT PRIMARY KEY,         -- metric name
            version TEXT NOT NULL,           -- hash of the definition under which it is counted
            window_seconds INTEGER NOT NULL,
            since_ms INTEGER NOT NULL,       -- the owner's consent under which it began; 0 where it stands by default
            first_window INTEGER NOT NULL,   -- start of the first whole window after enrolment; second
            next_window INTEGER NOT NULL     -- start of the first window not yet closed; second
        ) STRICT, WITHOUT ROWID;

        CREATE TABLE ledger (
            sequence INTEGER PRIMARY KEY,    -- 1, 2, 3, …
            metric TEXT NOT NULL,
            window_start INTEGER NOT NULL,   -- second
            window_seconds INTEGER NOT NULL,
            nano INTEGER NOT NULL,           -- charge in nano-ε
            mechanism TEXT NOT NULL,
            policy_hash BLOB NOT NULL,       -- 32 bytes
            charged_at_ms INTEGER NOT NULL,  -- this device's wall clock
            previous BLOB NOT NULL,          -- digest of the row before
            digest BLOB NOT NULL,            -- BLAKE2b-256 of this row
            UNIQUE (metric, window_start)    -- a window is charged once, whatever happens
        ) STRICT;

        CREATE TABLE budget_refusals (
            metric TEXT NOT NULL,
            window_start INTEGER NOT NULL,   -- second
            cap TEXT NOT NULL,               -- which cap refused
            asked INTEGER NOT NULL,          -- nano-ε
            spent INTEGER NOT NULL,          -- nano-ε, in the fullest span around the window
            remaining INTEGER NOT NULL,      -- nano-ε
            resets_at INTEGER,               -- second, NULL where waiting does not help
            PRIMARY KEY (metric, window_start)
        ) STRICT, WITHOUT ROWID;

        CREATE TABLE outbox (
            report_id BLOB PRIMARY KEY,
            metric TEXT NOT NULL,
            window_start INTEGER NOT NULL,   -- second
            mechanism TEXT NOT NULL,
            payload BLOB NOT NULL,           -- the randomised value inside the envelope
            receipt_key BLOB NOT NULL,       -- authenticates the aggregator's receipt
            says TEXT NOT NULL,              -- the payload in words, under the policy of its day
            envelope BLOB NOT NULL,          -- the bytes that are sent, always the same
            created_at_ms INTEGER NOT NULL,
            not_before_ms INTEGER NOT NULL   -- random moment within the policy's spread
        ) STRICT, WITHOUT ROWID;

        CREATE TABLE sent (
            report_id BLOB PRIMARY KEY,
            metric TEXT NOT NULL,
            window_start INTEGER NOT NULL,   -- second
            mechanism TEXT NOT NULL,
            payload BLOB NOT NULL,
            says TEXT NOT NULL,
            envelope BLOB NOT NULL,          -- exactly what left
            settled_at_ms INTEGER NOT NULL,  -- when the receipt came, or when it was given up
            verdict INTEGER                  -- wire.Verdict; NULL where it was given up without one
        ) STRICT, WITHOUT ROWID;

        CREATE TABLE counters (
            name TEXT NOT NULL,              -- what is counted
            reason TEXT NOT NULL,            -- from a closed list, or empty
            count INTEGER NOT NULL,
            PRIMARY KEY (name, reason)
        ) STRICT, WITHOUT ROWID;
        """,
    ),
    (
        "0002_policies",
        """
        CREATE TABLE policies (
            sequence INTEGER PRIMARY KEY,    -- 1, 2, 3, …
            since_ms INTEGER NOT NULL,       -- this device's wall clock
            version INTEGER NOT NULL,
            policy_hash BLOB NOT NULL,       -- 32 bytes
            signed_by TEXT NOT NULL,         -- root public key, hex
            author TEXT NOT NULL,            -- of the release
            reason TEXT NOT NULL,            -- the release note's
            source TEXT NOT NULL,            -- file, broker or kept
            head_size INTEGER NOT NULL,      -- entries of the transparency log that holds it
            head_root TEXT NOT NULL          -- that log's root hash, hex
        ) STRICT;

        -- Under how many receipt buckets the aggregator answers: those of the policy the report names.
        ALTER TABLE outbox ADD COLUMN receipt_buckets INTEGER NOT NULL DEFAULT 16;
        """,
    ),
    (
        "0003_memos",
        """
        CREATE TABLE memos (
            metric TEXT NOT NULL,
            version TEXT NOT NULL,           -- hash of the metric's definition
            draw INTEGER NOT NULL,           -- 0, 1, …: which of its lifetime's permanent responses
            window_start INTEGER NOT NULL,   -- second; the window for which it was drawn
            response INTEGER NOT NULL,       -- what OpenDP drew; randomised
            PRIMARY KEY (metric, version, draw)
        ) STRICT, WITHOUT ROWID;
        """,
    ),
    (
        "0004_reservations",
        """
        CREATE TABLE reservations (
            metric TEXT NOT NULL,
            window_start INTEGER NOT NULL,   -- second; the window has begun and is not closed yet
            nano INTEGER NOT NULL,           -- what it will cost, in nano-ε
            PRIMARY KEY (metric, window_start)
        ) STRICT, WITHOUT ROWID;
        """,
    ),
    (
        "0005_sealed_blocks",
        """
        -- Emptied by whoever knows the policy: see RawLayer.seal_old.
        ALTER TABLE raw_blocks RENAME TO raw_blocks_unsealed;
        DROP INDEX raw_blocks_by_expiry;
        DROP TABLE event_ids;

        CREATE TABLE raw_buckets (           -- one for each key in `day.keys`
            id INTEGER PRIMARY KEY,
            signal TEXT NOT NULL,
            start INTEGER NOT NULL,          -- second of retention time
            length INTEGER NOT NULL,         -- seconds
            serial INTEGER NOT NULL,         -- tells apart a stretch that is being forgotten and one that goes on
            kept_seconds INTEGER NOT NULL,   -- retention that was promised when it was recorded
            events INTEGER NOT NULL,
            blocks INTEGER NOT NULL,
            bytes INTEGER NOT NULL,          -- of all bodies
            doomed TEXT,                     -- why it is being forgotten; its key is destroyed
            key_fingerprint TEXT,            -- of that key
            UNIQUE (signal, start, length, serial)
        ) STRICT;

        CREATE TABLE raw_blocks (
            id INTEGER PRIMARY KEY,
            bucket INTEGER NOT NULL,         -- raw_buckets.id
            events INTEGER NOT NULL,
            undated INTEGER NOT NULL,        -- 1: the clock was known to be wrong; event times wait to be mended
            boot INTEGER NOT NULL,           -- names the boot it came in under
            boot_ms INTEGER NOT NULL,        -- that boot's counter then
            wall_ms INTEGER NOT NULL,        -- the wall clock then
            arrived INTEGER NOT NULL,        -- second of retention time then
            ids BLOB NOT NULL,               -- 8-byte keyed digests of the events' ids
            body BLOB NOT NULL               -- sealed: zlib of a MessagePack array of events
        ) STRICT;
        CREATE INDEX raw_blocks_by_bucket ON raw_blocks (bucket);
        CREATE INDEX raw_blocks_undated ON raw_blocks (boot) WHERE undated = 1;

        CREATE TABLE seen_ids (              -- of events whose block is gone, while a resend may still come
            id INTEGER PRIMARY KEY,
            arrived INTEGER NOT NULL,        -- second of retention time at which the last of them came
            digests BLOB NOT NULL            -- as in raw_blocks.ids
        ) STRICT;

        CREATE TABLE retracted (
            digest BLOB PRIMARY KEY,         -- as in raw_blocks.ids
            at INTEGER NOT NULL              -- second of retention time
        ) STRICT, WITHOUT ROWID;

        CREATE TABLE deletions (             -- receipts; rows are only added, the oldest leave at a bound
            sequence INTEGER PRIMARY KEY,
            at_ms INTEGER NOT NULL,          -- this device's wall clock
            layer TEXT NOT NULL,             -- raw, enriched or metrics
            subject TEXT NOT NULL,           -- signal, feature or metric
            start INTEGER,                   -- second: first moment of what went
            length INTEGER,                  -- seconds
            items INTEGER NOT NULL,          -- events or rows
            why TEXT NOT NULL,               -- from a closed list
            key_fingerprint TEXT             -- of the key that was destroyed; NULL where there was none
        ) STRICT;
        """,
    ),
    (
        "0006_baselines",
        """
        CREATE TABLE baselines (
            signal TEXT NOT NULL,
            hour INTEGER NOT NULL,           -- hours since the epoch, by this device's clock
            count INTEGER NOT NULL,          -- events in it
            means BLOB NOT NULL,             -- MessagePack map: number field → mean
            PRIMARY KEY (signal, hour)
        ) STRICT, WITHOUT ROWID;

        CREATE TABLE baseline_runs (
            signal TEXT NOT NULL,
            field TEXT NOT NULL,
            longest INTEGER NOT NULL,        -- equal values in a row, of runs that have ended
            PRIMARY KEY (signal, field)
        ) STRICT, WITHOUT ROWID;
        """,
    ),
    (
        "0007_quarantine",
        """
        CREATE TABLE quarantine (
            digest BLOB PRIMARY KEY,         -- BLAKE2b-128 of the shape: the seven columns that follow
            sender TEXT NOT NULL,            -- as the policy names it
            signal TEXT NOT NULL,            -- empty where the policy declares no such signal
            version TEXT NOT NULL,           -- empty where it is not of a version's form
            reason TEXT NOT NULL,            -- from a closed list
            detail TEXT NOT NULL,            -- which rule; made of the policy
            fields TEXT NOT NULL,            -- declared fields with types and lengths; no values
            size_bytes INTEGER NOT NULL,     -- of what could not be read: at most so many; else 0
            count INTEGER NOT NULL,          -- how often
            first_ms INTEGER NOT NULL,       -- this device's wall clock
            last_ms INTEGER NOT NULL,        -- this device's wall clock
            bytes INTEGER NOT NULL,          -- of the texts
            expires_at INTEGER NOT NULL      -- second of retention time
        ) STRICT, WITHOUT ROWID;
        """,
    ),
    (
        "0008_features",
        """
        CREATE TABLE features (
            name TEXT PRIMARY KEY,
            state_version TEXT NOT NULL,     -- hash of all that decides what a state is
            complete_since INTEGER NOT NULL  -- second; of events before it some were forgotten when this was built up
        ) STRICT, WITHOUT ROWID;

        CREATE TABLE feature_states (
            feature TEXT NOT NULL,
            start INTEGER NOT NULL,          -- second: of the time bucket
            key TEXT NOT NULL,               -- category, empty where the feature has no `by`
            expires_at INTEGER NOT NULL,     -- second of retention time
            is_partial INTEGER NOT NULL,     -- 1: something in it could not be undone
            state BLOB NOT NULL,             -- MessagePack; see features.states
            PRIMARY KEY (feature, start, key)
        ) STRICT, WITHOUT ROWID;

        CREATE TABLE source_spans (          -- when a signal's events would have been taken
            signal TEXT NOT NULL,
            start_ms INTEGER NOT NULL,       -- this device's wall clock
            end_ms INTEGER NOT NULL,
            PRIMARY KEY (signal, start_ms)
        ) STRICT, WITHOUT ROWID;
        """,
    ),
    (
        "0009_personal",
        """
        CREATE TABLE segments (
            name TEXT PRIMARY KEY,
            definition TEXT NOT NULL,        -- hash of the definition it was judged by
            is_inside INTEGER NOT NULL,
            since_ms INTEGER                 -- when it was entered or left; NULL where it never was
        ) STRICT, WITHOUT ROWID;

        CREATE TABLE pins (
            flag TEXT PRIMARY KEY,
            variant TEXT NOT NULL,
            value BLOB NOT NULL,             -- MessagePack
            set_by TEXT NOT NULL,            -- owner, or the guard's name
            reason TEXT NOT NULL,
            at_ms INTEGER NOT NULL,
            definition TEXT NOT NULL         -- hash of the flag's definition then
        ) STRICT, WITHOUT ROWID;

        CREATE TABLE flag_marks (            -- of flags that a guard may revert
            flag TEXT PRIMARY KEY,
            definition TEXT NOT NULL,        -- hash
            variant TEXT,                    -- what it gives since then; NULL: the app's own default
            value BLOB NOT NULL,             -- MessagePack
            former_variant TEXT,             -- what it gave before
            former_value BLOB NOT NULL,      -- MessagePack
            changed_ms INTEGER NOT NULL      -- this device's wall clock
        ) STRICT, WITHOUT ROWID;

        CREATE TABLE moves (                 -- rows are only added, the oldest leave at a bound or after retention
            sequence INTEGER PRIMARY KEY,
            at_ms INTEGER NOT NULL,          -- this device's wall clock
            what TEXT NOT NULL,              -- ENTERED, LEFT, PINNED, UNPINNED or REVERTED
            subject TEXT NOT NULL,           -- segment or flag
            reason TEXT NOT NULL,            -- the owner's words, or the guard's name
            policy_version INTEGER NOT NULL
        ) STRICT;
        """,
    ),
    (
        "0010_trials",
        """
        CREATE TABLE enrolments (
            experiment TEXT PRIMARY KEY,
            arm TEXT NOT NULL,
            since_ms INTEGER NOT NULL,       -- the experiment's start, or when this device came in; wall clock
            left_ms INTEGER,                 -- NULL while it takes part
            why TEXT NOT NULL                -- it left, from a closed list; else empty
        ) STRICT, WITHOUT ROWID;

        CREATE TABLE exposures (             -- once for each experiment, arm and phase
            experiment TEXT NOT NULL,
            arm TEXT NOT NULL,
            phase TEXT NOT NULL,             -- names the experiment's definition with its traffic
            at_ms INTEGER NOT NULL,          -- the first, by this device's wall clock
            policy_version INTEGER NOT NULL, -- in force then
            reports INTEGER NOT NULL,        -- how often apps said so
            PRIMARY KEY (experiment, arm, phase)
        ) STRICT, WITHOUT ROWID;
        """,
    ),
    (
        "0011_enrolled_before_a_no",
        """
        -- The owner's latest no when the device was enrolled, by the wall clock then; 0: never.
        ALTER TABLE enrolments ADD COLUMN refused_ms INTEGER NOT NULL DEFAULT 0;
        """,
    ),
    (
        "0012_features_that_died",
        """
        -- Second before which a feature knows nothing on purpose: without an event for its ttl all was forgotten.
        ALTER TABLE features ADD COLUMN floor INTEGER NOT NULL DEFAULT 0;
        """,
    ),
    (
        "0013_sent",
        """
        -- How often it was handed to the broker since this migration, and when by this device's clock. NULL: never.
        ALTER TABLE outbox ADD COLUMN times_sent INTEGER NOT NULL DEFAULT 0;
        ALTER TABLE outbox ADD COLUMN first_sent_ms INTEGER;
        ALTER TABLE outbox ADD COLUMN last_sent_ms INTEGER;
        CREATE INDEX outbox_by_due ON outbox (not_before_ms);
        CREATE INDEX outbox_by_window ON outbox (metric, window_start);

        -- NULL in what was settled before this migration, which cannot be sent again.
        ALTER TABLE sent ADD COLUMN receipt_key BLOB;
        ALTER TABLE sent ADD COLUMN receipt_buckets INTEGER;
        ALTER TABLE sent ADD COLUMN created_at_ms INTEGER;
        ALTER TABLE sent ADD COLUMN times_sent INTEGER NOT NULL DEFAULT 0;
        ALTER TABLE sent ADD COLUMN first_sent_ms INTEGER;
        ALTER TABLE sent ADD COLUMN last_sent_ms INTEGER;
        CREATE INDEX sent_by_settled ON sent (settled_at_ms);
        CREATE INDEX sent_by_window ON sent (metric, window_start);

        CREATE TABLE outbox_size (           -- one row, kept up by the two triggers
            id INTEGER PRIMARY KEY CHECK (id = 1),
            reports INTEGER NOT NULL,
            bytes INTEGER NOT NULL           -- of envelopes
        ) STRICT;
        INSERT INTO outbox_size SELECT 1, count(*), coalesce(sum(length(envelope)), 0) FROM outbox;
        CREATE TRIGGER outbox_grows AFTER INSERT ON outbox BEGIN
            UPDATE outbox_size SET reports = reports + 1, bytes = bytes + length(NEW.envelope);
        END;
        CREATE TRIGGER outbox_shrinks AFTER DELETE ON outbox BEGIN
            UPDATE outbox_size SET reports = reports - 1, bytes = bytes - length(OLD.envelope);
        END;
        """,
    ),
)
