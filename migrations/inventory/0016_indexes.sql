-- Indexes that cost each line of an order an entry at a random place, and that the service never reads: the auditor reads
-- whole tables.
drop index reservation_lines_by_sku;
drop index stock_ledger_by_sku;
-- A row of stock is updated twice for each order. With room on its page the new version needs no new entry in the index.
alter table stock set (fillfactor = 50);
