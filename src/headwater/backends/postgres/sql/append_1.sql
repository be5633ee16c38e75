-- The functions that append, version 1. Placeholders: `schema`; `ids`, the table that knows every event's id.
--
-- The gate, in this order, each step its own statement:
--   1. the gate's lock: shared; exclusive where the call carries conditions, or the store was opened as serialized
--   2. read the sequence's last value L
--   3. a shared lock whose key names L: it says "whatever I shall draw lies above L"
--   4. lock the stream heads (in order of name, so that two calls never wait for each other)
--   5. only then draw positions
-- The locks go after the commit is visible. horizon_1.sql is the readers' half.
-- Keys are (oid of streams, 0) for the gate and (oid of positions, low half of L): no other store in the database has
-- them. `ignored := f()` instead of PERFORM f(): plpgsql then calls the function without a query around it.

-- The common case at the least cost: one event with JSON data for one stream. Gives {version, position}, or NULL where
-- it was refused (the caller asks why). An id that is stored already is a unique violation here: looking for it first
-- would cost every append what only a retry needs. `tags` is one text, a tag a line.
CREATE OR REPLACE FUNCTION {schema}.append_one_v1(
    exclusive boolean, stream text, expected int8, id uuid, type text, data jsonb, metadata jsonb, tags text,
    content_type text
) RETURNS int8[] LANGUAGE plpgsql AS $body$
#variable_conflict use_variable
DECLARE
    ignored text;
    last    int8;
    at_us   int8 := date_part('epoch', clock_timestamp()) * 1000000;
    ver     int8;
    pos     int8;
BEGIN
    ignored := CASE WHEN exclusive THEN pg_advisory_xact_lock('{schema}.streams'::regclass::oid::int4, 0)
               ELSE pg_advisory_xact_lock_shared('{schema}.streams'::regclass::oid::int4, 0) END;
    last := pg_sequence_last_value('{schema}.positions'::regclass);
    ignored := pg_advisory_xact_lock_shared('{schema}.positions'::regclass::oid::int4, last::bit(32)::int4);
    IF expected IS NULL OR expected IN (-1, 0) THEN
        INSERT INTO {schema}.streams AS head (name, version, created_us, last_us)
            VALUES (stream, 1, at_us, at_us)
            ON CONFLICT (name) DO UPDATE
                SET version = head.version + 1, state = 'open', last_us = greatest(head.last_us, excluded.last_us)
                WHERE {schema}.fits_v1(expected, head.version, head.state)
            RETURNING head.version, head.last_us INTO ver, at_us;
    ELSE  -- no place for a stream that does not exist
        UPDATE {schema}.streams AS head
            SET version = head.version + 1, state = 'open', last_us = greatest(head.last_us, at_us)
            WHERE head.name = stream AND {schema}.fits_v1(expected, head.version, head.state)
            RETURNING head.version, head.last_us INTO ver, at_us;
    END IF;
    IF ver IS NULL THEN
        RETURN NULL;
    END IF;
    INSERT INTO {schema}.events
        (position, stream, version, id, type, category, data, metadata, tags, content_type, recorded_us)
        VALUES (nextval('{schema}.positions'), stream, ver, id, type, split_part(stream, '-', 1), data, metadata,
                string_to_array(tags, E'\n'), content_type, at_us)
        RETURNING events.position INTO pos;
    IF tags IS NOT NULL THEN
        INSERT INTO {schema}.event_tags (tag, position, type)
            SELECT tag, pos, append_one_v1.type FROM string_to_table(tags, E'\n') AS tag;
    END IF;
    RETURN ARRAY[ver, pos];
END $body$;

-- Any number of writes. A refused one leaves no trace and costs the others nothing. Where each names another stream and
-- none has a condition, the heads are moved in one statement; else they are judged one by one. With conditions, each sees what the writes before it in this call have stored.
--   per write: streams (NULL: none), expected, counts of events, conditions (JSON: [{"after": n, "seeks": […]}, …])
--   turns: the numbers of the writes in the order to judge them; NULL: as they stand. Their events are stored, and get
--   their positions, as they stand in any case; with turns, all at the end
--   per event: owners (number of its write), ranks (1, 2, … in its write), ids … occurred
-- Gives two numbers per write: version and position of its last event; NULL, NULL where it was refused (the caller asks
-- why); where the n-th condition failed, -n and the position of an event that matches.
CREATE OR REPLACE FUNCTION {schema}.append_v1(
    exclusive boolean, streams text[], expected int8[], counts int[], conditions json[],
    turns int[], owners int[], ranks int[], ids uuid[], types text[], data jsonb[], data_bytes bytea[],
    metadata jsonb[], metadata_bytes bytea[], tags text[], content_types text[], occurred int8[]
) RETURNS int8[] LANGUAGE plpgsql AS $body$
#variable_conflict use_variable
DECLARE
    ignored text;
    last    int8;
    at_us   int8 := date_part('epoch', clock_timestamp()) * 1000000;
    moments int8[];   -- per write
    bases   int8[];   -- per write: the stream's version before it; NULL where refused
    results int8[];
    drawn   int8[];   -- positions of the accepted events of a slice, in order
    known   int[];    -- the writes with an id that is stored already
    failure int8[];
    ver     int8;
    moment  int8;
    upto    int := 0; -- events of the writes judged so far
    settled int := 0; -- events stored or refused so far
    taken   int;
    first   int := 1; -- first write of the slice
    w       int;      -- number of the write that is judged
    together boolean; -- whether all are judged in one statement: no conditions, and each stream once
    named   text;
BEGIN
    IF exclusive THEN
        ignored := pg_advisory_xact_lock('{schema}.streams'::regclass::oid::int4, 0);
    ELSE
        ignored := pg_advisory_xact_lock_shared('{schema}.streams'::regclass::oid::int4, 0);
    END IF;
    last := pg_sequence_last_value('{schema}.positions'::regclass);
    ignored := pg_advisory_xact_lock_shared('{schema}.positions'::regclass::oid::int4, last::bit(32)::int4);
    known := ARRAY(SELECT owner FROM unnest(ids, owners) AS given (id, owner)
                   WHERE EXISTS (SELECT FROM {ids} AS old WHERE old.id = given.id));
    together := conditions IS NULL AND turns IS NULL AND cardinality(counts) > 1
        AND (SELECT count(DISTINCT name) FROM unnest(streams) AS name) = cardinality(counts);
    IF together THEN
        results := array_fill(NULL::int8, ARRAY[2 * cardinality(counts)]);
        bases := array_fill(NULL::int8, ARRAY[cardinality(counts)]);
        moments := bases;
        upto := cardinality(ids) - counts[cardinality(counts)];
        FOR named, ver, moment IN
            INSERT INTO {schema}.streams AS head (name, version, created_us, last_us)
                SELECT given.name, given.events, at_us, at_us
                FROM unnest(streams, counts) WITH ORDINALITY AS given (name, events, number)
                WHERE given.number <> ALL (known)
                  AND (expected[given.number] IS NULL OR expected[given.number] IN (-1, 0)
                       OR EXISTS (SELECT FROM {schema}.streams AS held WHERE held.name = given.name))
                ORDER BY given.number
                ON CONFLICT (name) DO UPDATE
                    SET version = head.version + excluded.version, state = 'open',
                        last_us = greatest(head.last_us, at_us)
                    WHERE {schema}.fits_v1(expected[array_position(streams, head.name)], head.version, head.state)
                RETURNING head.name, head.version, head.last_us
        LOOP
            w := array_position(streams, named);
            results[2 * w - 1] := ver;
            bases[w] := ver - counts[w];
            moments[w] := moment;
        END LOOP;
    END IF;
    FOR turn IN CASE WHEN together THEN cardinality(counts) ELSE 1 END .. cardinality(counts) LOOP
        w := coalesce(turns[turn], turn);
        upto := upto + counts[w];
        ver := NULL;
        failure := NULL;
        IF w = ANY (known) OR together THEN
            NULL;
        ELSE
            IF conditions[w] IS NOT NULL THEN
                failure := {schema}.failure_v1(conditions[w]);
            END IF;
            IF failure IS NOT NULL THEN
                NULL;
            ELSIF streams[w] IS NULL THEN
                ver := counts[w];
                moment := at_us;
            ELSE
                INSERT INTO {schema}.streams AS head (name, version, created_us, last_us)
                    SELECT streams[w], counts[w], at_us, at_us
                    WHERE expected[w] IS NULL OR expected[w] IN (-1, 0)
                       OR EXISTS (SELECT FROM {schema}.streams AS held WHERE held.name = streams[w])
                    ON CONFLICT (name) DO UPDATE
                        SET version = head.version + counts[w], state = 'open', last_us = greatest(head.last_us, at_us)
                        WHERE {schema}.fits_v1(expected[w], head.version, head.state)
                    RETURNING head.version, head.last_us INTO ver, moment;
            END IF;
        END IF;
        IF NOT together THEN
            results[2 * w - 1] := coalesce(failure[1], ver);
            results[2 * w] := failure[2];
            bases[w] := ver - counts[w];
            moments[w] := moment;
        END IF;
        CONTINUE WHEN (conditions IS NULL OR turns IS NOT NULL) AND turn < cardinality(counts);
        -- Store the slice: everything at the end, or this write alone where a later condition has to see it.
        WITH added AS (
            INSERT INTO {schema}.events (position, stream, version, id, type, category, data, data_bytes, metadata,
                                         metadata_bytes, tags, content_type, recorded_us, occurred_us)
            SELECT nextval('{schema}.positions'), streams[e.owner],
                   CASE WHEN streams[e.owner] IS NULL THEN 0 ELSE bases[e.owner] + e.rank END,
                   e.id, e.type, split_part(streams[e.owner], '-', 1), e.data, e.data_bytes, e.metadata, e.metadata_bytes, string_to_array(e.tags, E'\n'),
                   e.content_type, moments[e.owner], e.occurred
            FROM (
                SELECT *
                FROM unnest(owners, ranks, ids, types, data, data_bytes, metadata, metadata_bytes, tags, content_types,
                            occurred) WITH ORDINALITY
                     AS given (owner, rank, id, type, data, data_bytes, metadata, metadata_bytes, tags, content_type,
                               occurred, number)
                WHERE given.number > settled AND given.number <= upto AND bases[given.owner] IS NOT NULL
                ORDER BY given.number
            ) AS e
            RETURNING events.position, events.type, events.tags
        ), tagged AS (
            INSERT INTO {schema}.event_tags (tag, position, type)
            SELECT tag, added.position, added.type FROM added, unnest(added.tags) AS tag
        )
        SELECT array_agg(added.position ORDER BY added.position) INTO drawn FROM added;
        taken := 0;
        FOR k IN first .. turn LOOP
            IF bases[k] IS NOT NULL THEN
                taken := taken + counts[k];
                results[2 * k - 1] := CASE WHEN streams[k] IS NULL THEN 0 ELSE results[2 * k - 1] END;
                results[2 * k] := drawn[taken];
            END IF;
        END LOOP;
        settled := upto;
        first := turn + 1;
    END LOOP;
    RETURN results;
END $body$;

-- The same for one append over several streams: all or none. What a refused one has done is rolled back here, so that
-- neither the caller's transaction nor the server's log suffers.
CREATE OR REPLACE FUNCTION {schema}.append_whole_v1(
    exclusive boolean, streams text[], expected int8[], counts int[], conditions json[],
    turns int[], owners int[], ranks int[], ids uuid[], types text[], data jsonb[], data_bytes bytea[],
    metadata jsonb[], metadata_bytes bytea[], tags text[], content_types text[], occurred int8[]
) RETURNS int8[] LANGUAGE plpgsql AS $body$
DECLARE
    results int8[];
BEGIN
    BEGIN
        results := {schema}.append_v1(exclusive, streams, expected, counts, conditions, turns, owners, ranks, ids, types,
                                      data, data_bytes, metadata, metadata_bytes, tags, content_types, occurred);
        IF array_position(results, NULL) IS NOT NULL OR 0 > ANY (results) THEN
            RAISE EXCEPTION 'refused' USING ERRCODE = 'HW001';
        END IF;
    EXCEPTION WHEN SQLSTATE 'HW001' THEN
        NULL;
    END;
    RETURN results;
END $body$;
