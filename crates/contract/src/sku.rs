//! The identifier of a kind of unit in stock.

use std::{borrow::Borrow, fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// A stock-keeping unit: 1 to 64 ASCII letters, digits, `_` or `-`.
///
/// Ordered by bytes, which is the order in which locks are acquired, claims are
/// made and rows are locked (`collate "C"` in SQL).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Sku(String);

/// The text is not a SKU.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be 1 to {max} letters, digits, '_' or '-'", max = Sku::MAX_LENGTH)]
pub struct InvalidSku;

impl Sku {
    /// The greatest length, in bytes, which are ASCII characters.
    pub const MAX_LENGTH: usize = 64;

    /// The text, exactly as the client sent it.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    fn is_valid(text: &str) -> bool {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
        (1..=Self::MAX_LENGTH).contains(&text.len()) && text.bytes().all(allowed)
    }
}

impl TryFrom<String> for Sku {
    type Error = InvalidSku;

    fn try_from(text: String) -> Result<Self, InvalidSku> {
        if Self::is_valid(&text) { Ok(Self(text)) } else { Err(InvalidSku) }
    }
}

impl FromStr for Sku {
    type Err = InvalidSku;

    fn from_str(text: &str) -> Result<Self, InvalidSku> {
        text.to_owned().try_into()
    }
}

impl From<Sku> for String {
    fn from(sku: Sku) -> Self {
        sku.0
    }
}

impl AsRef<str> for Sku {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl Borrow<str> for Sku {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Sku {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sku_has_1_to_64_letters_digits_underscores_or_hyphens() {
        let longest = "x".repeat(64);
        for valid in ["a", "A-1_b", longest.as_str()] {
            assert_eq!(valid.parse::<Sku>().as_ref().map(Sku::as_str), Ok(valid));
        }
        let too_long = "x".repeat(65);
        for invalid in ["", "a b", "ä", "a/b", "a\0", too_long.as_str()] {
            assert_eq!(invalid.parse::<Sku>(), Err(InvalidSku), "{invalid:?}");
        }
    }

    #[test]
    fn json_that_is_no_sku_is_refused() {
        assert_eq!(serde_json::from_str::<Sku>("\"ak1\"").expect("valid").as_str(), "ak1");
        let error = serde_json::from_str::<Sku>("\"a b\"").expect_err("has a space");
        assert!(error.to_string().starts_with("must be 1 to 64 letters"), "{error}");
    }

    #[test]
    fn skus_are_ordered_by_bytes() {
        let (lower, upper): (Sku, Sku) = ("ak1".parse().expect("valid"), "Bk1".parse().expect("valid"));
        assert!(upper < lower, "a locale would order them the other way round");
    }
}
