-- The budget tree: whoever has budgets is a holder, and a holder has any number of budgets.

alter table budgets rename to holders;
alter table holders rename column budget_id to holder_id;
alter table holders rename constraint budgets_pkey to holders_pkey;

create table budgets (
    tenant       integer   not null,
    budget_id    text      not null,
    holder_id    text      not null,
    limit_nano   bigint    check (limit_nano >= 0),
    unit         smallint  not null default 1,
    time_window  text      not null,
    rolling      boolean   not null default false,
    zone         text      not null default 'UTC',
    enforcement  text      not null default 'hard',
    grace_nano   bigint    not null default 0 check (grace_nano >= 0),
    overdraft_nano bigint  not null default 0 check (overdraft_nano >= 0),
    created_us   bigint    not null,
    primary key (tenant, budget_id)
);

create index budgets_by_holder on budgets (tenant, holder_id);

insert into budgets (tenant, budget_id, holder_id, limit_nano, time_window, created_us)
select tenant, holder_id, holder_id, limit_nano, time_window, created_us from holders;

alter table holders
    drop column limit_nano,
    drop column time_window,
    add column name            text,
    add column kind            text      not null default 'key',
    add column parent_id       text,
    add column match           jsonb     not null default '{}',
    add column each            text      not null default '',
    add column frozen_us       bigint,
    add column exhausted       text,
    add column holds           text,
    add column depth_max       integer   check (depth_max > 0),
    add column repeats_max     integer   check (repeats_max > 1),
    add column alerts_percent  integer[] not null default '{}';

alter table keys rename column budget_id to holder_id;

update holders set name = keys.name from keys where keys.tenant = holders.tenant and keys.holder_id = holders.holder_id;
update holders set name = holder_id where name is null;
alter table holders alter column name set not null;
alter table holders add constraint holders_name_key unique (tenant, name);

-- Any number of gateways: each is alive as long as it is seen, and what a dead one had leased is set aside.
alter table gateways
    add column seen_us   bigint not null default 0,
    add column reaped_us bigint;

create index transfers_moved_in on transfers (tenant, credit_account) where reason = 9;
create index transfers_moved_out on transfers (tenant, debit_account) where reason = 9;

-- A gateway is alive as long as it is seen. What one that is not had leased lies apart until it is back, or somebody
-- has decided what became of it.
create index gateways_alive on gateways (seen_us) where closed_us is null and reaped_us is null;

-- Who makes the call of an Idempotency-Key, whichever gateway it comes to.
create table idempotency_claims (
    tenant       integer  not null,
    key_id       text     not null,
    name         bytea    not null,
    body_sha256  bytea    not null,
    call_id      bytea    not null,
    claimed_us   bigint   not null,
    primary key (tenant, key_id, name)
);

insert into idempotency_claims
select distinct on (tenant, key_id, idempotency_key) tenant, key_id, idempotency_key, body_sha256, call_id, opened_us
from calls
where idempotency_key is not null
order by tenant, key_id, idempotency_key, call_id desc;
