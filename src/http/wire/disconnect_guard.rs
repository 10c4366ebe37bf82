//! Ends an upstream call when its caller disconnects.
//! Owned by the shard that owns both wires.
//! Never does I/O itself: the shard's watch polls the caller and shuts the upstream wire down.

use std::rc::Rc;

use super::{Socket, Wire};

/// While this value lives, a disconnect of the caller shuts the upstream wire down.
pub struct DisconnectGuard {
    caller: Rc<Socket>,
}

impl DisconnectGuard {
    pub fn new(caller: &Wire, upstream: &Wire) -> DisconnectGuard {
        *caller.socket.upstream.borrow_mut() = Some(upstream.socket.clone());
        caller.socket.upstream_since_ms.set(caller.watch.now_ms.get());
        DisconnectGuard { caller: caller.socket.clone() }
    }
}

impl Drop for DisconnectGuard {
    fn drop(&mut self) {
        self.caller.upstream.borrow_mut().take();
    }
}
