use super::*;
use crate::llm::Usage;

fn plain(input: u64, output: u64) -> Usage {
    Usage { input, output, total: input + output, ..Usage::default() }
}

fn settled(usage: &str) -> Option<Usage> {
    read(usage.as_bytes()).map(|report| report.settle(&COUNTING))
}

fn of(usage: &str) -> Usage {
    settled(usage).expect(usage)
}

#[test]
fn figures_are_clamped_and_flagged() {
    let max = 1 << 53;
    for (figure, value) in [
        ("-5", 0),
        ("-1e99", 0),
        ("9007199254740993", max),
        ("18446744073709551616", max),
        ("1e400", max),
        ("7.9", 7),
        ("\"7\"", 0),
        ("true", 0),
        ("[1]", 0),
        ("{}", 0),
    ] {
        let usage = of(&format!("{{\"prompt_tokens\":{figure},\"completion_tokens\":2}}"));
        assert_eq!(usage, Usage { flawed: true, ..plain(value, 2) }, "{figure}");
    }
    for (figure, value) in [("9007199254740992", max), ("7.0", 7), ("1e2", 100), ("-0", 0)] {
        assert_eq!(of(&format!("{{\"prompt_tokens\":{figure},\"completion_tokens\":2}}")), plain(value, 2), "{figure}");
    }
}

#[test]
fn missing_parts_are_filled_from_the_rest() {
    let flawed = |usage: Usage| Usage { flawed: true, ..usage };
    for (json, usage) in [
        (r#"{"prompt_tokens":3,"completion_tokens":4}"#, plain(3, 4)),
        (r#"{"prompt_tokens":3,"total_tokens":7}"#, flawed(plain(3, 4))),
        (r#"{"completion_tokens":4,"total_tokens":7}"#, flawed(plain(3, 4))),
        (r#"{"total_tokens":7}"#, flawed(plain(7, 0))),
        (r#"{"prompt_tokens":3}"#, flawed(plain(3, 0))),
        (r#"{"prompt_tokens":3,"completion_tokens":null,"total_tokens":null}"#, flawed(plain(3, 0))),
        (r#"{"prompt_tokens":9,"total_tokens":7}"#, flawed(plain(9, 0))),
        ("{}", flawed(plain(0, 0))),
        ("[]", flawed(plain(0, 0))),
        ("7", flawed(plain(0, 0))),
        ("\"null\"", flawed(plain(0, 0))),
        ("{\"prompt_tokens\":3,\"completion_tokens\":4", flawed(plain(0, 0))),
        ("nul", flawed(plain(0, 0))),
        ("", flawed(plain(0, 0))),
    ] {
        assert_eq!(settled(json), Some(usage), "{json}");
    }
    assert_eq!(settled(" null "), None);
}

#[test]
fn contradictions_are_flagged_and_parts_never_exceed_wholes() {
    let more = of(r#"{"prompt_tokens":3,"completion_tokens":4,"total_tokens":10}"#);
    assert_eq!(more, Usage { total: 10, flawed: true, ..plain(3, 4) });
    let less = of(r#"{"prompt_tokens":3,"completion_tokens":4,"total_tokens":5}"#);
    assert_eq!(less, Usage { flawed: true, ..plain(3, 4) });
    let parts = of(r#"{"prompt_tokens":3,"completion_tokens":4,"prompt_tokens_details":{"cached_tokens":9},
        "completion_tokens_details":{"reasoning_tokens":5}}"#);
    assert_eq!(parts, Usage { cache_read: 3, reasoning: 4, flawed: true, ..plain(3, 4) });
    let written =
        of(r#"{"input_tokens":9,"output_tokens":4,"input_tokens_details":{"cached_tokens":6,"cache_write_tokens":6}}"#);
    assert_eq!(written, Usage { cache_read: 6, cache_write: 3, flawed: true, ..plain(9, 4) });
    let null = of(r#"{"prompt_tokens":3,"completion_tokens":4,"prompt_tokens_details":null}"#);
    assert_eq!(null, plain(3, 4));
    assert!(of(r#"{"prompt_tokens":3,"completion_tokens":4,"prompt_tokens_details":[]}"#).flawed);
}

#[test]
fn cache_reads_and_writes_are_parts_of_the_input() {
    for (input, output) in [("prompt", "completion"), ("input", "output")] {
        let details = format!("\"{input}_tokens_details\":{{\"cached_tokens\":40,\"cache_write_tokens\":50}}");
        let usage = of(&format!("{{\"{input}_tokens\":100,\"{output}_tokens\":7,\"total_tokens\":107,{details}}}"));
        assert_eq!(usage, Usage { cache_read: 40, cache_write: 50, ..plain(100, 7) });
    }
}

#[test]
fn details_of_one_figure_do_not_count_for_the_other() {
    let usage = of(r#"{"prompt_tokens":9,"completion_tokens":4,"prompt_tokens_details":{"reasoning_tokens":1},
        "completion_tokens_details":{"cached_tokens":1,"cache_write_tokens":1}}"#);
    assert_eq!(usage, plain(9, 4));
}
