//! Which phase the process is in, from its start to its end. Owned by the coordinator's thread. It only remembers:
//! [`super::lifecycle`] acts, and LIFECYCLE.md explains the phases.

use std::net::{SocketAddr, TcpListener};

use super::handover::{Launch, NoLaunch, Predecessor, Successor};
use super::helpers::supervisor::Supervisor;
use crate::link::Event;

/// Inputs for the beginning and the end of the process.
pub struct LifecycleParts {
    /// The address that logs and the supervisor show.
    pub address: SocketAddr,
    /// Copies of the listening sockets, for a successor.
    pub sockets: Vec<TcpListener>,
    /// How to start a successor, or why that is impossible.
    pub launch: Result<Launch, NoLaunch>,
    /// The process that this one replaces.
    pub predecessor: Option<Predecessor>,
    pub supervisor: Supervisor,
    /// Lets helper threads send events without keeping the channel open.
    pub events: flume::WeakSender<Event>,
}

/// The phase of the process, and what its transitions need.
pub(super) struct Life {
    pub(super) parts: LifecycleParts,
    /// True until the predecessor has ended.
    pub(super) has_predecessor: bool,
    pub(super) phase: Phase,
    /// Set when a hand-over was requested while the predecessor was still there.
    pub(super) hand_over_later: bool,
    /// Set when the config changed during a hand-over; re-read if the hand-over fails.
    pub(super) files_changed: bool,
    /// Stalled shards, in order.
    pub(super) stalled: Vec<usize>,
    pub(super) handovers: HandoverCounts,
}

/// How hand-overs ended, for the metrics.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct HandoverCounts {
    pub(super) done: u64,
    pub(super) failed: u64,
}

pub(super) enum Phase {
    Starting,
    Serving,
    /// A successor is starting.
    HandingOver {
        successor: Successor,
        /// Set once the successor reads the policies: none may change here any more.
        closed: bool,
    },
    /// A successor serves; this process finishes its requests.
    HandedOver {
        successor: Successor,
        /// Set when a stop signal arrived after the hand-over.
        hurried: bool,
    },
    /// A stop signal arrived.
    Draining {
        /// True while a successor that was abandoned has not ended yet.
        abandoning: bool,
    },
}

impl Life {
    pub(super) fn new(parts: LifecycleParts) -> Life {
        Life {
            has_predecessor: parts.predecessor.is_some(),
            parts,
            phase: Phase::Starting,
            hand_over_later: false,
            files_changed: false,
            stalled: Vec::new(),
            handovers: HandoverCounts::default(),
        }
    }

    /// Whether the service is ending. False in a process that was replaced: the service goes on without it.
    pub(super) fn is_draining(&self) -> bool {
        matches!(self.phase, Phase::Draining { .. })
    }

    pub(super) fn is_starting(&self) -> bool {
        matches!(self.phase, Phase::Starting)
    }

    /// Whether this process ends once every shard has drained.
    pub(super) fn is_ending(&self) -> bool {
        matches!(self.phase, Phase::Draining { .. } | Phase::HandedOver { .. })
    }

    /// Whether this process may end as soon as every shard has drained: no abandoned successor is left behind.
    pub(super) fn may_end(&self) -> bool {
        matches!(self.phase, Phase::Draining { abandoning: false } | Phase::HandedOver { .. })
    }

    /// Whether a change would be lost: a successor has read, or is reading, what would change here.
    pub(super) fn is_closed_to_changes(&self) -> bool {
        matches!(self.phase, Phase::HandingOver { closed: true, .. } | Phase::HandedOver { .. })
    }

    /// Whether this is the only process that writes the database, as far as it knows.
    pub(super) fn is_alone(&self) -> bool {
        !self.has_predecessor && !self.is_closed_to_changes()
    }

    /// Closes this process's own copies of the listening sockets.
    pub(super) fn close_sockets(&mut self) {
        self.parts.sockets.clear();
    }
}
