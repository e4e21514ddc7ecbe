-- name: become_keeper
select pg_try_advisory_lock(hashtext('bursar.keeper'));

-- name: lock
-- Whoever looks for alerts does so alone: what the one before has made is then seen.
select pg_advisory_xact_lock(hashtext('bursar.alerts'));

-- name: looked
-- Up to where the history was looked at, and the ledger's clock before anything is read.
select (select looked_us from keeper) as looked_us, clock_us() as now_us;

-- name: set_looked
insert into keeper (looked_us) values ($1) on conflict (one) do update set looked_us = excluded.looked_us;

-- name: changed_windows
-- Windows of budgets that changed, or an account below them did, since a moment ($1), and ended no longer ago than $2.
-- 2100 is the code of a budget's window. What changed is found first and by its time alone: the primary key, which gives
-- it without doubles, would have to be searched for every account there is.
with recent as materialized (
    select tenant, account_id from account_history where at_us > $1
), changed as (
    select distinct tenant, account_id from recent
)
select distinct budget.tenant, budget.name, budget.start_us, budget.end_us
from changed
join accounts as moved on moved.tenant = changed.tenant and moved.account_id = changed.account_id
join accounts as budget on budget.tenant = moved.tenant and budget.account_id = coalesce(moved.parent_id, moved.account_id)
where budget.code = 2100 and budget.end_us > $2;

-- name: made
-- What was told of these budgets in these windows, or lately.
select budget_id, kind, number, period, at_us, runs_out_us
from alerts
where tenant = $1 and budget_id = any($2) and (period = any($3) or at_us > $4)
order by at_us, number;

-- name: last_samples
select budget_id, period, max(at_us) as at_us
from spending_samples
where tenant = $1 and budget_id = any($2) and period = any($3)
group by budget_id, period;

-- name: samples
select at_us, spent_nano
from spending_samples
where tenant = $1 and budget_id = $2 and period = $3 and at_us > $4
order by at_us;

-- name: samples_of
-- What these budgets had come to in these windows.
select budget_id, at_us, spent_nano
from spending_samples
join unnest($2::text[], $3::text[]) as wanted (budget_id, period) using (budget_id, period)
where tenant = $1 and at_us > $4
order by at_us;

-- name: add_sample
insert into spending_samples values ($1, $2, $3, $4, $5) on conflict do nothing;

-- name: forget_samples
delete from spending_samples where tenant = $1 and budget_id = $2 and (period <> $3 or at_us < $4);

-- name: insert_alert
-- The same alert is made once, whoever finds it.
insert into alerts (tenant, alert_id, budget_id, period, kind, number, at_us, runs_out_us, text, details)
values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
on conflict do nothing
returning alert_id;

-- name: insert_delivery
insert into deliveries (tenant, alert_id, url_sha256, next_us) values ($1, $2, $3, $4);

-- name: readdress
-- What still waits goes to the address there is now.
update deliveries set url_sha256 = $1, next_us = $2 where status = 'waiting' and url_sha256 <> $1;

-- name: claim
-- Take deliveries that are due. Until $4 nobody else takes them: should this process die, they are tried again then.
with due as (
    select tenant, alert_id from deliveries
    where status = 'waiting' and next_us <= $2 and url_sha256 = $1
    order by next_us
    limit $3
    for update skip locked
)
update deliveries
set attempts = attempts + 1, next_us = $4
from due
join alerts on alerts.tenant = due.tenant and alerts.alert_id = due.alert_id
where deliveries.tenant = due.tenant and deliveries.alert_id = due.alert_id
returning alerts.*, attempts;

-- name: settle
-- Only the attempt that is under way ends one.
update deliveries
set status = $4, next_us = $5, last_error = $6, ended_us = $7
where tenant = $1 and alert_id = $2 and attempts = $3 and status = 'waiting';

-- name: recent
select alerts.*, status, attempts, next_us, last_error
from alerts
left join deliveries using (tenant, alert_id)
where tenant = $1
order by at_us desc, alert_id
limit $2;

-- name: reported
-- What providers say calls cost that began between two moments, and what was booked for the same. Of several attempts the
-- statement is the last one's, and so is the cost it is compared with: its twelfth value.
select provider || '/' || served_model as target, count(*) as calls,
    sum(case when attempts is null then cost_nano else (attempts -> -1 ->> 11)::bigint end)::bigint as booked_nano,
    sum(reported_cost_nano)::bigint as reported_nano
from calls
where tenant = $1 and call_id >= $2 and call_id < $3 and reported_cost_nano is not null and usage_source = 1
group by 1
order by 1;

-- name: other_models
-- Calls that began between two moments and were answered by another model than the one asked, with what was booked for them.
select provider || '/' || served_model as target, answered_model, count(*) as calls, sum(cost_nano)::bigint as booked_nano
from calls
where tenant = $1 and call_id >= $2 and call_id < $3 and answered_model is not null
group by 1, 2
order by 1, 2
limit 100;
