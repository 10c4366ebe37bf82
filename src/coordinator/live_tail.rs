//! Who follows the traces as they come: a bounded number of live streams, each with a filter and a bounded queue. On the
//! coordinator's thread, fed with each batch. It never waits for a follower: who is too slow loses traces, and is told how
//! many.
//!
//! Each trace has a number, which is its event's id. Who comes back with the last one that it saw is told what it missed, as
//! far as that is among the newest traces, which are kept for it. Between two processes numbers do not collide: they begin
//! with the time at which theirs began.

use std::collections::VecDeque;
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

/// Newest traces that are kept for those who come back. Arbitrary: seconds of a busy gateway, less than half a megabyte.
const KEPT_MAX: usize = 200;
/// Numbers of a process begin at its start in milliseconds, times this: above all of an earlier one's.
const NUMBERS_A_MS: u64 = 1 << 20;

/// Everyone who follows.
pub(super) struct Followers {
    all: Vec<Follower>,
    /// The newest traces, the oldest first, without bodies.
    kept: VecDeque<Trace>,
    /// Of the newest trace, or that before the first.
    number: u64,
}

struct Follower {
    filter: Filter,
    pieces: flume::Sender<Vec<u8>>,
    /// Lost since it was last told.
    dropped: u64,
    told_ms: u64,
}

impl Followers {
    /// Of a process that begins now.
    pub(super) fn new(now: Now) -> Followers {
        Followers { all: Vec::new(), kept: VecDeque::new(), number: now.wall_ms.saturating_mul(NUMBERS_A_MS) }
    }

    /// Someone more, if there is room. `last` is the id of the last event that it saw, empty if it is new; `show` as in
    /// [`Followers::tell`].
    pub(super) fn follow(
        &mut self,
        filter: Filter,
        last: &str,
        now: Now,
        show: impl Fn(&Trace) -> String,
    ) -> Option<flume::Receiver<Vec<u8>>> {
        self.all.retain(|follower| !follower.pieces.is_disconnected());
        if self.all.len() >= FOLLOWERS_MAX {
            return None;
        }
        let (pieces, sent) = flume::bounded(PIECES_MAX);
        let mut follower = Follower { filter, pieces, dropped: 0, told_ms: now.mono_ms() };
        // An id that is none of ours is no reason to refuse: who sent it made it up, and is told what is there.
        if !last.is_empty() {
            self.repeat(&mut follower, last.parse().unwrap_or(0), now, show);
        }
        self.all.push(follower);
        Some(sent)
    }

    /// Tells one who came back what it missed, and whether something is gone: of that nobody knows whether its filter lets it
    /// pass, so that it is not counted.
    fn repeat(&self, follower: &mut Follower, last: u64, now: Now, show: impl Fn(&Trace) -> String) {
        let mut events = Vec::new();
        let gone = self.number - self.kept.len() as u64;
        // A number that was not given yet is another process's, whose clock was ahead.
        let is_ours = last <= self.number;
        if last < gone || !is_ours {
            event("gap", None, "{}", &mut events);
        }
        for (number, trace) in (gone + 1..).zip(&self.kept) {
            if (number > last || !is_ours) && follower.filter.matches(trace) {
                event("trace", Some(number), &show(trace), &mut events);
            }
        }
        if !events.is_empty() {
            follower.send(events, 0, now);
        }
    }

    /// Tells everyone of the traces that they want to hear of. `show` makes the text of one, which has no line end in it.
    pub(super) fn tell(&mut self, traces: &mut [Trace], now: Now, show: impl Fn(&Trace) -> String) {
        let first = self.number + 1;
        self.keep(traces);
        if self.all.is_empty() {
            return;
        }
        let mut texts: Vec<Option<Rc<str>>> = vec![None; traces.len()];
        self.all.retain_mut(|follower| {
            let mut events = Vec::new();
            let mut count = 0;
            for (number, (trace, text)) in (first..).zip(traces.iter().zip(&mut texts)) {
                if !follower.filter.matches(trace) {
                    continue;
                }
                if count == ITEMS_MAX {
                    follower.dropped += 1;
                    continue;
                }
                count += 1;
                let text = text.get_or_insert_with(|| show(trace).into());
                event("trace", Some(number), text, &mut events);
            }
            count == 0 || follower.send(events, count as u64, now)
        });
    }

    fn keep(&mut self, traces: &mut [Trace]) {
        self.number += traces.len() as u64;
        let newest = traces.len().saturating_sub(KEPT_MAX);
        let room = KEPT_MAX - (traces.len() - newest);
        self.kept.drain(..self.kept.len().saturating_sub(room));
        self.kept.extend(traces[newest..].iter_mut().map(Trace::without_bodies));
    }

    /// To be called now and then: sends a word to those who have heard nothing for long.
    pub(super) fn beat(&mut self, now: Now) {
        self.all.retain_mut(|follower| {
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
            event("dropped", None, &format!("{{\"count\":{}}}", self.dropped), &mut piece);
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

    fn follow(followers: &mut Followers, filter: Filter) -> Option<flume::Receiver<Vec<u8>>> {
        followers.follow(filter, "", at(0), show)
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
    fn each_hears_of_what_passes_its_filter() {
        let mut followers = Followers::new(at(0));
        let all = follow(&mut followers, Filter::default()).unwrap();
        let one = follow(&mut followers, of_user("user-1")).unwrap();
        let none = follow(&mut followers, of_user("nobody")).unwrap();
        let mut traces = traces(50);
        followers.tell(&mut traces, at(1), show);
        assert_eq!(text(all.try_recv().unwrap()).matches("\ndata: user-").count(), 50);
        let heard = text(one.try_recv().unwrap());
        let wanted = traces.iter().filter(|trace| &*trace.who.user == "user-1").count();
        assert_eq!((heard.matches("data: ").count(), heard.matches("data: user-1\n\n").count()), (wanted, wanted));
        assert!(none.is_empty(), "nothing is not worth a word");
    }

    #[test]
    fn one_who_is_slow_loses_traces_and_is_told_how_many() {
        let mut followers = Followers::new(at(0));
        let slow = follow(&mut followers, Filter::default()).unwrap();
        let batches = PIECES_MAX as u64 + 5;
        for _ in 0..batches {
            followers.tell(&mut traces(3), at(1), show);
        }
        assert_eq!(slow.drain().count(), PIECES_MAX);
        followers.beat(at(2));
        assert_eq!(text(slow.try_recv().unwrap()), "event: dropped\ndata: {\"count\":15}\n\n");
        followers.tell(&mut traces(1), at(3), show);
        assert!(text(slow.try_recv().unwrap()).starts_with("event: trace\n"), "it was told once");
    }

    #[test]
    fn a_large_batch_is_cut() {
        let mut followers = Followers::new(at(0));
        let all = follow(&mut followers, Filter::default()).unwrap();
        followers.tell(&mut traces(ITEMS_MAX as u64 + 7), at(1), show);
        let heard = text(all.try_recv().unwrap());
        assert_eq!(heard.matches("event: trace").count(), ITEMS_MAX);
        assert!(heard.starts_with("event: dropped\ndata: {\"count\":7}\n\n"), "it is told at once");
    }

    #[test]
    fn silence_is_broken_in_time_and_who_left_is_forgotten() {
        let mut followers = Followers::new(at(0));
        let waiting = follow(&mut followers, Filter::default()).unwrap();
        drop(follow(&mut followers, Filter::default()));
        followers.beat(at(BEAT_MS - 1));
        assert_eq!(followers.all.len(), 1, "whoever left");
        assert!(waiting.is_empty());
        followers.beat(at(BEAT_MS));
        assert_eq!(text(waiting.try_recv().unwrap()), ": still there\n\n");
    }

    #[test]
    fn there_is_room_for_some() {
        let mut followers = Followers::new(at(0));
        let mut all: Vec<_> = (0..FOLLOWERS_MAX).map(|_| follow(&mut followers, Filter::default()).unwrap()).collect();
        assert!(follow(&mut followers, Filter::default()).is_none());
        all.pop();
        assert!(follow(&mut followers, Filter::default()).is_some());
    }

    /// What one hears at once who comes back with this id.
    fn again(followers: &mut Followers, filter: Filter, last: &str) -> String {
        let sent = followers.follow(filter, last, at(9), show).unwrap();
        sent.try_iter().map(text).collect()
    }

    #[test]
    fn one_who_comes_back_hears_what_it_missed_once() {
        let mut followers = Followers::new(at(0));
        let one = of_user("user-1");
        assert_eq!(again(&mut followers, Filter::default(), "0"), "", "nothing came yet");
        let mut traces = traces(30);
        followers.tell(&mut traces[..20], at(1), show);
        followers.tell(&mut traces[20..], at(2), show);
        let missed = again(&mut followers, Filter::default(), "17");
        let numbers: Vec<&str> = missed.lines().filter_map(|line| line.strip_prefix("id: ")).collect();
        assert_eq!(numbers, (18..=30).map(|n| n.to_string()).collect::<Vec<_>>());
        assert!(!missed.contains("gap") && missed.starts_with("event: trace\nid: 18\ndata: user-"), "{missed}");
        let wanted = traces[17..].iter().filter(|trace| &*trace.who.user == "user-1").count();
        let heard = again(&mut followers, one, "17");
        assert_eq!((heard.matches("data: ").count(), heard.matches("data: user-1\n").count()), (wanted, wanted));
        assert_eq!(again(&mut followers, Filter::default(), "30"), "", "it missed nothing");
        assert_eq!(again(&mut followers, Filter::default(), ""), "", "it is new");
    }

    #[test]
    fn what_is_gone_is_told_as_a_gap() {
        let mut followers = Followers::new(at(0));
        followers.tell(&mut traces(KEPT_MAX as u64 - 5), at(1), show);
        followers.tell(&mut traces(8), at(1), show);
        assert_eq!(followers.kept.len(), KEPT_MAX);
        let gap = "event: gap\ndata: {}\n\nevent: trace\nid: 4\n";
        assert!(again(&mut followers, Filter::default(), "2").starts_with(gap));
        assert!(again(&mut followers, Filter::default(), "3").starts_with("event: trace\nid: 4\n"));
        followers.tell(&mut traces(3 * KEPT_MAX as u64), at(1), show);
        let all = again(&mut followers, Filter::default(), "3");
        assert_eq!((followers.kept.len(), all.matches("event: trace").count()), (KEPT_MAX, KEPT_MAX));
    }

    #[test]
    fn an_id_of_another_process_means_a_gap_and_all_that_is_kept() {
        let mut earlier = Followers::new(Now { mono_ns: 0, wall_ms: 1_700_000_000_000 });
        let mut later = Followers::new(Now { mono_ns: 0, wall_ms: 1_700_000_000_001 });
        earlier.tell(&mut traces(3_000), at(1), show);
        later.tell(&mut traces(3), at(1), show);
        let (of_earlier, of_later) = (earlier.number.to_string(), later.number.to_string());
        for (followers, id, kept) in [(&mut later, &*of_earlier, 3), (&mut earlier, &*of_later, KEPT_MAX)] {
            let heard = again(followers, Filter::default(), id);
            assert!(heard.starts_with("event: gap\n"), "{heard}");
            assert_eq!(heard.matches("event: trace").count(), kept);
        }
        assert_eq!(again(&mut later, Filter::default(), "an id").matches("event: trace").count(), 3);
    }
}
