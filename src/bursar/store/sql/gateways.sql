-- name: try_lock
-- One process a gateway's name, for as long as this session lives.
select pg_try_advisory_lock(hashtext('bursar.gateway'), hashtext($1));

-- name: previous
select gateway, boot_id, closed_us, reaped_us from gateways where name = $1 for update;

-- name: begin
insert into gateways (name, epoch, host, boot_id, started_us, seen_us)
values ($1, 1, $2, $3, $4, clock_us())
on conflict (name) do update
set epoch = gateways.epoch + 1, host = excluded.host, boot_id = excluded.boot_id, started_us = excluded.started_us,
    seen_us = excluded.seen_us, closed_us = null
returning gateway, epoch;

-- name: recovered
update gateways set boot_id = $3, reaped_us = null where gateway = $1 and epoch = $2;

-- name: seen
-- Matches no row once another epoch has begun: then this gateway has been replaced, or given up for dead.
update gateways set seen_us = clock_us() where gateway = $1 and epoch = $2 returning gateway;

-- name: epoch_is
select epoch = $2 from gateways where gateway = $1;

-- name: lock_dead
-- Gateways nobody has seen for so long ($1, in microseconds) have a new epoch from here on: should they live, they
-- write nothing more before they have begun anew.
update gateways set epoch = epoch + 1, reaped_us = clock_us()
where gateway in (
    select gateway from gateways
    where closed_us is null and reaped_us is null and seen_us < clock_us() - $1::bigint
    order by gateway
    for update skip locked
)
returning gateway, name, host, seen_us;

-- name: end_epoch
-- A gateway that was given up and is on its way back has to begin anew: what it was to take back is decided.
update gateways set epoch = epoch + 1 where gateway = $1;

-- name: leases
-- The leases of a gateway that hold money, and the budget accounts they came from.
select lease.tenant, lease.account_id, lease.parent_id, lease.unit, budget.name as budget_name,
    lease.credits_posted - lease.debits_posted - lease.debits_pending as available_nano
from accounts as lease
join accounts as budget on budget.tenant = lease.tenant and budget.account_id = lease.parent_id
where lease.code = 2200 and lease.name like 'lease:' || $1::text || ':%'
    and lease.credits_posted > lease.debits_posted + lease.debits_pending
order by lease.tenant, lease.account_id;

-- name: leases_by_id
select lease.tenant, lease.account_id, lease.parent_id, lease.unit, budget.name as budget_name,
    lease.credits_posted - lease.debits_posted - lease.debits_pending as available_nano
from accounts as lease
join accounts as budget on budget.tenant = lease.tenant and budget.account_id = lease.parent_id
where lease.account_id = any($1);

-- name: set_aside
-- What was set aside of a dead gateway's leases and has not come back to them.
select lease.tenant, lease.account_id, lease.parent_id, lease.unit, budget.name as budget_name,
    sum(case when transfers.debit_account = lease.account_id then amount_nano else -amount_nano end)::bigint as available_nano
from accounts as lease
join accounts as budget on budget.tenant = lease.tenant and budget.account_id = lease.parent_id
join transfers on transfers.tenant = lease.tenant and reason = 10
    and lease.account_id in (transfers.debit_account, transfers.credit_account)
where lease.code = 2200 and lease.name like 'lease:' || $1::text || ':%'
group by lease.tenant, lease.account_id, lease.parent_id, lease.unit, budget.name
having sum(case when transfers.debit_account = lease.account_id then amount_nano else -amount_nano end) > 0
order by lease.tenant, lease.account_id;

-- name: all_gateways
select gateways.gateway, name, host, started_us, seen_us, closed_us, reaped_us, clock_us() as now_us from gateways order by gateway;

-- name: claim
-- The first who claims a key within a day makes its call.
insert into idempotency_claims as claim (tenant, key_id, name, body_sha256, call_id, claimed_us)
values ($1, $2, $3, $4, $5, $6)
on conflict (tenant, key_id, name) do update
set body_sha256 = excluded.body_sha256, call_id = excluded.call_id, claimed_us = excluded.claimed_us
where claim.claimed_us < $7
returning call_id;

-- name: claimed
select body_sha256, call_id, claimed_us,
    exists (select from calls where calls.tenant = claim.tenant and calls.call_id = claim.call_id) as made
from idempotency_claims as claim
where tenant = $1 and key_id = $2 and name = $3;

-- name: take_over
update idempotency_claims set call_id = $5, claimed_us = $6
where tenant = $1 and key_id = $2 and name = $3 and call_id = $4
returning call_id;

-- name: unclaim
delete from idempotency_claims where tenant = $1 and key_id = $2 and name = $3 and call_id = $4;

-- name: forget_claims
delete from idempotency_claims where claimed_us < $1;

-- name: health
-- What the doctor asks of a database, in one look.
select current_setting('server_version') as version, (extract(epoch from clock_timestamp()) * 1000000)::bigint as clock_us,
    (select array_agg(number order by number) from migrations) as migrations,
    pg_database_size(current_database()) as bytes;

-- name: sums
-- By unit, how far debits and credits are apart over all accounts: 0 in every unit, posted and pending.
select unit, (sum(debits_posted) - sum(credits_posted))::bigint as posted,
    (sum(debits_pending) - sum(credits_pending))::bigint as pending
from accounts
group by unit
order by unit;
