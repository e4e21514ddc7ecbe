-- Alerts: what was found to tell about budgets, once each, and how the telling went.

create table alerts (
    tenant       integer  not null,
    alert_id     text     not null,
    budget_id    text     not null,  -- with the run or the tag's value it is of
    period       text     not null,
    kind         text     not null check (kind in ('threshold', 'forecast')),
    number       integer  not null,  -- of a threshold its percentage; of a forecast its place in the window
    at_us        bigint   not null,
    runs_out_us  bigint,
    text         text     not null,
    details      jsonb    not null,
    primary key (tenant, alert_id),
    unique (tenant, budget_id, period, kind, number)
);

create index alerts_by_time on alerts (tenant, at_us);

create trigger alerts_are_append_only before update or delete or truncate on alerts
    for each statement execute function refuse_change();

create table deliveries (
    tenant      integer  not null,
    alert_id    text     not null,
    url_sha256  bytea    not null,  -- the address itself may hold a secret
    attempts    integer  not null default 0,
    next_us     bigint   not null,
    status      text     not null default 'waiting' check (status in ('waiting', 'delivered', 'given_up')),
    last_error  text     not null default '',
    ended_us    bigint,
    primary key (tenant, alert_id)
);

create index deliveries_waiting on deliveries (next_us) where status = 'waiting';

-- What a budget's current window came to at moments some hours or minutes apart: its pace is read from them.
create table spending_samples (
    tenant      integer  not null,
    budget_id   text     not null,
    period      text     not null,
    at_us       bigint   not null,
    spent_nano  bigint   not null,
    primary key (tenant, budget_id, period, at_us)
);

-- Up to where the history of accounts was looked at, by the ledger's clock.
create table keeper (
    one        boolean  primary key default true check (one),
    looked_us  bigint   not null
);

-- History is written in the order of its time, so that a block range a page wide finds what changed since a moment.
create index account_history_by_time on account_history using brin (at_us) with (pages_per_range = 16, autosummarize = on);
