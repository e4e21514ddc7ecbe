-- name: lock
-- Whoever corrects waits for whoever does, so that no two see the same difference. The chain of everything that is not
-- a call is locked only to book: leases are granted on it, and must not wait while a month of calls is summed.
select pg_advisory_xact_lock(hashtext('bursar.reconcile'));

-- name: booked
-- What attempts at a provider were booked with, by day and by the model that served them. A call with one attempt has
-- it in its columns, one with several in the arrays of `attempts` (core.records.Attempt, in the order of its fields).
with attempt as (
    select opened_us, ended_us, served_model as model, usage_source, price_id, cost_nano,
        input_tokens + cache_read_tokens + cache_write_5m_tokens + cache_write_1h_tokens as input_tokens,
        cache_read_tokens, cache_write_5m_tokens + cache_write_1h_tokens as cache_write_tokens,
        output_tokens + reasoning_tokens as output_tokens
    from calls
    where tenant = $1 and call_id >= $3 and call_id < $4 and provider = $2 and attempts is null
    union all
    select opened_us, ended_us, one ->> 1, (one ->> 8)::smallint, one ->> 9, (one ->> 11)::bigint,
        (one -> 7 ->> 0)::bigint + (one -> 7 ->> 1)::bigint + (one -> 7 ->> 2)::bigint + (one -> 7 ->> 3)::bigint,
        (one -> 7 ->> 1)::bigint, (one -> 7 ->> 2)::bigint + (one -> 7 ->> 3)::bigint,
        (one -> 7 ->> 4)::bigint + (one -> 7 ->> 5)::bigint
    from calls cross join lateral jsonb_array_elements(attempts) as each (one)
    where tenant = $1 and call_id >= $3 and call_id < $4 and attempts is not null and one ->> 0 = $2
)
select (to_timestamp(opened_us / 1000000) at time zone 'UTC')::date as day, model,
    count(*) as requests,
    sum(input_tokens)::bigint as input_tokens,
    sum(cache_read_tokens)::bigint as cached_tokens,
    sum(cache_write_tokens)::bigint as cache_write_tokens,
    sum(output_tokens)::bigint as output_tokens,
    sum(cost_nano)::bigint as cost_nano,
    count(*) filter (where usage_source = 3) as held,
    coalesce(sum(cost_nano) filter (where usage_source = 3), 0)::bigint as held_nano,
    count(*) filter (where usage_source = 2) as estimated,
    coalesce(sum(cost_nano) filter (where usage_source = 2), 0)::bigint as estimated_nano,
    coalesce(sum(cost_nano) filter (where opened_us / 86400000000 < ended_us / 86400000000), 0)::bigint as late_nano,
    array_agg(distinct price_id) filter (where price_id <> '') as price_ids
from attempt
where usage_source <> 0
group by 1, 2
order by 1, 2;

-- name: cards
select price_id, rates from rate_cards where price_id = any($1);

-- name: corrected
-- What earlier corrections added for these days. One of all days of its invoice counts where these overlap.
select day, name, kind, sum(amount_nano)::bigint as amount_nano
from corrections
where tenant = $1 and provider = $2 and (
    day >= $3 and day < $4
    or day is null and exists (
        select from invoices
        where invoices.tenant = $1 and invoices.invoice_id = corrections.invoice_id and since < $4 and until > $3
    )
)
group by 1, 2, 3
having sum(amount_nano) <> 0
order by 1, 2, 3;

-- name: providers
-- Whom anything is owed to, by the names of the accounts.
select distinct substring(name from '^payable:(.*):[0-9]+$') as provider
from accounts
where tenant = $1 and code = 2300
order by 1;

-- name: invoice
select imported_us, (
    select replaced.imported_us from invoices as replaced
    where replaced.tenant = $1 and $2 = any(replaced.supersedes)
    limit 1
) as superseded_us
from invoices
where tenant = $1 and invoice_id = $2;

-- name: overlapping
-- The invoices of some of the same days that none has superseded.
select invoice_id, since, until, by_day, imported_us
from invoices
where tenant = $1 and provider = $2 and since < $4 and until > $3 and invoice_id <> $5
    and not exists (
        select from invoices as later where later.tenant = $1 and invoices.invoice_id = any(later.supersedes)
    )
order by since, imported_us;

-- name: insert_invoice
insert into invoices (tenant, invoice_id, provider, since, until, by_day, total_nano, supersedes, imported_us)
values ($1, $2, $3, $4, $5, $6, $7, $8, $9);

-- name: insert_line
insert into invoice_lines values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14);

-- name: insert_correction
insert into corrections values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11);

-- name: count_corrections
select count(*) from corrections where tenant = $1 and provider = $2;

-- name: corrections_that_differ
-- Each correction against its transfer, which runs to what is owed to the provider, or back.
select corrections.provider, corrections.day, corrections.name, corrections.amount_nano,
    case credit.code when 2300 then transfers.amount_nano else -transfers.amount_nano end as booked_nano
from corrections
left join transfers on transfers.tenant = corrections.tenant and transfers.transfer_id = corrections.transfer_id
left join accounts as credit on credit.tenant = transfers.tenant and credit.account_id = transfers.credit_account
where corrections.tenant = $1
    and corrections.amount_nano is distinct from
        case credit.code when 2300 then transfers.amount_nano else -transfers.amount_nano end
order by corrections.booked_us
limit 20;
