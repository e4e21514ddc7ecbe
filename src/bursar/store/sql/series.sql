-- name: named
-- The name of each key, and of the account it is a part of.
named as (
    select keys.key_id, keys.name as key, above.name as account
    from keys
        left join holders as own on own.tenant = keys.tenant and own.holder_id = keys.holder_id
        left join holders as above on above.tenant = own.tenant and above.holder_id = own.parent_id
    where keys.tenant = $1
)

-- name: group_of_call
-- $5 is what is grouped by, $6 the tag's name where that is a tag; an empty name is for what has none.
coalesce(case $5::text
    when 'model' then provider || '/' || served_model
    when 'provider' then provider
    when 'key' then named.key
    when 'account' then named.account
    when 'tag' then tags ->> $6::text
end, '')

-- name: group_of_charge
-- As of calls; work that is no call has no model and no provider, and is one line as in a statement.
coalesce(case $5::text
    when 'model' then 'work that is no call'
    when 'provider' then 'work that is no call'
    when 'key' then named.key
    when 'account' then named.account
    when 'tag' then tags ->> $6::text
end, '')

-- name: spent
-- What was spent in each part of a span, by group. $2 and $3 are the first ids of its ends, $7 and $8 its ends, $4 the moments
-- at which its parts begin. The largest $9 groups are told apart, the rest is one of rank 0. Ids sort by time, so the primary
-- key serves the span.
with {named},
parts as materialized (
    select greatest(width_bucket(opened_us, $4::bigint[]), 1) - 1 as place, {group_of_call} as name,
        count(*) as calls, sum(cost_nano) as cost_nano,
        sum(input_tokens + cache_read_tokens + cache_write_5m_tokens + cache_write_1h_tokens + output_tokens + reasoning_tokens
            + case when other_usage is null then 0 else (
                select coalesce(sum(value::bigint), 0) from jsonb_each_text(other_usage) where key like '%\_tokens') end
        ) as tokens
    from calls left join named on named.key_id = calls.key_id
    where calls.tenant = $1 and call_id >= $2 and call_id < $3
    group by 1, 2
    union all
    select greatest(width_bucket(event_us, $4::bigint[]), 1) - 1, {group_of_charge}, 0, sum(cost_nano), 0
    from charges left join named on named.key_id = charges.key_id
    where charges.tenant = $1 and event_us >= $7::bigint and event_us < $8::bigint
    group by 1, 2
),
ranked as (
    select name, row_number() over (order by sum(cost_nano) desc, sum(calls) desc, name) as rank from parts group by name
)
select case when rank <= $9::bigint then rank else 0 end as rank, place,
    case when rank <= $9::bigint then parts.name else '' end as name,
    sum(calls)::bigint as calls, sum(cost_nano)::bigint as cost_nano, sum(tokens)::bigint as tokens,
    (select count(*) from ranked) as groups
from parts join ranked on ranked.name = parts.name
group by 1, 2, 3
order by 1, 2;

-- name: tokens
-- Tokens of each kind in each part of a span, which begin at the moments $4; $2 and $3 are the first ids of its ends.
with parts as materialized (
    select greatest(width_bucket(opened_us, $4::bigint[]), 1) - 1 as place,
        sum(input_tokens) as input_tokens, sum(cache_read_tokens) as cache_read_tokens,
        sum(cache_write_5m_tokens) as cache_write_5m_tokens, sum(cache_write_1h_tokens) as cache_write_1h_tokens,
        sum(output_tokens) as output_tokens, sum(reasoning_tokens) as reasoning_tokens
    from calls
    where tenant = $1 and call_id >= $2 and call_id < $3
    group by 1
)
select place, kind, tokens::bigint
from parts cross join lateral (
    values ('input_tokens', input_tokens), ('cache_read_tokens', cache_read_tokens),
        ('cache_write_5m_tokens', cache_write_5m_tokens), ('cache_write_1h_tokens', cache_write_1h_tokens),
        ('output_tokens', output_tokens), ('reasoning_tokens', reasoning_tokens)
) as used (kind, tokens)
where tokens > 0
union all
select greatest(width_bucket(opened_us, $4::bigint[]), 1) - 1, used.key, sum(used.value::bigint)::bigint
from calls cross join lateral jsonb_each_text(other_usage) as used
where tenant = $1 and call_id >= $2 and call_id < $3 and other_usage is not null and used.key like '%\_tokens'
group by 1, 2;

-- name: latency
-- How long answered calls took, in each part of a span and all of it, by group and of all. Rank 0 is all groups, place -1 the
-- whole span. A batch's requests are left out: nobody waits for one. The first token is that of streams.
with {named},
answered as materialized (
    select greatest(width_bucket(opened_us, $4::bigint[]), 1) - 1 as place, {group_of_call} as name,
        (ended_us - opened_us) / 1000.0::float8 as took_ms,
        case when stream and first_byte_us > 0 then (first_byte_us - opened_us) / 1000.0::float8 end as ttft_ms
    from calls left join named on named.key_id = calls.key_id
    where calls.tenant = $1 and call_id >= $2 and call_id < $3 and status = 1 and not protocol = any($8::integer[])
),
ranked as (
    select name, row_number() over (order by count(*) desc, name) as rank from answered group by name
)
select case when grouping(rank) = 0 then rank else 0 end as rank, case when grouping(place) = 0 then place else -1 end as place,
    case when grouping(rank) = 0 then min(answered.name) else '' end as name, count(*) as calls, count(ttft_ms) as streams,
    percentile_cont(array[0.5, 0.95, 0.99]) within group (order by took_ms) as took_ms,
    percentile_cont(array[0.5, 0.95, 0.99]) within group (order by ttft_ms) as ttft_ms
from answered join ranked on ranked.name = answered.name
group by grouping sets ((rank, place), (rank), (place), ())
having count(*) > 0 and (grouping(rank) = 1 or rank <= $7::bigint)
order by 1, 2;

-- name: tags
-- The names of the tags that calls of a span have.
select name, count(*) as calls
from calls cross join lateral jsonb_object_keys(tags) as name
where tenant = $1 and call_id >= $2 and call_id < $3 and tags is not null
group by 1
order by calls desc, name
limit $4;
