-- name: open_account
-- Make an account unless its name is taken; either way the name then leads to one account. Its history begins with it.
with opened as (
    insert into accounts
        (tenant, account_id, name, code, unit, parent_id, limited, credits_limited, start_us, end_us, opened_us, changed_us)
    values ($1, nextval('account_ids'), $2, $3, $4, $5, $6, $7, $8, $9, $10, clock_us())
    on conflict (tenant, name) do nothing
    returning tenant, account_id, changed_us
), remembered as (
    insert into account_history select tenant, account_id, changed_us, 0, 0, 0, 0 from opened
)
select account_id from opened;

-- name: account_by_name
select account_id from accounts where tenant = $1 and name = $2;

-- name: lock_chain
-- The chain's row is locked first, so that its writers follow one another and number without a gap.
insert into chains values ($1, $2, 0, decode(repeat('00', 32), 'hex'))
on conflict (tenant, chain) do update set seq = chains.seq
returning seq, hash;

-- name: lock_accounts
-- Locked in the order of their ids, as every writer does, so that two never wait for each other.
select account_id, limited, credits_limited, unit, closed, debits_pending, debits_posted, credits_pending, credits_posted
from accounts
where tenant = $1 and account_id = any($2)
order by account_id
for update;

-- name: lock_to_book
-- The chain's row is locked first, so that its writers follow one another and number without a gap; then the accounts, in
-- the order of their ids. Nothing else is read here: this statement sees the books as they were before it had to wait.
with head as materialized (
    insert into chains values ($1, $2, 0, decode(repeat('00', 32), 'hex'))
    on conflict (tenant, chain) do update set seq = chains.seq
    returning seq, hash
)
select head.seq, head.hash, account.*
from head
left join lateral (
    select account_id, limited, credits_limited, unit, closed, debits_pending, debits_posted, credits_pending, credits_posted
    from accounts
    where tenant = $1 and account_id = any($3)
    order by account_id
    for update
) as account on true;

-- name: related
-- What came before under these ids, the holds that are to end, how holds ended, and what was refused.
select transfer_id, debit_account, credit_account, amount_nano, kind, reason, event_us, hold_id, held_nano, unit, null::smallint as failed
from transfers
where tenant = $1 and transfer_id = any($2)
union all
select transfer_id, debit_account, credit_account, amount_nano, kind, reason, event_us, hold_id, held_nano, unit, null
from transfers
where tenant = $1 and hold_id = any($3) and hold_id <> ''
union all
select transfer_id, 0, 0, 0, 0, 0, 0, '', 0, 0, status from transfer_failures where tenant = $1 and transfer_id = any($2);

-- name: still_holds
-- Wait for whoever is making a hold or ending one, and keep others from it until the transaction ends. It is the last lock of
-- a transaction, and who has it waits for nobody.
select pg_advisory_xact_lock(hashtext('bursar.holds'), $1);

-- name: flush
-- A commit of its own, which waits for the disk; whatever was committed before it is then on disk as well.
select pg_logical_emit_message(true, 'bursar', '');

-- name: related_transfers
select transfer_id, debit_account, credit_account, amount_nano, kind, reason, event_us, hold_id, held_nano, unit
from transfers
where tenant = $1 and (transfer_id = any($2) or hold_id <> '' and hold_id = any($2));

-- name: write
-- One statement for what a batch leaves: transfers, the chain's head, balances, their history, refusals. The accounts are
-- locked; their history gets one row each, all of one moment. Where a hold is made or ended, many do so at once, but not
-- beside one who has to know that nobody does (`still_holds`).
with chained as (
    update chains set seq = $3, hash = $4 where tenant = $1 and chain = $2
), transferred as (
    insert into transfers
    select * from json_populate_recordset(json_populate_record(null::transfers, $5::json), $6::json)
    where (select case when $15 then pg_advisory_xact_lock_shared(hashtext('bursar.holds'), $1) is not null else true end)
), moment as materialized (
    select greatest(max(changed_us) + 1, clock_us()) as at_us from accounts where tenant = $1 and account_id = any($7)
), moved as (
    update accounts
    set debits_pending = new.debits_pending, debits_posted = new.debits_posted,
        credits_pending = new.credits_pending, credits_posted = new.credits_posted, changed_us = moment.at_us
    from moment, unnest($7::bigint[], $8::bigint[], $9::bigint[], $10::bigint[], $11::bigint[])
        as new (account_id, debits_pending, debits_posted, credits_pending, credits_posted)
    where accounts.tenant = $1 and accounts.account_id = new.account_id
    returning accounts.tenant, accounts.account_id, accounts.changed_us, accounts.debits_pending, accounts.debits_posted,
        accounts.credits_pending, accounts.credits_posted
), remembered as (
    insert into account_history select * from moved
)
insert into transfer_failures
select $1, transfer_id, status, event_us
from unnest($12::bytea[], $13::smallint[], $14::bigint[]) as failure (transfer_id, status, event_us)
on conflict do nothing;

-- name: open_holds
-- The holds a gateway has written that have not ended.
select hold.tenant, hold.transfer_id, hold.debit_account, hold.credit_account, hold.amount_nano
from transfers as hold
where hold.chain = $1 and hold.kind = 2
    and not exists (select from transfers as ended where ended.tenant = hold.tenant and ended.hold_id = hold.transfer_id)
order by hold.seq;

-- name: set_limited
update accounts set limited = $3 where tenant = $1 and account_id = $2;

-- name: closing
-- Lock an account that is to be closed, and say whether an account below it holds anything.
select account_id, code, closed, debits_pending, debits_posted, credits_pending, credits_posted,
    exists (
        select from accounts as child
        where child.tenant = parent.tenant and child.parent_id = parent.account_id
            and (child.debits_pending > 0 or child.credits_pending > 0 or child.debits_posted <> child.credits_posted)
    ) as children_hold
from accounts as parent
where tenant = $1 and account_id = $2
for update;

-- name: close_account
update accounts set closed = true, closed_us = $3 where tenant = $1 and account_id = $2;

-- name: past_balance
-- The books as they were known at a moment: the last row of the account's history by then.
select at_us, debits_pending, debits_posted, credits_pending, credits_posted
from account_history
where tenant = $1 and account_id = $2 and at_us <= $3
order by at_us desc
limit 1;

-- name: accounts_to_export
-- Accounts opened, or moved in, before a moment; when they first and last were; and both what the books keep as their
-- balance and what their transfers sum to.
with moved as (
    select account_id, min(event_us) as first_us, max(event_us) as last_us, sum(amount)::bigint as balance
    from transfers cross join lateral (values (debit_account, amount_nano), (credit_account, -amount_nano)) as side (account_id, amount)
    where tenant = $1 and kind in (1, 3) and event_us < $2
    group by account_id
)
select accounts.account_id, name, code, unit, least(opened_us, first_us) as first_us, coalesce(last_us, opened_us) as last_us,
    case when closed_us < $2 then closed_us end as closed_us,
    debits_posted - credits_posted as kept_balance, coalesce(balance, 0) as summed_balance
from accounts
left join moved using (account_id)
where tenant = $1 and (opened_us < $2 or first_us is not null)
order by account_id;

-- name: posted_transfers
select transfer_id, debit_account, credit_account, amount_nano, kind, reason, event_us, hold_id, held_nano, unit, chain, seq
from transfers
where tenant = $1 and kind in (1, 3) and event_us < $2
order by event_us, chain, seq;

-- name: history_began
select min(at_us) from account_history where tenant = $1 and account_id = $2;

-- name: account
-- An account by its name, or by its number where no name is like it.
select account_id, name, code, unit, limited, credits_limited, closed, opened_us, closed_us, changed_us,
    debits_pending, debits_posted, credits_pending, credits_posted
from accounts
where tenant = $1 and (name = $2 or account_id::text = $2)
order by name = $2 desc
limit 1;

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
select account_id, name, code, unit, limited, credits_limited, closed, opened_us, closed_us, changed_us,
    debits_pending, debits_posted, credits_pending, credits_posted
from accounts
where tenant = $1
order by account_id;

-- name: histories_that_differ
-- Accounts whose history does not end with what they are.
select name
from accounts
left join lateral (
    select * from account_history as history
    where history.tenant = accounts.tenant and history.account_id = accounts.account_id
    order by at_us desc
    limit 1
) as latest on true
where accounts.tenant = $1 and (latest.at_us, latest.debits_pending, latest.debits_posted, latest.credits_pending, latest.credits_posted)
    is distinct from (accounts.changed_us, accounts.debits_pending, accounts.debits_posted, accounts.credits_pending, accounts.credits_posted)
order by accounts.account_id
limit 20;

-- name: histories_that_shrink
-- What was posted stays posted: no sum of posted amounts is ever smaller than before.
select account_id, at_us
from (
    select account_id, at_us, debits_posted, credits_posted,
        lag(debits_posted) over past as debits_before, lag(credits_posted) over past as credits_before
    from account_history
    where tenant = $1
    window past as (partition by account_id order by at_us)
) as step
where debits_posted < debits_before or credits_posted < credits_before
order by account_id, at_us
limit 20;

-- name: moments_that_differ
-- At every moment debits equal credits in every unit: what one commit changes, it changes on both sides.
select unit, at_us, sum(debits) as debits, sum(credits) as credits
from (
    select account_id, at_us,
        debits_pending + debits_posted::numeric - coalesce(lag(debits_pending + debits_posted::numeric) over past, 0) as debits,
        credits_pending + credits_posted::numeric - coalesce(lag(credits_pending + credits_posted::numeric) over past, 0) as credits
    from account_history
    where tenant = $1
    window past as (partition by account_id order by at_us)
) as step
join accounts on accounts.tenant = $1 and accounts.account_id = step.account_id
group by unit, at_us
having sum(debits) <> sum(credits)
order by at_us, unit
limit 20;

-- name: calls_that_differ
-- What a call cost by its record, against what was posted to providers under its id (the low five bits of a transfer's
-- id number it within its call). 2300 is the code of what is owed to providers. Corrections after an invoice (reason 7,
-- on the chain of everything that is not a call) are of no call.
with posted as (
    select set_byte(transfer_id, 15, get_byte(transfer_id, 15) & 224) as call_id, sum(amount_nano)::bigint as posted_nano
    from transfers
    join accounts on accounts.tenant = transfers.tenant and accounts.account_id = credit_account and accounts.code = 2300
    where transfers.tenant = $1 and kind <> 2 and not (chain = 0 and reason = 7)
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
