-- What levers have to say of what they did to a call, or why they left it: texts of Bursar's own, none of a prompt.

alter table calls add column lever_notes jsonb;
