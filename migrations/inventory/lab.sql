-- For a database of the laboratory only, and no migration: run when a service first starts there with its lab on.
-- The unsafe strategies need this function, which exists in no other database. A database that has it cannot be used in
-- production: the service refuses to start on it while the lab is off.

drop trigger if exists stock_moves_with_the_fence on stock;

create or replace function stock_write_unsafe(p_check text, p_sku text, p_after bigint, p_token bigint, p_source text)
    returns void language plpgsql as $$
begin
    case p_check
        -- No check: the computed value is written, and units can be sold twice.
        when 'unfenced' then
            update stock s set available = p_after, version = s.version + 1 where s.sku = p_sku;
        -- The textbook fence: the token is compared at the write only. It refuses tokens older than the last *write*, and
        -- so accepts a stale holder while the newer one has only read.
        when 'textbook' then
            update stock s
               set available = p_after, fence = p_token, applied_fence = p_token, version = s.version + 1,
                   token_source = coalesce(s.token_source, p_source)
             where s.sku = p_sku and s.fence < p_token and coalesce(s.token_source, p_source) = p_source;
    end case;
    if not found then
        perform stock_refuse(p_sku, p_token, p_source);
    end if;
end $$;
alter function stock_write_unsafe owner to inventory_owner;
revoke all on function stock_write_unsafe from public;
