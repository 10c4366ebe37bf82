//! Who follows the traces as they come: a bounded number of live streams, each with a filter and a bounded queue. On the
//! coordinator's thread, fed with each batch. It never waits for a follower: who is too slow loses traces, and is told how
//! many.

use std::rc::Rc;

use crate::clock::Now;
use crate::link::trace::Trace;

use super::store::reader::Filter;

/// Live streams at once. Arbitrary: more than there are people who watch one gateway.
const FOLLOWERS_MAX: usize = 32;
/// Pieces that may wait for one follower. Arbitrary: with some shards that report four times a second, several seconds.
const PIECES_MAX: usize = 32;
/// Traces of one batch that one follower gets; no one reads more in a quarter of a second. Arbitrary.
const ITEMS_MAX: usize = 200;
/// A follower hears something at least so often, so that no proxy in between takes the connection for dead. Browsers and
/// proxies wait 30 s and more (WHATWG HTML, section 9.2.7, advises 15 s).
const BEAT_MS: u64 = 15_000;

/// Everyone who follows.
#[derive(Default)]
pub(super) struct Followers(Vec<Follower>);

struct Follower {
    filter: Filter,
    pieces: flume::Sender<Vec<u8>>,
    /// Lost since it was last told.
    dropped: u64,
    told_ms: u64,
}

impl Followers {
    /// Someone more, if there is room.
    pub(super) fn follow(&mut self, filter: Filter, now: Now) -> Option<flume::Receiver<Vec<u8>>> {
        self.0.retain(|follower| !follower.pieces.is_disconnected());
        if self.0.len() >= FOLLOWERS_MAX {
            return None;
        }
        let (pieces, sent) = flume::bounded(PIECES_MAX);
        self.0.push(Follower { filter, pieces, dropped: 0, told_ms: now.mono_ms() });
        Some(sent)
    }

    /// Tells everyone of the traces that they want to hear of. `show` makes the text of one, which has no line end in it.
    pub(super) fn tell(&mut self, traces: &[Trace], now: Now, show: impl Fn(&Trace) -> String) {
        if self.0.is_empty() {
            return;
        }
        let mut texts: Vec<Option<Rc<str>>> = vec![None; traces.len()];
        self.0.retain_mut(|follower| {
            let mut events = Vec::new();
            let mut count = 0;
            for (trace, text) in traces.iter().zip(&mut texts).filter(|(trace, _)| follower.filter.passes(trace)) {
                if count == ITEMS_MAX {
                    follower.dropped += 1;
                    continue;
                }
                count += 1;
                let text = text.get_or_insert_with(|| show(trace).into());
                event("trace", text, &mut events);
            }
            count == 0 || follower.send(events, count as u64, now)
        });
    }

    /// To be called now and then: sends a word to those who have heard nothing for long.
    pub(super) fn beat(&mut self, now: Now) {
        self.0.retain_mut(|follower| {
            let silent = now.mono_ms() >= follower.told_ms + BEAT_MS;
            match silent || follower.dropped > 0 {
                true => follower.send(if silent { b": still there\n\n".to_vec() } else { Vec::new() }, 0, now),
                false => !follower.pieces.is_disconnected(),
            }
        });
    }
}

impl Follower {
    /// Sends these events, with word of what was lost before them; false if it has left.
    fn send(&mut self, events: Vec<u8>, count: u64, now: Now) -> bool {
        let mut piece = Vec::new();
        if self.dropped > 0 {
            event("dropped", &format!("{{\"count\":{}}}", self.dropped), &mut piece);
        }
        piece.extend(events);
        match self.pieces.try_send(piece) {
            Ok(()) => (self.dropped, self.told_ms) = (0, now.mono_ms()),
            Err(flume::TrySendError::Full(_)) => self.dropped += count,
            Err(flume::TrySendError::Disconnected(_)) => return false,
        }
        true
    }
}

/// Appends a server-sent event.
fn event(name: &str, data: &str, to: &mut Vec<u8>) {
    for part in ["event: ", name, "\ndata: ", data, "\n\n"] {
        to.extend_from_slice(part.as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::coordinator::store::tests::sample::{self, Seeded, Spread};

    fn at(ms: u64) -> Now {
        Now { mono_ns: ms * 1_000_000, wall_ms: 0 }
    }

    fn traces(n: u64) -> Vec<Trace> {
        sample::traces(&mut Seeded(7), Spread { from_ms: 0, ms: 1000, users: 3, joins_one_in: 0 }, n)
    }

    fn show(trace: &Trace) -> String {
        trace.user.to_string()
    }

    fn text(piece: Vec<u8>) -> String {
        String::from_utf8(piece).unwrap()
    }

    #[test]
    fn each_hears_of_what_passes_its_filter() {
        let mut followers = Followers::default();
        let all = followers.follow(Filter::default(), at(0)).unwrap();
        let one = followers.follow(Filter { user: Some("user-1".into()), ..Filter::default() }, at(0)).unwrap();
        let none = followers.follow(Filter { user: Some("nobody".into()), ..Filter::default() }, at(0)).unwrap();
        let traces = traces(50);
        followers.tell(&traces, at(1), show);
        assert_eq!(text(all.try_recv().unwrap()).matches("event: trace\ndata: user-").count(), 50);
        let heard = text(one.try_recv().unwrap());
        let wanted = traces.iter().filter(|trace| &*trace.user == "user-1").count();
        assert_eq!((heard.matches("data: ").count(), heard.matches("data: user-1\n\n").count()), (wanted, wanted));
        assert!(none.is_empty(), "nothing is not worth a word");
    }

    #[test]
    fn one_who_is_slow_loses_traces_and_is_told_how_many() {
        let mut followers = Followers::default();
        let slow = followers.follow(Filter::default(), at(0)).unwrap();
        let batches = PIECES_MAX as u64 + 5;
        for _ in 0..batches {
            followers.tell(&traces(3), at(1), show);
        }
        assert_eq!(slow.drain().count(), PIECES_MAX);
        followers.beat(at(2));
        assert_eq!(text(slow.try_recv().unwrap()), "event: dropped\ndata: {\"count\":15}\n\n");
        followers.tell(&traces(1), at(3), show);
        assert!(text(slow.try_recv().unwrap()).starts_with("event: trace\n"), "it was told once");
    }

    #[test]
    fn a_large_batch_is_cut() {
        let mut followers = Followers::default();
        let all = followers.follow(Filter::default(), at(0)).unwrap();
        followers.tell(&traces(ITEMS_MAX as u64 + 7), at(1), show);
        let heard = text(all.try_recv().unwrap());
        assert_eq!(heard.matches("event: trace").count(), ITEMS_MAX);
        assert!(heard.starts_with("event: dropped\ndata: {\"count\":7}\n\n"), "it is told at once");
    }

    #[test]
    fn silence_is_broken_in_time_and_who_left_is_forgotten() {
        let mut followers = Followers::default();
        let waiting = followers.follow(Filter::default(), at(0)).unwrap();
        drop(followers.follow(Filter::default(), at(0)));
        followers.beat(at(BEAT_MS - 1));
        assert_eq!(followers.0.len(), 1, "whoever left");
        assert!(waiting.is_empty());
        followers.beat(at(BEAT_MS));
        assert_eq!(text(waiting.try_recv().unwrap()), ": still there\n\n");
    }

    #[test]
    fn there_is_room_for_some() {
        let mut followers = Followers::default();
        let mut all: Vec<_> = (0..FOLLOWERS_MAX).map(|_| followers.follow(Filter::default(), at(0)).unwrap()).collect();
        assert!(followers.follow(Filter::default(), at(0)).is_none());
        all.pop();
        assert!(followers.follow(Filter::default(), at(0)).is_some());
    }
}
