-- What an append is checked by, version 1: expected versions, and conditions. Placeholder: `schema`.

-- Whether a stream at `version` is as `expected`: NULL anything, -1 NO_STREAM, -2 STREAM_EXISTS, else the version.
CREATE OR REPLACE FUNCTION {schema}.fits_v1(expected int8, version int8, state text) RETURNS boolean
LANGUAGE sql IMMUTABLE AS $body$
    SELECT state <> 'tombstoned' AND CASE
        WHEN expected IS NULL THEN true
        WHEN expected = -1 THEN version = 0 OR state = 'deleted'
        WHEN expected = -2 THEN version > 0 AND state = 'open'
        ELSE version = expected
    END
$body$;

-- The first condition that fails: {-its number, position of an event that matches it}; NULL where all hold. True only
-- under the exclusive gate, and only where this statement sees what was committed before the gate opened.
CREATE OR REPLACE FUNCTION {schema}.failure_v1(conditions json) RETURNS int8[] LANGUAGE plpgsql AS $body$
DECLARE
    condition json;
    number    int8 := 0;
    found_at  int8;
BEGIN
    IF current_setting('transaction_isolation') <> 'read committed' THEN
        RAISE EXCEPTION 'headwater: an append condition needs a READ COMMITTED transaction, this one is %',
            current_setting('transaction_isolation') USING ERRCODE = 'HW002';
    END IF;
    FOR condition IN SELECT value FROM json_array_elements(conditions) LOOP
        number := number + 1;
        SELECT min(place) INTO found_at
        FROM {schema}.matches_v1((condition -> 'seeks')::jsonb, (condition ->> 'after')::int8, 9223372036854775807, 1)
             AS place;
        IF found_at IS NOT NULL THEN
            RETURN ARRAY[-number, found_at];
        END IF;
    END LOOP;
    RETURN NULL;
END $body$;
