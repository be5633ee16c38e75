-- What schema 1 adds where events is partitioned by position. Placeholder: `schema`.
-- A partitioned table can have no unique index without the position in it, so:

-- read(stream), in order of version. That no version comes twice is kept by the lock on the stream's head alone.
CREATE INDEX events_by_stream ON {schema}.events (stream, version);

-- the ids stand in a table of their own, which is not partitioned: idempotent retries, event(id), and no id twice,
-- also after the event's partition was detached.
CREATE TABLE {schema}.event_ids (
    id       uuid PRIMARY KEY,
    position int8 NOT NULL
);
CREATE FUNCTION {schema}.keep_ids_v1() RETURNS trigger LANGUAGE plpgsql AS $body$
BEGIN
    INSERT INTO {schema}.event_ids (id, position) SELECT id, position FROM added;
    RETURN NULL;
END $body$;
CREATE TRIGGER keep_ids AFTER INSERT ON {schema}.events REFERENCING NEW TABLE AS added
    FOR EACH STATEMENT EXECUTE FUNCTION {schema}.keep_ids_v1();
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON {schema}.event_ids
    FOR EACH STATEMENT EXECUTE FUNCTION {schema}.refuse_change_v1();

-- Makes the partitions for so many positions ahead of the last one drawn, and says up to which position there is room
-- now. A new partition is made beside the table and then attached: that lets appends and reads go on, which
-- CREATE … PARTITION OF does not.
CREATE FUNCTION {schema}.make_partitions_v1(ahead int8) RETURNS int8 LANGUAGE plpgsql AS $body$
DECLARE
    size int8;
    low  int8;
    last int8 := pg_sequence_last_value('{schema}.positions'::regclass);
    part text;
BEGIN
    PERFORM pg_advisory_xact_lock('{schema}.meta'::regclass::oid::int4, 0);
    SELECT partition_size INTO STRICT size FROM {schema}.meta;
    SELECT coalesce(max(substring(c.relname FROM '^events_([0-9]+)$')::int8) + size, 0) INTO low
    FROM pg_class c JOIN pg_class m ON m.oid = '{schema}.meta'::regclass AND m.relnamespace = c.relnamespace
    WHERE c.relkind = 'r' AND c.relname ~ '^events_[0-9]+$';
    low := greatest(low, last / size * size);
    WHILE low <= last + ahead LOOP
        part := format('%I', 'events_' || low);
        EXECUTE format('CREATE TABLE {schema}.%s (LIKE {schema}.events INCLUDING ALL)', part);
        EXECUTE format('CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON {schema}.%s '
                       'FOR EACH STATEMENT EXECUTE FUNCTION {schema}.refuse_change_v1()', part);
        EXECUTE format('ALTER TABLE {schema}.events ATTACH PARTITION {schema}.%s FOR VALUES FROM (%s) TO (%s)',
                       part, low, low + size);
        low := low + size;
    END LOOP;
    RETURN low - 1;
END $body$;
