//! Finding the servers' binaries: PATH first, then the folders where packages put them.
//!
//! Absence: nothing is installed here; the error names the commands that install the binary.

use std::path::{Path, PathBuf};

use crate::error::TestbedError;

/// A server's binary, and how to install it.
#[derive(Debug)]
pub(crate) struct BinarySpec {
    /// Its names, the preferred one first.
    pub(crate) names: &'static [&'static str],
    /// Folders searched after PATH. A `*` stands for part of one name; the highest version wins.
    pub(crate) folders: &'static [&'static str],
    /// The commands that install it.
    pub(crate) hint: &'static str,
}

impl BinarySpec {
    /// The binary's path.
    pub(crate) fn find(&self) -> Result<PathBuf, TestbedError> {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let folders = self.folders.iter().flat_map(|pattern| expand(pattern));
        let folders: Vec<PathBuf> = std::env::split_paths(&path).chain(folders).collect();
        self.names
            .iter()
            .flat_map(|name| folders.iter().map(move |folder| folder.join(name)))
            .find(|candidate| is_executable(candidate))
            .ok_or_else(|| TestbedError::NotInstalled {
                program: self.names.join(" or "),
                other_folders: if self.folders.is_empty() {
                    String::new()
                } else {
                    format!(" or in {}", self.folders.join(", "))
                },
                hint: self.hint,
            })
    }
}

/// The path of a program on PATH.
pub(crate) fn on_path(name: &Path) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join(name)).find(|candidate| is_executable(candidate))
}

/// Whether this is a file with an execute permission.
pub(crate) fn is_executable(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    path.metadata().is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
}

/// The folders that match a pattern with at most one `*`, the highest version first.
fn expand(pattern: &str) -> Vec<PathBuf> {
    let Some((before, after)) = pattern.split_once('*') else {
        return vec![PathBuf::from(pattern)];
    };
    let (parent, prefix) = before.rsplit_once('/').unwrap_or(("", before));
    let Ok(entries) = Path::new(&format!("{parent}/")).read_dir() else {
        return Vec::new();
    };
    let mut names: Vec<String> = entries
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter(|name| name.starts_with(prefix))
        .collect();
    let version = |name: &String| name[prefix.len()..].split('.').next().and_then(|major| major.parse::<u32>().ok());
    names.sort_by_key(|name| std::cmp::Reverse(version(name)));
    names.into_iter().map(|name| PathBuf::from(format!("{parent}/{name}{after}"))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_server_is_reported_with_what_to_install() {
        let missing = BinarySpec {
            names: &["no-such-server"],
            folders: &["/usr/lib/no-such-place/*/bin"],
            hint: "apt-get install it | brew install it",
        };
        let error = missing.find().expect_err("there is no such server").to_string();
        assert_eq!(
            error,
            "no-such-server was not found on PATH or in /usr/lib/no-such-place/*/bin; \
             install it: apt-get install it | brew install it"
        );
    }

    #[test]
    fn the_highest_version_is_tried_first() {
        let folder = crate::Folder::new("versions").expect("a folder");
        for version in ["9.6", "15", "17"] {
            std::fs::create_dir_all(folder.path().join(version).join("bin")).expect("a folder");
        }
        let pattern = format!("{}/*/bin", folder.path().display());
        let found: Vec<PathBuf> = expand(&pattern);
        let expected: Vec<PathBuf> =
            ["17", "15", "9.6"].iter().map(|version| folder.path().join(version).join("bin")).collect();
        assert_eq!(found, expected);
    }
}
