-- name: find
select content from outcomes where tenant = $1 and key_id = $2 and outcome_id = $3;

-- name: insert
insert into outcomes (tenant, outcome_id, key_id, call_id, run, kind, value_ppm, source, event_us, content)
values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
on conflict do nothing
returning seq;

-- name: run
select exists (select from calls where tenant = $1 and run = $2 and key_id = $3);

-- name: of_call
select outcome_id, kind, value_ppm, source, event_us from outcomes where tenant = $1 and call_id = $2 order by seq limit $3;

-- name: of_run
-- Of the run as a whole: those of its calls are shown with them.
select outcome_id, kind, value_ppm, source, event_us from outcomes
where tenant = $1 and run = $2 and call_id is null and ($4::text is null or key_id = $4)
order by seq
limit $3;

-- name: recent
select outcome_id, keys.name as key_name, call_id, run, kind, value_ppm, source, event_us
from outcomes join keys on keys.tenant = outcomes.tenant and keys.key_id = outcomes.key_id
where outcomes.tenant = $1 and ($2::text is null or keys.name = $2 or keys.key_id = $2) and ($3::text is null or run = $3)
order by seq desc
limit $4;

-- name: last
select max(seq) from outcomes;

-- name: routed
-- What the latest outcomes say of answers whose quality a router had expected, oldest first: $2 of them, found among five
-- times as many, so that what is read is bounded, and repeats push others out only beyond that. A call counts once, by what was
-- said of it last; so does a run for each of its models, however many calls it has: they share its end. An answer that took
-- several attempts may be another model's. Of what is said of a model, a key says at most as much as all others together,
-- beyond what each may: $3.
with recent as materialized (
    select * from outcomes where tenant = $1 order by seq desc limit 5 * $2
),
told as (
    (
        select distinct on (outcomes.call_id) outcomes.seq, outcomes.key_id, route ->> 'policy' as policy,
            route ->> 'model' as model, (route ->> 'chance_ppm')::float8 as chance_ppm, value_ppm
        from recent as outcomes join calls on calls.tenant = outcomes.tenant and calls.call_id = outcomes.call_id
        where route ? 'chance_ppm' and calls.attempts is null
        order by outcomes.call_id, outcomes.seq desc
    )
    union all
    (
        select distinct on (outcomes.key_id, outcomes.run, 3, 4) outcomes.seq, outcomes.key_id, route ->> 'policy',
            route ->> 'model', avg((route ->> 'chance_ppm')::float8), value_ppm
        from recent as outcomes join calls
            on calls.tenant = outcomes.tenant and calls.run = outcomes.run and calls.key_id = outcomes.key_id
        where outcomes.call_id is null and route ? 'chance_ppm' and calls.attempts is null
        group by outcomes.seq, outcomes.key_id, outcomes.run, 3, 4, value_ppm
        order by outcomes.key_id, outcomes.run, 3, 4, outcomes.seq desc
    )
),
latest as (select * from told order by seq desc, policy, model limit $2),
counted as (
    select *, row_number() over (partition by policy, model, key_id order by seq desc) as place,
        count(*) over (partition by policy, model) - count(*) over (partition by policy, model, key_id) as of_others
    from latest
)
select policy, model, chance_ppm, value_ppm from counted
where place <= greatest(of_others, $3)
order by seq, policy, model;

-- name: manners
-- How targets have answered of late: in how many tokens and how long, on average.
select provider || '/' || served_model as target, avg(output_tokens + reasoning_tokens)::float8 as output_tokens,
    avg(ended_us - opened_us)::float8 as duration_us
from (
    select provider, served_model, output_tokens, reasoning_tokens, ended_us, opened_us
    from calls
    where tenant = $1 and call_id >= $2 and status = 1 and usage_source = 1 and attempts is null
    order by call_id desc
    limit $3
) as latest
group by 1
having count(*) >= $4;
