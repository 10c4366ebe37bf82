//! A caller's departure ends the call that serves it. One thread's; it does no I/O, the watch of the shard acts on it.

use std::rc::Rc;

use super::{Guard, Wire};

/// While it lives, the departure of `caller`'s peer shuts the wire down that serves it.
pub struct Tether {
    caller: Rc<Guard>,
}

impl Tether {
    /// Ties the fate of `upstream` to the presence of `caller`.
    pub fn new(caller: &Wire, upstream: &Wire) -> Tether {
        *caller.guard.serves.borrow_mut() = Some(upstream.guard.clone());
        caller.guard.serves_since_ms.set(caller.watch.now_ms.get());
        Tether { caller: caller.guard.clone() }
    }
}

impl Drop for Tether {
    fn drop(&mut self) {
        self.caller.serves.borrow_mut().take();
    }
}
