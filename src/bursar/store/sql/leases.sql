-- name: moment
-- Where a budget's window ($4 its account) stands besides its balance: the terms in force, where it still has such
-- windows; what it was granted, less what was taken out again; what other gateways have leased; what the other
-- pieces of a rolling window used; how many gateways are alive. What leases gave back is no grant.
select
    (select json_build_object('limit_nano', limit_nano, 'grace_nano', grace_nano, 'overdraft_nano', overdraft_nano,
         'enforcement', enforcement)::text
     from budgets where tenant = $1 and budget_id = $2 and time_window = $3) as terms,
    (select coalesce(sum(amount_nano), 0)::bigint from transfers
     where tenant = $1 and credit_account = $4 and reason = 1) as granted_nano,
    (select coalesce(sum(credits_posted - debits_posted), 0)::bigint from accounts
     where tenant = $1 and parent_id = $4 and code = 2600) as withdrawn_nano,
    (select coalesce(sum(credits_posted - debits_posted - debits_pending), 0)::bigint from accounts
     where tenant = $1 and parent_id = $4 and code = 2200 and account_id <> $5) as elsewhere_nano,
    (select coalesce(sum(
         (select coalesce(sum(amount_nano), 0) from transfers
          where transfers.tenant = piece.tenant and credit_account = piece.account_id and reason = 1)
         - (select coalesce(sum(credits_posted - debits_posted), 0) from accounts as withdrawn
            where withdrawn.tenant = piece.tenant and parent_id = piece.account_id and code = 2600)
         - (piece.credits_posted - piece.debits_posted)), 0)::bigint
     from accounts as piece where tenant = $1 and name = any($6)) as earlier_nano,
    (select count(*) from gateways
     where closed_us is null and reaped_us is null and seen_us > clock_us() - 30000000) as gateways;
