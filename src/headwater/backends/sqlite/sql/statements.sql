-- Every statement of the SQLite backend that is longer than a line, by name. Parameters are named or in order (?).

-- name: insert_event
-- One row of the log. Refused by events_by_id where the id is stored already: a retry.
insert into events (position, stream, stream_number, version, id, type, kind, data, metadata, tags, content_type,
                    recorded_us, occurred_us)
values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?);

-- name: insert_tag
insert into event_tags (tag, position, kind) values (?, ?, ?);

-- name: open_stream
-- A new stream; or one that was deleted and takes events again, while its hidden events stay hidden.
insert into streams (name, number, created_us) values (?, ?, ?)
on conflict (name) do update set state = 0;

-- name: delete_stream
-- Only a name that is tombstoned unused is new here.
insert into streams (name, state, hidden_through, created_us) values (:name, :state, :version, :now)
on conflict (name) do update set state = excluded.state, hidden_through = excluded.hidden_through;

-- name: set_policy
update streams set truncate_before = :truncate_before, max_age_us = :max_age_us, max_count = :max_count
where name = :name;

-- name: stream_head
-- What an append must know of a stream: number, version, state.
select number, (select max(version) from events where stream_number = number), state
from streams where name = ?;

-- name: stream_columns
-- What is known of a stream; its last event is found by events_by_stream.
select name, number, state, hidden_through, truncate_before, max_age_us, max_count, created_us,
       last.version, last.recorded_us
from streams left join events as last
    on last.stream_number = number
    and last.version = (select max(version) from events where stream_number = number);

-- name: event_columns
-- The order of headwater.events.Event's fields. The casts give bytes for text and blob alike.
select position, stream, version, id, type, cast(data as blob), cast(metadata as blob), tags, content_type,
       recorded_us, occurred_us
from events;

-- name: first_recorded
-- The first version of a stream, from a version on, that was recorded at or after a time.
select min(version) from events where stream_number = ? and version >= ? and recorded_us >= ?;

-- name: count_categories
select substr(name, 1, instr(name || '-', '-') - 1) as category, count(*)
from streams group by category order by category;

-- name: save_snapshot
insert or replace into snapshots (name, version, state, content_type, schema, saved_us) values (?, ?, ?, ?, ?, ?);

-- name: load_snapshot
select name, version, state, content_type, schema, saved_us from snapshots where name = ?;

-- name: load_snapshots
select name, version, state, content_type, schema, saved_us from snapshots where name > ? order by name limit ?;

-- name: save_record
insert or replace into records (name, value, revision, saved_us) values (?, ?, ?, ?);

-- name: load_records
select name, value, revision, saved_us from records where name > ? and name >= ? and name < ? order by name limit ?;

-- name: save_checkpoint
insert or replace into checkpoints (name, position, saved_us) values (?, ?, ?);
