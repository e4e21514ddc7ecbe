-- The arms of a call as fields: what a lever did, in which experiment, and how many units in a million that holds out. Before,
-- each was a sentence, as {"route": "treatment of auto at 10 %"}.

create function arms_as_fields(sentences jsonb) returns jsonb language sql immutable as $$
    select jsonb_agg(
        jsonb_build_object(
            'lever', key,
            'arm', coalesce(parts[1], value),
            'experiment', coalesce(parts[2], ''),
            'share_ppm', coalesce(round(parts[3]::numeric * 10000), 0)::integer
        )
        order by key
    )
    from jsonb_each_text(sentences) cross join lateral regexp_match(value, '^([^ ]+) of (.*) at ([0-9.e+-]+) %$') as parts
$$;

alter table calls disable trigger calls_are_append_only;
update calls set arms = arms_as_fields(arms) where arms is not null;
alter table calls enable trigger calls_are_append_only;

drop function arms_as_fields(jsonb);

-- A gateway of an earlier version is refused rather than misread: its spool keeps its calls until a later one reads them.
alter table calls add constraint arms_are_fields check (jsonb_typeof(arms) = 'array');
