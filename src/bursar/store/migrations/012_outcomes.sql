-- What became of answers: what people and programs say of a call or a run afterwards.

create table outcomes (
    tenant      integer  not null,
    outcome_id  text     not null,
    seq         bigint   not null generated always as identity,
    key_id      text     not null,
    call_id     bytea,                    -- null: of the whole run
    run         text     not null default '',
    kind        text     not null,
    value_ppm   integer  not null check (value_ppm between 0 and 1000000),
    source      text     not null default '',
    event_us    bigint   not null,
    content     bytea    not null,        -- SHA-256 of what was said: the same id with other content is a conflict
    primary key (tenant, key_id, outcome_id)  -- ids are a key's own: none can take up another's
);

create unique index outcomes_in_order on outcomes (seq);
create index outcomes_by_call on outcomes (tenant, call_id) where call_id is not null;
create index outcomes_by_run on outcomes (tenant, run) where run <> '';

create trigger outcomes_are_append_only before update or delete or truncate on outcomes
    for each statement execute function refuse_change();

alter table alerts drop constraint alerts_kind_check;
alter table alerts add check (
    kind in ('threshold', 'forecast', 'price_divergence', 'price_stale', 'price_model', 'route_drift')
);
