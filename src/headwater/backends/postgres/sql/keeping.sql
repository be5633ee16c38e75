-- What is kept beside the log, by name: snapshots, checkpoints, records. {schema} is the store's own; values are parameters.

-- name: save_snapshot
INSERT INTO {schema}.snapshots (name, version, state, content_type, shape, saved_us)
VALUES (%s, %s, %s, %s, %s, {now_us})
ON CONFLICT (name) DO UPDATE SET version = excluded.version, state = excluded.state,
    content_type = excluded.content_type, shape = excluded.shape, saved_us = excluded.saved_us

-- name: load_snapshot
SELECT name, version, state, content_type, shape, saved_us FROM {schema}.snapshots WHERE name = %s

-- name: load_snapshots
SELECT name, version, state, content_type, shape, saved_us FROM {schema}.snapshots WHERE name > %s ORDER BY name LIMIT %s

-- name: delete_snapshot
DELETE FROM {schema}.snapshots WHERE name = %s

-- name: scrub_records
-- Writes the table anew, so that nothing of a replaced row stands in the free space of its pages.
VACUUM FULL {schema}.records

-- name: load_records
SELECT name, value, revision, greatest(0, {now_us} - saved_us) FROM {schema}.records
WHERE name > %(after)s AND name >= %(low)s AND name < %(high)s ORDER BY name LIMIT %(most)s

-- name: records_exist
-- Not in a schema of version 1.
SELECT to_regclass('{schema}.records') IS NOT NULL

-- name: records_named
SELECT name, value, revision FROM {schema}.records WHERE name = ANY (%s::text[])

-- name: save_records
SELECT {schema}.save_records_v1(%s::text[], %s::bytea[], %s::int8[])

-- name: save_checkpoint
INSERT INTO {schema}.checkpoints (name, position) VALUES (%s, %s)
ON CONFLICT (name) DO UPDATE SET position = excluded.position, saved_at = now()

-- name: load_checkpoint
SELECT position FROM {schema}.checkpoints WHERE name = %s
