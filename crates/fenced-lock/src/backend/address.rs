//! What is wrong with the address of a service. Each backend parses its own.

/// An address that cannot be one of the service it is meant for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{given:?} is no address of {service}: {rule}")]
pub struct InvalidAddress {
    /// What was given, without credentials.
    pub given: String,
    /// The service whose address it should be.
    pub service: &'static str,
    /// What an address of it looks like.
    pub rule: &'static str,
}

impl InvalidAddress {
    pub(crate) fn new(given: &str, service: &'static str, rule: &'static str) -> Self {
        let given = given.rsplit_once('@').map_or(given, |(_, host)| host).to_owned();
        Self { given, service, rule }
    }
}
