-- name: find
select charge_id, content, cost_nano, overage_nano from charges where tenant = $1 and charge_id = $2;

-- name: insert
insert into charges (tenant, charge_id, key_id, run, call_id, kind, supplier, description, quantity, tags, cost_nano,
    overage_nano, event_us, content)
values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14);

-- name: of_run
select charges.*, keys.name as key_name
from charges join keys on keys.tenant = charges.tenant and keys.key_id = charges.key_id
where charges.tenant = $1 and run = $2 and ($4::text is null or charges.key_id = $4)
order by event_us, charge_id
limit $3;

-- name: sums_of_run
select calls.calls, calls.calls_nano, charges.charges, charges.charges_nano
from (
    select count(*) as calls, coalesce(sum(cost_nano), 0)::bigint as calls_nano
    from calls where tenant = $1 and run = $2 and ($3::text is null or key_id = $3)
) as calls,
(
    select count(*) as charges, coalesce(sum(cost_nano), 0)::bigint as charges_nano
    from charges where tenant = $1 and run = $2 and ($3::text is null or key_id = $3)
) as charges;

-- name: by_charge
select kind as name, count(*) as charges, sum(cost_nano)::bigint as cost_nano
from charges
where tenant = $1 and event_us >= $2 and event_us < $3
group by 1;

-- name: by_model
-- Work that is no call has no model: it is one line.
select 'work that is no call' as name, count(*) as charges, sum(cost_nano)::bigint as cost_nano
from charges
where tenant = $1 and event_us >= $2 and event_us < $3
having count(*) > 0;

-- name: by_key
select keys.name, count(*) as charges, sum(cost_nano)::bigint as cost_nano
from charges join keys on keys.tenant = charges.tenant and keys.key_id = charges.key_id
where charges.tenant = $1 and event_us >= $2 and event_us < $3
group by 1;

-- name: by_tag
select pair.key || '=' || (pair.value #>> '{}') as name, count(*) as charges, sum(cost_nano)::bigint as cost_nano
from charges cross join lateral jsonb_each(tags) as pair
where tenant = $1 and event_us >= $2 and event_us < $3
group by 1;

-- name: by_run
select run as name, count(*) as charges, sum(cost_nano)::bigint as cost_nano
from charges
where tenant = $1 and event_us >= $2 and event_us < $3 and run <> ''
group by 1;

-- name: by_day
select to_char(to_timestamp(event_us / 1000000) at time zone 'UTC', 'YYYY-MM-DD') as name, count(*) as charges,
    sum(cost_nano)::bigint as cost_nano
from charges
where tenant = $1 and event_us >= $2 and event_us < $3
group by 1;

-- name: by_hour
select to_char(to_timestamp(event_us / 1000000) at time zone 'UTC', 'YYYY-MM-DD"T"HH24') as name, count(*) as charges,
    sum(cost_nano)::bigint as cost_nano
from charges
where tenant = $1 and event_us >= $2 and event_us < $3
group by 1;

-- name: totals
select count(*) as charges, coalesce(sum(cost_nano), 0)::bigint as charges_nano
from charges
where tenant = $1 and event_us >= $2 and event_us < $3;

-- name: calls_of_run
select calls.*, keys.name as key_name
from calls join keys on keys.tenant = calls.tenant and keys.key_id = calls.key_id
where calls.tenant = $1 and run = $2 and ($4::text is null or calls.key_id = $4)
order by call_id
limit $3;

-- name: runs
-- The latest runs, with what their calls and charges cost.
select run, string_agg(distinct keys.name, ', ' order by keys.name) as key_name, sum(calls)::bigint as calls,
    sum(charges)::bigint as charges, sum(cost_nano)::bigint as cost_nano, min(first_us) as first_us,
    max(last_us) as last_us
from (
    select run, key_id, count(*) as calls, 0 as charges, sum(cost_nano) as cost_nano, min(opened_us) as first_us,
        max(ended_us) as last_us
    from calls
    where tenant = $1 and run <> '' and call_id >= $2
    group by run, key_id
    union all
    select run, key_id, 0, count(*), sum(cost_nano), min(event_us), max(event_us)
    from charges
    where tenant = $1 and run <> '' and event_us >= $3
    group by run, key_id
) as part
join keys on keys.tenant = $1 and keys.key_id = part.key_id
group by run
order by last_us desc, run
limit $4;

-- name: depth
-- How many calls of a run lie above one another, from this one up; none when it is not in the books yet. One whose own
-- parent nobody knows lies below it all the same.
with recursive above as (
    select call_id, parent, 1 as depth from calls where tenant = $1 and run = $2 and call_id = $3
    union all
    select calls.call_id, calls.parent, above.depth + 1
    from above
    join calls on calls.tenant = $1 and calls.run = $2
        and above.parent ~ '^call_[0-9a-f]{32}$' and calls.call_id = decode(substr(above.parent, 6), 'hex')
    where above.depth < $4
)
select max(depth + case when parent = '' then 0 else 1 end) from above;

-- name: differing
-- Charges whose transfers do not say what they say. Each budget pays the whole cost, or owes what it could not pay. A
-- transfer's id follows from its charge's; the row at place -1 is where a charge begins to be followed from.
with recursive parts as (
    select charge_id, cost_nano, overage_nano, -1 as place, cost_nano as booked_nano, 0::bigint as beyond_nano
    from charges
    where tenant = $1 and cost_nano > 0
    union all
    select parts.charge_id, cost_nano, overage_nano, place + 1, paid.nano + beyond.nano, beyond.nano
    from parts
    cross join lateral (
        select substr(sha256(convert_to(concat_ws(chr(31), 'charge', $1::integer, parts.charge_id, place + 1), 'UTF8')), 1, 16)
            as transfer_id
    ) as act
    cross join lateral (
        select coalesce(sum(amount_nano), 0)::bigint as nano
        from transfers where tenant = $1 and transfer_id = act.transfer_id
    ) as paid
    cross join lateral (
        select coalesce(sum(amount_nano), 0)::bigint as nano
        from transfers
        where tenant = $1 and transfer_id
            = substr(sha256(convert_to(concat_ws(chr(31), 'beyond', encode(act.transfer_id, 'hex')), 'UTF8')), 1, 16)
    ) as beyond
    where parts.booked_nano > 0
)
select charge_id, cost_nano, overage_nano, min(booked_nano) filter (where place = 0 or booked_nano > 0) as booked_nano,
    max(beyond_nano) as beyond_nano
from parts
where place >= 0
group by charge_id, cost_nano, overage_nano
having bool_or(booked_nano <> cost_nano and (place = 0 or booked_nano > 0)) or max(beyond_nano) <> overage_nano
order by charge_id;

-- name: owed
select (select coalesce(sum(credits_posted - debits_posted), 0) from accounts where tenant = $1 and code = 2320) as owed_nano,
    (select coalesce(sum(cost_nano), 0) from charges where tenant = $1) as charged_nano;
