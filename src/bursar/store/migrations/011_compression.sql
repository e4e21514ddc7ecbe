-- What a call is a part of, as far as levers divide it into treatment and hold-out, and the size of a compressed prompt.

alter table calls add column unit bytea;
alter table calls add column sent_bytes jsonb;
