//! A panic on demand, so that a test sees what becomes of the process when a thread fails. Any thread may ask; it is in debug
//! builds alone. It never fails anything that `LUNER_FAULT` does not name.

use std::sync::LazyLock;

/// Where a thread may be made to fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// `LUNER_FAULT=coordinator`: once it has counted a request.
    Coordinator,
    /// `LUNER_FAULT=shard`: when a request is over.
    Shard,
}

impl Place {
    fn name(self) -> &'static str {
        match self {
            Place::Coordinator => "coordinator",
            Place::Shard => "shard",
        }
    }
}

static WANTED: LazyLock<Option<String>> = LazyLock::new(|| std::env::var("LUNER_FAULT").ok());

/// Panics if the environment wants a failure here. Nothing at all in a release build.
#[track_caller]
pub fn fail(place: Place) {
    if cfg!(debug_assertions) && WANTED.as_deref() == Some(place.name()) {
        panic!("LUNER_FAULT is {}", place.name());
    }
}
