//! The images of the servers, each replaceable by an environment variable.

/// A public image, and the environment variable that replaces it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Image {
    pub(crate) variable: &'static str,
    pub(crate) default: &'static str,
    /// The server's port inside the container.
    #[cfg_attr(not(feature = "containers"), expect(dead_code, reason = "read where the container is created"))]
    pub(crate) port: u16,
}

impl Image {
    /// The image to use, as `repository:tag`.
    pub(crate) fn reference(&self) -> String {
        let named = std::env::var(self.variable).ok().filter(|name| !name.is_empty());
        named.unwrap_or_else(|| self.default.to_owned())
    }
}
