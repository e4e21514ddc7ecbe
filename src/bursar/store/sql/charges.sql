-- name: find
select charge_id, content, cost_nano, overage_nano from charges where tenant = $1 and charge_id = $2;

-- name: insert
insert into charges (tenant, charge_id, key_id, run, call_id, kind, supplier, description, quantity, tags, cost_nano,
    overage_nano, event_us, content)
values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14);

-- name: call
select key_id, run, tags from calls where tenant = $1 and call_id = $2;

-- name: of_run
select charges.*, keys.name as key_name
from charges join keys on keys.tenant = charges.tenant and keys.key_id = charges.key_id
where charges.tenant = $1 and run = $2
order by event_us, charge_id;

-- name: by_kind
select kind as name, count(*) as charges, sum(cost_nano)::bigint as cost_nano
from charges
where tenant = $1 and event_us >= $2 and event_us < $3
group by 1
order by cost_nano desc, name;

-- name: calls_of_run
select calls.*, keys.name as key_name
from calls join keys on keys.tenant = calls.tenant and keys.key_id = calls.key_id
where calls.tenant = $1 and run = $2
order by call_id
limit $3;

-- name: runs
-- The latest runs, with what their calls and charges cost.
select run, max(key_name) as key_name, sum(calls)::bigint as calls, sum(charges)::bigint as charges,
    sum(cost_nano)::bigint as cost_nano, min(first_us) as first_us, max(last_us) as last_us
from (
    select run, max(keys.name) as key_name, count(*) as calls, 0 as charges, sum(cost_nano) as cost_nano,
        min(opened_us) as first_us, max(ended_us) as last_us
    from calls join keys on keys.tenant = calls.tenant and keys.key_id = calls.key_id
    where calls.tenant = $1 and run <> '' and call_id >= $2
    group by run
    union all
    select run, max(keys.name), 0, count(*), sum(cost_nano), min(event_us), max(event_us)
    from charges join keys on keys.tenant = charges.tenant and keys.key_id = charges.key_id
    where charges.tenant = $1 and run <> '' and event_us >= $3
    group by run
) as part
group by run
order by last_us desc
limit $4;

-- name: depth
-- How many calls of a run lie above one another, from this one up; none when it is not in the books yet.
with recursive above as (
    select call_id, parent, 1 as depth from calls where tenant = $1 and run = $2 and call_id = $3
    union all
    select calls.call_id, calls.parent, above.depth + 1
    from above
    join calls on calls.tenant = $1 and calls.run = $2
        and above.parent ~ '^call_[0-9a-f]{32}$' and calls.call_id = decode(substr(above.parent, 6), 'hex')
    where above.depth < $4
)
select max(depth) from above;
