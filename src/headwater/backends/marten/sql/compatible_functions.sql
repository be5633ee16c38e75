[note]-- The functions that Marten calls. Placeholders and words in brackets as in compatible.sql.
[note]
-- Appends to one stream, and makes it where it is missing. Gives its version, then the number of each event.
-- Nothing is locked before the events are written: of two writers at once, one meets the unique index.
CREATE OR REPLACE FUNCTION {schema}.mt_quick_append_events(
    stream {id}, stream_type varchar, tenantid varchar,
    event_ids uuid[], event_types varchar[], dotnet_types varchar[], bodies jsonb[]
[v9]    , bdatas bytea[]
[causation]    , causation_ids varchar[]
[correlation]    , correlation_ids varchar[]
[headers]    , headers jsonb[]
[user_name]    , user_names varchar[]
[v9]    , timestamps timestamp with time zone[]
[v9]    , expected_version bigint DEFAULT NULL::bigint
) RETURNS {int}[] LANGUAGE plpgsql AS $body$
DECLARE
    last     {int};
    owner    varchar;
[v9]    archived boolean;
    drawn    {int};
    answer   {int}[];
BEGIN
[v8]    SELECT s.version, s.tenant_id INTO last, owner
[v9]    SELECT s.version, s.tenant_id, s.is_archived INTO last, owner, archived
        FROM {schema}.mt_streams AS s
[single]        WHERE s.id = stream;
[conjoined]        WHERE s.id = stream AND s.tenant_id = tenantid;
[v9]    IF coalesce(last, 0) <> expected_version THEN -- before any number is drawn, so that a refusal leaves no gap
[v9]        RAISE EXCEPTION 'stream % is at version %, not at %', stream, coalesce(last, 0), expected_version
[v9]            USING ERRCODE = 'MT003';
[v9]    END IF;
    IF last IS NULL THEN
        last := 0;
        INSERT INTO {schema}.mt_streams (id, type, version, timestamp, tenant_id)
            VALUES (stream, stream_type, 0, now(), tenantid);
[v9]    ELSIF archived THEN
[v9]        RAISE EXCEPTION 'stream % is archived', stream USING ERRCODE = 'MT001';
    ELSIF owner <> tenantid THEN
        RAISE EXCEPTION 'stream % is another tenant''s', stream;
    END IF;
[v8]    answer := ARRAY[last + array_length(event_ids, 1)]; -- NULL in it where there are no events
[v9]    answer := ARRAY[last + cardinality(event_ids)];
    FOR i IN 1 .. cardinality(event_ids) LOOP
        drawn := nextval('{schema}.mt_events_sequence');
        answer := answer || drawn;
        last := last + 1;
        INSERT INTO {schema}.mt_events (
            seq_id, id, stream_id, version, data, type, tenant_id, mt_dotnet_type, is_archived, timestamp
[v9]            , bdata
[causation]            , causation_id
[correlation]            , correlation_id
[headers]            , headers
[user_name]            , user_name
        ) VALUES (
            drawn, event_ids[i], stream, last, bodies[i], event_types[i], tenantid, dotnet_types[i], false
[v8]            , now() AT TIME ZONE 'utc' -- wrong by the offset where the session's time zone is not UTC
[v9]            , timestamps[i], bdatas[i]
[causation]            , causation_ids[i]
[correlation]            , correlation_ids[i]
[headers]            , headers[i]
[user_name]            , user_names[i]
        );
    END LOOP;
    UPDATE {schema}.mt_streams SET version = last, timestamp = now()
[single]        WHERE id = stream;
[conjoined]        WHERE id = stream AND tenant_id = tenantid;
    RETURN answer;
END $body$;

-- Closes a stream: its row and its events are marked, and stay.
CREATE OR REPLACE FUNCTION {schema}.mt_archive_stream(
    streamid {id}
[conjoined]    , tenantid varchar
) RETURNS void LANGUAGE plpgsql AS $body$
BEGIN
    UPDATE {schema}.mt_streams SET is_archived = true
[single]        WHERE id = streamid;
[conjoined]        WHERE id = streamid AND tenant_id = tenantid;
    UPDATE {schema}.mt_events SET is_archived = true
[single]        WHERE stream_id = streamid;
[conjoined]        WHERE stream_id = streamid AND tenant_id = tenantid;
END $body$;

-- Notes how far somebody has come. ($1 and $2: the first parameter has the name of a column.)
CREATE OR REPLACE FUNCTION {schema}.mt_mark_event_progression(name varchar, last_encountered bigint) RETURNS void
LANGUAGE plpgsql AS $body$
BEGIN
    INSERT INTO {schema}.mt_event_progression (name, last_seq_id, last_updated)
        VALUES ($1, $2, transaction_timestamp())
        ON CONFLICT ON CONSTRAINT pk_mt_event_progression
        DO UPDATE SET last_seq_id = excluded.last_seq_id, last_updated = excluded.last_updated;
END $body$;
[v9]
[v9]-- Moves a mark over a gap, if it still stands where the gap begins, and notes it. Gives where the mark is.
[v9]CREATE OR REPLACE FUNCTION {schema}.mt_mark_progression_with_skip(
[v9]    shard_name varchar, ending_sequence bigint, starting_sequence bigint
[v9]) RETURNS bigint LANGUAGE plpgsql AS $body$
[v9]DECLARE
[v9]    mark bigint;
[v9]BEGIN
[v9]    SELECT p.last_seq_id INTO mark FROM {schema}.mt_event_progression AS p WHERE p.name = shard_name;
[v9]    IF mark <> starting_sequence THEN
[v9]        RETURN mark;
[v9]    END IF;
[v9]    PERFORM {schema}.mt_mark_event_progression(shard_name, ending_sequence);
[v9]    IF mark IS NOT NULL OR ending_sequence > starting_sequence THEN
[v9]        INSERT INTO {schema}.mt_high_water_skips (ending_sequence, starting_sequence) VALUES ($2, $3)
[v9]            ON CONFLICT ON CONSTRAINT pkey_mt_high_water_skips_ending_sequence DO NOTHING;
[v9]    END IF;
[v9]    RETURN ending_sequence;
[v9]END $body$;
