-- Work that is no model call, booked to a key, a call or a run.

create table charges (
    tenant        integer  not null,
    charge_id     text     not null,
    key_id        text     not null,
    run           text     not null default '',
    call_id       bytea,
    kind          text     not null,
    supplier      text     not null default '',
    description   text     not null default '',
    quantity      text     not null default '',
    tags          jsonb    not null default '{}',
    cost_nano     bigint   not null check (cost_nano >= 0),
    overage_nano  bigint   not null check (overage_nano >= 0),
    event_us      bigint   not null,
    content       bytea    not null,  -- SHA-256 of what was asked for: the same id with other content is a conflict
    primary key (tenant, charge_id)
);

create index charges_by_run on charges (tenant, run) where run <> '';
create index charges_by_time on charges (tenant, event_us);

create trigger charges_are_append_only before update or delete or truncate on charges
    for each statement execute function refuse_change();
