-- name: insert_key
insert into keys (tenant, key_id, name, sha256, holder_id, models, routes, addresses, tags, output_cap, created_us,
    expires_us)
values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12);

-- name: select_keys
select tenant, key_id, name, sha256, holder_id, models, routes, addresses, tags, output_cap, created_us, expires_us,
    revoked_us
from keys
order by created_us, key_id;

-- name: select_replaced
select tenant, key_id, sha256, replaced_us, ends_us from replaced_secrets order by replaced_us desc;

-- name: key_exists
select exists (select from keys where sha256 = $1) or exists (select from replaced_secrets where sha256 = $1);

-- name: lock_key
select key_id, name, sha256, expires_us, revoked_us from keys where tenant = $1 and (key_id = $2 or name = $2) for update;

-- name: revoke_key
update keys set revoked_us = $3 where tenant = $1 and key_id = $2;

-- name: set_scope
update keys set models = $3, routes = $4, addresses = $5, tags = $6, output_cap = $7, expires_us = $8
where tenant = $1 and key_id = $2;

-- name: shorten_replaced
-- No secret of an earlier rotation outlives the one that is replaced now.
update replaced_secrets set ends_us = least(ends_us, $3) where tenant = $1 and key_id = $2;

-- name: keep_replaced
insert into replaced_secrets (sha256, tenant, key_id, replaced_us, ends_us) values ($1, $2, $3, $4, $5);

-- name: set_secret
update keys set sha256 = $3 where tenant = $1 and key_id = $2;
