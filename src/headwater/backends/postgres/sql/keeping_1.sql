-- Snapshots and checkpoints: what schema 1 keeps beside the log. Placeholder: `schema`.

-- Folded states beside the log. Losing them costs time, never facts.
CREATE TABLE {schema}.snapshots (
    name         text COLLATE "C" PRIMARY KEY,
    version      int8 NOT NULL,
    state        bytea NOT NULL,
    content_type text NOT NULL,
    shape        text NOT NULL,            -- the writer's name for the state's shape
    saved_us     int8 NOT NULL
);

-- How far each consumer has come.
CREATE TABLE {schema}.checkpoints (
    name     text COLLATE "C" PRIMARY KEY,
    position int8 NOT NULL,
    saved_at timestamptz NOT NULL DEFAULT now()
) WITH (fillfactor = 50);
