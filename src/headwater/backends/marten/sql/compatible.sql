-- What a Marten application has in its event schema: the same names, types, constraints and functions, written anew.
-- A .NET application that finds them adds the tables of its documents, and may put its own text of the functions.
[note]-- Placeholders: `schema`, a quoted name; `id`, the type of stream ids; `int`, that of the function's numbers.
[note]-- A line that begins with a word in brackets is there for such applications only; [note] never is.

CREATE SCHEMA IF NOT EXISTS {schema};

-- One row per stream, which every append reads and moves: `version` is the number of its last event.
CREATE TABLE {schema}.mt_streams (
[conjoined]    tenant_id   varchar NOT NULL DEFAULT '*DEFAULT*', -- first, so that a tenant's streams lie together
    id          {id} NOT NULL,
    type        varchar NULL,          -- alias of the aggregate's class, where the application said one
    version     bigint NULL,
    timestamp   timestamp with time zone NOT NULL DEFAULT (now()),
[v8]    snapshot    jsonb NULL,            -- never written by any version
[v8]    snapshot_version integer NULL,     -- never written by any version
    created     timestamp with time zone NOT NULL DEFAULT (now()),
[single]    tenant_id   varchar NULL DEFAULT '*DEFAULT*',
    is_archived boolean NULL DEFAULT false, -- appends are refused, projections pass it over
[single]    CONSTRAINT pkey_mt_streams_id PRIMARY KEY (id)
[conjoined]    CONSTRAINT pkey_mt_streams_tenant_id_id PRIMARY KEY (tenant_id, id)
);

-- The log.
CREATE TABLE {schema}.mt_events (
    seq_id         bigint NOT NULL,        -- place in the log. No default: drawn from the sequence below
    id             uuid NOT NULL,
    stream_id      {id} NULL,
    version        bigint NOT NULL,        -- place in the stream: 1, 2, 3 ...
    data           jsonb NOT NULL,
[v9]    bdata          bytea NULL,             -- the payload of events that are not JSON; their `data` is then {}
    type           varchar(500) NOT NULL,  -- alias of the event's class
    timestamp      timestamp with time zone NOT NULL DEFAULT '(now())', -- a constant: when the table was made
    tenant_id      varchar NULL DEFAULT '*DEFAULT*',
    mt_dotnet_type varchar NULL,           -- "Namespace.Class, Assembly", for events whose alias nobody registered
[correlation]    correlation_id varchar NULL,
[causation]    causation_id   varchar NULL,
[headers]    headers        jsonb NULL,
[user_name]    user_name      varchar NULL,
    is_archived    boolean NULL DEFAULT false,
    CONSTRAINT pkey_mt_events_seq_id PRIMARY KEY (seq_id)
);

-- No event without its stream.
ALTER TABLE {schema}.mt_events
[single]    ADD CONSTRAINT fkey_mt_events_stream_id FOREIGN KEY (stream_id)
[single]    REFERENCES {schema}.mt_streams (id) ON DELETE CASCADE;
[conjoined]    ADD CONSTRAINT fkey_mt_events_stream_id_tenant_id FOREIGN KEY (tenant_id, stream_id)
[conjoined]    REFERENCES {schema}.mt_streams (tenant_id, id);

-- Reading a stream in order; and of two writers with the same next version, one loses.
[single]CREATE UNIQUE INDEX pk_mt_events_stream_and_version ON {schema}.mt_events (stream_id, version);
[conjoined]CREATE UNIQUE INDEX pk_mt_events_stream_and_version ON {schema}.mt_events (tenant_id, stream_id, version);
[unique_ids]
[unique_ids]-- An event's id is stored once.
[unique_ids]CREATE UNIQUE INDEX idx_mt_events_event_id ON {schema}.mt_events (id);
[by_type]
[by_type]-- Projections of rare types find their events without reading the others.
[by_type]CREATE INDEX idx_mt_events_event_type_seq_id ON {schema}.mt_events (type, seq_id);

-- The numbers of the log. One drawn by a writer that then fails is never seen again.
CREATE SEQUENCE {schema}.mt_events_sequence;
ALTER SEQUENCE {schema}.mt_events_sequence OWNED BY {schema}.mt_events.seq_id;

-- How far each projection has come, and (row HighWaterMark) how far they may read.
CREATE TABLE {schema}.mt_event_progression (
    name         varchar NOT NULL,
    last_seq_id  bigint NULL,
    last_updated timestamp with time zone NULL DEFAULT (transaction_timestamp()),
    CONSTRAINT pk_mt_event_progression PRIMARY KEY (name)
);
[v9]
[v9]-- The ranges of numbers that the high-water mark has passed over because nobody was going to store them.
[v9]CREATE TABLE {schema}.mt_high_water_skips (
[v9]    ending_sequence   bigint NOT NULL,
[v9]    starting_sequence bigint NOT NULL,
[v9]    timestamp         timestamp with time zone NULL DEFAULT (transaction_timestamp()),
[v9]    CONSTRAINT pkey_mt_high_water_skips_ending_sequence PRIMARY KEY (ending_sequence)
[v9]);
