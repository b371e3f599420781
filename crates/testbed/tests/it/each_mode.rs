//! The same tests for child processes and for containers.
//!
//! Invariant: a mode that was forced is never left out; one that is left out says so where nobody captures it.

use std::io::Write as _;

use testbed::{Mode, TestbedError};

/// Makes a module `native` and a module `containers`, each with every named test; `$server::mode()` tells what is there.
macro_rules! in_each_mode {
    ($server:ident: $($name:ident),+ $(,)?) => {
        mod native {
            $(#[tokio::test]
            async fn $name() {
                if crate::each_mode::offered(testbed::Mode::Native, testbed::$server::mode().await, stringify!($name)) {
                    super::$name(testbed::Mode::Native).await;
                }
            })+
        }
        mod containers {
            $(#[tokio::test]
            async fn $name() {
                if crate::each_mode::offered(testbed::Mode::Containers, testbed::$server::mode().await, stringify!($name)) {
                    super::$name(testbed::Mode::Containers).await;
                }
            })+
        }
    };
}
pub(crate) use in_each_mode;

/// Whether a test is to run in this mode. `chosen` is what the testbed would choose by itself.
pub(crate) fn offered(mode: Mode, chosen: Result<Mode, TestbedError>, test: &str) -> bool {
    let chosen = chosen.expect("a setting that means something");
    let forced = Mode::forced().expect("a setting that means something");
    let offered = match forced {
        Some(forced) => forced == mode,
        None => mode == Mode::Native || chosen == mode,
    };
    if !offered {
        let reason = match forced {
            Some(_) => "HOLDFAST_TESTBED forces the other mode",
            None => "no container engine answers that has the image or can get it",
        };
        writeln!(std::io::stderr(), "NOT RUN {mode:?}: {test}: {reason}").expect("standard error");
    }
    offered
}
