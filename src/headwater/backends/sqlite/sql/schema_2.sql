-- Schema version 2: records beside the log.

-- Small things by name that are changed by compare-and-swap: consumers' progress and leases, parked events, scheduled
-- messages. The revision rises with each change, and never comes twice for a name. Times as everywhere, in microseconds.
create table records (
    name text primary key,
    value blob not null,
    revision integer not null,
    saved_us integer not null
) without rowid;
