//! The workspace as the rules read it: its packages, the dependencies that they declare, and the text of their code.

use std::{
    collections::BTreeMap,
    env, fs,
    path::{Path, PathBuf},
    sync::LazyLock,
};

use cargo_metadata::{CargoOpt, Dependency, MetadataCommand, TargetKind};

use super::code::Code;

pub(super) static WORKSPACE: LazyLock<Vec<Package>> = LazyLock::new(packages);

pub(super) struct Package {
    pub(super) name: String,
    pub(super) dependencies: Vec<Dependency>,
    /// Names in its `package.metadata.cargo-machete.ignored`: dependencies that are declared for their features alone.
    pub(super) ignored: Vec<String>,
    /// The text of every `.rs` file, by its path inside the package.
    pub(super) files: BTreeMap<String, String>,
    /// The code of its library and of each of its programs, without tests.
    pub(super) code: Vec<Code>,
}

/// The root of the repository.
pub(super) fn root() -> PathBuf {
    let package = env::var_os("CARGO_MANIFEST_DIR").expect("cargo sets it for a test");
    Path::new(&package).parent().expect("load-tests is a folder of the root").to_owned()
}

fn packages() -> Vec<Package> {
    let metadata = MetadataCommand::new()
        .manifest_path(root().join("Cargo.toml"))
        .features(CargoOpt::AllFeatures)
        .no_deps()
        .exec()
        .expect("the manifests are valid");
    let read = |package: &cargo_metadata::Package| {
        let folder = package.manifest_path.parent().expect("a manifest lies in a folder").as_std_path();
        let files = rust_files(folder);
        let code = package
            .targets
            .iter()
            .filter(|target| target.kind.iter().any(|kind| matches!(kind, TargetKind::Lib | TargetKind::Bin)));
        Package {
            name: package.name.to_string(),
            dependencies: package.dependencies.clone(),
            ignored: serde_json::from_value(package.metadata["cargo-machete"]["ignored"].clone()).unwrap_or_default(),
            code: code.map(|target| Code::read(&relative(target.src_path.as_std_path(), folder), &files)).collect(),
            files,
        }
    };
    // Parsing takes most of the time, and is independent for each package.
    std::thread::scope(|scope| {
        let packages = metadata.workspace_packages();
        let readers: Vec<_> = packages.into_iter().map(|package| scope.spawn(move || read(package))).collect();
        readers.into_iter().map(|reader| reader.join().expect("every file parses")).collect()
    })
}

fn rust_files(folder: &Path) -> BTreeMap<String, String> {
    files_under(folder)
        .into_iter()
        .filter(|path| path.extension().is_some_and(|extension| extension == "rs"))
        .map(|path| (relative(&path, folder), fs::read_to_string(&path).expect("source text is UTF-8")))
        .collect()
}

/// Every file below the folder, build output and hidden files left out.
pub(super) fn files_under(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).expect("a folder of the repository") {
        let path = entry.expect("an entry of a readable folder").path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if name.starts_with('.') && name != ".ci" && name != ".github" || name == "target" {
            continue;
        }
        if path.is_dir() { files.extend(files_under(&path)) } else { files.push(path) }
    }
    files
}

pub(super) fn relative(path: &Path, folder: &Path) -> String {
    path.strip_prefix(folder).expect("lies in the folder").to_string_lossy().into_owned()
}
