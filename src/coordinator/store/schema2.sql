-- Schema 2: requests, and what they took. Times are milliseconds since the Unix epoch unless their name says otherwise, money
-- is in micro-dollars, and every text that repeats (users, models, messages) is a number of the table `name`: rows stay short,
-- so that a list over many of them is one quick scan, and no index has to be kept for each column that may be filtered by.

-- A text that other rows refer to by its number. The two days, since the epoch, are those of the newest request and count that
-- used it; texts older than every row are swept. `columns` are the columns of `trace` that use it, as bits (writer/dictionary.rs).
CREATE TABLE name (
    id        INTEGER NOT NULL PRIMARY KEY,
    text      TEXT    NOT NULL UNIQUE,
    trace_day INTEGER NOT NULL,
    usage_day INTEGER NOT NULL,
    columns   INTEGER NOT NULL
) STRICT;

-- A trace: all requests with the same trace id, summed. `key` is when the first request that was recorded started, times 2^21,
-- plus a number that makes it unique: rows lie in the order of time, and a range of time is a range of keys.
CREATE TABLE trace (
    key         INTEGER NOT NULL PRIMARY KEY,
    marks       INTEGER NOT NULL, -- bits, see link::trace::Marks
    user        INTEGER NOT NULL, -- of the first request, as are the next four
    tenant      INTEGER NOT NULL,
    agent       INTEGER NOT NULL,
    provider    INTEGER NOT NULL,
    asked       INTEGER NOT NULL,
    model       INTEGER NOT NULL,
    status      INTEGER NOT NULL, -- the highest
    error       INTEGER,          -- the last message
    cost        INTEGER NOT NULL,
    duration_us INTEGER NOT NULL, -- from the first start to the last end
    started_ms  INTEGER NOT NULL, -- the earliest
    requests    INTEGER NOT NULL,
    spans       INTEGER NOT NULL,
    saved       INTEGER NOT NULL,
    prompt      INTEGER NOT NULL,
    completion  INTEGER NOT NULL,
    total       INTEGER NOT NULL,
    id          BLOB    NOT NULL  -- 16 bytes, big-endian
) STRICT;
CREATE UNIQUE INDEX trace_id ON trace (id);

-- Values by which a trace is found besides its own columns: those of later requests that differ. `kind` is a number from dimension.rs.
CREATE TABLE trace_also (
    kind  INTEGER NOT NULL,
    value INTEGER NOT NULL,
    trace INTEGER NOT NULL,
    PRIMARY KEY (kind, value, trace)
) STRICT, WITHOUT ROWID;
CREATE INDEX trace_also_trace ON trace_also (trace);

-- A request, the root of its spans. `key` is its start, made as a trace's is.
CREATE TABLE request (
    key           INTEGER NOT NULL PRIMARY KEY,
    trace         INTEGER NOT NULL,
    span          INTEGER NOT NULL, -- 64 bits
    parent        INTEGER,
    duration_ns   INTEGER NOT NULL,
    first_byte_ns INTEGER,
    user          INTEGER NOT NULL,
    tenant        INTEGER NOT NULL,
    agent         INTEGER NOT NULL,
    endpoint      INTEGER NOT NULL,
    provider      INTEGER NOT NULL,
    asked         INTEGER NOT NULL,
    model         INTEGER NOT NULL,
    status        INTEGER NOT NULL,
    marks         INTEGER NOT NULL,
    code          INTEGER,
    fault         INTEGER,
    error         INTEGER,
    cut           INTEGER,
    prompt        INTEGER NOT NULL,
    completion    INTEGER NOT NULL,
    total         INTEGER NOT NULL,
    cached        INTEGER NOT NULL,
    reasoning     INTEGER NOT NULL,
    cost          INTEGER NOT NULL,
    saved         INTEGER NOT NULL,
    captured      INTEGER NOT NULL, -- bytes in `capture`
    request_id    TEXT    NOT NULL,
    detail        TEXT    NOT NULL  -- JSON: attempts, matches, faults, inputs
) STRICT;
CREATE INDEX request_trace ON request (trace);
CREATE INDEX request_request_id ON request (request_id);

CREATE TABLE capture (
    request      INTEGER NOT NULL PRIMARY KEY,
    request_body BLOB    NOT NULL,
    answer_body  BLOB    NOT NULL,
    cut          INTEGER NOT NULL CHECK (cut IN (0, 1))
) STRICT;

-- Exact counts. After some days a row covers a whole hour and carries the hour's first minute.
CREATE TABLE usage_minute (
    minute      INTEGER NOT NULL, -- since the epoch
    tenant      INTEGER NOT NULL,
    user        INTEGER NOT NULL,
    agent       INTEGER NOT NULL,
    provider    INTEGER NOT NULL,
    model       INTEGER NOT NULL,
    status      INTEGER NOT NULL,
    requests    INTEGER NOT NULL,
    spans       INTEGER NOT NULL,
    prompt      INTEGER NOT NULL,
    completion  INTEGER NOT NULL,
    total       INTEGER NOT NULL,
    cached      INTEGER NOT NULL,
    reasoning   INTEGER NOT NULL,
    cost        INTEGER NOT NULL,
    saved       INTEGER NOT NULL,
    hits        INTEGER NOT NULL,
    misses      INTEGER NOT NULL,
    blocked     INTEGER NOT NULL,
    errors      INTEGER NOT NULL,
    duration_us INTEGER NOT NULL,
    PRIMARY KEY (minute, tenant, user, agent, provider, model, status)
) STRICT, WITHOUT ROWID;

-- The same summed over everything but the minute, for charts; with the durations, sorted into buckets (link::usage::Latency).
CREATE TABLE total_minute (
    minute      INTEGER NOT NULL PRIMARY KEY,
    requests    INTEGER NOT NULL,
    spans       INTEGER NOT NULL,
    prompt      INTEGER NOT NULL,
    completion  INTEGER NOT NULL,
    total       INTEGER NOT NULL,
    cached      INTEGER NOT NULL,
    reasoning   INTEGER NOT NULL,
    cost        INTEGER NOT NULL,
    saved       INTEGER NOT NULL,
    hits        INTEGER NOT NULL,
    misses      INTEGER NOT NULL,
    blocked     INTEGER NOT NULL,
    errors      INTEGER NOT NULL,
    duration_us INTEGER NOT NULL,
    status_2xx  INTEGER NOT NULL,
    status_4xx  INTEGER NOT NULL,
    status_5xx  INTEGER NOT NULL,
    latency     BLOB    NOT NULL
) STRICT;

-- The same counts by hour and one dimension, for attribution over long periods. `kind` is a number from dimension.rs.
CREATE TABLE usage_hour (
    kind     INTEGER NOT NULL,
    hour     INTEGER NOT NULL, -- since the epoch
    value    INTEGER NOT NULL,
    requests INTEGER NOT NULL,
    tokens   INTEGER NOT NULL,
    cost     INTEGER NOT NULL,
    saved    INTEGER NOT NULL,
    PRIMARY KEY (kind, hour, value)
) STRICT, WITHOUT ROWID;

CREATE TABLE policy_minute (
    minute    INTEGER NOT NULL,
    policy    INTEGER NOT NULL, -- its id, a name
    action    INTEGER NOT NULL, -- a name
    mode      INTEGER NOT NULL, -- a name
    matches   INTEGER NOT NULL,
    effective INTEGER NOT NULL,
    PRIMARY KEY (minute, policy, action, mode)
) STRICT, WITHOUT ROWID;

-- Flushes that were applied: from `first` to `last`, without a gap.
CREATE TABLE flush (
    boot  BLOB    NOT NULL, -- 16 bytes
    shard INTEGER NOT NULL,
    first INTEGER NOT NULL,
    last  INTEGER NOT NULL,
    at_ms INTEGER NOT NULL,
    PRIMARY KEY (boot, shard, first)
) STRICT, WITHOUT ROWID;

-- Progress of background work: `usage_minute` rows before the minute `rolled_up` cover whole hours.
CREATE TABLE progress (
    what  TEXT    NOT NULL PRIMARY KEY,
    value INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
