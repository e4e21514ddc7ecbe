-- The ledger's past, its other limit, its closed accounts, and what may never change.

-- The ledger's clock: the database's own, in Unix microseconds.
create function clock_us() returns bigint language sql volatile as
    $$ select (extract(epoch from clock_timestamp()) * 1000000)::bigint $$;

alter table accounts
    add column credits_limited  boolean  not null default false,
    -- When the sums last changed: never twice the same, and never earlier than before, whatever the clock does.
    add column changed_us       bigint   not null default 0,
    add column closed_us        bigint,
    add constraint credits_limited_account_is_never_owed
        check (not credits_limited or credits_pending + credits_posted <= debits_posted),
    add constraint closed_account_holds_nothing
        check (not closed or debits_pending = 0 and credits_pending = 0 and debits_posted = credits_posted);

-- What each account came to after each commit that changed it. All accounts of one commit have the same moment, so the
-- sums of all accounts balance at every moment. One row an account and commit, however many transfers it carried.
create table account_history (
    tenant           integer  not null,
    account_id       bigint   not null,
    at_us            bigint   not null,
    debits_pending   bigint   not null,
    debits_posted    bigint   not null,
    credits_pending  bigint   not null,
    credits_posted   bigint   not null,
    primary key (tenant, account_id, at_us)
);

-- Of accounts that are older than this, the past begins now.
update accounts set changed_us = moment.at_us from (select clock_us() as at_us offset 0) as moment;
insert into account_history
select tenant, account_id, changed_us, debits_pending, debits_posted, credits_pending, credits_posted from accounts;

create trigger account_history_is_append_only before update or delete or truncate on account_history
    for each statement execute function refuse_change();
create trigger transfer_failures_are_append_only before update or delete or truncate on transfer_failures
    for each statement execute function refuse_change();
create trigger rate_cards_are_append_only before update or delete or truncate on rate_cards
    for each statement execute function refuse_change();
create trigger calls_are_append_only before update or delete or truncate on calls
    for each statement execute function refuse_change();
