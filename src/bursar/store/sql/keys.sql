-- name: insert_key
insert into keys (tenant, key_id, name, sha256, holder_id, models, routes, tags, output_cap, created_us, expires_us)
values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11);

-- name: select_keys
select tenant, key_id, name, sha256, holder_id, models, routes, tags, output_cap, created_us, expires_us, revoked_us
from keys
order by created_us, key_id;

-- name: key_exists
select exists (select from keys where sha256 = $1);

-- name: revoke_key
update keys set revoked_us = coalesce(revoked_us, $3) where tenant = $1 and (key_id = $2 or name = $2) returning key_id;
