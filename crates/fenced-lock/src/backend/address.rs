//! The error of an address that cannot be used. Each backend parses its own addresses.

/// An address that does not have the form of the service's addresses.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{given:?} is not a {service} address: expected {rule}")]
pub struct InvalidAddress {
    /// The refused address, without credentials.
    pub given: String,
    /// The service that the address was meant for.
    pub service: &'static str,
    /// The form of its addresses.
    pub rule: &'static str,
}

impl InvalidAddress {
    /// Removes the credentials from `given`.
    pub fn new(given: &str, service: &'static str, rule: &'static str) -> Self {
        let given = given.rsplit_once('@').map_or(given, |(_, host)| host).to_owned();
        Self { given, service, rule }
    }
}
