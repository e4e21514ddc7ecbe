-- name: by_arm
-- Each unit, a run or conversation, is one value, however many calls it has; $2 and $3 are the first ids of two moments.
-- Units are compared within an experiment at one share of hold-out alone; without hold-out there is nothing to compare.
-- A unit that was in both arms, or part of which was explored or sent to a cheaper model by a budget, is in neither: its arm is
-- 'left out'.
with units as (
    select lever, experiment, share_ppm, unit,
        case when min(arm) = max(arm) and min(arm) in ('treatment', 'holdout') then min(arm) else 'left out' end as arm,
        count(*) as calls,
        sum(cost_nano) as cost_nano,
        sum(counterfactual_nano - cost_nano) as estimated_nano,
        sum(coalesce((
            select sum(value::bigint) from jsonb_each_text(sent_bytes)
        ) - system_bytes - tools_bytes - history_bytes - retrieved_bytes - user_bytes, 0)) as more_bytes,
        avg((status not in (1, 3))::integer) as failed,
        avg((attempts is not null)::integer) as again,
        avg((
            select 1 - avg(value_ppm) / 1000000.0 from outcomes
            where outcomes.tenant = calls.tenant
                and (outcomes.call_id = calls.call_id or (outcomes.call_id is null and run <> '' and outcomes.run = calls.run))
        )) as short
    from calls
        cross join lateral jsonb_to_recordset(arms) as taken (lever text, arm text, experiment text, share_ppm integer)
    where tenant = $1 and call_id >= $2 and call_id < $3 and unit is not null
        and share_ppm > 0
    group by lever, experiment, share_ppm, unit
)
select lever, experiment, share_ppm, arm,
    count(*) as units,
    sum(calls)::bigint as calls,
    sum(cost_nano)::bigint as cost_nano,
    sum(estimated_nano)::bigint as estimated_nano,
    -sum(more_bytes)::bigint as removed_bytes,
    avg(cost_nano)::float8 as cost_mean,
    coalesce(var_samp(cost_nano), 0)::float8 as cost_variance,
    avg(failed)::float8 as failed_mean,
    coalesce(var_samp(failed), 0)::float8 as failed_variance,
    avg(again)::float8 as again_mean,
    coalesce(var_samp(again), 0)::float8 as again_variance,
    count(short) as short_units,
    coalesce(avg(short), 0)::float8 as short_mean,
    coalesce(var_samp(short), 0)::float8 as short_variance
from units
group by lever, experiment, share_ppm, arm
order by lever, experiment, share_ppm, arm;
