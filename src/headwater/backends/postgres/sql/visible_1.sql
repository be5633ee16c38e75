-- What a reader of a stream may see, version 1. Placeholder: `schema`.

-- The first version that a reader of the stream may see, by the database's clock; version + 1 where there is none.
CREATE OR REPLACE FUNCTION {schema}.first_version_v1(head {schema}.streams) RETURNS int8
LANGUAGE plpgsql STABLE AS $body$
DECLARE
    first int8 := greatest(head.hidden_through + 1, head.truncate_before, 1);
BEGIN
    IF head.max_count IS NOT NULL THEN
        first := greatest(first, head.version - head.max_count + 1);
    END IF;
    IF head.max_age_us IS NOT NULL THEN
        first := greatest(first, 1 + {schema}.version_at_v1(
            head.name, NULL, (extract(epoch FROM clock_timestamp()) * 1000000)::int8 - head.max_age_us));
    END IF;
    RETURN least(first, head.version + 1);
END $body$;
