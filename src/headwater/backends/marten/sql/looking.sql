-- What stands at the URL before anything is made there, in one row of facts. Parameters: Marten's schema, ours.
WITH tables AS (
    SELECT class.oid, class.relname, class.relkind
    FROM pg_class AS class JOIN pg_namespace AS space ON space.oid = class.relnamespace
    WHERE space.nspname = %(marten)s
), columns AS (
    SELECT tables.relname, attribute.attname, format_type(attribute.atttypid, NULL) AS type
    FROM tables JOIN pg_attribute AS attribute ON attribute.attrelid = tables.oid
    WHERE tables.relname IN ('mt_events', 'mt_streams') AND attribute.attnum > 0 AND NOT attribute.attisdropped
)
SELECT current_setting('server_version_num')::int AS version_number,
    current_setting('server_version') AS version,
    current_setting('server_encoding') AS encoding,
    current_setting('fsync') = 'on' AS fsync,
    pg_is_in_recovery() AS standby,
    to_regclass(%(own)s) IS NOT NULL AS own_exists,
    (SELECT coalesce(jsonb_object_agg(relname, relkind), '{}') FROM tables WHERE relname LIKE 'mt\_%%') AS tables,
    (SELECT coalesce(jsonb_object_agg(attname, type), '{}') FROM columns WHERE relname = 'mt_events') AS event_columns,
    (SELECT coalesce(jsonb_object_agg(attname, type), '{}') FROM columns WHERE relname = 'mt_streams') AS stream_columns,
    (SELECT coalesce(jsonb_agg(attribute.attname), '[]')
     FROM tables JOIN pg_index AS index ON index.indrelid = tables.oid AND index.indisprimary
     JOIN pg_attribute AS attribute ON attribute.attrelid = tables.oid AND attribute.attnum = ANY (index.indkey)
     WHERE tables.relname = 'mt_streams') AS stream_key,
    EXISTS (SELECT FROM tables JOIN pg_index AS index ON index.indrelid = tables.oid
            JOIN pg_attribute AS attribute ON attribute.attrelid = tables.oid AND attribute.attnum = index.indkey[0]
            WHERE tables.relname = 'mt_events' AND attribute.attname = 'id' AND index.indisunique
              AND index.indnatts = 1) AS unique_ids,
    (SELECT coalesce(jsonb_object_agg(procedure.proname, procedure.proargnames), '{}')
     FROM pg_proc AS procedure JOIN pg_namespace AS space ON space.oid = procedure.pronamespace
     WHERE space.nspname = %(marten)s AND procedure.proname IN ('mt_quick_append_events', 'mt_archive_stream')
    ) AS functions
