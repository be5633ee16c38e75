-- The first version that a reader of a stream may see, by the database's clock; version + 1 where there is none.
CREATE OR REPLACE FUNCTION {schema}.first_version_v1(
    stream {key}, version int8, hidden_through int8, truncate_before int8, max_age_us int8, max_count int8
) RETURNS int8 LANGUAGE plpgsql STABLE AS $body$
DECLARE
    first int8 := greatest(hidden_through + 1, truncate_before, 1);
BEGIN
    IF max_count IS NOT NULL THEN
        first := greatest(first, version - max_count + 1);
    END IF;
    IF max_age_us IS NOT NULL THEN
        first := greatest(first, 1 + {schema}.version_at_v1(
            stream, NULL, (extract(epoch FROM clock_timestamp()) * 1000000)::int8 - max_age_us));
    END IF;
    RETURN least(first, version + 1);
END $body$;
