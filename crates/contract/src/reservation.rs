//! The states of a reservation.

use serde::{Deserialize, Serialize};
use strum::{Display, EnumString, IntoStaticStr, VariantArray};

/// The state of a reservation: `held → confirmed | cancelled | expired`, the
/// last three final.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, Display, EnumString, IntoStaticStr, VariantArray, Serialize, Deserialize,
)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "lowercase")]
#[strum(serialize_all = "lowercase")]
pub enum ReservationStatus {
    /// Units are set aside until `expires_at`.
    Held,
    /// Final: the units belong to the order.
    Confirmed,
    /// Final: the units were returned at the order's request.
    Cancelled,
    /// Final: the units were returned because `expires_at` passed.
    Expired,
}

impl ReservationStatus {
    /// The name in lower case, as stored and as sent.
    pub fn name(self) -> &'static str {
        self.into()
    }

    /// Held or confirmed: its units count as sold.
    pub const fn is_live(self) -> bool {
        match self {
            Self::Held | Self::Confirmed => true,
            Self::Cancelled | Self::Expired => false,
        }
    }

    /// Confirmed, cancelled or expired: no transition leaves this state.
    pub const fn is_final(self) -> bool {
        !matches!(self, Self::Held)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_has_one_name_in_text_and_json() {
        for &status in ReservationStatus::VARIANTS {
            assert_eq!(status.name().parse(), Ok(status));
            assert_eq!(serde_json::json!(status), status.name());
        }
    }
}
