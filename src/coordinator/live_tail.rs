//! Live streams of traces: a bounded number of subscribers, each with a filter and a bounded queue. Runs on the coordinator's
//! thread, fed with each batch. It never waits for a subscriber: one that is too slow loses traces and learns how many.
//!
//! Each trace has a number, which is the id of its event. A subscriber that comes back with the last id that it saw gets what
//! it missed, from a buffer of the newest traces. Numbers of two processes do not collide, because each process starts with
//! the time of its start.

use std::collections::VecDeque;
use std::rc::Rc;

use super::store::reader::Filter;
use crate::clock::Now;
use crate::link::trace::Trace;

/// Most subscribers at once. Arbitrary: more than there are people who watch one gateway.
const SUBSCRIBERS_MAX: usize = 32;
/// Pieces that may wait for one subscriber. Arbitrary: several seconds of a few shards that report four times a second.
const PIECES_MAX: usize = 32;
/// Most traces of one batch that a subscriber gets. Arbitrary: more than anyone reads in a quarter of a second.
const ITEMS_MAX: usize = 200;
/// Longest silence on a stream, so that no proxy takes the connection for dead. Browsers and proxies wait 30 s and more; WHATWG
/// HTML, section 9.2.7, advises 15 s.
const SILENCE_MS: u64 = 15_000;

/// Newest traces in the buffer for subscribers that come back. Arbitrary: seconds of a busy gateway, less than half a
/// megabyte.
const BUFFER_MAX: usize = 200;
/// A process starts to number traces at the time of its start in milliseconds, times this: above all numbers of an earlier
/// process.
const NUMBERS_PER_MS: u64 = 1 << 20;

/// All subscribers and the buffer.
pub(super) struct LiveTail {
    subscribers: Vec<Subscriber>,
    /// The newest traces, oldest first, without bodies.
    buffer: VecDeque<Trace>,
    /// The number of the newest trace; before the first trace, the one before it.
    number: u64,
}

struct Subscriber {
    filter: Filter,
    pieces: flume::Sender<Vec<u8>>,
    /// Traces lost since the last `dropped` event.
    dropped: u64,
    sent_ms: u64,
}

impl LiveTail {
    /// The live tail of a process that starts now.
    pub(super) fn new(now: Now) -> LiveTail {
        LiveTail {
            subscribers: Vec::new(),
            buffer: VecDeque::new(),
            number: now.wall_ms.saturating_mul(NUMBERS_PER_MS),
        }
    }

    /// Adds a subscriber; returns `None` if there are too many. `last` is the id of the last event that it saw, empty for a new
    /// one. `show` is that of [`LiveTail::send`].
    pub(super) fn subscribe(
        &mut self,
        filter: Filter,
        last: &str,
        now: Now,
        show: impl Fn(&Trace) -> String,
    ) -> Option<flume::Receiver<Vec<u8>>> {
        self.subscribers.retain(|subscriber| !subscriber.pieces.is_disconnected());
        if self.subscribers.len() >= SUBSCRIBERS_MAX {
            return None;
        }
        let (pieces, sent) = flume::bounded(PIECES_MAX);
        let mut subscriber = Subscriber { filter, pieces, dropped: 0, sent_ms: now.mono_ms() };
        // An id that no process gave out is not refused: the subscriber gets what is in the buffer.
        if !last.is_empty() {
            self.replay(&mut subscriber, last.parse().unwrap_or(0), now, show);
        }
        self.subscribers.push(subscriber);
        Some(sent)
    }

    /// Sends a subscriber that came back what it missed, after an event `gap` if some of that is gone. What is gone is not
    /// counted, because nobody knows which of it would pass the filter.
    fn replay(&self, subscriber: &mut Subscriber, last: u64, now: Now, show: impl Fn(&Trace) -> String) {
        let mut events = Vec::new();
        let gone = self.number - self.buffer.len() as u64;
        // A number above ours was given out by another process, whose clock was ahead.
        let is_ours = last <= self.number;
        if last < gone || !is_ours {
            event("gap", None, "{}", &mut events);
        }
        for (number, trace) in (gone + 1..).zip(&self.buffer) {
            if (number > last || !is_ours) && subscriber.filter.matches(trace) {
                event("trace", Some(number), &show(trace), &mut events);
            }
        }
        if !events.is_empty() {
            subscriber.send(events, 0, now);
        }
    }

    /// Sends each subscriber the traces that pass its filter. `show` makes the text of one, on a single line.
    pub(super) fn send(&mut self, traces: &mut [Trace], now: Now, show: impl Fn(&Trace) -> String) {
        let first = self.number + 1;
        self.buffer(traces);
        if self.subscribers.is_empty() {
            return;
        }
        let mut texts: Vec<Option<Rc<str>>> = vec![None; traces.len()];
        self.subscribers.retain_mut(|subscriber| {
            let mut events = Vec::new();
            let mut count = 0;
            for (number, (trace, text)) in (first..).zip(traces.iter().zip(&mut texts)) {
                if !subscriber.filter.matches(trace) {
                    continue;
                }
                if count == ITEMS_MAX {
                    subscriber.dropped += 1;
                    continue;
                }
                count += 1;
                let text = text.get_or_insert_with(|| show(trace).into());
                event("trace", Some(number), text, &mut events);
            }
            count == 0 || subscriber.send(events, count as u64, now)
        });
    }

    fn buffer(&mut self, traces: &mut [Trace]) {
        self.number += traces.len() as u64;
        let start = traces.len().saturating_sub(BUFFER_MAX);
        let room = BUFFER_MAX - (traces.len() - start);
        self.buffer.drain(..self.buffer.len().saturating_sub(room));
        self.buffer.extend(traces[start..].iter_mut().map(Trace::without_bodies));
    }

    /// Breaks long silences and reports dropped traces. Called at each tick.
    pub(super) fn beat(&mut self, now: Now) {
        self.subscribers.retain_mut(|subscriber| {
            let silent = now.mono_ms() >= subscriber.sent_ms + SILENCE_MS;
            match silent || subscriber.dropped > 0 {
                true => subscriber.send(if silent { b": still there\n\n".to_vec() } else { Vec::new() }, 0, now),
                false => !subscriber.pieces.is_disconnected(),
            }
        });
    }
}

impl Subscriber {
    /// Sends events, after one that counts what was lost before them. Returns false if the subscriber has left.
    fn send(&mut self, events: Vec<u8>, count: u64, now: Now) -> bool {
        let mut piece = Vec::new();
        if self.dropped > 0 {
            event("dropped", None, &format!("{{\"count\":{}}}", self.dropped), &mut piece);
        }
        piece.extend(events);
        match self.pieces.try_send(piece) {
            Ok(()) => (self.dropped, self.sent_ms) = (0, now.mono_ms()),
            Err(flume::TrySendError::Full(_)) => self.dropped += count,
            Err(flume::TrySendError::Disconnected(_)) => return false,
        }
        true
    }
}

/// Appends a server-sent event.
fn event(name: &str, id: Option<u64>, data: &str, to: &mut Vec<u8>) {
    let id = id.map(|id| format!("\nid: {id}")).unwrap_or_default();
    for part in ["event: ", name, &id, "\ndata: ", data, "\n\n"] {
        to.extend_from_slice(part.as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::coordinator::store::tests::sample::{self, Seeded, Spread};
    use crate::who::WhoPart;

    fn at(ms: u64) -> Now {
        Now { mono_ns: ms * 1_000_000, wall_ms: 0 }
    }

    fn traces(n: u64) -> Vec<Trace> {
        sample::traces(&mut Seeded(7), Spread { from_ms: 0, ms: 1000, users: 3, joins_one_in: 0 }, n)
    }

    fn subscribe(live_tail: &mut LiveTail, filter: Filter) -> Option<flume::Receiver<Vec<u8>>> {
        live_tail.subscribe(filter, "", at(0), show)
    }

    fn of_user(user: &str) -> Filter {
        Filter { who: sample::just(WhoPart::User, user), ..Filter::default() }
    }

    fn show(trace: &Trace) -> String {
        trace.who.user.to_string()
    }

    fn text(piece: Vec<u8>) -> String {
        String::from_utf8(piece).unwrap()
    }

    #[test]
    fn subscriber_gets_what_passes_its_filter() {
        let mut live_tail = LiveTail::new(at(0));
        let all = subscribe(&mut live_tail, Filter::default()).unwrap();
        let one = subscribe(&mut live_tail, of_user("user-1")).unwrap();
        let none = subscribe(&mut live_tail, of_user("nobody")).unwrap();
        let mut traces = traces(50);
        live_tail.send(&mut traces, at(1), show);
        assert_eq!(text(all.try_recv().unwrap()).matches("\ndata: user-").count(), 50);
        let received = text(one.try_recv().unwrap());
        let wanted = traces.iter().filter(|trace| &*trace.who.user == "user-1").count();
        assert_eq!(
            (received.matches("data: ").count(), received.matches("data: user-1\n\n").count()),
            (wanted, wanted)
        );
        assert!(none.is_empty(), "an empty batch is not sent");
    }

    #[test]
    fn slow_subscriber_loses_traces_and_learns_how_many() {
        let mut live_tail = LiveTail::new(at(0));
        let slow = subscribe(&mut live_tail, Filter::default()).unwrap();
        let batches = PIECES_MAX as u64 + 5;
        for _ in 0..batches {
            live_tail.send(&mut traces(3), at(1), show);
        }
        assert_eq!(slow.drain().count(), PIECES_MAX);
        live_tail.beat(at(2));
        assert_eq!(text(slow.try_recv().unwrap()), "event: dropped\ndata: {\"count\":15}\n\n");
        live_tail.send(&mut traces(1), at(3), show);
        assert!(text(slow.try_recv().unwrap()).starts_with("event: trace\n"), "a loss is reported once");
    }

    #[test]
    fn large_batch_is_cut() {
        let mut live_tail = LiveTail::new(at(0));
        let all = subscribe(&mut live_tail, Filter::default()).unwrap();
        live_tail.send(&mut traces(ITEMS_MAX as u64 + 7), at(1), show);
        let received = text(all.try_recv().unwrap());
        assert_eq!(received.matches("event: trace").count(), ITEMS_MAX);
        assert!(received.starts_with("event: dropped\ndata: {\"count\":7}\n\n"), "the loss is reported at once");
    }

    #[test]
    fn silence_is_broken_in_time_and_a_gone_subscriber_is_removed() {
        let mut live_tail = LiveTail::new(at(0));
        let waiting = subscribe(&mut live_tail, Filter::default()).unwrap();
        drop(subscribe(&mut live_tail, Filter::default()));
        live_tail.beat(at(SILENCE_MS - 1));
        assert_eq!(live_tail.subscribers.len(), 1, "the one that left");
        assert!(waiting.is_empty());
        live_tail.beat(at(SILENCE_MS));
        assert_eq!(text(waiting.try_recv().unwrap()), ": still there\n\n");
    }

    #[test]
    fn number_of_subscribers_is_bounded() {
        let mut live_tail = LiveTail::new(at(0));
        let mut all: Vec<_> =
            (0..SUBSCRIBERS_MAX).map(|_| subscribe(&mut live_tail, Filter::default()).unwrap()).collect();
        assert!(subscribe(&mut live_tail, Filter::default()).is_none());
        all.pop();
        assert!(subscribe(&mut live_tail, Filter::default()).is_some());
    }

    /// What a subscriber that comes back with this id gets at once.
    fn come_back(live_tail: &mut LiveTail, filter: Filter, last: &str) -> String {
        let sent = live_tail.subscribe(filter, last, at(9), show).unwrap();
        sent.try_iter().map(text).collect()
    }

    #[test]
    fn returning_subscriber_gets_what_it_missed_once() {
        let mut live_tail = LiveTail::new(at(0));
        let one = of_user("user-1");
        assert_eq!(come_back(&mut live_tail, Filter::default(), "0"), "", "there are no traces yet");
        let mut traces = traces(30);
        live_tail.send(&mut traces[..20], at(1), show);
        live_tail.send(&mut traces[20..], at(2), show);
        let missed = come_back(&mut live_tail, Filter::default(), "17");
        let numbers: Vec<&str> = missed.lines().filter_map(|line| line.strip_prefix("id: ")).collect();
        assert_eq!(numbers, (18..=30).map(|n| n.to_string()).collect::<Vec<_>>());
        assert!(!missed.contains("gap") && missed.starts_with("event: trace\nid: 18\ndata: user-"), "{missed}");
        let wanted = traces[17..].iter().filter(|trace| &*trace.who.user == "user-1").count();
        let received = come_back(&mut live_tail, one, "17");
        assert_eq!((received.matches("data: ").count(), received.matches("data: user-1\n").count()), (wanted, wanted));
        assert_eq!(come_back(&mut live_tail, Filter::default(), "30"), "", "nothing was missed");
        assert_eq!(come_back(&mut live_tail, Filter::default(), ""), "", "new subscribers get nothing old");
    }

    #[test]
    fn traces_that_left_the_buffer_are_reported_as_a_gap() {
        let mut live_tail = LiveTail::new(at(0));
        live_tail.send(&mut traces(BUFFER_MAX as u64 - 5), at(1), show);
        live_tail.send(&mut traces(8), at(1), show);
        assert_eq!(live_tail.buffer.len(), BUFFER_MAX);
        let gap = "event: gap\ndata: {}\n\nevent: trace\nid: 4\n";
        assert!(come_back(&mut live_tail, Filter::default(), "2").starts_with(gap));
        assert!(come_back(&mut live_tail, Filter::default(), "3").starts_with("event: trace\nid: 4\n"));
        live_tail.send(&mut traces(3 * BUFFER_MAX as u64), at(1), show);
        let all = come_back(&mut live_tail, Filter::default(), "3");
        assert_eq!((live_tail.buffer.len(), all.matches("event: trace").count()), (BUFFER_MAX, BUFFER_MAX));
    }

    #[test]
    fn id_of_another_process_gets_a_gap_and_the_whole_buffer() {
        let mut earlier = LiveTail::new(Now { mono_ns: 0, wall_ms: 1_700_000_000_000 });
        let mut later = LiveTail::new(Now { mono_ns: 0, wall_ms: 1_700_000_000_001 });
        earlier.send(&mut traces(3_000), at(1), show);
        later.send(&mut traces(3), at(1), show);
        let (of_earlier, of_later) = (earlier.number.to_string(), later.number.to_string());
        for (live_tail, id, buffered) in [(&mut later, &*of_earlier, 3), (&mut earlier, &*of_later, BUFFER_MAX)] {
            let received = come_back(live_tail, Filter::default(), id);
            assert!(received.starts_with("event: gap\n"), "{received}");
            assert_eq!(received.matches("event: trace").count(), buffered);
        }
        assert_eq!(come_back(&mut later, Filter::default(), "an id").matches("event: trace").count(), 3);
    }
}
