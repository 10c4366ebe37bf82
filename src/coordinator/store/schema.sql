-- Schema 1. A later version never edits this file: it gets a file of its own, named in schema.rs.
-- Times are milliseconds since the Unix epoch.

CREATE TABLE policy (
    id            TEXT    NOT NULL PRIMARY KEY,
    name          TEXT    NOT NULL UNIQUE,
    description   TEXT    NOT NULL,
    expression    TEXT    NOT NULL,
    action        TEXT    NOT NULL,
    target_model  TEXT,
    message       TEXT,
    priority      INTEGER NOT NULL,
    enabled       INTEGER NOT NULL CHECK (enabled IN (0, 1)),
    mode          TEXT    NOT NULL,
    created_at_ms INTEGER NOT NULL,
    updated_at_ms INTEGER NOT NULL
) STRICT;

-- The newest row always stays, so ids only rise. `before` and `after` are JSON.
CREATE TABLE audit (
    id      INTEGER NOT NULL PRIMARY KEY,
    at_ms   INTEGER NOT NULL,
    actor   TEXT    NOT NULL,
    action  TEXT    NOT NULL,
    subject TEXT    NOT NULL,
    before  TEXT,
    after   TEXT
) STRICT;

-- One row, written while the store is degraded, to find out whether the disk takes writes again.
CREATE TABLE probe (
    id     INTEGER NOT NULL PRIMARY KEY CHECK (id = 1),
    filler BLOB    NOT NULL
) STRICT;
