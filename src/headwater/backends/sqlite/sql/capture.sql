-- What a transaction changes beside the log, so that it can be committed elsewhere first. Temporary: only the writer's
-- connection has it, so what a follower applies is not taken for a change.

create temp table changed (kind text not null, name text not null, primary key (kind, name)) without rowid;

create temp trigger stream_made after insert on main.streams begin
    insert or ignore into changed values ('stream', new.name);
end;

create temp trigger stream_changed after update on main.streams begin
    insert or ignore into changed values ('stream', new.name);
end;

create temp trigger checkpoint_made after insert on main.checkpoints begin
    insert or ignore into changed values ('checkpoint', new.name);
end;

create temp trigger checkpoint_changed after update on main.checkpoints begin
    insert or ignore into changed values ('checkpoint', new.name);
end;

create temp trigger record_made after insert on main.records begin
    insert or ignore into changed values ('record', new.name);
end;

create temp trigger record_changed after update on main.records begin
    insert or ignore into changed values ('record', new.name);
end;

create temp trigger record_removed after delete on main.records begin
    insert or ignore into changed values ('record', old.name);
end;

create temp trigger snapshot_made after insert on main.snapshots begin
    insert or ignore into changed values ('snapshot', new.name);
end;

create temp trigger snapshot_changed after update on main.snapshots begin
    insert or ignore into changed values ('snapshot', new.name);
end;

create temp trigger snapshot_removed after delete on main.snapshots begin
    insert or ignore into changed values ('snapshot', old.name);
end;
