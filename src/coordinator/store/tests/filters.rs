//! Compares lists with a naive filter over a vector of the same requests.

use hashbrown::HashMap;

use super::record::reader;
use super::sample::{AGENTS, MODELS, PROVIDERS, Seeded, Spread, TENANTS, batches, just, traces};
use super::*;
use crate::coordinator::store::reader::{Filter, LISTED_REQUESTS_MAX, Reader, StatusFilter};
use crate::link::trace::{Marks, Trace};
use crate::units::MicroUsd;
use crate::who::WhoPart;

const HOURS_MS: u64 = 6 * 3_600_000;
const SPREAD: Spread = Spread { from_ms: NOW_MS, ms: HOURS_MS, users: 15, joins_one_in: 2 };

/// A trace for the naive filter: its requests in the order in which they were recorded.
struct Naive<'t> {
    requests: Vec<&'t Trace>,
    /// The place of its first request among all.
    place: usize,
}

fn naive(all: &[Trace]) -> Vec<Naive<'_>> {
    let mut by_id: HashMap<u128, Naive<'_>> = HashMap::new();
    for (place, trace) in all.iter().enumerate() {
        by_id.entry(trace.trace_id).or_insert(Naive { requests: Vec::new(), place }).requests.push(trace);
    }
    let mut list: Vec<Naive<'_>> = by_id.into_values().collect();
    list.sort_by_key(|naive| std::cmp::Reverse((naive.requests[0].started_ms, naive.place)));
    list
}

fn shown(naive: &Naive<'_>, filter: &Filter) -> bool {
    let any = |is: &dyn Fn(&Trace) -> bool| naive.requests.iter().any(|trace| is(trace));
    let named = |wanted: &Option<String>, of: &dyn Fn(&Trace, &str) -> bool| {
        wanted.as_deref().is_none_or(|wanted| any(&|trace| of(trace, wanted)))
    };
    let marks = naive.requests.iter().fold(Marks::default(), |marks, trace| marks.with(trace.marks()));
    let status = match filter.status {
        None => true,
        Some(StatusFilter::Ok) => !marks.has(Marks::ERROR) && !marks.has(Marks::BLOCKED),
        Some(StatusFilter::Marked(wanted)) => marks.has(wanted),
        Some(StatusFilter::Class(class)) => any(&|trace| trace.status / 100 == class),
        Some(StatusFilter::Code(code)) => any(&|trace| trace.status == code),
    };
    let started_ms = naive.requests[0].started_ms;
    let end_ns = |trace: &&Trace| trace.started_ms as u128 * 1_000 + u128::from(trace.duration_ns / 1_000);
    let ends = naive.requests.iter().map(end_ns).max().unwrap();
    let starts = naive.requests.iter().map(|trace| u128::from(trace.started_ms) * 1_000).min().unwrap();
    let cost: i64 = naive.requests.iter().map(|trace| trace.cost.0).sum();
    status
        && filter.who.parts().all(|(part, wanted)| named(wanted, &|trace, wanted| &**trace.who.get(part) == wanted))
        && named(&filter.provider, &|trace, wanted| &*trace.provider == wanted)
        && named(&filter.model, &|trace, wanted| &*trace.model == wanted || &*trace.model_asked == wanted)
        && named(&filter.policy, &|trace, wanted| trace.matches.iter().any(|matched| &*matched.id == wanted))
        && named(&filter.q, &found)
        && filter.from_ms.is_none_or(|from| started_ms >= from)
        && filter.to_ms.is_none_or(|to| started_ms < to)
        && filter.min_cost.is_none_or(|least| cost >= least.0)
        && filter.min_ms.is_none_or(|least| ends - starts >= u128::from(least) * 1_000)
}

fn found(trace: &Trace, text: &str) -> bool {
    let text = text.to_ascii_lowercase();
    let error = trace.refusal.as_ref().map(|refused| &*refused.message).or(trace.cut.as_deref()).unwrap_or_default();
    let who = trace.who.parts().map(|(_, name)| &**name);
    who.chain([&*trace.provider, &*trace.model_asked, &*trace.model, error])
        .any(|name| name.to_ascii_lowercase().contains(&text))
        || format!("{:032x}", trace.trace_id).starts_with(&text)
        || trace.request_id.to_ascii_lowercase() == text
}

fn random(seeded: &mut Seeded, all: &[Trace]) -> Filter {
    let mut filter = Filter::default();
    let texts = ["user-1", "CODER", "gpt", "500", "nobody", "-", "4", "left", "übers", "%", "a"];
    for _ in 0..=seeded.below(3) {
        match seeded.below(12) {
            0 => filter.who.user = Some(format!("user-{}", seeded.below(20))),
            1 => filter.who.agent = Some(seeded.pick(&AGENTS).to_owned()),
            2 => *filter.who.get_mut(WhoPart::Tenant) = Some(seeded.pick(&TENANTS).to_owned()),
            3 => filter.provider = Some(seeded.pick(&PROVIDERS).to_owned()),
            4 => filter.model = Some(seeded.pick(&MODELS).to_owned()),
            5 => {
                let statuses =
                    ["ok", "error", "blocked", "alerted", "downgraded", "shadowed", "hit", "cut", "4xx", "502", "2xx"];
                filter.status = Some(seeded.pick(&statuses).parse().unwrap());
            }
            6 => filter.from_ms = Some(NOW_MS + seeded.below(HOURS_MS)),
            7 => filter.to_ms = Some(NOW_MS + seeded.below(HOURS_MS)),
            8 => filter.min_cost = Some(MicroUsd(seeded.below(40_000) as i64)),
            9 => filter.min_ms = Some(seeded.below(6_000)),
            10 => filter.policy = Some(seeded.pick(&["pol_cheaper", "pol_watch", "pol_trial", "pol_none"]).to_owned()),
            _ => {
                let of = &all[seeded.below(all.len() as u64) as usize];
                filter.q = Some(match seeded.below(4) {
                    0 => format!("{:032x}", of.trace_id)[..seeded.below(32) as usize + 1].to_owned(),
                    1 => of.request_id.to_string(),
                    _ => seeded.pick(&texts).to_owned(),
                });
            }
        }
    }
    filter
}

fn ids(reader: &Reader, filter: &Filter, paging: Paging) -> (Vec<u128>, u64) {
    let page = reader.traces(filter, paging).unwrap();
    (page.items.iter().map(|row| row.trace_id).collect(), page.total)
}

#[test]
fn every_filter_agrees_with_the_naive_filter() {
    let (_folder, path) = folder();
    let mut store = open(&path);
    let mut seeded = Seeded(77);
    let all = traces(&mut seeded, SPREAD, 1_200);
    store.record(&batches(all.clone(), 100), NOW_MS).unwrap();
    let reader = reader(&path);
    let list = naive(&all);
    let (mut some, mut none) = (0, 0);
    for _ in 0..400 {
        let filter = random(&mut seeded, &all);
        let expected: Vec<u128> =
            list.iter().filter(|naive| shown(naive, &filter)).map(|naive| naive.requests[0].trace_id).collect();
        let (page, page_size) = (1 + seeded.below(4) as u32, 1 + seeded.below(60) as u32);
        let (found, total) = ids(&reader, &filter, Paging { page, page_size });
        assert_eq!(total, expected.len() as u64, "{filter:?}");
        let from = ((page - 1) * page_size) as usize;
        let on_page: Vec<u128> = expected.iter().copied().skip(from).take(page_size as usize).collect();
        assert_eq!(found, on_page, "{filter:?}");
        match expected.is_empty() {
            true => none += 1,
            false => some += 1,
        }
        let Some(at) = (!expected.is_empty()).then(|| seeded.below(expected.len() as u64) as usize) else { continue };
        let neighbours = reader.neighbours(&filter, expected[at]).unwrap();
        assert_eq!(neighbours.newer, at.checked_sub(1).map(|at| expected[at]), "{filter:?}");
        assert_eq!(neighbours.older, expected.get(at + 1).copied(), "{filter:?}");
        let after = Filter { after: Some(expected[at]), ..filter };
        assert_eq!(
            ids(&reader, &after, Paging { page: 1, page_size: 200 }).0,
            expected[at + 1..].iter().copied().take(200).collect::<Vec<_>>()
        );
    }
    assert!(some > 100 && none > 20, "{some} {none}");
}

#[test]
fn paging_shows_each_trace_once_while_new_ones_arrive() {
    let (_folder, path) = folder();
    let mut store = open(&path);
    let mut seeded = Seeded(5);
    let all = traces(&mut seeded, Spread { joins_one_in: 0, ..SPREAD }, 300);
    store.record(&batches(all[..250].to_vec(), 250), NOW_MS).unwrap();
    let reader = reader(&path);
    let last = all[249].started_ms + 1;
    let expected: Vec<u128> = all[..250].iter().rev().map(|trace| trace.trace_id).collect();
    let mut late = batches(all[250..].to_vec(), 5).into_iter();
    let (mut by_time, mut by_trace, mut after) = (Vec::new(), Vec::new(), None);
    for page in 1..=7 {
        let bounded = Filter { to_ms: Some(last), ..Filter::default() };
        by_time.extend(ids(&reader, &bounded, Paging { page, page_size: 40 }).0);
        let rest = Filter { after, ..Filter::default() };
        let (items, _) = ids(&reader, &rest, Paging { page: 1, page_size: 40 });
        after = items.last().copied();
        by_trace.extend(items);
        let mut new = late.next().unwrap();
        new.sequence += 100;
        store.record(&[new], NOW_MS).unwrap();
    }
    assert_eq!(by_time, expected);
    assert_eq!(by_trace, expected);
    let (newest, total) = ids(&reader, &Filter::default(), Paging { page: 1, page_size: 1 });
    assert_eq!((newest[0], total), (all[284].trace_id, 285));
}

#[test]
fn filter_without_matches_is_an_empty_page() {
    let (_folder, path) = folder();
    let mut store = open(&path);
    let reader = reader(&path);
    let everything = Paging { page: 1, page_size: 50 };
    assert_eq!(ids(&reader, &Filter::default(), everything), (vec![], 0));
    store.record(&batches(traces(&mut Seeded(2), SPREAD, 10), 10), NOW_MS).unwrap();
    let nobody = Filter { who: just(WhoPart::User, "nobody"), ..Filter::default() };
    assert_eq!(ids(&reader, &nobody, everything), (vec![], 0));
    assert_eq!(ids(&reader, &Filter { after: Some(17), ..Filter::default() }, everything), (vec![], 0));
    let all = ids(&reader, &Filter { q: Some("  ".into()), ..Filter::default() }, everything);
    assert_eq!(all, ids(&reader, &Filter::default(), everything), "blanks are no search");
    assert_eq!(ids(&reader, &Filter::default(), Paging { page: u32::MAX, page_size: u32::MAX }), (vec![], all.1));
    let backwards = Filter { from_ms: Some(u64::MAX), to_ms: Some(0), ..Filter::default() };
    assert_eq!(ids(&reader, &backwards, everything), (vec![], 0));
    assert_eq!(reader.neighbours(&Filter::default(), 17).unwrap(), Default::default());
}

#[test]
fn live_filter_agrees_with_the_list() {
    let (_folder, path) = folder();
    let mut store = open(&path);
    let mut seeded = Seeded(91);
    let all = traces(&mut seeded, Spread { joins_one_in: 0, ..SPREAD }, 200);
    store.record(&batches(all.clone(), 100), NOW_MS).unwrap();
    let reader = reader(&path);
    let mut some = 0;
    for _ in 0..400 {
        let filter = random(&mut seeded, &all);
        let (mut listed, _) = ids(&reader, &filter, Paging { page: 1, page_size: 200 });
        let mut passing: Vec<u128> =
            all.iter().filter(|trace| filter.matches(trace)).map(|trace| trace.trace_id).collect();
        listed.sort_unstable();
        passing.sort_unstable();
        assert_eq!(passing, listed, "{filter:?}");
        some += usize::from(!listed.is_empty());
    }
    assert!(some > 100, "{some}");
}

#[test]
fn first_traces_and_facets_agree_with_the_list() {
    let (_folder, path) = folder();
    let mut store = open(&path);
    let mut seeded = Seeded(12);
    let all = traces(&mut seeded, SPREAD, 300);
    store.record(&batches(all.clone(), 100), NOW_MS).unwrap();
    let reader = reader(&path);
    for _ in 0..50 {
        let filter = random(&mut seeded, &all);
        let page = reader.listed_traces(&filter, Paging { page: 1, page_size: 40 }).unwrap();
        assert_eq!(reader.first_listed_traces(&filter, 40).unwrap(), page.items, "{filter:?}");
        for listed in &page.items {
            let shown = u64::from(LISTED_REQUESTS_MAX).min(listed.row.requests) as usize;
            assert_eq!(listed.requests.len(), shown);
            assert!(listed.requests.iter().all(|request| request.trace_id == listed.row.trace_id));
        }
        let names = reader.trace_facets(&filter, 1_000).unwrap();
        let who = names.who.parts().map(|(_, counts)| counts);
        for counts in who.chain([&names.provider, &names.model]) {
            assert_eq!(counts.iter().map(|(_, count)| count).sum::<u64>(), page.total, "{filter:?}");
            assert!(counts.is_sorted_by(|a, b| a.1 >= b.1), "{counts:?}");
        }
        assert_eq!(names.status.iter().map(|(_, count)| count).sum::<u64>(), page.total);
    }
}
