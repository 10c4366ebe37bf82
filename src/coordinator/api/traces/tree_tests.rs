use super::*;
use crate::link::trace::{Marks, PolicyFailure, PolicyMatch};
use crate::policy::Mode;
use crate::units::MicroUsd;

fn row(span_id: u64, parent: Option<u64>, started_ms: u64) -> RequestRow {
    RequestRow {
        span_id,
        parent_span_id: parent,
        started_ms,
        duration_ns: 9_000_000,
        endpoint: "/v1/chat/completions".into(),
        model: "gpt-4o".into(),
        model_asked: "gpt-4o".into(),
        status: 200,
        ..RequestRow::default()
    }
}

fn attempt(started_ns: u64, outcome: &'static str, first_byte_ns: Option<u64>) -> Attempt {
    Attempt {
        provider: "openai".into(),
        started_ns,
        connect_ns: Some(1_000_000),
        tls_ns: None,
        first_byte_ns,
        stream_ns: first_byte_ns.map(|_| 2_000_000),
        outcome: outcome.into(),
        status: first_byte_ns.map(|_| 200),
    }
}

#[test]
fn request_is_a_child_of_the_span_that_its_caller_named() {
    let rows = [
        row(1, Some(99), 1000),
        row(2, Some(1), 1010),
        row(3, Some(2), 1020),
        row(4, None, 1030),
        row(5, Some(1), 1040),
    ];
    let tree = tree(&rows, 1000);
    let ids = |spans: &[SpanNode]| spans.iter().map(|span| span.id.clone()).collect::<Vec<_>>();
    assert_eq!(ids(&tree), [span_id(1), span_id(4)]);
    assert_eq!(ids(&tree[0].children), [span_id(2), span_id(5)]);
    assert_eq!(ids(&tree[0].children[0].children), [span_id(3)]);
    assert_eq!((tree[0].parent_id.as_deref(), tree[0].start_ms), (Some("0000000000000063"), 0.0));
    assert_eq!((tree[0].children[1].start_ms, tree[0].children[1].duration_ms), (40.0, 9.0));
}

#[test]
fn circular_and_deep_parents_make_a_bounded_tree() {
    let circle = [row(1, Some(2), 0), row(2, Some(1), 1), row(3, Some(3), 2)];
    assert_eq!(tree(&circle, 0).len(), 2, "a request that names a later one, or itself, is a root");
    let long: Vec<RequestRow> = (1..=500).map(|n| row(n, n.checked_sub(1), n)).collect();
    let mut depth = 0;
    let spans = tree(&long, 0);
    let mut level: Vec<&SpanNode> = spans.iter().collect();
    let mut count = 0;
    while !level.is_empty() {
        (depth, count) = (depth + 1, count + level.len());
        level = level.iter().flat_map(|span| &span.children).collect();
    }
    assert_eq!((depth, count), (DEPTH_MAX, 500));
    // Two requests with one span id, as a copied header makes them.
    assert_eq!(tree(&[row(7, None, 0), row(7, None, 1), row(8, Some(7), 2)], 0).len(), 2);
}

#[test]
fn matches_cache_and_attempts_are_children_of_their_request() {
    let mut request = row(1, None, 2000);
    request.cost = MicroUsd(5);
    request.cache = CacheOutcome::Miss;
    request.detail.matches.push(PolicyMatch {
        id: "pol_1".into(),
        name: "no-opus".into(),
        action: Action::Alert,
        mode: Mode::Enforce,
        effective: true,
        note: "applied".into(),
        target: None,
    });
    let kind = "overflow".into();
    request.detail.faults.push(PolicyFailure { id: "pol_2".into(), name: "odd".into(), kind });
    request.detail.attempts =
        vec![attempt(1_000_000, "unreachable", None), attempt(3_000_000, "answered", Some(4_000_000))];
    let root = &tree(std::slice::from_ref(&request), 1500)[0];
    let shown: Vec<_> =
        root.children.iter().map(|span| (&*span.name, span.status, span.start_ms, span.duration_ms)).collect();
    assert_eq!(
        shown,
        [
            ("policy no-opus", SpanStatus::Ok, 500.0, 0.0),
            ("policy odd", SpanStatus::Error, 500.0, 0.0),
            ("cache", SpanStatus::Ok, 500.0, 0.0),
            ("attempt openai", SpanStatus::Error, 501.0, 1.0),
            ("attempt openai", SpanStatus::Ok, 503.0, 6.0),
        ]
    );
    assert_eq!((root.children[3].cost_usd, root.children[4].cost_usd), (None, Some(0.000_005)));
    assert_eq!(root.children[4].id, "0000000000000001-5");
    let moments: Vec<_> = timeline(&[request], 1500).into_iter().map(|moment| (moment.at_ms, moment.name)).collect();
    let expected = [
        (500.0, "request received"),
        (500.0, "policy no-opus matched"),
        (500.0, "policy odd failed"),
        (501.0, "sent to openai"),
        (502.0, "unreachable"),
        (503.0, "sent to openai"),
        (507.0, "first byte"),
        (509.0, "answered with 200"),
    ];
    assert_eq!(moments, expected.map(|(at, name)| (at, name.to_owned())));
}

#[test]
fn span_status_follows_from_the_marks_of_the_request() {
    for (marks, status) in [
        (Marks::default(), SpanStatus::Ok),
        (Marks::ERROR, SpanStatus::Error),
        (Marks::BLOCKED, SpanStatus::Blocked),
        (Marks::DOWNGRADED.with(Marks::ERROR), SpanStatus::Error),
    ] {
        let request = RequestRow { marks, ..row(1, None, 0) };
        assert_eq!(tree(&[request], 0)[0].status, status);
    }
}
