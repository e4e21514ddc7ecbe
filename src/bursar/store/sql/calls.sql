-- name: insert
insert into calls
select * from json_populate_recordset(json_populate_record(null::calls, $1::json), $2::json);

-- name: recent
select calls.*, keys.name as key_name
from calls join keys on keys.tenant = calls.tenant and keys.key_id = calls.key_id
where calls.tenant = $1 and ($2::bytea is null or call_id > $2) and ($3::text is null or keys.name = $3 or keys.key_id = $3)
    and ($4::text is null or run = $4) and ($5::bytea is null or call_id < $5)
    and ($6::text is null or $6 in (model, served_model, provider || '/' || served_model))
    and ($7::integer is null or status = $7)
order by call_id desc
limit $8;

-- name: one
select calls.*, keys.name as key_name
from calls join keys on keys.tenant = calls.tenant and keys.key_id = calls.key_id
where calls.tenant = $1 and call_id = $2;

-- name: totals
-- $2 and $3 are the first ids of two moments: ids sort by time.
select count(*) as calls, coalesce(sum(cost_nano), 0)::bigint as cost_nano,
    coalesce(sum(input_tokens), 0)::bigint as input_tokens,
    coalesce(sum(cache_read_tokens), 0)::bigint as cache_read_tokens,
    coalesce(sum(cache_write_5m_tokens + cache_write_1h_tokens), 0)::bigint as cache_write_tokens,
    coalesce(sum(output_tokens), 0)::bigint as output_tokens,
    coalesce(sum(reasoning_tokens), 0)::bigint as reasoning_tokens,
    count(*) filter (where status <> 1) as not_ok,
    count(*) filter (where usage_source in (2, 3)) as estimated
from calls
where tenant = $1 and call_id >= $2 and call_id < $3;

-- name: by_model
select calls.provider || '/' || served_model as name, {sums}
from calls
where calls.tenant = $1 and call_id >= $2 and call_id < $3
group by 1
order by cost_nano desc, name;

-- name: by_key
select keys.name, {sums}
from calls join keys on keys.tenant = calls.tenant and keys.key_id = calls.key_id
where calls.tenant = $1 and call_id >= $2 and call_id < $3
group by 1
order by cost_nano desc, name;

-- name: last_used
select key_id, max(opened_us) as used_us from calls where tenant = $1 and call_id >= $2 group by 1;

-- name: by_tag
select pair.key || '=' || (pair.value #>> '{}') as name, {sums}
from calls cross join lateral jsonb_each(coalesce(tags, '{}')) as pair
where calls.tenant = $1 and call_id >= $2 and call_id < $3
group by 1
order by cost_nano desc, name;

-- name: by_run
select run as name, {sums}
from calls
where calls.tenant = $1 and call_id >= $2 and call_id < $3 and run <> ''
group by 1
order by cost_nano desc, name;

-- name: by_charge
select 'model calls' as name, {sums}
from calls
where calls.tenant = $1 and call_id >= $2 and call_id < $3
having count(*) > 0;

-- name: by_day
select to_char(to_timestamp(opened_us / 1000000) at time zone 'UTC', 'YYYY-MM-DD') as name, {sums}
from calls
where calls.tenant = $1 and call_id >= $2 and call_id < $3
group by 1
order by name;

-- name: by_hour
select to_char(to_timestamp(opened_us / 1000000) at time zone 'UTC', 'YYYY-MM-DD"T"HH24') as name, {sums}
from calls
where calls.tenant = $1 and call_id >= $2 and call_id < $3
group by 1
order by name;

-- name: lengths
-- The latest answers whose length is known, oldest first, for keys' expectations of those to come.
select * from (
    select call_id, key_id, model, protocol, system_bytes + tools_bytes + history_bytes + retrieved_bytes + user_bytes as prompt_bytes,
        output_tokens + reasoning_tokens as output_tokens
    from calls
    where tenant = $1 and usage_source in (1, 2) and call_id >= $2
    order by call_id desc
    limit $3
) as latest
order by call_id;

-- name: card
select rates, source, checked from rate_cards where price_id = $1;

-- name: used
-- What has been used of a model since a moment and before another, by provider and leaf, for prices that depend on it. A
-- call with one attempt has it in its columns, one with several in the arrays of `attempts` (core.records.Attempt).
with attempt as (
    select provider, jsonb_build_array(input_tokens, cache_read_tokens, cache_write_5m_tokens, cache_write_1h_tokens,
        output_tokens, reasoning_tokens, other_usage) as usage
    from calls
    where tenant = $1 and call_id >= $2 and call_id < $4 and served_model = $3 and attempts is null
    union all
    select one ->> 0, one -> 7
    from calls cross join lateral jsonb_array_elements(attempts) as each (one)
    where tenant = $1 and call_id >= $2 and call_id < $4 and attempts is not null and one ->> 1 = $3
)
select provider, leaf, sum(quantity)::bigint as quantity
from attempt cross join lateral (
    values ('input_tokens', (usage ->> 0)::bigint), ('cache_read_tokens', (usage ->> 1)::bigint),
        ('cache_write_5m_tokens', (usage ->> 2)::bigint), ('cache_write_1h_tokens', (usage ->> 3)::bigint),
        ('output_tokens', (usage ->> 4)::bigint), ('reasoning_tokens', (usage ->> 5)::bigint)
    union all
    select key, value::bigint from jsonb_each_text(coalesce(nullif(usage -> 6, 'null'), '{}'))
) as used (leaf, quantity)
where quantity > 0
group by 1, 2;

-- name: kept
-- Of these names of what providers keep, those in the record of a call since a moment, whose first id is $2.
select name
from unnest($3::bytea[]) as wanted (name)
where exists (select from calls where tenant = $1 and call_id >= $2 and kept @> array[name]);

-- name: own
select key_id, run, tags from calls where tenant = $1 and call_id = $2;
