-- Files kept at providers, each its key's own, and batches: held for when they are made, charged once their results exist.

create table files (
    tenant      integer  not null,
    provider    text     not null,
    file_id     text     not null,            -- the provider's
    key_id      text     not null,
    purpose     text     not null,
    bytes       bigint   not null,
    sha256      bytea    not null default '', -- of what the provider was sent; empty of what it has written itself
    requests    bytea,                        -- of a batch's input: what each may cost (gateway/batches/requests.py)
    models      jsonb,                        -- the models of these requests, and by which prices that was
    created_us  bigint   not null,
    deleted_us  bigint,
    primary key (tenant, provider, file_id)
);

create index files_by_key on files (tenant, key_id, created_us) where deleted_us is null;

create table batches (
    tenant           integer  not null,
    batch_id         bytea    not null check (octet_length(batch_id) = 16),  -- its call's
    key_id           text     not null,
    protocol         smallint not null,
    provider         text     not null,
    provider_id      text,                 -- none: not known to have reached the provider
    endpoint         text     not null,    -- what its requests are for
    models           jsonb    not null,
    request_count    integer  not null,
    run              text     not null default '',
    parent           text     not null default '',
    tags             jsonb    not null default '{}',
    idempotency_key  bytea,
    body_sha256      bytea,
    holds            jsonb    not null,    -- what it holds of each budget, the one that pays first
    held_nano        bigint   not null,
    opened_us        bigint   not null,
    look_us          bigint   not null,    -- when somebody is to ask for its results
    missing_us       bigint,               -- since when its provider knows nothing of it
    ended_us         bigint,
    charged          boolean  not null default false,  -- ended and not charged: it never reached its provider
    cost_nano        bigint   not null default 0,
    answered         integer  not null default 0,
    failed           integer  not null default 0,
    unmetered        integer  not null default 0,      -- answered without a usage that can be believed
    primary key (tenant, batch_id),
    check (ended_us is not null or not charged)
);

-- What each request of an open batch may cost, apart from what is read of a batch again and again.
create table batch_requests (
    tenant    integer not null,
    batch_id  bytea   not null,
    requests  bytea   not null,
    primary key (tenant, batch_id)
);

create unique index batches_by_provider_id on batches (tenant, provider, provider_id) where provider_id is not null;
create index batches_by_key on batches (tenant, key_id, batch_id);
create index batches_open on batches (look_us) where ended_us is null;
create unique index batches_by_idempotency_key on batches (tenant, key_id, idempotency_key)
    where idempotency_key is not null;
