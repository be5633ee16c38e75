-- What Headwater keeps beside a Marten application's tables, in a schema of its own. Nothing is added to Marten's: its
-- migrations drop what they do not know.
-- Placeholders: `schema`, ours; `key`, the type of Marten's stream ids.

-- What stands here, and beside what. One row.
CREATE TABLE {schema}.meta (
    single         boolean PRIMARY KEY DEFAULT true CHECK (single),
    schema_version int NOT NULL,
    identity       uuid NOT NULL,          -- checkpoints carry it, so that another store refuses them
    marten         text NOT NULL,          -- Marten's schema
    tenant         text NOT NULL,
    functions      text NOT NULL DEFAULT '', -- digest of the functions below: made anew where Marten's tables have changed
    created_at     timestamptz NOT NULL DEFAULT now()
);

-- One row per event that was appended here: its id, to know a retry (Marten's tables have an index of ids only on
-- demand), and what they have no column for. Never the truth about what Marten's row says too: that may be masked there.
CREATE TABLE {schema}.beside (
    position     int8 NOT NULL,
    id           uuid NOT NULL,
    type         text COLLATE "C",         -- '=' and the type, where Marten's alias does not tell it
    data         bytea,                    -- as given, where JSONB or the casing of keys can't give that back …
    data_hash    int8,                     -- … of the JSONB that then was stored: another one there is a changed event
    metadata     bytea,                    -- as given, where Marten's columns do not hold all of it
    tags         text[],
    content_type text,                     -- NULL: application/json
    occurred_us  int8,
    PRIMARY KEY (position)                 -- beside each event that is read
);
CREATE UNIQUE INDEX beside_by_id ON {schema}.beside (id);

-- One row per tag of an event.
CREATE TABLE {schema}.event_tags (
    tag      text COLLATE "C" NOT NULL,
    position int8 NOT NULL,
    type     text COLLATE "C" NOT NULL,    -- as `beside` has it, else Marten's alias
    PRIMARY KEY (tag, position)            -- read_all and conditions by tag, in order of position; "has this tag too?"
);
CREATE INDEX event_tags_by_type ON {schema}.event_tags (tag, type, position);

-- What hides a stream's events from its readers here. Marten knows nothing of it.
CREATE TABLE {schema}.policies (
    stream          {key} PRIMARY KEY,
    hidden_through  int8 NOT NULL DEFAULT 0,
    truncate_before int8 NOT NULL DEFAULT 0,
    max_age_us      int8,
    max_count       int8
);

-- Up to where the log was found to be settled, so that a store that is opened need not find it out again.
CREATE TABLE {schema}.settled (
    upto      int8 PRIMARY KEY,
    found_at  timestamptz NOT NULL DEFAULT now()
);

-- Numbers that readers have passed over because nobody was going to store them any more. headwater doctor looks whether
-- somebody did.
CREATE TABLE {schema}.passed (
    first     int8 PRIMARY KEY,
    last      int8 NOT NULL,
    passed_at timestamptz NOT NULL DEFAULT now()
);
