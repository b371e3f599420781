-- Roles and triggers. The role that the service works as can read everything and change stock only through the
-- functions of 0002_protocol.sql; triggers refuse changes by roles with more rights. Roles belong to the whole server,
-- so another database may have created them already; the operator sets their passwords.

do $$
declare
    role_row record;
begin
    for role_row in
        select * from (values ('inventory_owner', 'nologin'), ('inventory_service', 'login'),
                              ('inventory_auditor', 'login')) as r (name, attribute)
    loop
        begin
            execute format('create role %I %s', role_row.name, role_row.attribute);
        -- unique_violation: another database creates the role at this moment.
        exception when duplicate_object or unique_violation then null;
        end;
    end loop;
end $$;

-- Everything belongs to a role that cannot log in; its functions are the only way to change stock.
grant create on schema public to inventory_owner;
alter table stock owner to inventory_owner;
alter table reservations owner to inventory_owner;
alter table reservation_lines owner to inventory_owner;
alter table stock_ledger owner to inventory_owner;
alter table fence_refusals owner to inventory_owner;

do $$
declare
    signature regprocedure;
begin
    for signature in
        select p.oid from pg_proc p
         where p.pronamespace = 'public'::regnamespace and (p.proname ~ '^stock_|^reservation|^reserve')
    loop
        execute format('alter function %s owner to inventory_owner', signature);
        execute format('revoke all on function %s from public', signature);
    end loop;
end $$;

revoke create on schema public from public;
grant usage on schema public to inventory_service, inventory_auditor;
grant select on stock, reservations, reservation_lines, stock_ledger, fence_refusals
   to inventory_service, inventory_auditor;
-- The service records a refusal in a transaction of its own; it can add records and not change them.
grant insert on fence_refusals to inventory_service;
grant execute on function stock_claim, stock_put, reserve, reservation_confirm, reservations_release
   to inventory_service;

-- The innermost timeouts, for every session of these roles in this database.
do $$
begin
    execute format('alter role inventory_service in database %I set statement_timeout = %L', current_database(), '5s');
    execute format('alter role inventory_service in database %I set lock_timeout = %L', current_database(), '3s');
    execute format('alter role inventory_service in database %I set idle_in_transaction_session_timeout = %L',
                   current_database(), '5s');
    execute format('alter role inventory_auditor in database %I set statement_timeout = %L', current_database(), '60s');
    execute format('alter role inventory_auditor in database %I set default_transaction_read_only = on',
                   current_database());
end $$;

create function stock_refuse_change() returns trigger language plpgsql as $$
begin
    raise exception '% on % refused for %: stock changes only through the functions of the protocol',
        lower(tg_op), tg_table_name, current_user using errcode = 'insufficient_privilege';
end $$;
alter function stock_refuse_change owner to inventory_owner;
revoke all on function stock_refuse_change from public;

-- Refuses an `update` typed in psql, even as a superuser.
create trigger stock_only_by_functions before insert or update on stock
   for each row when (current_user <> 'inventory_owner') execute function stock_refuse_change();
create trigger reservations_only_by_functions before insert or update on reservations
   for each row when (current_user <> 'inventory_owner') execute function stock_refuse_change();
create trigger ledger_only_by_functions before insert on stock_ledger
   for each row when (current_user <> 'inventory_owner') execute function stock_refuse_change();

-- Holds for the functions too: fences and versions never decrease, and a token source never changes.
create trigger stock_moves_forward before update on stock
   for each row when (new.fence < old.fence or new.applied_fence < old.applied_fence or new.version < old.version
                      or new.sku <> old.sku or new.token_source is distinct from
                         coalesce(old.token_source, new.token_source))
   execute function stock_refuse_change();
-- Units change only with a token, or with an incremented fence that refuses older tokens. lab.sql drops this trigger.
create trigger stock_moves_with_the_fence before update of available, on_hand on stock
   for each row when ((new.available <> old.available or new.on_hand <> old.on_hand)
                      and not (new.applied_fence > old.applied_fence and new.fence = new.applied_fence
                               and new.version > old.version))
   execute function stock_refuse_change();

create trigger stock_is_never_deleted before delete on stock
   for each row execute function stock_refuse_change();
create trigger reservations_are_never_deleted before delete on reservations
   for each row execute function stock_refuse_change();
create trigger lines_never_change before update or delete on reservation_lines
   for each row execute function stock_refuse_change();
create trigger ledger_is_append_only before update or delete on stock_ledger
   for each row execute function stock_refuse_change();
create trigger refusals_are_append_only before update or delete on fence_refusals
   for each row execute function stock_refuse_change();
create trigger stock_is_never_truncated before truncate on stock
   for each statement execute function stock_refuse_change();
create trigger reservations_are_never_truncated before truncate on reservations
   for each statement execute function stock_refuse_change();
create trigger lines_are_never_truncated before truncate on reservation_lines
   for each statement execute function stock_refuse_change();
create trigger ledger_is_never_truncated before truncate on stock_ledger
   for each statement execute function stock_refuse_change();
create trigger refusals_are_never_truncated before truncate on fence_refusals
   for each statement execute function stock_refuse_change();
