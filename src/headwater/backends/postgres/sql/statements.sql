-- The statements that the backend sends, by name. {schema} is the store's; values are parameters.
-- A page of events is read by its position or version, never by OFFSET.

-- name: horizon
SELECT {schema}.horizon_v1()

-- name: tell
-- Nobody waits for it to be on disk.
SELECT set_config('synchronous_commit', 'off', true), pg_notify(%s, %s)

-- name: append_one
SELECT {schema}.append_one_v1($1::boolean, $2::text, $3::int8, $4::uuid, $5::text, $6::jsonb, $7::jsonb, $8::text,
    $9::text)::text

-- name: append_many
SELECT {schema}.append_v1($1::boolean, $2::text[], $3::int8[], $4::int[], $5::json[], $6::int[], $7::int[], $8::int[],
    $9::uuid[], $10::text[], $11::jsonb[], $12::bytea[], $13::jsonb[], $14::bytea[], $15::text[], $16::text[],
    $17::int8[])::text

-- name: append_whole
SELECT {schema}.append_whole_v1($1::boolean, $2::text[], $3::int8[], $4::int[], $5::json[], $6::int[], $7::int[], $8::int[],
    $9::uuid[], $10::text[], $11::jsonb[], $12::bytea[], $13::jsonb[], $14::bytea[], $15::text[], $16::text[],
    $17::int8[])::text

-- name: places
-- Where these ids are stored: is an append a retry?
SELECT uuid_send(known.id), known.position, event.stream, coalesce(event.version, 0)
FROM {ids} AS known LEFT JOIN {schema}.events AS event ON event.position = known.position
WHERE known.id = ANY (%s::uuid[])

-- name: heads
-- Where these streams are: why was an append refused?
SELECT name, version, state FROM {schema}.streams WHERE name = ANY (%s::text[])

-- name: event
SELECT {columns} FROM {schema}.events AS e
WHERE e.position = (SELECT position FROM {ids} WHERE id = %s::uuid)

-- name: events
SELECT {columns} FROM {schema}.events AS e
WHERE e.position IN (SELECT position FROM {ids} WHERE id = ANY (%s::uuid[])) ORDER BY e.position

-- name: stream
SELECT {stream_columns} FROM {schema}.streams AS head WHERE head.name = %(name)s

-- name: streams
-- From the first name after `after` and not below `low`, to the last below `high`; of a category, where not NULL.
SELECT {stream_columns} FROM {schema}.streams AS head
WHERE head.name > %(after)s AND head.name >= %(low)s AND head.name < %(high)s
  AND (%(category)s::text IS NULL OR split_part(head.name, '-', 1) = %(category)s)
ORDER BY head.name LIMIT %(most)s

-- name: categories
SELECT split_part(name, '-', 1) AS category, count(*) FROM {schema}.streams GROUP BY 1 ORDER BY 1

-- name: lock_head
SELECT version, state FROM {schema}.streams WHERE name = %(name)s FOR UPDATE

-- name: hide_stream
-- Inserts only for a name that was never used; gives no row where somebody else has just used it.
INSERT INTO {schema}.streams AS head (name, version, state, created_us, last_us)
VALUES (%(name)s, 0, %(state)s, {now_us}, {now_us})
ON CONFLICT (name) DO UPDATE SET state = excluded.state, hidden_through = head.version
WHERE head.version = %(version)s
RETURNING version

-- name: set_policy
UPDATE {schema}.streams
SET truncate_before = %(truncate_before)s, max_age_us = %(max_age_us)s, max_count = %(max_count)s
WHERE name = %(name)s AND version > 0 AND state <> 'tombstoned'
RETURNING version

-- name: make_partitions
SELECT {schema}.make_partitions_v1(%s)

-- name: meta
SELECT schema_version, identity, partition_size FROM {schema}.meta

-- name: save_meta
INSERT INTO {schema}.meta (schema_version, identity, partition_size) VALUES (%s, gen_random_uuid(), %s)

-- name: save_schema_version
UPDATE {schema}.meta SET schema_version = %s

-- name: sequence_is_sound
-- The gate stands on a sequence whose last value is the highest that anybody has drawn.
SELECT seqcache = 1 AND NOT seqcycle AND seqincrement > 0 FROM pg_sequence
WHERE seqrelid = '{schema}.positions'::regclass

-- name: server
-- Settings that promises stand on, and the server's clock.
SELECT current_setting('server_version'), current_setting('fsync'), current_setting('full_page_writes'),
    current_setting('synchronous_commit'), current_setting('synchronous_standby_names'), pg_is_in_recovery(),
    current_setting('max_connections')::int8, (SELECT count(*) FROM pg_stat_activity),
    extract(epoch FROM clock_timestamp())::float8,
    (SELECT age(datfrozenxid)::int8 FROM pg_database WHERE datname = current_database())

-- name: horizon_holders
-- Who has an append under way, above whose place no reader of the whole log can go; the longest first.
SELECT activity.pid::int8, coalesce(activity.application_name, ''), coalesce(activity.state, ''),
    extract(epoch FROM clock_timestamp() - activity.xact_start)::float8, left(coalesce(activity.query, ''), 80)
FROM pg_locks AS lock JOIN pg_stat_activity AS activity ON activity.pid = lock.pid
WHERE lock.locktype = 'advisory' AND lock.mode = 'ShareLock' AND lock.granted AND lock.objsubid = 2
  AND lock.classid = '{schema}.positions'::regclass::oid
  AND lock.database = (SELECT oid FROM pg_database WHERE datname = current_database())
ORDER BY 4 DESC NULLS LAST LIMIT 10

-- name: guards
-- The triggers that refuse a change to what is stored, and whether they are on.
SELECT tgrelid::regclass::text, tgenabled <> 'D' FROM pg_trigger
WHERE tgname = 'append_only' AND tgrelid IN ('{schema}.events'::regclass, '{schema}.event_tags'::regclass)
