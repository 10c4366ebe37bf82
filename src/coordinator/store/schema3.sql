-- Schema 3: tokens that a provider wrote to its prompt cache. They are part of `prompt`, as `cached` is. Rows that
-- were recorded before have none.

ALTER TABLE request ADD COLUMN cache_write INTEGER NOT NULL DEFAULT 0;
ALTER TABLE usage_minute ADD COLUMN cache_write INTEGER NOT NULL DEFAULT 0;
ALTER TABLE total_minute ADD COLUMN cache_write INTEGER NOT NULL DEFAULT 0;
