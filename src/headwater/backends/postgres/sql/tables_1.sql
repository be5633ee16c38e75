-- The tables of schema 1. Placeholders: `schema`, a quoted name; `partitioning`, empty or PARTITION BY RANGE (position).

-- Positions. CACHE 1, so that "last value" is the highest position drawn so far by anybody: the gate stands on that.
-- It starts at 0 with 0 drawn, so that the last value can be read before the first event. Holes are legal.
CREATE SEQUENCE {schema}.positions AS int8 MINVALUE 0 START 0 CACHE 1 NO CYCLE;
SELECT nextval('{schema}.positions');

-- What the store is. One row.
CREATE TABLE {schema}.meta (
    single         boolean PRIMARY KEY DEFAULT true CHECK (single),
    schema_version int NOT NULL,
    identity       uuid NOT NULL,          -- checkpoints carry it, so that another store refuses them
    partition_size int8,                   -- positions per partition of events; NULL: not partitioned
    created_at     timestamptz NOT NULL DEFAULT now()
);

-- The log. Data and metadata are JSONB where JSONB gives back the same values, else the bytes as they were given.
-- Times are microseconds since 1970-01-01 UTC: exact, half the cost of timestamptz to read, the same in every backend.
-- Names compare by bytes (COLLATE "C"), so no upgrade of an operating system's collations can break an index.
-- No CHECK, no generated column, no partial index here or on streams: PostgreSQL takes each apart again for every
-- statement, which together made a small append a fifth slower.
CREATE TABLE {schema}.events (
    position       int8 NOT NULL,
    stream         text COLLATE "C",       -- NULL: the event belongs to no stream
    version        int8 NOT NULL,          -- 0 where there is no stream
    id             uuid NOT NULL,
    type           text COLLATE "C" NOT NULL,
    category       text COLLATE "C",       -- of the stream; NULL where there is none. The functions that append fill it in
    data           jsonb,
    data_bytes     bytea,
    metadata       jsonb,
    metadata_bytes bytea,
    tags           text[],
    content_type   text,                   -- NULL: application/json
    recorded_us    int8 NOT NULL,
    occurred_us    int8,
    PRIMARY KEY (position)                 -- read_all without a query; the join from the indexes below to the events
) {partitioning};

-- read_all and conditions by type, in order of position.
CREATE INDEX events_by_type ON {schema}.events (type, position);
-- read_all and conditions by category, in order of position.
CREATE INDEX events_by_category ON {schema}.events (category, position);

-- One row per tag of an event.
CREATE TABLE {schema}.event_tags (
    tag      text COLLATE "C" NOT NULL,
    position int8 NOT NULL,
    type     text COLLATE "C" NOT NULL,
    PRIMARY KEY (tag, position)            -- read_all and conditions by tag, in order of position; "has this tag too?"
);
-- read_all and conditions by tag and type (the usual boundary): a seek, however many other types carry the tag.
CREATE INDEX event_tags_by_type ON {schema}.event_tags (tag, type, position);

-- One row per stream: its head, and what hides its events from its readers. An append locks the row, so the versions of
-- a stream have no holes and rise with the positions. A fifth of each page is kept free, so that moving a head touches
-- no index (HOT). Rows are never removed. version 0: a name that was tombstoned unused.
-- A category needs no index: its streams' names begin with it.
CREATE TABLE {schema}.streams (
    name            text COLLATE "C" NOT NULL,
    version         int8 NOT NULL,
    state           text NOT NULL DEFAULT 'open',       -- or deleted, tombstoned
    hidden_through  int8 NOT NULL DEFAULT 0,
    truncate_before int8 NOT NULL DEFAULT 0,
    max_age_us      int8,
    max_count       int8,
    created_us      int8 NOT NULL,
    last_us         int8 NOT NULL,
    PRIMARY KEY (name)                     -- every append; stream(name); streams() by name, prefix or category
) WITH (fillfactor = 80);

-- Append-only is enforced, not hoped for.
CREATE FUNCTION {schema}.refuse_change_v1() RETURNS trigger LANGUAGE plpgsql AS $body$
BEGIN
    RAISE EXCEPTION 'headwater: % on %.% refused: the log is append-only', TG_OP, TG_TABLE_SCHEMA, TG_TABLE_NAME
        USING ERRCODE = 'restrict_violation', HINT = 'Hide events with a stream policy or delete_stream instead.';
END $body$;
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON {schema}.events
    FOR EACH STATEMENT EXECUTE FUNCTION {schema}.refuse_change_v1();
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON {schema}.event_tags
    FOR EACH STATEMENT EXECUTE FUNCTION {schema}.refuse_change_v1();
