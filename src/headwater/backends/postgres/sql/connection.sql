-- What each connection of the pool is set to, in one round trip.
-- READ COMMITTED: a condition must see what was committed before the gate opened, whatever the role's default is.
SET default_transaction_isolation = 'read committed';
-- Plans for our few statements are made once, by the indexes, whatever is known yet of a young table; no JIT for them.
SET plan_cache_mode = force_generic_plan;
SET enable_seqscan = off;
SET enable_bitmapscan = off;
SET jit = off;
-- An acknowledged event is durable: a role or database that has switched waiting off is overruled.
SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off'
