//! The stack that the arguments name.

use crate::cli::RunningStackArgs;
use crate::cluster::target::Target;

/// The stack that the arguments name; `None`: one has to be started.
///
/// # Errors
/// As [`Target::find`].
pub(super) async fn find(args: &RunningStackArgs) -> anyhow::Result<Option<Target>> {
    match args.target.as_slice() {
        [] => Ok(None),
        words => Target::find(words, &args.inventory_token).await.map(Some),
    }
}
