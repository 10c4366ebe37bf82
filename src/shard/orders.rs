//! Orders from the coordinator, and reports to it. Two tasks of the shard. Neither waits for the coordinator while requests
//! run: a report that finds the channel full is merged into the next one.

use std::rc::Rc;
use std::time::Duration;

use super::accept::Accepting;
use super::caller::LINGER;
use super::state::Shard;
use crate::link::{EVENTS_BEHIND, Event, Order, REPORT_MS, Tally};

/// How often a draining shard checks whether its connections are gone.
const DRAIN_POLL: Duration = Duration::from_millis(10);

/// Carries orders out for as long as the process runs.
pub(crate) async fn carry_out(shard: Rc<Shard>, orders: flume::Receiver<Order>, accepting: Accepting) {
    monoio::spawn(report_regularly(shard.clone()));
    let mut accepting = Some(accepting);
    let mut flushed_epoch = 0;
    while let Ok(order) = orders.recv_async().await {
        match order {
            Order::Addresses { host, port, addresses } => shard.upstream.addresses.insert(host, port, addresses),
            Order::Forget { host, port } => shard.upstream.addresses.remove(host, port),
            Order::Flush { epoch } => {
                flushed_epoch = epoch;
                report(&shard, flushed_epoch);
            }
            Order::AcceptAnew => accepting.iter().for_each(Accepting::restart),
            // A second order to drain shortens the time that idle callers get.
            Order::Drain { handed_over } => {
                shut_idle(&shard, handed_over);
                if let Some(accepting) = accepting.take() {
                    accepting.stop(&shard, handed_over);
                    monoio::spawn(drain(shard.clone(), flushed_epoch));
                }
            }
        }
    }
}

async fn report_regularly(shard: Rc<Shard>) {
    loop {
        monoio::time::sleep(Duration::from_millis(REPORT_MS)).await;
        if shard.accounting.has_tally() {
            report(&shard, 0);
        }
        send_batch(&shard);
    }
}

/// Gives callers that are between two requests some time for the next one: a moment, or most of `drain_timeout` when another
/// process has taken over and nobody waits for this one to end.
fn shut_idle(shard: &Shard, handed_over: bool) {
    let most = shard.plans.plan().drain_timeout * 3 / 4;
    shard.ground.drain(if handed_over { most } else { LINGER.min(most) });
}

/// Lets running requests finish within `drain_timeout`, then tells the coordinator.
async fn drain(shard: Rc<Shard>, epoch: u64) {
    let started = shard.ground.now();
    let patience = shard.plans.plan().drain_timeout;
    // A cancelled accept may still bring a connection.
    while shard.connections.get() + shard.listeners.get() > 0 && shard.ground.now().since(started) < patience {
        monoio::time::sleep(DRAIN_POLL).await;
    }
    // This is the last report, so waiting for room in the channel is right here.
    let id = shard.ground.shard;
    let tally = Box::new(take_tally(&shard));
    let _ = shard.events.send_async(Event::Report { shard: id, epoch, tally }).await;
    if let Some(batch) = shard.accounting.take_batch() {
        let _ = shard.events.send_async(Event::Batch(Box::new(batch))).await;
    }
    let _ = shard.events.send_async(Event::Drained { shard: id, cut: shard.connections.get() }).await;
}

/// Tries to send the usage batch. If the channel is full, the usage goes into the next batch. If the coordinator is behind,
/// the batch goes without its traces.
fn send_batch(shard: &Shard) {
    if shard.events.len() > EVENTS_BEHIND {
        shard.accounting.drop_traces();
    }
    let Some(batch) = shard.accounting.take_batch() else { return };
    if let Err(error) = shard.events.try_send(Event::Batch(Box::new(batch)))
        && let Event::Batch(batch) = error.into_inner()
    {
        shard.accounting.take_back_batch(*batch);
    }
}

/// Tries to send the tally. If the channel is full, it goes into the next report.
fn report(shard: &Shard, epoch: u64) {
    let event = Event::Report { shard: shard.ground.shard, epoch, tally: Box::new(take_tally(shard)) };
    if let Err(error) = shard.events.try_send(event)
        && let Event::Report { tally, .. } = error.into_inner()
    {
        shard.accounting.take_back_tally(&tally);
    }
}

fn take_tally(shard: &Shard) -> Tally {
    let mut cache = shard.upstream.cache.cache.borrow_mut();
    let (evicted, items) = (cache.take_evictions(), cache.len() as u64);
    shard.accounting.take_tally(evicted, items)
}
