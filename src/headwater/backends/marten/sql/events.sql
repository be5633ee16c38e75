[note]-- Marten's events and what stands beside them, as the events of a store. Placeholders: `marten` and `schema`, quoted;
[note]-- `tenant`, a literal. A line that begins with a word in brackets is there for such applications only.
(SELECT t.seq_id AS position, t.stream_id AS stream, t.version, t.id, coalesce(b.type, t.type) AS type,
[string]    CASE WHEN NOT starts_with(t.stream_id, 'headwater.event-') THEN t.stream_id END AS name,
[string]    CASE WHEN NOT starts_with(t.stream_id, 'headwater.event-') THEN split_part(t.stream_id, '-', 1) END AS category,
[guid]    CASE WHEN s.type IS DISTINCT FROM 'headwater.event' THEN coalesce(s.type, 'stream') || '-' || t.stream_id END AS name,
[guid]    CASE WHEN s.type IS DISTINCT FROM 'headwater.event' THEN coalesce(s.type, 'stream') END AS category,
    CASE WHEN b.data IS NOT NULL AND b.data_hash = hashtextextended(t.data::text, 0) THEN b.data END AS exact,
    t.data,
[bdata]    t.bdata,
[no_bdata]    NULL::bytea AS bdata,
    b.metadata AS exact_metadata,
[no_trace]    '{}'::jsonb
[trace]    jsonb_strip_nulls(jsonb_build_object(
[correlation]        'correlation_id', t.correlation_id,
[causation]        'causation_id', t.causation_id,
[user_name]        'user_name', t.user_name,
[trace]        '', NULL
[trace]    ))
[headers]    || CASE WHEN jsonb_typeof(t.headers) = 'object' THEN t.headers ELSE '{}' END
    AS metadata,
    b.tags, b.content_type, b.occurred_us,
    (extract(epoch FROM t.timestamp) * 1000000)::int8 AS recorded_us
FROM {marten}.mt_events AS t
[note]-- OFFSET 0, and an id that no index can find: row by row, by position. A plan that was made while little stood beside
[note]-- would go through all of it for every page, also when there is much.
LEFT JOIN LATERAL (
    SELECT * FROM {schema}.beside AS b WHERE b.position = t.seq_id AND b.id IS NOT DISTINCT FROM t.id OFFSET 0
) AS b ON true
[guid]JOIN {marten}.mt_streams AS s ON s.id = t.stream_id
[guid_conjoined]    AND s.tenant_id = t.tenant_id
WHERE t.type <> 'tombstone'
[conjoined]    AND t.tenant_id = {tenant}
[is_skipped]    AND NOT coalesce(t.is_skipped, false)
)
