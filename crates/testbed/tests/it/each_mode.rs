//! The same tests for child processes and for containers.
//!
//! Invariant: a forced mode is never skipped; a skipped one is reported on standard error, which cargo does not capture.

use std::io::Write as _;

use testbed::{Mode, TestbedError};

/// Defines a module `native` and a module `containers`, each with every named test, run if the mode is available.
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

/// Whether a test runs in this mode. `chosen` is the mode that the testbed chooses.
pub(crate) fn offered(mode: Mode, chosen: Result<Mode, TestbedError>, test: &str) -> bool {
    let chosen = chosen.expect("a valid HOLDFAST_TESTBED");
    let forced = Mode::forced().expect("a valid HOLDFAST_TESTBED");
    let offered = match forced {
        Some(forced) => forced == mode,
        None => mode == Mode::Native || chosen == mode,
    };
    if !offered {
        let reason = match forced {
            Some(_) => "HOLDFAST_TESTBED forces the other mode",
            None => "no container engine answers, or it cannot pull the image",
        };
        writeln!(std::io::stderr(), "NOT RUN {mode:?}: {test}: {reason}").expect("standard error");
    }
    offered
}
