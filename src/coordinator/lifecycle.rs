//! How the process begins to serve, is replaced and ends: which of these it is at, and what the supervisor is told of it. On
//! the coordinator's thread. It never cuts off what runs before its time; LIFECYCLE.md tells the whole of a hand-over.

use std::net::{SocketAddr, TcpListener};

use rustix::process::{Pid, Signal};

use super::handover::{Launch, NoLaunch, Predecessor, Successor};
use super::helpers::supervisor::Supervisor;
use super::{Coordinator, TICK};
use crate::clock::{Clock, Now};
use crate::link::{Departure, Driver, Event, Order, Succession};

/// The coordinator itself was held up for so long: what the shards did meanwhile is only known at the next look.
const HELD_UP_MS: u64 = 1_000;

/// What the process needs to know of its beginning and its end.
pub struct Parts {
    /// Where it listens, as it is shown.
    pub address: SocketAddr,
    /// The listening sockets once more, to be handed on.
    pub sockets: Vec<TcpListener>,
    /// How another process is started in this one's place.
    pub launch: Result<Launch, NoLaunch>,
    /// The process whose place this one takes.
    pub predecessor: Option<Predecessor>,
    pub supervisor: Supervisor,
    /// For helpers that tell something.
    pub events: flume::WeakSender<Event>,
}

/// The process's own state.
pub(super) struct Life {
    parts: Parts,
    /// Until the process whose place this one takes is gone.
    has_predecessor: bool,
    phase: Phase,
    /// Asked for while the process before this one was not gone yet.
    to_hand_over: bool,
    /// The files were, while another process was about to read them.
    pub(super) files_changed: bool,
    /// Shards that are stalled, in order.
    stalled: Vec<usize>,
    /// How attempts to hand over ended, for the metrics.
    pub(super) handovers: Handovers,
}

#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Handovers {
    pub done: u64,
    pub failed: u64,
}

enum Phase {
    Starting,
    Serving,
    /// Another process is being started in this one's place.
    HandingOver {
        successor: Successor,
        /// It reads the policies: none may change here.
        closed: bool,
    },
    /// Another process serves; this one finishes what it began.
    HandedOver {
        successor: Successor,
        /// Told to stop on top of that.
        hurried: bool,
    },
    /// Told to stop.
    Draining {
        /// A process that was being started in this one's place has not ended yet.
        given_up: bool,
    },
}

impl Life {
    pub(super) fn new(parts: Parts) -> Life {
        let (to_hand_over, files_changed, stalled, handovers) = Default::default();
        Life {
            has_predecessor: parts.predecessor.is_some(),
            parts,
            phase: Phase::Starting,
            to_hand_over,
            files_changed,
            stalled,
            handovers,
        }
    }

    /// Whether the service as a whole ends, as far as this process knows. One that was replaced does not say so: the service
    /// goes on.
    pub(super) fn is_draining(&self) -> bool {
        matches!(self.phase, Phase::Draining { .. })
    }

    pub(super) fn is_starting(&self) -> bool {
        matches!(self.phase, Phase::Starting)
    }

    /// Whether it ends, in whatever way, once every shard has drained.
    pub(super) fn ends(&self) -> bool {
        matches!(self.phase, Phase::Draining { .. } | Phase::HandedOver { .. })
    }

    /// Whether nothing is left behind.
    pub(super) fn may_end(&self) -> bool {
        matches!(self.phase, Phase::Draining { given_up: false } | Phase::HandedOver { .. })
    }

    /// Whether another process has read, or is reading, what would be changed here.
    pub(super) fn is_closed_to_changes(&self) -> bool {
        matches!(self.phase, Phase::HandingOver { closed: true, .. } | Phase::HandedOver { .. })
    }

    /// Whether no other process writes the same database as far as is known.
    pub(super) fn is_alone(&self) -> bool {
        !self.has_predecessor && !self.is_closed_to_changes()
    }

    pub(super) fn stalled(&self) -> usize {
        self.stalled.len()
    }

    /// Closes this process's own copies of the sockets.
    fn let_go_of_sockets(&mut self) {
        self.parts.sockets.clear();
    }
}

/// Tells a child of this process to end.
fn stop(pid: u32) {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
    // An error means that it has.
    let _ = pid.map(|pid| rustix::process::kill_process(pid, Signal::TERM));
}

impl Coordinator {
    /// Every shard listens.
    ///
    /// # Errors
    /// There is no thread to be had for the process whose place this one takes.
    pub(super) fn serves(&mut self, drivers: &[Driver]) -> anyhow::Result<()> {
        self.life.phase = Phase::Serving;
        if !self.life.has_predecessor {
            self.settle_sockets();
        }
        let weakest = Driver::weakest(drivers.iter().copied()).unwrap_or(Driver::Epoll);
        let (address, workers, io) = (self.life.parts.address, drivers.len(), weakest.name());
        tracing::info!(%address, workers, io, ring_entries = weakest.entries(), "listening");
        self.tell_ready();
        match (self.life.parts.predecessor.take(), self.life.parts.events.upgrade()) {
            (Some(predecessor), Some(events)) => Ok(predecessor.ready(events)?),
            _ => Ok(()),
        }
    }

    fn tell_ready(&self) {
        let status = format!("serving at {} with {} workers", self.life.parts.address, self.shards.len());
        self.life.parts.supervisor.tell("READY=1\n", &status);
    }

    /// Sockets are shared with whoever gave them or takes them, their flags included. What blocks is what io_uring waits on
    /// best; epoll cannot have it.
    fn settle_sockets(&self) {
        if self.shards.iter().any(|shard| shard.driver == Some(Driver::Epoll)) {
            return;
        }
        for socket in &self.life.parts.sockets {
            if let Err(error) = socket.set_nonblocking(false) {
                tracing::warn!(%error, "a listening socket is looked at every few milliseconds only");
            }
        }
    }

    /// SIGTERM or SIGINT.
    pub(super) fn told_to_stop(&mut self) {
        match &mut self.life.phase {
            Phase::Draining { .. } | Phase::HandedOver { hurried: true, .. } => {
                tracing::warn!("told to stop again: stopping at once");
                self.shards.iter_mut().for_each(|shard| shard.drained = true);
                return;
            }
            Phase::HandedOver { hurried, .. } => {
                tracing::info!("draining faster");
                *hurried = true;
                return self.order(&Order::Drain { handed_over: false });
            }
            Phase::HandingOver { successor, .. } => successor.give_up(),
            Phase::Starting | Phase::Serving => {}
        }
        tracing::info!("draining");
        self.life.phase = Phase::Draining { given_up: matches!(self.life.phase, Phase::HandingOver { .. }) };
        self.life.let_go_of_sockets();
        self.life.parts.supervisor.tell("STOPPING=1\n", "draining");
        self.order(&Order::Drain { handed_over: false });
    }

    /// SIGUSR2.
    pub(super) fn told_to_hand_over(&mut self) {
        match &self.life.phase {
            Phase::Serving if self.life.has_predecessor => {
                tracing::info!("a hand-over waits for the end of the process before this one");
                self.life.to_hand_over = true;
                return;
            }
            Phase::Serving => {}
            _ => return tracing::warn!("told to hand over while starting, handing over or ending: ignored"),
        }
        match self.start_successor() {
            Ok(successor) => {
                tracing::info!("starting another process in this one's place");
                let lines = format!("RELOADING=1\nMONOTONIC_USEC={}\n", Clock::since_boot_us());
                self.life.parts.supervisor.tell(&lines, "starting another process in this one's place");
                self.life.phase = Phase::HandingOver { successor, closed: false };
            }
            Err(reason) => self.not_handed_over(&reason),
        }
    }

    fn start_successor(&self) -> Result<Successor, String> {
        let parts = &self.life.parts;
        let launch = parts.launch.clone().map_err(|reason| reason.to_string())?;
        let sockets: Result<Vec<_>, _> = parts.sockets.iter().map(TcpListener::try_clone).collect();
        let events = parts.events.upgrade().ok_or("every shard is gone")?;
        sockets.and_then(|sockets| Successor::start(launch, sockets, events)).map_err(|error| error.to_string())
    }

    /// What has become of the process that is to take over.
    pub(super) fn succession(&mut self, news: Succession) {
        let (successor, closed) = match &mut self.life.phase {
            Phase::HandingOver { successor, closed } => (successor, closed),
            Phase::Draining { given_up } => {
                *given_up &= news == Succession::Standing;
                // In the very moment in which it was given up.
                if let Succession::Ready { pid } = news {
                    stop(pid);
                }
                return;
            }
            _ => return,
        };
        match news {
            Succession::Standing => {
                *closed = true;
                successor.go();
            }
            Succession::Failed(reason) => {
                self.life.phase = Phase::Serving;
                self.not_handed_over(&reason);
                // It may have changed how the sockets are waited on; and a change of the files was left to it.
                self.settle_sockets();
                self.order(&Order::AcceptAnew);
                if std::mem::take(&mut self.life.files_changed) {
                    self.files_changed();
                }
            }
            Succession::Ready { pid } => self.handed_over(pid),
        }
    }

    fn not_handed_over(&mut self, reason: &str) {
        tracing::error!(reason, "no other process took over: this one goes on");
        self.life.handovers.failed += 1;
        self.life.parts.supervisor.tell("READY=1\n", &format!("serving; no other process took over: {reason}"));
    }

    fn handed_over(&mut self, pid: u32) {
        tracing::info!(pid, "handed over, draining");
        self.life.handovers.done += 1;
        let supervisor = &mut self.life.parts.supervisor;
        // In one message: it counts from the moment on from which the other is the one that is supervised.
        supervisor.tell(&format!("MAINPID={pid}\nREADY=1\n"), "handed over");
        supervisor.mute();
        self.life.let_go_of_sockets();
        if let Phase::HandingOver { successor, .. } = std::mem::replace(&mut self.life.phase, Phase::Serving) {
            self.life.phase = Phase::HandedOver { successor, hurried: false };
        }
        self.order(&Order::Drain { handed_over: true });
    }

    /// A shard accepts nothing any more.
    pub(super) fn shard_stopped(&mut self, shard: usize) {
        self.shard(shard).stopped = true;
        if self.shards.iter().all(|shard| shard.stopped)
            && let Phase::HandedOver { successor, .. } = &mut self.life.phase
        {
            successor.stopped();
        }
    }

    /// What the process does whose place this one takes.
    pub(super) fn departure(&mut self, news: Departure) {
        if news == Departure::Gone {
            self.life.has_predecessor = false;
            tracing::info!("the process before this one has ended");
        }
        if !self.life.ends() {
            // A connection may have woken the other process in the very moment in which it stopped.
            self.settle_sockets();
            self.order(&Order::AcceptAnew);
            self.life.parts.supervisor.speak();
            self.tell_ready();
        }
        if news == Departure::Gone && std::mem::take(&mut self.life.to_hand_over) {
            self.told_to_hand_over();
        }
    }

    /// Looks for stalled shards. The supervisor gets its sign of life only while there are none.
    pub(super) fn check_heartbeats(&mut self, last: Now, now: Now) {
        if self.life.is_starting() || now.since(last).as_millis() as u64 >= HELD_UP_MS + TICK.as_millis() as u64 {
            return;
        }
        let stalled: Vec<usize> = self.shared.heartbeats.stalled(now).collect();
        for shard in stalled.iter().filter(|shard| !self.life.stalled.contains(shard)) {
            tracing::error!(shard, "a shard is stalled: its connections wait");
        }
        for shard in self.life.stalled.iter().filter(|shard| !stalled.contains(shard)) {
            tracing::info!(shard, "a shard goes on that was stalled");
        }
        self.life.stalled = stalled;
        if self.life.stalled.is_empty() {
            self.life.parts.supervisor.ping(now);
        }
    }
}
