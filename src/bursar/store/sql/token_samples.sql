-- name: insert
insert into token_samples (tenant, provider, model, counts, tokens, event_us) values ($1, $2, $3, $4, $5, $6);

-- name: forget
-- All but the last of a target.
delete from token_samples
where tenant = $1 and provider = $2 and model = $3 and seq <= (
    select seq from token_samples
    where tenant = $1 and provider = $2 and model = $3
    order by seq desc
    offset $4 limit 1
);

-- name: of_model
-- The last of a model, oldest first; at whatever provider where none is named.
select counts, tokens from (
    select seq, counts, tokens from token_samples
    where tenant = $1 and ($2::text is null or provider = $2) and model = $3
    order by seq desc
    limit $4
) as latest
order by seq;

-- name: models
select distinct provider, model from token_samples where tenant = $1 order by 1, 2;
