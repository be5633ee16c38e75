-- The readers' half of the gate, version 1. Placeholder: `schema`.
-- The position up to which the log is settled: whatever lies at or below it is committed and visible to the NEXT
-- statement, or will never be. The order of the two steps is the proof:
--   1. read the sequence's last value H;
--   2. then look who holds a lock that names an L, and take the smallest: min(H, L).
-- A writer that is not seen in step 2 either is done (its commit was visible before its lock went), or takes its lock
-- later and draws above H. So rows must be read after this function, in a statement of their own.
-- Each assignment of a VOLATILE plpgsql function is executed by itself, in order. L is kept in 32 bits: it is put
-- together again as the number nearest to H with that low half.
CREATE OR REPLACE FUNCTION {schema}.horizon_v1() RETURNS int8 LANGUAGE plpgsql VOLATILE AS $body$
DECLARE
    top  int8;
    held int8;
BEGIN
    top := pg_sequence_last_value('{schema}.positions'::regclass);
    SELECT min(top + (objid::int8 - top)::bit(32)::int4) INTO held
    FROM pg_locks
    WHERE locktype = 'advisory' AND mode = 'ShareLock' AND granted AND objsubid = 2
      AND classid = '{schema}.positions'::regclass::oid
      AND database = (SELECT oid FROM pg_database WHERE datname = current_database());
    RETURN least(top, held);
END $body$;
