-- name: by_choice
-- What routes have chosen, by model and by what; $2 and $3 are the first ids of two moments. An outcome of a run as a whole
-- counts for each of its calls.
select route ->> 'policy' as policy, route ->> 'model' as model, route ->> 'how' as how,
    count(*) as calls,
    sum(cost_nano)::bigint as cost_nano,
    sum(counterfactual_nano - cost_nano)::bigint as estimated_nano,
    count(*) filter (where status not in (1, 3)) as failed,
    count(good_ppm) as told,
    avg(good_ppm)::float8 / 1000000 as good
from calls
    cross join lateral (
        select avg(value_ppm) as good_ppm from outcomes
        where outcomes.tenant = calls.tenant
            and (outcomes.call_id = calls.call_id or (outcomes.call_id is null and run <> '' and outcomes.run = calls.run))
    ) as said
where calls.tenant = $1 and call_id >= $2 and call_id < $3 and route is not null
group by 1, 2, 3
order by policy, calls desc, model, how;

-- name: drifts
select text, at_us from alerts where tenant = $1 and kind = 'route_drift' and at_us >= $2 order by at_us desc, alert_id limit $3;
