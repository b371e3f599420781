//! Whether servers run as child processes or as containers. `HOLDFAST_TESTBED` forces either.
//!
//! Absence: no server is started here.

use std::collections::HashMap;

use tokio::sync::Mutex;

use crate::containers::docker;
use crate::containers::image::Image;
use crate::error::TestbedError;

const VARIABLE: &str = "HOLDFAST_TESTBED";

/// How a server runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// A child process of this one.
    Native,
    /// A container, its port published on 127.0.0.1.
    Containers,
}

impl Mode {
    /// The mode that `HOLDFAST_TESTBED` forces: `native` or `containers`; `None` for `auto` and where it is unset.
    ///
    /// # Errors
    /// [`TestbedError::InvalidSetting`] for any other value.
    pub fn forced() -> Result<Option<Self>, TestbedError> {
        match std::env::var(VARIABLE).unwrap_or_default().as_str() {
            "" | "auto" => Ok(None),
            "native" => Ok(Some(Self::Native)),
            "containers" => Ok(Some(Self::Containers)),
            value => Err(TestbedError::InvalidSetting {
                variable: VARIABLE,
                value: value.to_owned(),
                allowed: "auto, native, containers",
            }),
        }
    }

    /// The forced mode; otherwise containers if this program was built with them and an engine answers and has or can
    /// pull `image`; otherwise native.
    pub(crate) async fn choose(image: Image) -> Result<Self, TestbedError> {
        match Self::forced()? {
            Some(mode) => Ok(mode),
            None if cfg!(feature = "containers") && available(image.reference()).await => Ok(Self::Containers),
            None => Ok(Self::Native),
        }
    }
}

/// Whether a container engine answers and has or can pull the image. Checked once per image and process, so that an
/// unreachable registry is waited for only once.
async fn available(image: String) -> bool {
    static CHECKED: Mutex<Option<HashMap<String, bool>>> = Mutex::const_new(None);
    let mut checked = CHECKED.lock().await;
    let checked = checked.get_or_insert_default();
    if let Some(available) = checked.get(&image) {
        return *available;
    }
    let found = async {
        docker::ping().await?;
        docker::ensure_image(&image).await
    };
    let found = found.await;
    if let Err(reason) = &found {
        tracing::info!(image, %reason, "image unavailable: the server runs as a child process");
    }
    checked.insert(image, found.is_ok());
    found.is_ok()
}
