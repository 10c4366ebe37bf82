//! Injects a fault on demand: a thread panics where `LUNER_FAULT` says so, which lets a test observe how the process ends.
//! Called from any thread; it keeps no state but the variable's value.
//! Works in debug builds only, and never touches a thread that the variable does not name.

use std::sync::LazyLock;

/// A point in the code at which a panic can be injected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InjectionPoint {
    /// `LUNER_FAULT=coordinator`: at the first tick after the coordinator has counted a request.
    Coordinator,
    /// `LUNER_FAULT=shard`: when a shard is about to account for a request.
    Accounting,
}

impl InjectionPoint {
    fn name(self) -> &'static str {
        match self {
            InjectionPoint::Coordinator => "coordinator",
            InjectionPoint::Accounting => "shard",
        }
    }
}

static REQUESTED: LazyLock<Option<String>> = LazyLock::new(|| std::env::var("LUNER_FAULT").ok());

/// Panics if `LUNER_FAULT` names this point. Does nothing in a release build.
#[track_caller]
pub fn panic_if_requested(point: InjectionPoint) {
    if cfg!(debug_assertions) && REQUESTED.as_deref() == Some(point.name()) {
        panic!("LUNER_FAULT is {}", point.name());
    }
}
