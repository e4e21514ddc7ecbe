-- name: beyond_limit
-- How much more a budget's window was granted than its limit allows, less what was taken out again; negative when the
-- limit allows more. What leases gave back is no grant. Null for an unlimited budget, none for one of other windows.
select (select coalesce(sum(amount_nano), 0) from transfers where tenant = $1 and credit_account = $4 and reason = 1)::bigint
    - coalesce((select credits_posted - debits_posted from accounts where tenant = $1 and name = $5), 0) - limit_nano
from budgets
where tenant = $1 and budget_id = $2 and time_window = $3;
