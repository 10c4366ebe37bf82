use super::*;

const OPENAI: Counting =
    Counting { cache: PartCounting::Inside, reasoning: PartCounting::Inside, later_report: LaterReport::Replaces };
const ANTHROPIC: Counting = Counting { cache: PartCounting::OnTop, later_report: LaterReport::Completes, ..OPENAI };
const GEMINI: Counting = Counting { reasoning: PartCounting::OnTop, ..OPENAI };

/// Input, cache read, cache write, output.
fn report(figures: [u64; 4]) -> UsageReport {
    let [input, cache_read, cache_write, output] = figures.map(Some);
    UsageReport { input, cache_read, cache_write, output, ..UsageReport::default() }
}

#[test]
fn cached_tokens_inside_the_input_are_not_counted_twice() {
    let usage = report([100, 60, 30, 7]).settle(&OPENAI);
    assert_eq!(usage, Usage { input: 100, cache_read: 60, cache_write: 30, output: 7, total: 107, ..Usage::default() });
}

#[test]
fn cached_tokens_on_top_of_the_input_are_added_to_it() {
    let usage = report([10, 60, 30, 7]).settle(&ANTHROPIC);
    assert_eq!(usage, Usage { input: 100, cache_read: 60, cache_write: 30, output: 7, total: 107, ..Usage::default() });
}

#[test]
fn reasoning_on_top_of_the_output_is_added_to_it() {
    let report = UsageReport { reasoning: Some(5), total: Some(22), ..report([10, 4, 0, 7]) };
    let usage = report.settle(&GEMINI);
    assert_eq!(usage, Usage { input: 10, cache_read: 4, output: 12, reasoning: 5, total: 22, ..Usage::default() });
    assert!(report.settle(&OPENAI).flawed, "the total does not add up when reasoning is inside the output");
}

#[test]
fn later_report_replaces_the_earlier_one() {
    let mut reports = UsageReports::new(OPENAI);
    assert_eq!(reports.settle(), None);
    reports.add(report([9, 8, 0, 7]));
    reports.add(report([3, 0, 0, 2]));
    assert_eq!(reports.settle(), Some(Usage { input: 3, output: 2, total: 5, ..Usage::default() }));
    reports.add(UsageReport::UNREADABLE);
    assert_eq!(reports.settle(), Some(Usage { flawed: true, ..Usage::default() }));
}

#[test]
fn later_report_completes_the_earlier_one_field_by_field() {
    let mut reports = UsageReports::new(ANTHROPIC);
    // `message_start` states the input and one token of output, `message_delta` the rest of the output.
    reports.add(report([10, 60, 30, 1]));
    reports.add(UsageReport { output: Some(42), ..UsageReport::default() });
    let expected = Usage { input: 100, cache_read: 60, cache_write: 30, output: 42, total: 142, ..Usage::default() };
    assert_eq!(reports.settle(), Some(expected));
    // Some providers of the same dialect repeat the input's figures as zeros.
    reports.add(report([0, 0, 0, 43]));
    assert_eq!(reports.settle(), Some(Usage { output: 43, total: 143, ..expected }));
    reports.add(UsageReport { flawed: true, ..UsageReport::default() });
    assert!(reports.settle().is_some_and(|usage| usage.flawed));
}

#[test]
fn parts_are_clamped_to_their_wholes_and_flagged() {
    let flawed = Usage { input: 10, output: 4, total: 14, flawed: true, ..Usage::default() };
    for (stated, expected) in [
        (report([10, 99, 0, 4]), Usage { cache_read: 10, ..flawed }),
        (report([10, 0, 99, 4]), Usage { cache_write: 10, ..flawed }),
        // Reads are taken first: they are the cheaper and the more usual part.
        (report([10, 7, 7, 4]), Usage { cache_read: 7, cache_write: 3, ..flawed }),
        (UsageReport { reasoning: Some(9), ..report([10, 0, 0, 4]) }, Usage { reasoning: 4, ..flawed }),
    ] {
        assert_eq!(stated.settle(&OPENAI), expected, "{stated:?}");
    }
    assert!(!report([10, 7, 3, 4]).settle(&OPENAI).flawed);
}

#[test]
fn missing_figures_are_filled_from_the_total() {
    let stated = |input, output, total| UsageReport { input, output, total, ..UsageReport::default() };
    for (report, (input, output, total, flawed)) in [
        (stated(Some(3), Some(4), None), (3, 4, 7, false)),
        (stated(Some(7), None, Some(7)), (7, 0, 7, false)),
        (stated(Some(3), None, Some(7)), (3, 4, 7, true)),
        (stated(None, Some(4), Some(7)), (3, 4, 7, true)),
        (stated(None, None, Some(7)), (7, 0, 7, true)),
        (stated(Some(9), None, Some(7)), (9, 0, 9, true)),
        (stated(Some(3), Some(4), Some(9)), (3, 4, 9, true)),
        (stated(None, None, None), (0, 0, 0, true)),
    ] {
        assert_eq!(report.settle(&OPENAI), Usage { input, output, total, flawed, ..Usage::default() }, "{report:?}");
    }
}

#[test]
fn absurd_figures_never_overflow() {
    let usage = UsageReport { reasoning: Some(u64::MAX), ..report([u64::MAX; 4]) }.settle(&ANTHROPIC);
    assert_eq!((usage.input, usage.output, usage.total), (u64::MAX, u64::MAX, u64::MAX));
    let mut sum = usage;
    sum.add(&usage);
    assert_eq!((sum.input, sum.total, sum.flawed), (u64::MAX, u64::MAX, usage.flawed));
}

#[test]
fn estimate_rounds_up_to_whole_tokens() {
    let usage = Usage::estimated(5, 8);
    assert_eq!(usage, Usage { input: 2, output: 2, total: 4, flawed: true, ..Usage::default() });
}
