-- The books: tenants, accounts, transfers, keys, budgets, gateways and the record of each call.
--
-- Every key begins with the tenant, so that the tables can be distributed by it. Money is bigint nano-USD, times are
-- bigint Unix microseconds: both exact, and the same in every room. Hot tables carry no foreign keys (two look-ups a
-- row); `bursar books check` proves what they would.

create table tenants (
    tenant      text primary key,
    created_us  bigint not null
);

create sequence account_ids;

create table accounts (
    tenant           text     not null,
    account_id       bigint   not null,
    name             text     not null,
    code             smallint not null,
    unit             smallint not null default 1,
    parent_id        bigint,
    limited          boolean  not null,
    debits_pending   bigint   not null default 0 check (debits_pending >= 0),
    debits_posted    bigint   not null default 0 check (debits_posted >= 0),
    credits_pending  bigint   not null default 0 check (credits_pending >= 0),
    credits_posted   bigint   not null default 0 check (credits_posted >= 0),
    closed           boolean  not null default false,
    start_us         bigint,
    end_us           bigint,
    opened_us        bigint   not null,
    primary key (tenant, account_id),
    unique (tenant, name),
    -- The last line of defence: whatever a gateway does, a limited account cannot owe.
    constraint limited_account_never_owes check (not limited or debits_pending + debits_posted <= credits_posted)
) with (fillfactor = 50);

create index accounts_by_parent on accounts (tenant, parent_id) where parent_id is not null;

create table transfers (
    tenant          text     not null,
    chain           text     not null,
    seq             bigint   not null,
    transfer_id     bytea    not null check (octet_length(transfer_id) = 16),
    debit_account   bigint   not null,
    credit_account  bigint   not null,
    amount_nano     bigint   not null check (amount_nano >= 0),
    kind            smallint not null check (kind between 1 and 5),
    reason          smallint not null,
    event_us        bigint   not null,
    hold_id         bytea    not null default '',
    held_nano       bigint   not null default 0,
    unit            smallint not null default 1,
    hash            bytea    not null,
    primary key (tenant, chain, seq),
    unique (tenant, transfer_id),
    check (debit_account <> credit_account)
);

-- A hold ends at most once.
create unique index transfers_resolve_once on transfers (tenant, hold_id) where hold_id <> '';

create table transfer_failures (
    tenant       text     not null,
    transfer_id  bytea    not null,
    status       smallint not null,
    event_us     bigint   not null,
    primary key (tenant, transfer_id)
);

create table chains (
    tenant  text   not null,
    chain   text   not null,
    seq     bigint not null,
    hash    bytea  not null,
    primary key (tenant, chain)
);

create function refuse_change() returns trigger language plpgsql as $$
begin
    raise exception '% is append-only: book a correction instead', tg_table_name using errcode = 'restrict_violation';
end $$;

create trigger transfers_are_append_only before update or delete or truncate on transfers
    for each statement execute function refuse_change();

create table budgets (
    tenant            text    not null,
    budget_id         text    not null,
    limit_nano        bigint  check (limit_nano >= 0),
    time_window       text    not null,
    created_us        bigint  not null,
    primary key (tenant, budget_id)
);

create table keys (
    tenant       text    not null,
    key_id       text    not null,
    name         text    not null,
    sha256       bytea   not null unique,
    budget_id    text    not null,
    models       text[]  not null default '{}',
    routes       text[]  not null default '{}',
    tags         jsonb   not null default '{}',
    output_cap   bigint,
    created_us   bigint  not null,
    expires_us   bigint,
    revoked_us   bigint,
    primary key (tenant, key_id),
    unique (tenant, name)
);

create table gateways (
    gateway_id     text    primary key,
    epoch          bigint  not null,
    host           text    not null,
    boot_id        text    not null,
    started_us     bigint  not null,
    closed_us      bigint,
    -- Everything in the spool before this point is in the books.
    segment        bigint  not null default 0,
    segment_offset bigint  not null default 0
);

-- The rates calls were charged by, kept for ever: a bill can be derived again after the catalogue has moved on.
create table rate_cards (
    price_id    text   primary key,
    rates       jsonb  not null,
    source      text   not null,
    checked     text   not null,
    first_us    bigint not null
);

create table calls (
    tenant                 text     not null,
    call_id                bytea    not null check (octet_length(call_id) = 16),
    key_id                 text     not null,
    run                    text     not null default '',
    parent                 text     not null default '',
    tags                   jsonb,
    protocol               smallint not null,
    model                  text     not null,
    stream                 boolean  not null,
    status                 smallint not null,
    provider               text     not null,
    served_model           text     not null,
    http_status            smallint not null,
    opened_us              bigint   not null,
    first_byte_us          bigint   not null,
    ended_us               bigint   not null,
    input_tokens           bigint   not null,
    cache_read_tokens      bigint   not null,
    cache_write_5m_tokens  bigint   not null,
    cache_write_1h_tokens  bigint   not null,
    output_tokens          bigint   not null,
    reasoning_tokens       bigint   not null,
    other_usage            jsonb,
    unknown_usage          jsonb,
    usage_source           smallint not null,
    held_nano              bigint   not null,
    cost_nano              bigint   not null,
    overage_nano           bigint   not null,
    counterfactual_nano    bigint   not null,
    price_id               text     not null,
    attempts               jsonb    not null,
    system_bytes           bigint   not null,
    tools_bytes            bigint   not null,
    history_bytes          bigint   not null,
    retrieved_bytes        bigint   not null,
    user_bytes             bigint   not null,
    arms                   jsonb,
    budget_account         bigint   not null,
    gateway_id             text     not null,
    idempotency_key        bytea,
    body_sha256            bytea,
    -- Ids begin with their time, so the primary key also serves every question about a span of time.
    primary key (tenant, call_id)
);

create index calls_by_run on calls (tenant, run, call_id) where run <> '';
create unique index calls_by_idempotency_key on calls (tenant, key_id, idempotency_key, call_id)
    where idempotency_key is not null;

insert into tenants values ('default', 0);
