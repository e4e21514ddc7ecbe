-- Which model was chosen for a call that named a route, by what, and why.

alter table calls add column route jsonb;
