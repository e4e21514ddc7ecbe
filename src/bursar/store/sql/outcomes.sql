-- name: find
select content from outcomes where tenant = $1 and outcome_id = $2;

-- name: insert
insert into outcomes (tenant, outcome_id, key_id, call_id, run, kind, value_ppm, source, event_us, content)
values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
on conflict do nothing
returning seq;

-- name: call
select key_id, run from calls where tenant = $1 and call_id = $2;

-- name: run
select exists (select from calls where tenant = $1 and run = $2 and key_id = $3);

-- name: of_call
select outcome_id, kind, value_ppm, source, event_us from outcomes where tenant = $1 and call_id = $2 order by seq limit $3;

-- name: of_run
-- Of the run as a whole: those of its calls are shown with them.
select outcome_id, kind, value_ppm, source, event_us from outcomes
where tenant = $1 and run = $2 and call_id is null
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
-- The latest outcomes of answers whose quality a router had expected, oldest first. An answer that took several attempts may
-- be another model's. A run is one event a model, however many calls it has: they share its end.
select * from (
    select outcomes.seq, route ->> 'policy' as policy, route ->> 'model' as model, (route ->> 'chance_ppm')::float8 as chance_ppm,
        value_ppm
    from outcomes join calls on calls.tenant = outcomes.tenant and calls.call_id = outcomes.call_id
    where outcomes.tenant = $1 and route ? 'chance_ppm' and calls.attempts is null
    union all
    select outcomes.seq, route ->> 'policy', route ->> 'model', avg((route ->> 'chance_ppm')::float8), value_ppm
    from outcomes join calls on calls.tenant = outcomes.tenant and calls.run = outcomes.run and calls.key_id = outcomes.key_id
    where outcomes.tenant = $1 and outcomes.call_id is null and route ? 'chance_ppm' and calls.attempts is null
    group by 1, 2, 3, 5
    order by seq desc, policy, model
    limit $2
) as latest
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
