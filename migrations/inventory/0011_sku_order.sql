-- SKUs are ordered by their bytes, as the service and the locks order them, whatever the collation of the database is.
-- Every transaction locks its SKUs in this order. Under a locale such as en-US, `ak1` sorts before `Bk1` and by bytes
-- after it: a cancellation, whose SKUs are sorted here, would lock them the other way round than an order, whose SKUs the
-- service sorts, and the two would deadlock. The column decides, so that no query can forget it.

-- A column that the condition of a trigger names cannot be altered.
drop trigger stock_moves_forward on stock;

alter table stock             alter column sku type text collate "C";
alter table reservation_lines alter column sku type text collate "C";
alter table stock_ledger      alter column sku type text collate "C";
alter table fence_refusals    alter column sku type text collate "C";

-- As in 0003_roles.sql.
create trigger stock_moves_forward before update on stock
   for each row when (new.fence < old.fence or new.applied_fence < old.applied_fence or new.version < old.version
                      or new.sku <> old.sku or new.token_source is distinct from
                         coalesce(old.token_source, new.token_source))
   execute function stock_refuse_change();
