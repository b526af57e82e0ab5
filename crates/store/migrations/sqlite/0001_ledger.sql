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
    -- JSON.
    manifest     TEXT,
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
    -- 0 run created, 1 run moved, 2 materialized, 3 step failed, 4 fan-out opened, 5 fan-out moved.
    kind     INTEGER NOT NULL,
    asset    INTEGER,
    -- By kind: nothing, JSON, the bytes of a set, JSON from then on.
    detail   ANY
) STRICT;

-- A step that became many items.
CREATE TABLE fan_out (
    id             INTEGER PRIMARY KEY,
    fan_out        BLOB NOT NULL UNIQUE,
    -- The run that it belongs to now.
    run            INTEGER NOT NULL REFERENCES run (id),
    asset          INTEGER NOT NULL,
    partition      INTEGER NOT NULL,
    -- The fan-out and the item that it stands within.
    parent         BLOB,
    item           INTEGER,
    epoch          INTEGER NOT NULL,
    -- 0 filling, 1 sealed; from 2 on terminal: 2 complete, 3 partial, 4 failed, 5 cancelled.
    state          INTEGER NOT NULL,
    is_sealed      INTEGER NOT NULL,
    -- How many items came so far.
    items          INTEGER NOT NULL,
    next_chunk     INTEGER NOT NULL,
    opened_ns      INTEGER NOT NULL,
    moved_ns       INTEGER NOT NULL,
    on_schedule_ns INTEGER,
    counts         TEXT NOT NULL,
    -- How many items were left to be tried again when the epoch began.
    redriven       INTEGER NOT NULL,
    options        TEXT NOT NULL,
    error          TEXT,
    -- The version in one byte, and the position.
    cursor         BLOB,
    -- 1 once it is being pruned: nobody sees it any more.
    is_gone        INTEGER NOT NULL DEFAULT 0
) STRICT;

CREATE INDEX fan_out_of_run ON fan_out (run);

CREATE INDEX fan_out_of_step ON fan_out (asset, partition) WHERE parent IS NULL;

CREATE INDEX fan_out_within ON fan_out (parent, item) WHERE parent IS NOT NULL;

CREATE TRIGGER fan_out_keeps_its_place BEFORE UPDATE OF fan_out, asset, partition, parent, item, opened_ns ON fan_out
BEGIN
    SELECT RAISE(ABORT, 'a fan-out keeps its place');
END;

CREATE TRIGGER fan_out_epoch_only_grows BEFORE UPDATE ON fan_out WHEN NEW.epoch < OLD.epoch
BEGIN
    SELECT RAISE(ABORT, 'an epoch only grows');
END;

CREATE TRIGGER fan_out_end_is_final BEFORE UPDATE ON fan_out
WHEN OLD.state >= 2 AND NEW.epoch = OLD.epoch AND NEW.state <> OLD.state
BEGIN
    SELECT RAISE(ABORT, 'a fan-out that has ended moves in another epoch only');
END;

CREATE TRIGGER fan_out_items_only_grow BEFORE UPDATE ON fan_out
WHEN NEW.items < OLD.items OR NEW.next_chunk < OLD.next_chunk
BEGIN
    SELECT RAISE(ABORT, 'items and claims only grow in number');
END;

-- Apart from the fan-out, so that a move does not rewrite it.
CREATE TABLE fan_out_shared (
    fan_out INTEGER PRIMARY KEY REFERENCES fan_out (id),
    shared  BLOB NOT NULL
) STRICT;

-- Bodies stand last: what stands before them is read without them. Their first byte says how they are packed.
CREATE TABLE item_page (
    fan_out      INTEGER NOT NULL REFERENCES fan_out (id),
    first        INTEGER NOT NULL,
    len          INTEGER NOT NULL,
    batch_starts BLOB,
    body         BLOB,
    PRIMARY KEY (fan_out, first)
) STRICT, WITHOUT ROWID;

CREATE TRIGGER item_page_never_changes BEFORE UPDATE ON item_page
BEGIN
    SELECT RAISE(ABORT, 'a page of items never changes');
END;

CREATE TRIGGER item_page_follows BEFORE INSERT ON item_page
WHEN NEW.first <> coalesce(
    (SELECT first + len FROM item_page WHERE fan_out = NEW.fan_out ORDER BY first DESC LIMIT 1), 0)
BEGIN
    SELECT RAISE(ABORT, 'a page of items follows the last');
END;

-- Claims that are open.
CREATE TABLE item_claim (
    fan_out INTEGER NOT NULL REFERENCES fan_out (id),
    chunk   INTEGER NOT NULL,
    crashes INTEGER NOT NULL,
    -- 0 once it only remembers a death.
    is_held INTEGER NOT NULL,
    items   BLOB NOT NULL,
    PRIMARY KEY (fan_out, chunk)
) STRICT, WITHOUT ROWID;

CREATE TABLE segment (
    fan_out   INTEGER NOT NULL REFERENCES fan_out (id),
    page      INTEGER NOT NULL,
    chunk     INTEGER NOT NULL,
    seq       INTEGER NOT NULL,
    succeeded BLOB,
    skipped   BLOB,
    body      BLOB,
    PRIMARY KEY (fan_out, page, chunk, seq)
) STRICT, WITHOUT ROWID;

CREATE TRIGGER segment_never_changes BEFORE UPDATE ON segment
BEGIN
    SELECT RAISE(ABORT, 'a segment never changes');
END;

-- The last failure of an item.
CREATE TABLE failed_item (
    fan_out  INTEGER NOT NULL REFERENCES fan_out (id),
    item     INTEGER NOT NULL,
    epoch    INTEGER NOT NULL,
    attempt  INTEGER NOT NULL,
    is_final INTEGER NOT NULL,
    at_ns    INTEGER NOT NULL,
    key      TEXT NOT NULL,
    error    TEXT NOT NULL,
    PRIMARY KEY (fan_out, item)
) STRICT, WITHOUT ROWID;
