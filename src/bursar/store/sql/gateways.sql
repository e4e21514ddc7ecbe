-- name: try_lock
-- One gateway a database, for as long as this session lives.
select pg_try_advisory_lock(hashtext('bursar.gateway'));

-- name: others
select name, host, started_us from gateways where name <> $1 order by started_us desc;

-- name: previous
select boot_id, closed_us from gateways where name = $1 for update;

-- name: begin
insert into gateways (name, epoch, host, boot_id, started_us)
values ($1, 1, $2, $3, $4)
on conflict (name) do update
set epoch = gateways.epoch + 1, host = excluded.host, boot_id = excluded.boot_id, started_us = excluded.started_us,
    closed_us = null
returning gateway, epoch;

-- name: recovered
update gateways set boot_id = $3 where gateway = $1 and epoch = $2;

-- name: epoch_is
select epoch = $2 from gateways where gateway = $1;

-- name: leases
-- The leases of a gateway that hold money, and the budget accounts they came from.
select lease.tenant, lease.account_id, lease.parent_id, budget.name as budget_name,
    lease.credits_posted - lease.debits_posted - lease.debits_pending as available_nano
from accounts as lease
join accounts as budget on budget.tenant = lease.tenant and budget.account_id = lease.parent_id
where lease.code = 2200 and lease.name like 'lease:' || $1::text || ':%'
    and lease.credits_posted > lease.debits_posted + lease.debits_pending;

-- name: idempotent_calls
select tenant, key_id, idempotency_key, body_sha256, call_id, cost_nano
from calls
where idempotency_key is not null and call_id >= $1;
