[note]-- Marten's streams and what hides their events here, as the streams of a store. Placeholders as in events.sql.
[note]-- An archived stream takes no more events, and its readers see none: it is what Headwater calls tombstoned.
(SELECT s.id AS name, s.version,
[string]    s.id::text AS shown, split_part(s.id, '-', 1) AS category,
[guid]    coalesce(s.type, 'stream') || '-' || s.id AS shown, coalesce(s.type, 'stream') AS category,
    CASE WHEN s.is_archived THEN 'tombstoned'
         WHEN p.hidden_through > 0 AND p.hidden_through = s.version THEN 'deleted'
         ELSE 'open' END AS state,
    CASE WHEN s.is_archived THEN s.version ELSE coalesce(p.hidden_through, 0) END AS hidden_through,
    coalesce(p.truncate_before, 0) AS truncate_before, p.max_age_us, p.max_count,
    (extract(epoch FROM s.created) * 1000000)::int8 AS created_us,
    (extract(epoch FROM s.timestamp) * 1000000)::int8 AS last_us
FROM {marten}.mt_streams AS s
LEFT JOIN {schema}.policies AS p ON p.stream = s.id
WHERE (s.version > 0 OR s.is_archived)  -- not the one that Marten keeps tombstones in
[string]    AND NOT starts_with(s.id, 'headwater.event-')
[guid]    AND s.type IS DISTINCT FROM 'headwater.event'
[conjoined]    AND s.tenant_id = {tenant}
)
