-- name: insert_holder
insert into holders (tenant, holder_id, name, kind, parent_id, match, each, exhausted, holds, depth_max, repeats_max,
    alerts_percent, created_us)
values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13);

-- name: insert_budget
insert into budgets (tenant, budget_id, holder_id, limit_nano, unit, time_window, rolling, zone, enforcement, grace_nano,
    overdraft_nano, created_us)
values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)
on conflict (tenant, budget_id) do update
set limit_nano = excluded.limit_nano, unit = excluded.unit, time_window = excluded.time_window,
    rolling = excluded.rolling, zone = excluded.zone, enforcement = excluded.enforcement,
    grace_nano = excluded.grace_nano, overdraft_nano = excluded.overdraft_nano;

-- name: delete_budgets
-- Their accounts stay in the books.
delete from budgets where tenant = $1 and budget_id = any($2);

-- name: select_holders
select tenant, holder_id, name, kind, parent_id, match, each, frozen_us, exhausted, holds, depth_max, repeats_max,
    alerts_percent
from holders
where $1::integer is null or tenant = $1
order by created_us, holder_id;

-- name: select_budgets
-- Money first: a key's own first budget is the one that pays.
select tenant, budget_id, holder_id, limit_nano, unit, time_window, rolling, zone, enforcement, grace_nano, overdraft_nano
from budgets
where $1::integer is null or tenant = $1
order by unit, created_us, budget_id;

-- name: lock_holder
select holder_id from holders where tenant = $1 and (name = $2 or holder_id = $2) for update;

-- name: holder_of_key
select holder_id from keys where tenant = $1 and key_id = $2;

-- name: set_frozen
update holders set frozen_us = $3 where tenant = $1 and holder_id = $2;

-- name: set_policies
update holders
set exhausted = coalesce($3, exhausted), holds = coalesce($4, holds), depth_max = coalesce($5, depth_max),
    repeats_max = coalesce($6, repeats_max), alerts_percent = coalesce($7, alerts_percent)
where tenant = $1 and holder_id = $2;

-- name: moved_before
-- What was moved under an id.
select debit_account, credit_account, amount_nano from transfers where tenant = $1 and transfer_id = $2 and reason = 9;

-- name: instances
-- The latest runs or values a budget stands for that have spent in a window.
select name from accounts
where tenant = $1 and code = 2100 and starts_with(name, $2) and right(name, length($3)) = $3
order by account_id desc
limit $4;

-- name: budget_accounts
-- Where a budget's money is: granted or moved in, still there, in leases, held, overspent, undecided, withdrawn. One row
-- a window.
select budget.account_id, budget.name, budget.credits_posted - budget.debits_posted as there_nano,
    (select coalesce(sum(amount_nano), 0)::bigint from transfers
     where transfers.tenant = budget.tenant and credit_account = budget.account_id and reason = 1) as granted_nano,
    (select coalesce(sum(amount_nano), 0)::bigint from transfers
     where transfers.tenant = budget.tenant and credit_account = budget.account_id and reason = 9)
    - (select coalesce(sum(amount_nano), 0)::bigint from transfers
       where transfers.tenant = budget.tenant and debit_account = budget.account_id and reason = 9) as moved_nano,
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
