-- What the backend sends, by name, beside what it shares with PostgreSQL's (reading.sql, keeping.sql). Placeholders: {marten}
-- and {schema} (ours), quoted; {tenant}, a literal; {key}, the type of stream ids; {events} and {streams}, the subqueries
-- that show Marten's tables as ours; {ids}, the events' ids.

-- name: run
-- Where the log is known to be settled, here (`after`) or by anybody; the end of the run of numbers without a hole from
-- there on; how many rows were looked at, and the highest of them; the highest number that anybody has drawn.
SELECT coalesce(max(next.seq_id) FILTER (WHERE next.seq_id = start.after + next.rank), start.after), count(next.seq_id),
    coalesce(max(next.seq_id), start.after),
    (SELECT CASE WHEN is_called THEN last_value ELSE last_value - 1 END FROM {marten}.mt_events_sequence)
FROM (SELECT greatest(%(after)s, (SELECT max(upto) FROM {schema}.settled)) AS after) AS start
LEFT JOIN LATERAL (
    SELECT seq_id, row_number() OVER (ORDER BY seq_id) AS rank FROM {marten}.mt_events
    WHERE seq_id > start.after ORDER BY seq_id LIMIT %(most)s
) AS next ON true
GROUP BY start.after

-- name: writers
-- The transactions that have written something in this database, or drawn a number, and are not over yet. A sequence's lock
-- is held to the end of the transaction, like a table's; so is that of a prepared transaction. Anybody may see them.
-- (Indexes are locked by vacuum too, and catalogues by everybody.)
SELECT DISTINCT lock.virtualtransaction
FROM pg_locks AS lock JOIN pg_class AS class ON class.oid = lock.relation
WHERE lock.granted AND lock.locktype = 'relation' AND class.relkind IN ('r', 'p', 'S') AND class.oid >= 16384
  AND lock.mode IN ('RowExclusiveLock', 'ShareRowExclusiveLock', 'ExclusiveLock', 'AccessExclusiveLock')
  AND lock.database = (SELECT oid FROM pg_database WHERE datname = current_database())

-- name: pass_over
-- Notes that the log is settled up to `upto`, and which numbers above `after` are not there (unless that is too much to read).
WITH stored AS (
    SELECT seq_id FROM {marten}.mt_events WHERE seq_id > %(after)s AND seq_id <= %(upto)s AND %(upto)s - %(after)s <= 1000000
    UNION ALL SELECT %(upto)s::int8 + 1
), pair AS (
    SELECT seq_id, lag(seq_id, 1, %(after)s::int8) OVER (ORDER BY seq_id) AS previous FROM stored
), noted AS (
    INSERT INTO {schema}.passed (first, last)
    SELECT previous + 1, seq_id - 1 FROM pair WHERE seq_id > previous + 1 AND %(upto)s - %(after)s <= 1000000
    ON CONFLICT DO NOTHING
)
INSERT INTO {schema}.settled (upto) VALUES (%(upto)s) ON CONFLICT DO NOTHING

-- name: late
-- Events that were stored under numbers that readers had passed over.
SELECT t.seq_id, t.type, t.stream_id::text FROM {schema}.passed AS gap
JOIN {marten}.mt_events AS t ON t.seq_id BETWEEN gap.first AND gap.last
WHERE t.type <> 'tombstone' ORDER BY t.seq_id LIMIT 10

-- name: tell
-- Nobody waits for it to be on disk.
SELECT set_config('synchronous_commit', 'off', true), pg_notify(%s, %s)

-- name: append
SELECT {schema}.append_v1($1::{key}[], $2::text[], $3::int[], $4::int[], $5::int8[], $6::int[], $7::json[], $8::int[],
    $9::int[], $10::uuid[], $11::text[], $12::text[], $13::text[], $14::jsonb[], $15::bytea[], $16::jsonb[], $17::text[],
    $18::text[], $19::text[], $20::bytea[], $21::bytea[], $22::text[], $23::text[], $24::int8[])::text

-- name: places
-- Where these ids are stored: is an append a retry?
SELECT uuid_send(e.id), e.position, e.name, CASE WHEN e.name IS NULL THEN 0 ELSE e.version END FROM {events} AS e
WHERE e.position IN (SELECT position FROM {ids} WHERE id = ANY (%s::uuid[]))

-- name: heads
-- Where these streams are: why was an append refused?
SELECT head.shown, head.version, head.state FROM {streams} AS head WHERE head.name = ANY (%s::{key}[])

-- name: event
-- One that was appended here is found by its id; another one by reading all, where Marten has no index of ids.
SELECT {columns} FROM {events} AS e
WHERE e.position = (
    SELECT coalesce((SELECT position FROM {schema}.beside AS b WHERE b.id = wanted.id),
                    (SELECT min(seq_id) FROM {marten}.mt_events AS t WHERE t.id = wanted.id))
    FROM (SELECT %s::uuid AS id) AS wanted)

-- name: events
SELECT {columns} FROM {events} AS e
WHERE e.position IN (SELECT position FROM {ids} WHERE id = ANY (%s::uuid[])) ORDER BY e.position

-- name: stream
SELECT {stream_columns} FROM {streams} AS head WHERE head.name = %(name)s::{key}

-- name: streams
-- From the first name after `after` and not below `low`, to the last below `high`; of a category, where not NULL.
SELECT {stream_columns} FROM {streams} AS head
WHERE head.shown COLLATE "C" > %(after)s AND head.shown COLLATE "C" >= %(low)s AND head.shown COLLATE "C" < %(high)s
  AND (%(category)s::text IS NULL OR head.category = %(category)s)
ORDER BY head.shown COLLATE "C" LIMIT %(most)s

-- name: categories
SELECT head.category, count(*) FROM {streams} AS head GROUP BY 1 ORDER BY head.category COLLATE "C"

-- name: lock_head
SELECT head.version, head.state FROM {streams} AS head WHERE head.name = %(name)s::{key}

-- name: hide_stream
SELECT version FROM {schema}.hide_v1(%(name)s::{key}, %(state)s, %(version)s) AS version WHERE version IS NOT NULL

-- name: set_policy
INSERT INTO {schema}.policies AS p (stream, truncate_before, max_age_us, max_count)
SELECT head.name, %(truncate_before)s, %(max_age_us)s::int8, %(max_count)s::int8 FROM {streams} AS head
WHERE head.name = %(name)s::{key} AND head.version > 0 AND head.state <> 'tombstoned'
ON CONFLICT (stream) DO UPDATE SET truncate_before = excluded.truncate_before, max_age_us = excluded.max_age_us,
    max_count = excluded.max_count
RETURNING stream

-- name: dotnet_type
-- Marten's name of the class of an event type, from the last events.
SELECT mt_dotnet_type FROM (
    SELECT type, mt_dotnet_type, seq_id FROM {marten}.mt_events ORDER BY seq_id DESC LIMIT 100000
) AS recent
WHERE type = %s AND mt_dotnet_type <> '' ORDER BY seq_id DESC LIMIT 1

-- name: meta
SELECT schema_version, identity, marten, tenant, functions FROM {schema}.meta

-- name: save_meta
INSERT INTO {schema}.meta (schema_version, identity, marten, tenant) VALUES (%s, gen_random_uuid(), %s, %s)

-- name: save_functions
UPDATE {schema}.meta SET functions = %s

-- name: holders
-- Who keeps readers from passing a number that is missing; the longest first.
SELECT activity.pid::int8, coalesce(activity.application_name, ''), coalesce(activity.state, ''),
    extract(epoch FROM clock_timestamp() - activity.xact_start)::float8, left(coalesce(activity.query, ''), 80)
FROM pg_stat_activity AS activity
WHERE activity.datname = current_database() AND activity.pid <> pg_backend_pid() AND EXISTS (
    SELECT FROM pg_locks AS lock JOIN pg_class AS class ON class.oid = lock.relation
    WHERE lock.pid = activity.pid AND lock.granted AND lock.locktype = 'relation' AND class.relkind IN ('r', 'p', 'S')
      AND class.oid >= 16384
      AND lock.mode IN ('RowExclusiveLock', 'ShareRowExclusiveLock', 'ExclusiveLock', 'AccessExclusiveLock'))
ORDER BY 4 DESC NULLS LAST LIMIT 10
