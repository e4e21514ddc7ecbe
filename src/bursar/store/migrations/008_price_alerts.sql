-- Alerts about prices: what a provider says it charged and what was booked differ, or the price book has grown old.

alter table alerts drop constraint alerts_kind_check;
alter table alerts add check (kind in ('threshold', 'forecast', 'price_divergence', 'price_stale'));

-- Few providers state what a call cost: the index has their calls alone.
create index calls_reported on calls (tenant, call_id) where reported_cost_nano is not null;
