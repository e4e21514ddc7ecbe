-- name: insert
insert into admin_keys (tenant, admin_id, name, sha256, created_us, expires_us) values ($1, $2, $3, $4, $5, $6);

-- name: select
select admin_id, name, sha256, created_us, expires_us, revoked_us
from admin_keys
where tenant = $1
order by created_us, admin_id;

-- name: lock
select admin_id, name, revoked_us from admin_keys where tenant = $1 and (admin_id = $2 or name = $2) for update;

-- name: revoke
update admin_keys set revoked_us = $3 where tenant = $1 and admin_id = $2;
