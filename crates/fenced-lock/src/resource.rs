//! The name of a protected resource.

use std::fmt;
use std::sync::Arc;

/// The name of a protected resource, for example `sku:42`.
///
/// 1 to 256 bytes of printable ASCII without spaces: the name becomes part of keys on the nodes.
/// Cheap to clone.
///
/// ```
/// use fenced_lock::Resource;
///
/// assert_eq!(Resource::new("sku:42")?.as_str(), "sku:42");
/// assert!(Resource::new("two words").is_err());
/// # Ok::<_, fenced_lock::InvalidResource>(())
/// ```
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Resource(Arc<str>);

/// A name that is empty, too long, or has other characters than printable ASCII.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{name:?} is not a resource name: expected 1 to 256 bytes of printable ASCII without spaces")]
pub struct InvalidResource {
    /// The refused name.
    pub name: String,
}

impl Resource {
    /// The longest name, in bytes.
    pub const MAX_BYTES: usize = 256;

    /// Parses a resource name.
    ///
    /// # Errors
    /// [`InvalidResource`] for an empty name, a longer one than [`MAX_BYTES`](Self::MAX_BYTES), or
    /// one with other characters than printable ASCII.
    pub fn new(name: impl Into<String>) -> Result<Self, InvalidResource> {
        let name = name.into();
        let fits = !name.is_empty() && name.len() <= Self::MAX_BYTES;
        if fits && name.bytes().all(|byte| byte.is_ascii_graphic()) {
            Ok(Self(name.into()))
        } else {
            Err(InvalidResource { name })
        }
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Resource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Resource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Resource({})", self.0)
    }
}

impl TryFrom<&str> for Resource {
    type Error = InvalidResource;

    fn try_from(name: &str) -> Result<Self, Self::Error> {
        Self::new(name)
    }
}
