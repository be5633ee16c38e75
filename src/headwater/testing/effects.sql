-- What the projection Effects keeps: how often each event had its effect, and what came out of order.
create table {effects} (position bigint primary key, times bigint not null);
create table {streams} (stream text primary key, version bigint not null, gaps bigint not null);
