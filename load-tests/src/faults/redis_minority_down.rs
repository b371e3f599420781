//! A minority of the lock nodes is killed, and comes back empty once every lease of before has ended: what Redlock is
//! there to survive.
//!
//! Fired means: every one of them refused a connection, and an order ended meanwhile.

use super::redis_majority_down::take_down;
use super::{Field, Struck};

pub(super) async fn strike(field: &Field<'_>) -> anyhow::Result<Vec<Struck>> {
    field.each_while_busy(async |strike| take_down(field, strike, field.yard()?.quorum() - 1).await).await
}
