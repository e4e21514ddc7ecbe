-- What is known of the answer itself: names of what its provider keeps of it, and which other model has given it.

alter table calls add column kept bytea[];
alter table calls add column answered_model text;  -- where it is not the model that was asked and is charged for

-- Few calls are of a protocol whose answers are kept, and fewer are answered by another model: each index has these alone.
create index calls_kept on calls using gin (kept) where kept is not null;
create index calls_answered_by_another on calls (tenant, call_id) where answered_model is not null;

alter table alerts drop constraint alerts_kind_check;
alter table alerts add check (kind in ('threshold', 'forecast', 'price_divergence', 'price_stale', 'price_model'));
