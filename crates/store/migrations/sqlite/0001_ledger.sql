-- The ledger. Numbers are dense, sets are the bytes of core's PartitionSet, times of hot tables are whole numbers.
-- Triggers hold what must stay true whatever the program above them believes.

CREATE TABLE asset (
    id        INTEGER PRIMARY KEY,
    key       TEXT NOT NULL,
    space     TEXT NOT NULL,
    -- 1 when the partitions were defined anew since, under another number.
    is_former INTEGER NOT NULL DEFAULT 0
) STRICT;

CREATE UNIQUE INDEX asset_current ON asset (key) WHERE is_former = 0;

-- The dictionary of code versions: 16 bytes each, stored once.
CREATE TABLE code (
    id      INTEGER PRIMARY KEY,
    version BLOB NOT NULL UNIQUE
) STRICT;

CREATE TABLE run (
    id              INTEGER PRIMARY KEY,
    run             BLOB NOT NULL UNIQUE,
    pipeline        TEXT NOT NULL,
    idempotency_key TEXT UNIQUE,
    -- NULL once the run is forgotten: what is left then is its id, its number and its state, since values that it made
    -- still name it.
    request         BLOB,
    -- 0 queued, 1 running, 2 paused, 3 cancelling; from 4 on terminal: 4 succeeded, 5 failed, 6 cancelled.
    state           INTEGER NOT NULL,
    created_at_ns   INTEGER NOT NULL,
    moved_at_ns     INTEGER NOT NULL,
    -- Who drives it, or did last; 0 before anybody has.
    incarnation     INTEGER NOT NULL,
    counts          TEXT NOT NULL,
    error           TEXT
) STRICT;

CREATE INDEX run_open ON run (run) WHERE state < 4;

CREATE INDEX run_ended ON run (run) WHERE state >= 4 AND request IS NOT NULL;

CREATE TRIGGER run_terminal_is_final BEFORE UPDATE OF state ON run WHEN OLD.state >= 4
BEGIN
    SELECT RAISE(ABORT, 'a terminal run is final');
END;

CREATE TRIGGER run_incarnation_only_grows BEFORE UPDATE OF incarnation ON run WHEN NEW.incarnation <= OLD.incarnation
BEGIN
    SELECT RAISE(ABORT, 'an incarnation only grows');
END;

-- Apart from the run, so that a move does not rewrite a large plan.
CREATE TABLE run_plan (
    run  INTEGER PRIMARY KEY REFERENCES run (id),
    plan BLOB NOT NULL
) STRICT;

CREATE TABLE chunk (
    run       INTEGER NOT NULL REFERENCES run (id),
    asset     INTEGER NOT NULL REFERENCES asset (id),
    chunk     INTEGER NOT NULL,
    fence     INTEGER NOT NULL,
    -- 0 running, 1 ended.
    state     INTEGER NOT NULL,
    crashes   INTEGER NOT NULL,
    at_ns     INTEGER NOT NULL,
    steps     BLOB,
    succeeded BLOB,
    unchanged BLOB,
    skipped   BLOB,
    PRIMARY KEY (run, asset, chunk)
) STRICT, WITHOUT ROWID;

CREATE TRIGGER chunk_fence_only_grows BEFORE UPDATE ON chunk WHEN NEW.fence < OLD.fence
BEGIN
    SELECT RAISE(ABORT, 'a fence only grows');
END;

-- The version stands before the partition: a set of heads is a few ranges of one version.
CREATE TABLE materialization (
    asset        INTEGER NOT NULL,
    version      INTEGER NOT NULL,
    partition    INTEGER NOT NULL,
    run          INTEGER NOT NULL,
    code         INTEGER NOT NULL,
    attempt      INTEGER NOT NULL,
    started_ms   INTEGER NOT NULL,
    took_ms      INTEGER NOT NULL,
    data_version BLOB NOT NULL,
    bytes        INTEGER NOT NULL,
    rows         INTEGER,
    -- TEXT is a location, BLOB an inline value.
    address      ANY NOT NULL,
    PRIMARY KEY (asset, version, partition)
) STRICT, WITHOUT ROWID;

CREATE TRIGGER materialization_is_immutable BEFORE UPDATE ON materialization
BEGIN
    SELECT RAISE(ABORT, 'a materialization never changes');
END;

-- The partitions of asset whose number is hi * 65,536 and up, and whose head has this version and code.
CREATE TABLE head_set (
    asset      INTEGER NOT NULL,
    hi         INTEGER NOT NULL,
    version    INTEGER NOT NULL,
    code       INTEGER NOT NULL,
    partitions BLOB NOT NULL,
    PRIMARY KEY (asset, hi, version, code)
) STRICT, WITHOUT ROWID;

CREATE TABLE status_set (
    asset      INTEGER NOT NULL,
    -- 1 failed, 2 stale.
    kind       INTEGER NOT NULL,
    hi         INTEGER NOT NULL,
    partitions BLOB,
    PRIMARY KEY (asset, kind, hi)
) STRICT, WITHOUT ROWID;

-- Intervals are stored as first and span (last - first). A class is version * 64 + the size class of the span, which
-- is k for spans less than 4^k. To find the intervals of a class that hold p it is enough to look at those that start
-- at most 4^k before p; as intervals of one class and version hardly overlap, few of them miss.
CREATE TABLE lineage_input (
    asset          INTEGER NOT NULL,
    class          INTEGER NOT NULL,
    first          INTEGER NOT NULL,
    span           INTEGER NOT NULL,
    upstream       INTEGER NOT NULL,
    upstream_class INTEGER NOT NULL,
    upstream_first INTEGER NOT NULL,
    upstream_span  INTEGER NOT NULL,
    one_to_one     INTEGER NOT NULL,
    PRIMARY KEY (asset, class, first, span, upstream, upstream_class, upstream_first, upstream_span, one_to_one)
) STRICT, WITHOUT ROWID;

CREATE INDEX lineage_input_by_upstream ON lineage_input (upstream, upstream_class, upstream_first, upstream_span);

-- Sets of named partitions that grow. Keys are the bytes of core's PartitionKey; one that is retired keeps its number.
CREATE TABLE dynamic_set (
    id      INTEGER PRIMARY KEY,
    name    TEXT NOT NULL UNIQUE,
    -- How often it was added to or retired from.
    changes INTEGER NOT NULL
) STRICT;

CREATE TABLE dynamic_key (
    set_id     INTEGER NOT NULL REFERENCES dynamic_set (id),
    number     INTEGER NOT NULL,
    key        BLOB NOT NULL,
    added_ns   INTEGER NOT NULL,
    retired_ns INTEGER,
    PRIMARY KEY (set_id, number),
    UNIQUE (set_id, key)
) STRICT, WITHOUT ROWID;

CREATE INDEX dynamic_key_retired ON dynamic_key (set_id, number) WHERE retired_ns IS NOT NULL;

CREATE TRIGGER dynamic_key_keeps_its_number BEFORE UPDATE OF set_id, number, key, added_ns ON dynamic_key
BEGIN
    SELECT RAISE(ABORT, 'a partition keeps its number');
END;

CREATE TRIGGER dynamic_key_stays BEFORE DELETE ON dynamic_key
BEGIN
    SELECT RAISE(ABORT, 'a partition keeps its number');
END;

CREATE TABLE step_failure (
    id        INTEGER PRIMARY KEY,
    run       INTEGER NOT NULL REFERENCES run (id),
    asset     INTEGER NOT NULL,
    partition INTEGER NOT NULL,
    attempt   INTEGER NOT NULL,
    is_final  INTEGER NOT NULL,
    at_ns     INTEGER NOT NULL,
    error     TEXT NOT NULL,
    UNIQUE (run, asset, partition, attempt)
) STRICT;

-- The newest row is never deleted, so that sequence only grows.
CREATE TABLE event (
    sequence INTEGER PRIMARY KEY,
    at_ns    INTEGER NOT NULL,
    run      INTEGER NOT NULL,
    -- 0 run created, 1 run moved, 2 materialized, 3 step failed.
    kind     INTEGER NOT NULL,
    asset    INTEGER,
    -- By kind: nothing, the state's number, the bytes of a set, JSON.
    detail   ANY
) STRICT;
