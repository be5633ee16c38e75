-- What a target keeps about its projections, in tables beside theirs. The same text for SQLite and PostgreSQL.

-- name: make_target
-- One row: which target this is, so that two targets of one projection are two consumers of the store.
create table if not exists headwater_target (id text primary key)

-- name: make_projections
create table if not exists headwater_projections (
    name     text not null,
    version  integer not null,
    store    text not null,     -- identity of the store that the events come from
    declared text not null,     -- the script that made the tables, and which events are seen
    made     text not null,     -- their names, separated by spaces
    serving  boolean not null,  -- whether readers see this version
    primary key (name, version)
)

-- name: make_parts
-- How far each part of a version has come. Changed only in the transaction that changes the rows.
create table if not exists headwater_projection_parts (
    name     text not null,
    version  integer not null,
    part     integer not null,
    parts    integer not null,
    position bigint not null,
    last_id  text not null,     -- id of the event at this position; '' where that is not known
    count    bigint not null,   -- events handled
    digest   text not null,     -- their digest, as consumers keep it
    primary key (name, version, part)
)

-- name: make_inlined
-- Events that were handled in the transaction of their append; the runner takes them off when it comes to them.
create table if not exists headwater_inlined (
    name     text not null,
    version  integer not null,
    position bigint not null,
    primary key (name, version, position)
)

-- name: target
select id from headwater_target

-- name: save_target
insert into headwater_target (id) values (:id) on conflict (id) do nothing

-- name: versions
select p.version, p.store, p.declared, p.made, p.serving, count(*), coalesce(min(q.position), 0),
    coalesce(sum(q.count), 0)
from headwater_projections p left join headwater_projection_parts q on q.name = p.name and q.version = p.version
where p.name = :name group by p.name, p.version, p.store, p.declared, p.made, p.serving order by p.version

-- name: names
select distinct name from headwater_projections order by name

-- name: add_version
insert into headwater_projections (name, version, store, declared, made, serving)
values (:name, :version, :store, :declared, :made, false)

-- name: serve
update headwater_projections set serving = (version = :version) where name = :name

-- name: part
select parts, position, last_id, count, digest, (
    select count(*) from headwater_inlined i
    where i.name = p.name and i.version = p.version and i.position between :first and :last
)
from headwater_projection_parts p where name = :name and version = :version and part = :part

-- name: parts
select part, position, last_id, count, digest from headwater_projection_parts
where name = :name and version = :version order by part

-- name: move_part
update headwater_projection_parts set position = :position, last_id = :last_id, count = :count, digest = :digest
where name = :name and version = :version and part = :part

-- name: add_part
insert into headwater_projection_parts (name, version, part, parts, position, last_id, count, digest)
values (:name, :version, :part, :parts, :position, :last_id, :count, :digest)

-- name: drop_parts
delete from headwater_projection_parts where name = :name and version = :version

-- name: drop_version
delete from headwater_projections where name = :name and version = :version

-- name: inlined
select position from headwater_inlined
where name = :name and version = :version and position between :first and :last

-- name: add_inlined
insert into headwater_inlined (name, version, position) values (:name, :version, :position)

-- name: drop_inlined
delete from headwater_inlined where name = :name and version = :version and position between :first and :last
