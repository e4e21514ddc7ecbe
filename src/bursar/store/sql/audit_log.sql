-- name: act_as
-- For this session: a pool forgets it when the connection goes back.
select set_config('bursar.actor', $1, false), set_config('bursar.origin', $2, false);

-- name: note
-- Who has a database's address and no Bursar in between is named by their role there.
insert into audit_log (tenant, actor, origin, action, subject, details)
values ($1, coalesce(nullif(current_setting('bursar.actor', true), ''), session_user),
    coalesce(nullif(current_setting('bursar.origin', true), ''), 'database'), $2, $3, $4);

-- name: entries
-- Newest first; `before` is the id of the last entry that was seen.
select audit_id, at_us, actor, origin, action, subject, details
from audit_log
where tenant = $1 and ($2::bigint is null or audit_id < $2)
    and ($3::text is null or subject = $3) and ($4::text is null or starts_with(action, $4))
order by audit_id desc
limit $5;
