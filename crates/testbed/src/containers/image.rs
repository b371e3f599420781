//! Images, by name.

/// A public image, and the variable that names another one.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Image {
    pub(crate) variable: &'static str,
    pub(crate) default: &'static str,
    /// The port the server listens on inside.
    pub(crate) port: u16,
}

impl Image {
    /// The image to use, as `repository:tag`.
    pub(crate) fn reference(&self) -> String {
        let named = std::env::var(self.variable).ok().filter(|name| !name.is_empty());
        named.unwrap_or_else(|| self.default.to_owned())
    }
}
