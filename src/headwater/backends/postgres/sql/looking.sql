-- What is found at a URL before anything is made there. Parameters: the schema's name; its meta table's name, quoted.
SELECT current_setting('server_version_num')::int AS version_number,
       current_setting('server_version') AS version,
       current_setting('server_encoding') AS encoding,
       current_setting('fsync') = 'on' AS fsync,
       pg_is_in_recovery() AS standby,
       EXISTS (SELECT FROM pg_namespace WHERE nspname = %s) AS schema_exists,
       to_regclass(%s) IS NOT NULL AS store_exists
