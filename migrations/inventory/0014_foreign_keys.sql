-- Lines and ledger rows are inserted by the functions that have just inserted their reservation and written their stock row,
-- and by nobody else; neither is ever deleted (0003_roles.sql). So these keys cannot be violated. Checking them reads and
-- locks both rows again for each line.
alter table reservation_lines drop constraint reservation_lines_reservation_id_fkey;
alter table reservation_lines drop constraint reservation_lines_sku_fkey;
alter table stock_ledger      drop constraint stock_ledger_sku_fkey;
