-- What schema 1 adds where events is one table. Placeholder: `schema`.

-- read(stream), in order of version; and no version twice, should all else fail.
CREATE UNIQUE INDEX events_by_stream ON {schema}.events (stream, version);
-- Idempotent retries and event(id); and no id twice.
CREATE UNIQUE INDEX events_by_id ON {schema}.events (id);
