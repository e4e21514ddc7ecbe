-- name: make
-- The role everything but migrations runs as. Where roles may not be made, the owner writes, and triggers alone refuse.
do $$
begin
    begin
        if not exists (select from pg_roles where rolname = 'bursar_writer') then
            create role bursar_writer nologin;
        end if;
    exception when insufficient_privilege or duplicate_object or unique_violation then null;
    end;
    begin
        if not (select rolsuper from pg_roles where rolname = current_user) then
            grant bursar_writer to current_user;
        end if;
    exception when insufficient_privilege or undefined_object or invalid_grant_operation then null;
    end;
end $$;

-- name: grant
-- A table that refuses changes is for reading and adding; of the books' own, nothing is deleted. A table made later gets
-- its rights by the same rule.
do $$
declare
    found record;
begin
    if not exists (select from pg_roles where rolname = 'bursar_writer') then
        return;
    end if;
    grant usage on schema bursar to bursar_writer;
    grant usage on all sequences in schema bursar to bursar_writer;
    for found in
        select relname, exists (select from pg_trigger where tgrelid = pg_class.oid and tgfoid = 'refuse_change'::regproc) as kept
        from pg_class
        where relnamespace = 'bursar'::regnamespace and relkind in ('r', 'p')
    loop
        execute format('revoke all on bursar.%I from bursar_writer', found.relname);
        execute format('grant %s on bursar.%I to bursar_writer', case
            when found.relname = 'migrations' then 'select'
            when found.kept or found.relname = 'tenants' then 'select, insert'
            when found.relname in ('accounts', 'chains', 'gateways') then 'select, insert, update'
            else 'select, insert, update, delete'
        end, found.relname);
    end loop;
end $$;

-- name: become
-- Give up the owner's rights, where there is a role to take. Before version 16, every member of a role may take it.
select set_config('role', 'bursar_writer', false)
from pg_roles
where rolname = 'bursar_writer'
    and pg_has_role(oid, case when current_setting('server_version_num')::integer < 160000 then 'member' else 'set' end)
    and has_schema_privilege(oid, to_regnamespace('bursar')::oid, 'usage');

-- name: is_writer
select current_user = 'bursar_writer';
