//! The first order by hand: three commands that work as they are printed.

use crate::cluster::target::Target;

/// Sets stock, places an order and confirms it, with `curl` and a POSIX shell. The second line stores the id of the
/// order for the third.
pub(super) fn commands(target: &Target) -> Option<[String; 3]> {
    let (order, inventory) = (target.orders.first()?, target.inventory.first()?);
    let token = &target.inventory_token;
    let json = "-H 'Content-Type: application/json'";
    Some([
        format!(
            "curl -sS -w '\\n' -X PUT {inventory}/v1/stock/tea -H 'Authorization: Bearer {token}' {json} -d '{{\"on_hand\": 10}}'"
        ),
        // The id is the first member of the answer.
        format!(
            "id=$(curl -sS -w '\\n' {order}/v1/orders -H \"Idempotency-Key: $(date +%s)\" {json} \
             -d '{{\"customer\": \"ada\", \"lines\": [{{\"sku\": \"tea\", \"quantity\": 1}}]}}' \
             | tee /dev/stderr | cut -d '\"' -f 4)"
        ),
        format!("curl -sS -w '\\n' -X POST {order}/v1/orders/$id/confirm"),
    ])
}
