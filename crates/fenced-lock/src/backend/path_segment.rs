//! Names of resources as parts of paths.

use std::borrow::Cow;

use crate::Resource;

/// The resource as one segment of a path: `/`, `%`, `.` and `..` are escaped.
pub(super) fn segment(resource: &Resource) -> Cow<'_, str> {
    match resource.as_str() {
        "." => Cow::Borrowed("%2E"),
        ".." => Cow::Borrowed("%2E%2E"),
        name if name.contains(['/', '%']) => Cow::Owned(name.replace('%', "%25").replace('/', "%2F")),
        name => Cow::Borrowed(name),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn different_resources_are_different_segments(a in "[./%a2EF5]{1,6}", b in "[./%a2EF5]{1,6}") {
            let [one, other] = [&a, &b].map(|name| Resource::new(name.as_str()).expect("a name"));
            prop_assert_eq!(segment(&one) == segment(&other), a == b);
            prop_assert!(!segment(&one).contains('/') && segment(&one) != "." && segment(&one) != "..");
        }
    }
}
