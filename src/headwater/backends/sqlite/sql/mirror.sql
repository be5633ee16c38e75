-- Rows of the tables beside the log as they go to another technology, and as they come from there.

-- name: noted
-- All that was changed, but streams that appends have made in this transaction: the events tell of those.
select kind, name from temp.changed as c where kind <> 'stream' or not exists (
    select 1 from streams as s where s.name = c.name and s.number > ? and s.state = 0 and s.hidden_through = 0
        and s.truncate_before = 0 and s.max_age_us is null and s.max_count is null
);

-- name: read_stream
select state, hidden_through, truncate_before, max_age_us, max_count, created_us from streams where name = ?;

-- name: read_checkpoint
select position, saved_us from checkpoints where name = ?;

-- name: read_record
select value, revision, saved_us from records where name = ?;

-- name: read_snapshot
select version, state, content_type, schema, saved_us from snapshots where name = ?;

-- name: apply_stream
-- A deleted stream may have got events since, which opened it again.
insert into streams (name, state, hidden_through, truncate_before, max_age_us, max_count, created_us)
values (?, ?, ?, ?, ?, ?, ?)
on conflict (name) do update set
    state = case when excluded.state = 1 and exists (
        select 1 from events where stream_number = streams.number and version > excluded.hidden_through
    ) then 0 else excluded.state end,
    hidden_through = excluded.hidden_through, truncate_before = excluded.truncate_before,
    max_age_us = excluded.max_age_us, max_count = excluded.max_count;

-- name: apply_checkpoint
insert or replace into checkpoints (name, position, saved_us) values (?, ?, ?);

-- name: apply_record
insert or replace into records (name, value, revision, saved_us) values (?, ?, ?, ?);

-- name: apply_snapshot
insert or replace into snapshots (name, version, state, content_type, schema, saved_us) values (?, ?, ?, ?, ?, ?);

-- name: keep_fact
insert or replace into meta (key, value) values (?, ?);
