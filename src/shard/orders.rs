//! What the coordinator wants, and the reports back. Two tasks of the shard; neither ever waits for the coordinator while
//! requests run: a report that finds the channel full merges back into the tally.

use std::rc::Rc;
use std::time::Duration;

use super::Shard;
use super::accept::Accepting;
use super::conn::LINGER;
use crate::link::{EVENTS_BEHIND, Event, Order, REPORT_MS};

/// How often a draining shard looks whether its connections are gone.
const LOOK_AGAIN: Duration = Duration::from_millis(10);

/// Follows orders for as long as the process runs.
pub(crate) async fn follow(shard: Rc<Shard>, orders: flume::Receiver<Order>, accepting: Accepting) {
    monoio::spawn(report_regularly(shard.clone()));
    let mut accepting = Some(accepting);
    let mut epoch_followed = 0;
    while let Ok(order) = orders.recv_async().await {
        match order {
            Order::Addresses { host, port, addresses } => {
                shard.addresses.borrow_mut().insert((host, port), addresses);
            }
            Order::Forget { host, port } => {
                shard.addresses.borrow_mut().remove(&(host, port));
            }
            Order::Flush { epoch } => {
                epoch_followed = epoch;
                shard.report(epoch_followed);
            }
            Order::AcceptAnew => accepting.iter().for_each(Accepting::anew),
            // A second time it is to be quicker.
            Order::Drain { handed_over } => {
                shard.give_idle(handed_over);
                if let Some(accepting) = accepting.take() {
                    accepting.stop(&shard, handed_over);
                    monoio::spawn(drain(shard.clone(), epoch_followed));
                }
            }
        }
    }
}

async fn report_regularly(shard: Rc<Shard>) {
    loop {
        monoio::time::sleep(Duration::from_millis(REPORT_MS)).await;
        if !shard.tally.borrow().is_empty() {
            shard.report(0);
        }
        shard.send_batch();
    }
}

/// Lets what runs finish, within the configured time, then tells the coordinator.
async fn drain(shard: Rc<Shard>, epoch: u64) {
    let started = shard.now();
    let patience = shard.plan().drain_timeout;
    // An accept that was given up may still bring a connection.
    while shard.connections.get() + shard.doors.get() > 0 && shard.now().since(started) < patience {
        monoio::time::sleep(LOOK_AGAIN).await;
    }
    // Nothing else will be reported, so that waiting for room is right here.
    let tally = Box::new(shard.tally.take());
    let _ = shard.events.send_async(Event::Report { shard: shard.id, epoch, tally }).await;
    let batch = shard.books.borrow_mut().close();
    if let Some(batch) = batch {
        let _ = shard.events.send_async(Event::Batch(Box::new(batch))).await;
    }
    let _ = shard.events.send_async(Event::Drained { shard: shard.id, cut: shard.connections.get() }).await;
}

impl Shard {
    /// Begins to drain. Callers between two requests get some time for the next one: a moment, or most of what there is when
    /// nobody waits for the end.
    fn give_idle(&self, handed_over: bool) {
        let most = self.plan().drain_timeout * 3 / 4;
        let patience = if handed_over { most } else { LINGER.min(most) };
        self.drains_until.set(Some(self.watch.deadline(patience)));
        self.watch.limit_idle_wait(patience);
    }

    /// Tries to hand the books up; keeps the accounts when there is no room, and the traces out of it when there is little.
    fn send_batch(&self) {
        if self.events.len() > EVENTS_BEHIND {
            self.books.borrow_mut().give_up_traces();
        }
        let Some(batch) = self.books.borrow_mut().close() else { return };
        if let Err(error) = self.events.try_send(Event::Batch(Box::new(batch)))
            && let Event::Batch(batch) = error.into_inner()
        {
            self.books.borrow_mut().reopen(*batch);
        }
    }

    /// Tries to hand the tally up; keeps it when there is no room.
    fn report(&self, epoch: u64) {
        let mut tally = self.tally.take();
        tally.in_flight = self.in_flight.get();
        let mut cache = self.cache.borrow_mut();
        (tally.evicted, tally.cache_items) = (cache.evicted(), cache.len() as u64);
        drop(cache);
        tally.traces_dropped = self.books.borrow_mut().dropped();
        let report = Event::Report { shard: self.id, epoch, tally: Box::new(tally) };
        if let Err(error) = self.events.try_send(report)
            && let Event::Report { tally, .. } = error.into_inner()
        {
            self.tally.borrow_mut().merge(&tally);
        }
    }
}
