-- Schema version 2: records beside the log. Placeholder: `schema`.

-- Small things by name that are changed by compare-and-swap: consumers' progress and leases, parked events, scheduled
-- messages. Half of each page is kept free: these rows are written over and over (HOT).
CREATE TABLE {schema}.records (
    name     text COLLATE "C" PRIMARY KEY, -- by name and by prefix
    value    bytea NOT NULL,
    revision int8 NOT NULL,                -- rises with each change; never twice for a name
    saved_us int8 NOT NULL                 -- by this server's clock: leases are measured against it
) WITH (fillfactor = 50);

-- All the changes or none. `names` come in order, so that two calls never wait for each other. An expected revision:
-- NULL: whatever; 0: none there. A removal has the value NULL. Gives the new revisions (0 for a removal); or, where the
-- n-th record is not as expected, -n alone. What was done by then is rolled back here: members that compete for a lease
-- would fill the server's log with errors otherwise.
CREATE OR REPLACE FUNCTION {schema}.save_records_v1(names text[], contents bytea[], expected int8[]) RETURNS int8[]
LANGUAGE plpgsql AS $body$
DECLARE
    revisions int8[] := '{}';
    new_us    int8;
    drawn     int8;
    fits      boolean;
    number    int8;
BEGIN
    FOR i IN 1 .. cardinality(names) LOOP
        new_us := date_part('epoch', clock_timestamp()) * 1000000;
        drawn := greatest(new_us, expected[i] + 1);
        IF contents[i] IS NULL THEN
            DELETE FROM {schema}.records r
                WHERE r.name = names[i] AND (expected[i] IS NULL OR r.revision = expected[i]);
            fits := FOUND OR coalesce(expected[i], 0) = 0
                AND (expected[i] IS NULL OR NOT EXISTS (SELECT FROM {schema}.records r WHERE r.name = names[i]));
            drawn := 0;
        ELSIF expected[i] = 0 THEN
            INSERT INTO {schema}.records VALUES (names[i], contents[i], drawn, new_us) ON CONFLICT DO NOTHING;
            fits := FOUND;
        ELSIF expected[i] IS NULL THEN
            INSERT INTO {schema}.records AS r VALUES (names[i], contents[i], new_us, new_us)
                ON CONFLICT (name) DO UPDATE SET value = excluded.value, saved_us = excluded.saved_us,
                    revision = greatest(excluded.revision, r.revision + 1)
                RETURNING r.revision INTO drawn;
            fits := true;
        ELSE
            UPDATE {schema}.records r SET value = contents[i], revision = drawn, saved_us = new_us
                WHERE r.name = names[i] AND r.revision = expected[i];
            fits := FOUND;
        END IF;
        IF NOT fits THEN
            number := i;
            RAISE EXCEPTION 'stale' USING ERRCODE = 'HW003';
        END IF;
        revisions := revisions || drawn;
    END LOOP;
    RETURN revisions;
EXCEPTION WHEN SQLSTATE 'HW003' THEN
    RETURN ARRAY[-number];
END $body$;
