-- Reading events, by name. Placeholders: {columns} of an event; {events} and {streams}, where they are; {first_version} of
-- a stream that a reader sees. A page is read by its position or version, never by OFFSET.

-- name: last_event
-- Of some types, where given.
SELECT {columns} FROM {events} AS e
WHERE e.stream = %(stream)s AND e.version < %(before)s AND (%(types)s::text[] IS NULL OR e.type = ANY (%(types)s))
ORDER BY e.version DESC LIMIT 1

-- Pages of events. $1 after, $2 before (exclusive) or upto (inclusive), $3 how many at most; $4 the stream, or the seeks.

-- name: read_stream
SELECT {columns} FROM {events} AS e
WHERE e.stream = $4 AND e.version > $1 AND e.version < $2
  AND e.version >= (SELECT {first_version} FROM {streams} AS head WHERE head.name = $4)
ORDER BY e.version LIMIT $3

-- name: read_stream_backwards
SELECT {columns} FROM {events} AS e
WHERE e.stream = $4 AND e.version > $1 AND e.version < $2
  AND e.version >= (SELECT {first_version} FROM {streams} AS head WHERE head.name = $4)
ORDER BY e.version DESC LIMIT $3

-- name: read_log
SELECT {columns} FROM {events} AS e
WHERE e.position > $1 AND e.position <= $2
ORDER BY e.position LIMIT $3

-- name: read_log_backwards
SELECT {columns} FROM {events} AS e
WHERE e.position > $1 AND e.position <= $2
ORDER BY e.position DESC LIMIT $3

-- name: read_matches
SELECT {columns} FROM (
    SELECT DISTINCT place FROM {schema}.matches_v1($4::jsonb, $1, $2, $3) AS place
    ORDER BY place LIMIT $3
) AS found JOIN {events} AS e ON e.position = found.place
ORDER BY e.position

-- name: read_matches_backwards
SELECT {columns} FROM (
    SELECT DISTINCT place FROM {schema}.matches_backwards_v1($4::jsonb, $1, $2, $3) AS place
    ORDER BY place DESC LIMIT $3
) AS found JOIN {events} AS e ON e.position = found.place
ORDER BY e.position DESC
