-- Headwater's schema for SQLite, version 1. Applied in one transaction when the file is made.
--
-- What an event is stands in full in its row, so that the file can be read with any SQLite tool in ten years:
-- select * from events where stream = 'loan-173688' order by version.

-- Facts about the store itself: identity (a UUID that checkpoints carry), created_us.
create table meta (
    key text primary key,
    value text not null
) without rowid;

-- Each pair of category and type that occurs: few rows. One index over events by this number serves queries by type,
-- by category and by both, and is a fraction of the size of two indexes over texts. category is null for events
-- without a stream.
create table kinds (
    number integer primary key,
    category text,
    type text not null
);

-- The log. One row an event; position is the row id, so reading the log in order is reading the table in order.
-- data and metadata are text where they are JSON (so json_extract works on them), else blobs.
-- Times are microseconds since 1970-01-01 UTC. tags are joined with line feeds; event_tags makes them searchable.
create table events (
    position integer primary key,
    stream text,
    stream_number integer,                        -- streams.number of that stream
    version integer not null,
    id blob not null,
    type text not null,
    kind integer not null,                        -- kinds.number of its category and type
    data blob not null,
    metadata text not null default '',
    tags text not null default '',
    content_type text,                            -- null = application/json
    recorded_us integer not null,
    occurred_us integer
);

-- Reading a stream in order of version, finding its last one; and no version twice, whatever a writer believed.
-- By number, not by name: this index is written at a random place by every append, so its size is what appends cost.
create unique index events_by_stream on events (stream_number, version) where stream_number is not null;

-- Recognising a retry, and finding an event by its id; no id twice.
create unique index events_by_id on events (id);

-- Queries and append conditions by type and category, in order of position (every index ends with the row id).
create index events_by_kind on events (kind);

-- Queries and append conditions by tag, in order of position; the kind stands here too, so that the usual boundary
-- (one tag, some types) is answered from this table alone.
create table event_tags (
    tag text not null,
    position integer not null,
    kind integer not null,
    primary key (tag, position)
) without rowid;

-- The streams, and what their readers may see. A stream's version is that of its last event: nothing is kept here
-- that an append would have to change. number: the position of the stream's first event, so it is unique.
-- state: 0 open, 1 deleted, 2 tombstoned (a name that was tombstoned unused has no number).
create table streams (
    name text primary key,
    number integer,
    state integer not null default 0,
    hidden_through integer not null default 0,    -- versions up to here were deleted
    truncate_before integer not null default 0,
    max_age_us integer,
    max_count integer,
    created_us integer not null
) without rowid;

-- Folded states beside the log, the latest of each name.
create table snapshots (
    name text primary key,
    version integer not null,
    state blob not null,
    content_type text not null,
    schema text not null,
    saved_us integer not null
) without rowid;

-- How far each named consumer has come.
create table checkpoints (
    name text primary key,
    position integer not null,
    saved_us integer not null
) without rowid;

-- Append-only, enforced: what is stored is never changed and never removed.
create trigger events_never_change before update on events begin
    select raise(abort, 'headwater: events are append-only, they are never changed');
end;

create trigger events_never_go before delete on events begin
    select raise(abort, 'headwater: events are append-only, they are never removed');
end;

create trigger event_tags_never_change before update on event_tags begin
    select raise(abort, 'headwater: events are append-only, their tags are never changed');
end;

create trigger event_tags_never_go before delete on event_tags begin
    select raise(abort, 'headwater: events are append-only, their tags are never removed');
end;
