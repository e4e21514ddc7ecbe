-- name: insert_budget
insert into budgets (tenant, budget_id, limit_nano, time_window, created_us) values ($1, $2, $3, $4, $5);

-- name: insert_key
insert into keys (tenant, key_id, name, sha256, budget_id, models, routes, tags, output_cap, created_us, expires_us)
values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11);

-- name: select_keys
select keys.tenant, key_id, name, sha256, keys.budget_id, models, routes, tags, output_cap, keys.created_us, expires_us, revoked_us,
    limit_nano, time_window
from keys join budgets on budgets.tenant = keys.tenant and budgets.budget_id = keys.budget_id
order by keys.created_us, key_id;

-- name: select_key_by_hash
select keys.tenant, key_id, name, sha256, keys.budget_id, models, routes, tags, output_cap, keys.created_us, expires_us, revoked_us,
    limit_nano, time_window
from keys join budgets on budgets.tenant = keys.tenant and budgets.budget_id = keys.budget_id
where sha256 = $1;

-- name: revoke_key
update keys set revoked_us = coalesce(revoked_us, $3) where tenant = $1 and (key_id = $2 or name = $2) returning key_id;

-- name: key_budget
select keys.key_id, keys.budget_id, limit_nano, time_window
from keys join budgets on budgets.tenant = keys.tenant and budgets.budget_id = keys.budget_id
where keys.tenant = $1 and (key_id = $2 or name = $2)
for update of budgets;

-- name: update_budget
update budgets set limit_nano = $3, time_window = $4 where tenant = $1 and budget_id = $2;

-- name: notify
select pg_notify('bursar_changed', $1);

-- name: budget_accounts
-- Where a budget's money is: granted, still there, in leases, held, overspent, undecided, withdrawn. One row a window.
select budget.account_id, budget.name, budget.credits_posted - budget.debits_posted as there_nano,
    (select coalesce(sum(amount_nano), 0)::bigint from transfers
     where transfers.tenant = budget.tenant and credit_account = budget.account_id and reason = 1) as granted_nano,
    coalesce(sum(child.credits_posted - child.debits_posted) filter (where child.code = 2200), 0)::bigint as in_leases_nano,
    coalesce(sum(child.debits_pending) filter (where child.code = 2200), 0)::bigint as held_nano,
    coalesce(sum(child.debits_posted - child.credits_posted) filter (where child.code = 2400), 0)::bigint as overage_nano,
    coalesce(sum(child.credits_posted - child.debits_posted) filter (where child.code = 2500), 0)::bigint
        as indeterminate_nano,
    coalesce(sum(child.credits_posted - child.debits_posted) filter (where child.code = 2600), 0)::bigint as withdrawn_nano
from accounts as budget
left join accounts as child on child.tenant = budget.tenant and child.parent_id = budget.account_id
where budget.tenant = $1 and budget.name = any($2)
group by budget.tenant, budget.account_id;
