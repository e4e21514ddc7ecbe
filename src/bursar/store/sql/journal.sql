-- name: commit
-- One statement a commit: position, balances, chain heads, transfers and calls, all or nothing. A gateway that has been
-- replaced matches no epoch and writes nothing. The end of an earlier life closes nobody who has begun since. The last lock is
-- that of `write` in ledger.sql, for the holds that are made and ended.
with fence as (
    update gateways
    set segment = $3, segment_offset = $4, closed_us = case when $5::bigint >= started_us then $5 end
    where gateway = $1 and epoch = $2
    returning 1
), change as (
    select * from unnest($6::integer[], $7::bigint[], $8::bigint[], $9::bigint[], $10::bigint[], $11::bigint[])
        as change (tenant, account_id, debits_pending, debits_posted, credits_pending, credits_posted)
), locked as (
    -- In the order of their ids, as every writer does, so that two never wait for each other.
    select tenant, account_id, changed_us from accounts
    where (tenant, account_id) in (select tenant, account_id from change)
    order by tenant, account_id
    for update
), moment as materialized (
    -- Of all these accounts, so that the sums of all accounts balance at every moment; later than any before.
    select greatest(max(changed_us) + 1, clock_us()) as at_us from locked
), moved as (
    update accounts
    set debits_pending = accounts.debits_pending + change.debits_pending,
        debits_posted = accounts.debits_posted + change.debits_posted,
        credits_pending = accounts.credits_pending + change.credits_pending,
        credits_posted = accounts.credits_posted + change.credits_posted,
        changed_us = moment.at_us
    from moment, change join locked using (tenant, account_id)
    where accounts.tenant = change.tenant and accounts.account_id = change.account_id
    returning accounts.tenant, accounts.account_id, accounts.changed_us, accounts.debits_pending, accounts.debits_posted,
        accounts.credits_pending, accounts.credits_posted
), remembered as (
    insert into account_history select * from moved
), chained as (
    insert into chains
    select tenant, $1, seq, hash from unnest($12::integer[], $13::bigint[], $14::bytea[]) as head (tenant, seq, hash)
    on conflict (tenant, chain) do update set seq = excluded.seq, hash = excluded.hash
), transferred as (
    insert into transfers
    select * from json_populate_recordset(json_populate_record(null::transfers, $15::json), $16::json)
), recorded as (
    insert into calls
    select * from json_populate_recordset(json_populate_record(null::calls, $17::json), $18::json)
)
select require((select count(*) from fence) = 1, 'fenced'),
    require((select count(*) from moved) = (select count(*) from change), 'an account of the spool is not in the books'),
    (select count(pg_advisory_xact_lock_shared(hashtext('bursar.holds'), tenant)) from unnest($12::integer[]) as tenant);

-- name: position
select segment, segment_offset from gateways where gateway = $1 and epoch = $2;

-- name: chain_heads
select tenant, seq, hash from chains where chain = $1;

-- name: insert_card
insert into rate_cards (price_id, rates, source, checked, first_us)
values ($1, $2, $3, $4, $5)
on conflict do nothing;

-- name: recorded
-- Of these calls, those whose record is in the books.
select call_id from calls where (tenant, call_id) in (select * from unnest($1::integer[], $2::bytea[]));
