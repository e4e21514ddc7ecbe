-- Secrets that were replaced and are good for a while longer, where keys may be used, who administers, and what was changed.

alter table keys add column addresses text[] not null default '{}';

create table replaced_secrets (
    sha256       bytea    primary key,
    tenant       integer  not null,
    key_id       text     not null,
    replaced_us  bigint   not null,
    ends_us      bigint   not null
);

create index replaced_secrets_by_key on replaced_secrets (tenant, key_id);

create table admin_keys (
    tenant       integer  not null,
    admin_id     text     not null,
    name         text     not null,
    sha256       bytea    not null unique,
    created_us   bigint   not null,
    expires_us   bigint,
    revoked_us   bigint,
    primary key (tenant, admin_id),
    unique (tenant, name)
);

-- Who changed what, when and from where. Written in the transaction of the change; never a secret.
create table audit_log (
    audit_id  bigint   generated always as identity primary key,
    tenant    integer  not null,
    at_us     bigint   not null default clock_us(),
    actor     text     not null,
    origin    text     not null,
    action    text     not null,
    subject   text     not null,
    details   jsonb    not null default '{}'
);

create trigger audit_log_is_append_only before update or delete or truncate on audit_log
    for each statement execute function refuse_change();
