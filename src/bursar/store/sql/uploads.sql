-- name: insert
insert into uploads (upload_id, tenant, key_id, provider, media_type, bytes, about, created_us)
values ($1, $2, $3, $4, $5, $6, $7, $8);

-- name: forget_old
delete from uploads where created_us < $1;

-- name: find
select upload_id, provider, path, media_type, bytes, about
from uploads
where upload_id = $1 and tenant = $2 and key_id = $3 and created_us >= $4;

-- name: goes_on
update uploads set path = $2 where upload_id = $1;

-- name: forget
delete from uploads where upload_id = $1;
