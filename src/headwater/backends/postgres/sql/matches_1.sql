-- Where events match a query, version 1: for conditions and for read_all. Installed twice, for each direction.
-- Placeholders: `schema`; `events`, where they are; `key`, the type of a stream there; `name`; `order`, ASC or DESC.
-- `seeks` is a JSON list; each has one leading key, that an index answers in order of position, and filters:
--   {"tag", "type"} | {"tag"} | {"stream"} | {"type"} | {"category"} | {} and "types", "tags", "streams", "categories"
-- Gives, for each seek, its first `most` positions with after < position <= upto. The same position may come twice.
-- The planner is told to use the indexes whatever it knows of a young table, because the plans live long.
CREATE OR REPLACE FUNCTION {schema}.{name}(seeks jsonb, after int8, upto int8, most int8) RETURNS SETOF int8
LANGUAGE plpgsql STABLE
SET enable_seqscan = off SET enable_bitmapscan = off SET jit = off SET plan_cache_mode = force_generic_plan
AS $body$
#variable_conflict use_variable
DECLARE
    seek  record;
    plain boolean;
    base  int8;
    top   int8;
BEGIN
    FOR seek IN SELECT * FROM jsonb_to_recordset(seeks)
        AS s(tag text, stream {key}, type text, category text, types text[], tags text[], streams {key}[],
             categories text[])
    LOOP
        plain := seek.tags IS NULL AND seek.streams IS NULL AND seek.categories IS NULL;
        IF seek.tag IS NOT NULL AND seek.type IS NOT NULL THEN
            RETURN QUERY SELECT t.position FROM {schema}.event_tags t
                WHERE t.tag = seek.tag AND t.type = seek.type AND t.position > after AND t.position <= upto
                  AND (plain OR {schema}.has_v1(t.position, seek.tags, seek.streams, seek.categories))
                ORDER BY t.position {order} LIMIT most;
        ELSIF seek.tag IS NOT NULL THEN
            RETURN QUERY SELECT t.position FROM {schema}.event_tags t
                WHERE t.tag = seek.tag AND t.position > after AND t.position <= upto
                  AND (plain OR {schema}.has_v1(t.position, seek.tags, seek.streams, seek.categories))
                ORDER BY t.position {order} LIMIT most;
        ELSIF seek.stream IS NOT NULL THEN
            base := {schema}.version_at_v1(seek.stream, after, NULL);
            top := {schema}.version_at_v1(seek.stream, upto, NULL);
            RETURN QUERY SELECT e.position FROM {events} e
                WHERE e.stream = seek.stream AND e.version > base AND e.version <= top
                  AND (seek.types IS NULL OR e.type = ANY (seek.types))
                ORDER BY e.version {order} LIMIT most;
        ELSIF seek.type IS NOT NULL THEN
            RETURN QUERY SELECT e.position FROM {events} e
                WHERE e.type = seek.type AND e.position > after AND e.position <= upto
                  AND (seek.categories IS NULL OR e.category = ANY (seek.categories))
                ORDER BY e.position {order} LIMIT most;
        ELSIF seek.category IS NOT NULL THEN
            RETURN QUERY SELECT e.position FROM {events} e
                WHERE e.category = seek.category AND e.position > after AND e.position <= upto
                ORDER BY e.position {order} LIMIT most;
        ELSE
            RETURN QUERY SELECT e.position FROM {events} e
                WHERE e.position > after AND e.position <= upto
                ORDER BY e.position {order} LIMIT most;
        END IF;
    END LOOP;
END $body$;
