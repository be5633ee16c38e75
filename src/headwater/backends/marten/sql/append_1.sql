[note]-- Placeholders: `marten` and `schema`, quoted; `key`, the type of Marten's stream ids; `tenant`, a literal; `state_of_streams`,
[note]-- the same as in streams.sql. A line that begins with a word in brackets is there for such applications only.
-- Any number of writes into Marten's tables, as rows: whatever parameters the application's own append function has, and
-- always with a time (the column's default is a constant, and that function's may be off by the session's time zone).
--
-- The rows of the streams are locked first, in order of their ids. So whether versions fit is known before a number is
-- drawn, and a refusal leaves no gap for readers to puzzle over. (FOR UPDATE, not FOR NO KEY UPDATE: a writer of Marten's
-- that has stored an event, and is yet to move its stream, holds the stream's row by the foreign key. So we wait for it.)
-- A writer of Marten's that has read the stream's version, but locks no row, may all the same store the version that we are
-- about to store, and wait for our lock: so nobody is waited for long once the locks are held. What was done is undone then, locks and all,
-- and done again; with the same numbers, where no event of these streams came in between.
-- No statement joins a table that grows, but looks its rows up one by one: plans live as long as their connection, and one
-- that was made while the table was empty may read all of it later.
-- A condition by query must see all that is committed, and nothing may be stored until it is judged: it takes a lock
-- that lets Marten's writers finish and new ones wait.
--
--   keys: the streams, each once; kinds: Marten's type of each, where it is new
--   per write: units (its append: all or none; NULL in `bases`: refused), places (in keys), expected, counts, conditions
--   per event: owners (its write), ranks (1, 2, … in it), and its columns; codes: `beside.type`
-- Gives two numbers per write: version and position of its last event; NULL, NULL where it was refused (the caller asks
-- why); where the n-th condition failed, -n and the position of an event that matches.
CREATE OR REPLACE FUNCTION {schema}.append_v1(
    keys {key}[], kinds text[], units int[], places int[], expected int8[], counts int[], conditions json[],
    owners int[], ranks int[], ids uuid[], types text[], codes text[], dotnet_types text[],
    data jsonb[], blobs bytea[], headers jsonb[], correlations text[], causations text[], user_names text[],
    exact_data bytea[], exact_metadata bytea[], tags text[], content_types text[], occurred int8[]
) RETURNS int8[] LANGUAGE plpgsql AS $body$
#variable_conflict use_variable
DECLARE
    writes   int := cardinality(counts);
    give_up  timestamptz := clock_timestamp() + interval '10 seconds';
    patience text := current_setting('lock_timeout');
    head     record;
    found_   boolean[];       -- per key: whether the stream is there
    versions int8[];
    states   text[];
    bases    int8[];          -- per write: the stream's version before it; NULL where refused
    results  int8[];
    known    int[];           -- the units with an id that is stored already
    numbers  int8[] := '{}';  -- drawn so far, in order
    used     int;             -- how many of them
    at       timestamptz;
    fits     boolean;
    failure  int8[];
    w        int;             -- the unit's first write
    last     int;             -- … and its last
    first    int;             -- the first write of the slice that is stored together
    upto     int;             -- events of the writes judged so far
    settled  int;             -- events stored or refused so far
    need     int;
    drawn    int8[];
    taken    int;
BEGIN
    LOOP
        BEGIN
            results := array_fill(NULL::int8, ARRAY[2 * writes]);
            bases := array_fill(NULL::int8, ARRAY[writes]);
            versions := array_fill(0::int8, ARRAY[cardinality(keys)]);
            states := array_fill('open'::text, ARRAY[cardinality(keys)]);
            found_ := array_fill(false, ARRAY[cardinality(keys)]);
            used := 0;
            PERFORM set_config('lock_timeout', '5s', true);
            FOR head IN
                SELECT s.id, s.version,
                       CASE WHEN s.is_archived THEN 'tombstoned'
[guid]                            WHEN coalesce(s.type, 'stream') <> coalesce(kinds[array_position(keys, s.id)], 'stream') THEN 'tombstoned'
                            WHEN p.hidden_through > 0 AND p.hidden_through = s.version THEN 'deleted'
                            ELSE 'open' END AS state
                FROM {marten}.mt_streams AS s
                LEFT JOIN LATERAL (SELECT hidden_through FROM {schema}.policies WHERE stream = s.id OFFSET 0) AS p ON true
                WHERE s.id = ANY (keys)
[conjoined]                  AND s.tenant_id = {tenant}
                ORDER BY s.id FOR UPDATE OF s
            LOOP
                w := array_position(keys, head.id::{key});
                found_[w] := true;
                versions[w] := coalesce(head.version, 0);
                states[w] := head.state;
            END LOOP;
            PERFORM set_config('lock_timeout', '200ms', true);
            IF conditions IS NOT NULL THEN
                LOCK TABLE {marten}.mt_events IN SHARE ROW EXCLUSIVE MODE;
            END IF;
            IF cardinality(numbers) > 0 AND EXISTS (
                SELECT FROM unnest(keys, versions) AS k (key, version)
                WHERE numbers[1] < (SELECT e.seq_id FROM {marten}.mt_events AS e
                                    WHERE e.stream_id = k.key AND e.version = k.version
[conjoined]                                        AND e.tenant_id = {tenant}
                                   )
            ) THEN
                numbers := '{}';  -- a stream's positions rise with its versions
            END IF;
            known := ARRAY(SELECT DISTINCT units[given.owner] FROM unnest(ids, owners) AS given (id, owner)
                           WHERE (SELECT true FROM {schema}.beside AS b WHERE b.id = given.id)
[unique_ids]                              OR (SELECT true FROM {marten}.mt_events AS e WHERE e.id = given.id)
                          );
            w := 1;
            first := 1;
            upto := 0;
            settled := 0;
            WHILE w <= writes LOOP
                last := w;
                WHILE last < writes AND units[last + 1] = units[w] LOOP
                    last := last + 1;
                END LOOP;
                failure := NULL;
                fits := units[w] <> ALL (known);
                FOR k IN w .. last LOOP
                    fits := fits AND {schema}.fits_v1(expected[k], versions[places[k]], states[places[k]]);
                END LOOP;
                IF fits AND conditions[w] IS NOT NULL THEN
                    failure := {schema}.failure_v1(conditions[w]);
                    fits := failure IS NULL;
                    results[2 * w - 1] := failure[1];
                    results[2 * w] := failure[2];
                END IF;
                FOR k IN w .. last LOOP
                    upto := upto + counts[k];
                    IF fits THEN
                        bases[k] := versions[places[k]];
                        versions[places[k]] := bases[k] + counts[k];
                        states[places[k]] := 'open';
                        results[2 * k - 1] := versions[places[k]];
                    END IF;
                END LOOP;
                w := last + 1;
                CONTINUE WHEN conditions IS NULL AND w <= writes;
                -- Store the slice: everything at the end, or this unit alone where a later condition has to see it.
                need := 0;
                FOR k IN first .. last LOOP
                    IF bases[k] IS NOT NULL THEN
                        need := need + counts[k];
                    END IF;
                END LOOP;
                IF need > 0 THEN
                    at := clock_timestamp();
                    INSERT INTO {marten}.mt_streams (id, type, version, timestamp, created, tenant_id, is_archived)
                        SELECT keys[k], kinds[k], versions[k], at, at, {tenant}, false
                        FROM generate_subscripts(keys, 1) AS k
                        WHERE NOT found_[k] AND versions[k] > 0;
[strict]                    INSERT INTO {marten}.mt_streams_identity (id)
[strict]                        SELECT keys[k] FROM generate_subscripts(keys, 1) AS k WHERE NOT found_[k] AND versions[k] > 0;
[strict_conjoined]                    INSERT INTO {marten}.mt_streams_identity (id, tenant_id)
[strict_conjoined]                        SELECT keys[k], {tenant} FROM generate_subscripts(keys, 1) AS k WHERE NOT found_[k] AND versions[k] > 0;
                    UPDATE {marten}.mt_streams AS s SET version = versions[array_position(keys, s.id)], timestamp = at
                        WHERE s.id = ANY (keys) AND found_[array_position(keys, s.id)]
                          AND s.version <> versions[array_position(keys, s.id)]
[conjoined]                          AND s.tenant_id = {tenant}
                        ;
                    FOR k IN 1 .. cardinality(keys) LOOP
                        found_[k] := found_[k] OR versions[k] > 0;
                    END LOOP;
                    IF cardinality(numbers) < used + need THEN
                        numbers := numbers || ARRAY(SELECT nextval('{marten}.mt_events_sequence')
                                                    FROM generate_series(1, used + need - cardinality(numbers)));
                    END IF;
                    WITH given AS MATERIALIZED (
                        SELECT *, numbers[used + row_number() OVER (ORDER BY number)] AS position
                        FROM unnest(owners, ranks, ids, types, codes, dotnet_types, data, blobs, headers, correlations,
                                    causations, user_names, exact_data, exact_metadata, tags, content_types, occurred)
                             WITH ORDINALITY
                             AS each (owner, rank, id, type, code, dotnet_type, data, blob, headers, correlation,
                                      causation, user_name, exact_data, exact_metadata, tags, content_type, occurred,
                                      number)
                        WHERE each.number > settled AND each.number <= upto AND bases[each.owner] IS NOT NULL
                    ), stored AS (
                        INSERT INTO {marten}.mt_events (seq_id, id, stream_id, version, data, type, timestamp, tenant_id,
                            mt_dotnet_type,
[bdata]                            bdata,
[headers]                            headers,
[correlation]                            correlation_id,
[causation]                            causation_id,
[user_name]                            user_name,
                            is_archived)
                        SELECT given.position, given.id, keys[places[given.owner]], bases[given.owner] + given.rank,
                            given.data, given.type, at, {tenant}, given.dotnet_type,
[bdata]                            given.blob,
[headers]                            given.headers,
[correlation]                            given.correlation,
[causation]                            given.causation,
[user_name]                            given.user_name,
                            false
                        FROM given ORDER BY given.number
                    ), kept AS (
                        INSERT INTO {schema}.beside (position, id, type, data, data_hash, metadata, tags, content_type,
                            occurred_us)
                        SELECT given.position, given.id, given.code, given.exact_data,
                            CASE WHEN given.exact_data IS NOT NULL THEN hashtextextended(given.data::text, 0) END,
                            given.exact_metadata, string_to_array(given.tags, E'\n'), given.content_type, given.occurred
                        FROM given
                    ), tagged AS (
                        INSERT INTO {schema}.event_tags (tag, position, type)
                        SELECT tag, given.position, coalesce(given.code, given.type)
                        FROM given, string_to_table(given.tags, E'\n') AS tag
                    )
                    SELECT array_agg(given.position ORDER BY given.number) INTO drawn FROM given;
                    used := used + need;
                    taken := 0;
                    FOR k IN first .. last LOOP
                        IF bases[k] IS NOT NULL THEN
                            taken := taken + counts[k];
                            results[2 * k] := drawn[taken];
                        END IF;
                    END LOOP;
                END IF;
                settled := upto;
                first := w;
            END LOOP;
            PERFORM set_config('lock_timeout', patience, true);
            RETURN results;
        EXCEPTION WHEN lock_not_available OR unique_violation OR deadlock_detected THEN
            IF clock_timestamp() > give_up THEN
                RAISE EXCEPTION 'headwater: other transactions hold these streams (%)', SQLERRM USING ERRCODE = 'HW004';
            END IF;
        END;
        PERFORM pg_sleep(random() * 0.01);
    END LOOP;
END $body$;

-- Hides a stream's events so far: from its readers here; 'tombstoned': from Marten's too, by its own function, and for
-- ever. Gives its version, or NULL where that is not as given any more.
CREATE OR REPLACE FUNCTION {schema}.hide_v1(stream {key}, state text, version int8) RETURNS int8
LANGUAGE plpgsql AS $body$
#variable_conflict use_variable
DECLARE
    present int8;
BEGIN
    SELECT s.version INTO present FROM {marten}.mt_streams AS s WHERE s.id = stream
[conjoined]        AND s.tenant_id = {tenant}
        FOR UPDATE;
    IF coalesce(present, 0) <> version THEN
        RETURN NULL;
    END IF;
    IF state = 'tombstoned' THEN
        INSERT INTO {marten}.mt_streams (id, version, timestamp, created, tenant_id, is_archived)
            SELECT stream, 0, now(), now(), {tenant}, false WHERE present IS NULL;
[single]        PERFORM {marten}.mt_archive_stream(stream);
[conjoined]        PERFORM {marten}.mt_archive_stream(stream, {tenant});
    END IF;
    INSERT INTO {schema}.policies AS p (stream, hidden_through) VALUES (stream, version)
        ON CONFLICT ON CONSTRAINT policies_pkey DO UPDATE SET hidden_through = excluded.hidden_through;
    RETURN version;
END $body$;
