-- What providers say they bill, and the corrections that were booked for it. All of it is append-only: an invoice that
-- replaces another names it, and a correction that was wrong is corrected by the next.

create table invoices (
    tenant       integer not null,
    invoice_id   bytea   not null check (octet_length(invoice_id) = 32),  -- SHA-256 of provider, days and files
    provider     text    not null,
    since        date    not null,
    until        date    not null check (since < until),  -- the day after its last
    by_day       boolean not null,
    total_nano   bigint  not null,
    supersedes   bytea[] not null default '{}',
    imported_us  bigint  not null,
    primary key (tenant, invoice_id)
);

create index invoices_by_days on invoices (tenant, provider, since);

create table invoice_lines (
    tenant              integer  not null,
    invoice_id          bytea    not null,
    number              integer  not null,
    place               text     not null,
    day                 date,
    model               text     not null,
    kind                smallint not null,
    requests            bigint,
    input_tokens        bigint,
    cached_tokens       bigint,
    cache_write_tokens  bigint,
    output_tokens       bigint,
    cost_nano           bigint,
    amount              text     not null,  -- as the provider wrote it: cost_nano is rounded once
    primary key (tenant, invoice_id, number)
);

create table corrections (
    tenant       integer  not null,
    transfer_id  bytea    not null check (octet_length(transfer_id) = 16),
    invoice_id   bytea    not null,
    provider     text     not null,
    day          date,  -- none: of all days of the invoice
    name         text     not null,
    kind         smallint not null,
    amount_nano  bigint   not null,  -- what the provider bills beyond what was booked; negative when it bills less
    cause        smallint not null,
    evidence     text     not null,
    booked_us    bigint   not null,
    primary key (tenant, transfer_id)
);

create index corrections_by_provider on corrections (tenant, provider, day);

create trigger invoices_are_append_only before update or delete or truncate on invoices
    for each statement execute function refuse_change();
create trigger invoice_lines_are_append_only before update or delete or truncate on invoice_lines
    for each statement execute function refuse_change();
create trigger corrections_are_append_only before update or delete or truncate on corrections
    for each statement execute function refuse_change();
