//! The transitions of the process: it begins to serve, hands over to a successor, drains, ends, and tells the supervisor.
//! Runs on the coordinator's thread. It never cuts a request off before its time; LIFECYCLE.md describes a whole hand-over.

use std::net::TcpListener;

use rustix::process::{Pid, Signal};

use super::handover::Successor;
use super::life::Phase;
use super::reload;
use super::state::State;
use crate::clock::{Clock, Now};
use crate::link::{Departure, Driver, Order, Succession};

/// Begins to serve. Called once, when every shard listens.
///
/// # Errors
/// No thread could be started to talk to the predecessor.
pub(super) fn begin_serving(state: &mut State, drivers: &[Driver]) -> anyhow::Result<()> {
    state.life.phase = Phase::Serving;
    if !state.life.has_predecessor {
        make_sockets_blocking(state);
    }
    let weakest = Driver::weakest(drivers.iter().copied()).unwrap_or(Driver::Epoll);
    let (address, workers, io) = (state.life.parts.address, drivers.len(), weakest.name());
    tracing::info!(%address, workers, io, ring_entries = weakest.entries(), "listening");
    report_ready(state);
    match (state.life.parts.predecessor.take(), state.life.parts.events.upgrade()) {
        (Some(predecessor), Some(events)) => Ok(predecessor.ready(events)?),
        _ => Ok(()),
    }
}

fn report_ready(state: &State) {
    let status = format!("serving at {} with {} workers", state.life.parts.address, state.shards.len());
    state.life.parts.supervisor.tell("READY=1\n", &status);
}

/// Makes the listening sockets blocking, unless a shard uses epoll, which needs them non-blocking. io_uring waits best on
/// blocking sockets. The other process of a hand-over shares the sockets, and with them this flag.
fn make_sockets_blocking(state: &State) {
    if state.shards.iter().any(|shard| shard.driver == Some(Driver::Epoll)) {
        return;
    }
    for socket in &state.life.parts.sockets {
        if let Err(error) = socket.set_nonblocking(false) {
            tracing::warn!(%error, "a listening socket stays non-blocking: it is polled every few milliseconds");
        }
    }
}

/// Reacts to SIGTERM or SIGINT.
pub(super) fn stop(state: &mut State) {
    match &mut state.life.phase {
        Phase::Draining { .. } | Phase::HandedOver { hurried: true, .. } => {
            tracing::warn!("told to stop again: stopping at once");
            state.shards.iter_mut().for_each(|shard| shard.drained = true);
            return;
        }
        Phase::HandedOver { hurried, .. } => {
            tracing::info!("draining faster");
            *hurried = true;
            return state.send_order(&Order::Drain { handed_over: false });
        }
        Phase::HandingOver { successor, .. } => successor.give_up(),
        Phase::Starting | Phase::Serving => {}
    }
    tracing::info!("draining");
    state.life.phase = Phase::Draining { abandoning: matches!(state.life.phase, Phase::HandingOver { .. }) };
    state.life.close_sockets();
    state.life.parts.supervisor.tell("STOPPING=1\n", "draining");
    state.send_order(&Order::Drain { handed_over: false });
}

/// Reacts to SIGUSR2.
pub(super) fn hand_over(state: &mut State) {
    match &state.life.phase {
        Phase::Serving if state.life.has_predecessor => {
            tracing::info!("hand-over waits until the predecessor has ended");
            state.life.hand_over_later = true;
            return;
        }
        Phase::Serving => {}
        _ => return tracing::warn!("hand-over request ignored: the process is starting, handing over or ending"),
    }
    match start_successor(state) {
        Ok(successor) => {
            tracing::info!("starting a successor");
            let lines = format!("RELOADING=1\nMONOTONIC_USEC={}\n", Clock::since_boot_us());
            state.life.parts.supervisor.tell(&lines, "starting a successor");
            state.life.phase = Phase::HandingOver { successor, closed: false };
        }
        Err(reason) => hand_over_failed(state, &reason),
    }
}

fn start_successor(state: &State) -> Result<Successor, String> {
    let parts = &state.life.parts;
    let launch = parts.launch.clone().map_err(|reason| reason.to_string())?;
    let sockets: Result<Vec<_>, _> = parts.sockets.iter().map(TcpListener::try_clone).collect();
    let events = parts.events.upgrade().ok_or("every shard is gone")?;
    sockets.and_then(|sockets| Successor::start(launch, sockets, events)).map_err(|error| error.to_string())
}

/// Reacts to news of the successor.
pub(super) fn successor_reported(state: &mut State, news: Succession) {
    let (successor, closed) = match &mut state.life.phase {
        Phase::HandingOver { successor, closed } => (successor, closed),
        Phase::Draining { abandoning } => {
            *abandoning &= news == Succession::Standing;
            // It became ready at the very moment in which it was abandoned.
            if let Succession::Ready { pid } = news {
                terminate(pid);
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
            state.life.phase = Phase::Serving;
            hand_over_failed(state, &reason);
            // The successor may have changed the sockets' flags, and a change of the files was left to it.
            make_sockets_blocking(state);
            state.send_order(&Order::AcceptAnew);
            if std::mem::take(&mut state.life.files_changed) {
                reload::apply_change(state);
            }
        }
        Succession::Ready { pid } => handed_over(state, pid),
    }
}

fn hand_over_failed(state: &mut State, reason: &str) {
    tracing::error!(reason, "hand-over failed: this process goes on");
    state.life.handovers.failed += 1;
    state.life.parts.supervisor.tell("READY=1\n", &format!("serving; the hand-over failed: {reason}"));
}

fn handed_over(state: &mut State, pid: u32) {
    tracing::info!(pid, "handed over, draining");
    state.life.handovers.done += 1;
    let supervisor = &mut state.life.parts.supervisor;
    // In one message, so that the supervisor starts to count when it starts to watch the successor.
    supervisor.tell(&format!("MAINPID={pid}\nREADY=1\n"), "handed over");
    supervisor.mute();
    state.life.close_sockets();
    if let Phase::HandingOver { successor, .. } = std::mem::replace(&mut state.life.phase, Phase::Serving) {
        state.life.phase = Phase::HandedOver { successor, hurried: false };
    }
    state.send_order(&Order::Drain { handed_over: true });
}

/// Reacts to a shard that has stopped accepting connections.
pub(super) fn shard_stopped(state: &mut State, shard: usize) {
    state.shards[shard].stopped = true;
    if state.shards.iter().all(|shard| shard.stopped)
        && let Phase::HandedOver { successor, .. } = &mut state.life.phase
    {
        successor.stopped();
    }
}

/// Reacts to news of the predecessor.
pub(super) fn predecessor_reported(state: &mut State, news: Departure) {
    if news == Departure::Gone {
        state.life.has_predecessor = false;
        tracing::info!("the predecessor has ended");
    }
    if !state.life.is_ending() {
        // A connection may have woken the predecessor at the very moment in which it stopped.
        make_sockets_blocking(state);
        state.send_order(&Order::AcceptAnew);
        state.life.parts.supervisor.speak();
        report_ready(state);
    }
    if news == Departure::Gone && std::mem::take(&mut state.life.hand_over_later) {
        hand_over(state);
    }
}

/// Looks for stalled shards and logs which are new and which have recovered. The supervisor gets its heartbeat only while
/// no shard is stalled.
pub(super) fn check_heartbeats(state: &mut State, now: Now) {
    let life = &mut state.life;
    if life.is_starting() {
        return;
    }
    let stalled: Vec<usize> = state.shared.heartbeats.stalled(now).collect();
    for shard in stalled.iter().filter(|shard| !life.stalled.contains(shard)) {
        tracing::error!(shard, "a shard is stalled: its connections wait");
    }
    for shard in life.stalled.iter().filter(|shard| !stalled.contains(shard)) {
        tracing::info!(shard, "a stalled shard runs again");
    }
    life.stalled = stalled;
    if life.stalled.is_empty() {
        life.parts.supervisor.ping(now);
    }
}

/// Sends SIGTERM to a child of this process.
fn terminate(pid: u32) {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
    // An error means that the child has ended already.
    let _ = pid.map(|pid| rustix::process::kill_process(pid, Signal::TERM));
}
