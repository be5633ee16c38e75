-- What is asked of single places and streams, version 1. Placeholders: `schema`; `events` and `streams`, where they are;
-- `key`, the type of a stream's name there.

-- Whether the event at `place` has all the tags, one of the streams and one of the categories (NULL: does not matter).
CREATE OR REPLACE FUNCTION {schema}.has_v1(place int8, all_tags text[], any_stream {key}[], any_category text[])
RETURNS boolean LANGUAGE sql STABLE AS $body$
    SELECT (all_tags IS NULL OR NOT EXISTS (
               SELECT FROM unnest(all_tags) AS wanted (tag)
               WHERE NOT EXISTS (SELECT FROM {schema}.event_tags t WHERE t.tag = wanted.tag AND t.position = place)))
       AND (any_stream IS NULL AND any_category IS NULL OR EXISTS (
               SELECT FROM {events} e
               WHERE e.position = place
                 AND (any_stream IS NULL OR e.stream = ANY (any_stream))
                 AND (any_category IS NULL OR e.category = ANY (any_category))))
$body$;

-- The highest version of a stream that lies at or below a position; with `place` NULL, the highest that was recorded
-- before a moment. The index knows streams by version, and versions rise with positions and times, so halving finds it
-- in a few steps, however long the stream is. An event in a detached partition counts as below.
CREATE OR REPLACE FUNCTION {schema}.version_at_v1(stream {key}, place int8, moment int8) RETURNS int8
LANGUAGE plpgsql STABLE AS $body$
#variable_conflict use_variable
DECLARE
    low   int8 := 0;  -- below
    high  int8;       -- above
    mid   int8;
    above boolean;
BEGIN
    SELECT h.version + 1 INTO high FROM {streams} h WHERE h.name = stream;
    mid := high - 1;  -- mostly, the whole stream is below
    WHILE high - low > 1 LOOP
        SELECT CASE WHEN place IS NULL THEN e.recorded_us >= moment ELSE e.position > place END INTO above
        FROM {events} e WHERE e.stream = version_at_v1.stream AND e.version = mid;
        IF above THEN
            high := mid;
        ELSE
            low := mid;
        END IF;
        mid := (low + high) / 2;
    END LOOP;
    RETURN low;
END $body$;
