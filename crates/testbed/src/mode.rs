//! Where servers run: as child processes or as containers. `HOLDFAST_TESTBED` forces either.
//!
//! Absence: no server is started here.

use std::collections::HashMap;

use tokio::sync::Mutex;

use crate::containers::docker;
use crate::containers::image::Image;
use crate::error::TestbedError;

const VARIABLE: &str = "HOLDFAST_TESTBED";

/// Where a server runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// A child process of this one.
    Native,
    /// A container, its port published on 127.0.0.1.
    Containers,
}

impl Mode {
    /// What `HOLDFAST_TESTBED` forces: `native`, `containers`, or nothing (`auto`, or unset).
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

    /// What was forced; else containers where an engine answers and has `image` or can get it; else native.
    pub(crate) async fn choose(image: Image) -> Result<Self, TestbedError> {
        match Self::forced()? {
            Some(mode) => Ok(mode),
            None if available(image.reference()).await => Ok(Self::Containers),
            None => Ok(Self::Native),
        }
    }
}

/// Asked once per image and process: a registry that cannot be reached is not waited for again.
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
        tracing::info!(image, %reason, "no container of this image can be had; the server runs as a child process");
    }
    checked.insert(image, found.is_ok());
    found.is_ok()
}
