-- name: open_account
-- Make an account unless its name is taken; either way the name then leads to one account.
insert into accounts (tenant, account_id, name, code, unit, parent_id, limited, start_us, end_us, opened_us)
values ($1, nextval('account_ids'), $2, $3, $4, $5, $6, $7, $8, $9)
on conflict (tenant, name) do nothing
returning account_id;

-- name: account_by_name
select account_id from accounts where tenant = $1 and name = $2;

-- name: lock_chain
-- The chain's row is locked first, so that its writers follow one another and number without a gap.
insert into chains values ($1, $2, 0, decode(repeat('00', 32), 'hex'))
on conflict (tenant, chain) do update set seq = chains.seq
returning seq, hash;

-- name: lock_accounts
-- Locked in the order of their ids, as every writer does, so that two never wait for each other.
select account_id, limited, unit, closed, debits_pending, debits_posted, credits_pending, credits_posted
from accounts
where tenant = $1 and account_id = any($2)
order by account_id
for update;

-- name: related_transfers
select transfer_id, debit_account, credit_account, amount_nano, kind, reason, event_us, hold_id, held_nano, unit
from transfers
where tenant = $1 and (transfer_id = any($2) or hold_id <> '' and hold_id = any($2));

-- name: related_failures
select transfer_id, status from transfer_failures where tenant = $1 and transfer_id = any($2);

-- name: insert_transfers
insert into transfers
select * from json_populate_recordset(json_populate_record(null::transfers, $1::json), $2::json);

-- name: open_holds
-- The holds a gateway has written that have not ended.
select hold.tenant, hold.transfer_id, hold.debit_account, hold.credit_account, hold.amount_nano
from transfers as hold
where hold.chain = $1 and hold.kind = 2
    and not exists (select from transfers as ended where ended.tenant = hold.tenant and ended.hold_id = hold.transfer_id)
order by hold.seq;

-- name: insert_failures
insert into transfer_failures
select $1, transfer_id, status, event_us
from unnest($2::bytea[], $3::smallint[], $4::bigint[]) as failure (transfer_id, status, event_us)
on conflict do nothing;

-- name: set_sums
update accounts
set debits_pending = new.debits_pending, debits_posted = new.debits_posted,
    credits_pending = new.credits_pending, credits_posted = new.credits_posted
from unnest($2::bigint[], $3::bigint[], $4::bigint[], $5::bigint[], $6::bigint[])
    as new (account_id, debits_pending, debits_posted, credits_pending, credits_posted)
where accounts.tenant = $1 and accounts.account_id = new.account_id;

-- name: set_limited
update accounts set limited = $3 where tenant = $1 and account_id = $2;

-- name: set_chain
update chains set seq = $3, hash = $4 where tenant = $1 and chain = $2;

-- name: tenants
select tenant from tenants order by tenant;

-- name: chains
select chain, seq, hash from chains where tenant = $1 order by chain;

-- name: all_transfers
select transfer_id, debit_account, credit_account, amount_nano, kind, reason, event_us, hold_id, held_nano, unit, seq, hash
from transfers
where tenant = $1 and chain = $2
order by seq;

-- name: transfers_without_chain
select count(*) from transfers
where tenant = $1 and not exists (select from chains where chains.tenant = $1 and chains.chain = transfers.chain);

-- name: all_accounts
select account_id, name, unit, limited, debits_pending, debits_posted, credits_pending, credits_posted
from accounts
where tenant = $1
order by account_id;

-- name: calls_that_differ
-- What a call cost by its record, against what was posted to providers under its id (the low five bits of a transfer's
-- id number it within its call). 2300 is the code of what is owed to providers.
with posted as (
    select set_byte(transfer_id, 15, get_byte(transfer_id, 15) & 224) as call_id, sum(amount_nano)::bigint as posted_nano
    from transfers
    join accounts on accounts.tenant = transfers.tenant and accounts.account_id = credit_account and accounts.code = 2300
    where transfers.tenant = $1 and kind <> 2
    group by 1
)
select call_id, coalesce(cost_nano, 0) as cost_nano, coalesce(posted_nano, 0) as posted_nano
from (select call_id, cost_nano from calls where tenant = $1) as recorded
full join posted using (call_id)
where coalesce(cost_nano, 0) <> coalesce(posted_nano, 0)
order by call_id
limit 20;

-- name: count_calls
select count(*) from calls where tenant = $1;
