-- name: insert
insert into batches (tenant, batch_id, key_id, protocol, provider, endpoint, models, request_count, run, parent, tags,
    idempotency_key, body_sha256, holds, held_nano, opened_us, look_us)
values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17);

-- name: insert_requests
insert into batch_requests values ($1, $2, $3);

-- name: under_key
select * from batches where tenant = $1 and key_id = $2 and idempotency_key = $3;

-- name: reached
-- It is known at the provider now; unless it was given up meanwhile.
update batches set provider_id = $3, look_us = $4 where tenant = $1 and batch_id = $2 and ended_us is null
returning batch_id;

-- name: own
select * from batches
where tenant = $1 and key_id = $2 and provider_id = $3 and protocol = $4;

-- name: of_key
select * from batches
where tenant = $1 and key_id = $2 and protocol = $3 and provider_id is not null
    and ($4::text is null or batch_id < (
        select batch_id from batches where tenant = $1 and key_id = $2 and provider_id = $4 and protocol = $3))
order by batch_id desc
limit $5;

-- name: open_of_key
select * from batches
where tenant = $1 and key_id = $2 and protocol = $3 and provider_id is not null and ended_us is null
order by batch_id desc
limit $4;

-- name: due
-- Batches somebody is to look at now. Whoever gets them has them to itself until the next look: the longer a batch has
-- been under way, the longer that is.
update batches
set look_us = $1 + least($3::bigint, greatest($2::bigint, ($1 - opened_us) / 8))
where (tenant, batch_id) in (
    select tenant, batch_id from batches
    where ended_us is null and look_us <= $1
    order by look_us
    limit $4
    for update skip locked
)
returning *;

-- name: requests
select requests from batch_requests where tenant = $1 and batch_id = $2;

-- name: missing
update batches set missing_us = coalesce(missing_us, $3) where tenant = $1 and batch_id = $2 and ended_us is null;

-- name: found
update batches set missing_us = null where tenant = $1 and batch_id = $2 and missing_us is not null;

-- name: known_ids
select provider_id from batches where tenant = $1 and provider = $2 and protocol = $3 and provider_id = any($4);

-- name: lock
select ended_us, charged, cost_nano from batches where tenant = $1 and batch_id = $2 for update;

-- name: lock_volume
-- Whoever prices by what was used of a model waits for whoever does.
select pg_advisory_xact_lock(hashtext('bursar.volume'), hashtext($1));

-- name: end
-- What was not charged was never made: its Idempotency-Key may make it once more.
update batches
set ended_us = $3, charged = $4, cost_nano = $5, answered = $6, failed = $7, unmetered = $8,
    idempotency_key = case when $4 then idempotency_key end
where tenant = $1 and batch_id = $2;

-- name: forget_requests
delete from batch_requests where tenant = $1 and batch_id = $2;

-- name: insert_file
insert into files (tenant, provider, file_id, key_id, purpose, bytes, sha256, requests, models, created_us, protocol,
    media_type)
values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)
on conflict do nothing;

-- name: file
select provider, file_id, purpose, bytes, requests, models, protocol, media_type
from files
where tenant = $1 and key_id = $2 and protocol = $3 and file_id = $4 and deleted_us is null;

-- name: files_named
-- Of the files with some ids, those that are a key's own.
select provider, file_id, purpose, bytes, null::bytea as requests, null::jsonb as models, protocol, media_type
from files
where tenant = $1 and key_id = $2 and protocol = $3 and file_id = any($4) and deleted_us is null
order by created_us desc, file_id;

-- name: files_of_key
select provider, file_id, purpose, bytes, null::bytea as requests, null::jsonb as models, protocol, media_type
from files
where tenant = $1 and key_id = $2 and protocol = $3 and deleted_us is null and provider = any($4)
    and ($5::text = '' or purpose = $5)
    and ($6::text is null or created_us < (
        select created_us from files where tenant = $1 and key_id = $2 and file_id = $6 limit 1))
order by created_us desc, file_id
limit $7;

-- name: files_before
-- The page before a file: the newest first, as of those after one.
select * from (
    select provider, file_id, purpose, bytes, null::bytea as requests, null::jsonb as models, protocol, media_type,
        created_us
    from files
    where tenant = $1 and key_id = $2 and protocol = $3 and deleted_us is null and provider = any($4)
        and created_us > (select created_us from files where tenant = $1 and key_id = $2 and file_id = $5 limit 1)
    order by created_us, file_id desc
    limit $6
) as page
order by created_us desc, file_id;

-- name: delete_file
update files set deleted_us = $4, requests = null where tenant = $1 and provider = $2 and file_id = $3;

-- name: differing
-- Batches whose call does not say what they were charged, and calls of batches that were never charged.
select coalesce(batches.batch_id, calls.call_id) as batch_id, coalesce(batches.cost_nano, 0) as charged_nano,
    coalesce(calls.cost_nano, 0) as cost_nano
from (select * from batches where tenant = $1 and charged) as batches
full join (select call_id, cost_nano from calls where tenant = $1 and protocol between 21 and 29) as calls
    on calls.call_id = batches.batch_id
where batches.batch_id is null or calls.call_id is null or batches.cost_nano <> calls.cost_nano
order by 1;

-- name: holds_that_differ
-- Accounts batches hold in that have another amount pending, or lying there, than their open batches hold.
select accounts.name, debits_pending as pending_nano, credits_posted - debits_posted as there_nano,
    coalesce(sum(held.amount_nano), 0)::bigint as held_nano
from accounts
left join (
    select (hold ->> 'lease_account')::bigint as account_id, (hold ->> 'amount')::bigint as amount_nano
    from batches cross join jsonb_array_elements(holds) as hold
    where tenant = $1 and ended_us is null
) as held using (account_id)
where accounts.tenant = $1 and code = 2200 and starts_with(accounts.name, 'lease:0:')
group by accounts.tenant, accounts.account_id
having debits_pending <> coalesce(sum(held.amount_nano), 0)
    or credits_posted - debits_posted <> coalesce(sum(held.amount_nano), 0);

-- name: cards
select price_id, rates, source, checked from rate_cards where price_id = any($1);
