use super::*;

fn plain(input: u64, output: u64) -> Usage {
    Usage { input, output, total: input + output, ..Usage::default() }
}

const CHAT: &str = r#"{"id":"chatcmpl-1","object":"chat.output","created":1,"model":"gpt-4o-2024-08-06","choices":[{"index":0,
"message":{"role":"assistant","content":"{\"usage\":{\"prompt_tokens\":1}} \\\" ] } \\","usage":{"prompt_tokens":2}},
"logprobs":null,"finish_reason":"stop"}],"usage":{"prompt_tokens":19,"completion_tokens":10,"total_tokens":29,
"prompt_tokens_details":{"cached_tokens":4,"cache_write_tokens":2,"audio_tokens":0},"completion_tokens_details":{"reasoning_tokens":3,
"audio_tokens":0,"accepted_prediction_tokens":0}},"service_tier":"default","system_fingerprint":"fp"}"#;

const CHAT_USAGE: Usage =
    Usage { input: 19, output: 10, total: 29, cache_read: 4, cache_write: 2, reasoning: 3, flawed: false };

#[test]
fn usage_of_each_operation_is_read() {
    assert_eq!(of_answer(CHAT.as_bytes()), Some(CHAT_USAGE));
}

#[test]
fn the_usage_of_responses_and_embeddings_is_read() {
    let responses = r#"{"output":[{"usage":{"input_tokens":9}}],"usage":{"input_tokens":75,"input_tokens_details":{"cached_tokens":5},
        "output_tokens":11,"output_tokens_details":{"reasoning_tokens":6},"total_tokens":86},"user":null}"#;
    assert_eq!(of_answer(responses.as_bytes()), Some(Usage { cache_read: 5, reasoning: 6, ..plain(75, 11) }));
    let embeddings = r#"{"object":"list","data":[{"embedding":[0.1,-2e-3]}],"model":"e","usage":{"prompt_tokens":8,"total_tokens":8}}"#;
    assert_eq!(of_answer(embeddings.as_bytes()), Some(plain(8, 0)));
}

#[test]
fn every_split_point_gives_the_same_result_as_the_whole() {
    let escaped = r#"{"m\u006fdel":"g\"p","\u0075sage" : {"prompt_tokens":1,"completion_tokens":2,"a":"}"} }"#;
    let twice =
        r#"{"usage":{"prompt_tokens":1},"usage":null,"model":"x","usage":{"prompt_tokens":3,"total_tokens":3}}"#;
    for text in [CHAT, escaped, twice, r#"["usage",{"usage":{}}]"#, r#"{"usage":"a,b","model":7}"#] {
        let mut whole = UsageScan::new();
        whole.feed(text.as_bytes());
        let (model, usage) = (whole.model().map(str::to_owned), whole.finish());
        for at in 0..=text.len() {
            let (first, second) = text.as_bytes().split_at(at);
            let mut scan = UsageScan::new();
            scan.feed(first);
            scan.feed(b"");
            scan.feed(second);
            assert_eq!((scan.model(), scan.clone_usage()), (model.as_deref(), usage), "split at {at}: {text}");
        }
        let mut scan = UsageScan::new();
        text.bytes().for_each(|byte| scan.feed(&[byte]));
        assert_eq!((scan.model(), scan.clone_usage()), (model.as_deref(), usage), "bytewise: {text}");
    }
}

impl UsageScan {
    fn clone_usage(&self) -> Option<Usage> {
        self.usage
    }
}

#[test]
fn model_is_captured_up_to_its_limit() {
    let model = |text: &str| {
        let mut scan = UsageScan::new();
        scan.feed(text.as_bytes());
        scan.model().map(str::to_owned)
    };
    assert_eq!(model(CHAT).as_deref(), Some("gpt-4o-2024-08-06"));
    assert_eq!(model(r#"{"m\u006fdel" : "g\"p" }"#).as_deref(), Some("g\"p"));
    assert_eq!(model(r#"{"a":{"model":"x"}}"#), None);
    assert_eq!(model(r#"{"model":7}"#), None);
    assert_eq!(model(&format!("{{\"model\":\"{}\"}}", "x".repeat(257))), None);
    assert_eq!(model(&format!("{{\"model\":\"{}\"}}", "x".repeat(100_000))), None);
}

#[test]
fn only_usage_at_the_top_level_counts() {
    for text in [
        "",
        "{}",
        "null",
        "[]",
        r#"{"usage":null}"#,
        r#"{"a":"usage","b":{"usage":{"prompt_tokens":1,"completion_tokens":1}}}"#,
        r#"[{"usage":{"prompt_tokens":1,"completion_tokens":1}}]"#,
        r#"["usage",{"prompt_tokens":1,"completion_tokens":1}]"#,
        r#"{"x":"\",\"usage\":{\"prompt_tokens\":1}"}"#,
        r#"{"x":1}{"usage":{"prompt_tokens":1,"completion_tokens":1}}"#,
        r#""usage":{"prompt_tokens":1,"completion_tokens":1}"#,
        r#"{"Usage":{"prompt_tokens":1,"completion_tokens":1}}"#,
    ] {
        assert_eq!(of_answer(text.as_bytes()), None, "{text}");
    }
}

#[test]
fn answer_cut_before_the_end_of_its_usage_has_none() {
    let end = CHAT.find(",\"service_tier\"").expect("there");
    for at in 0..=end {
        assert_eq!(of_answer(&CHAT.as_bytes()[..at]), None, "cut at {at}");
    }
    assert_eq!(of_answer(&CHAT.as_bytes()[..=end]), Some(CHAT_USAGE));
}

#[test]
fn oversized_usage_is_not_captured_and_flagged() {
    let usage = format!("{{\"prompt_tokens\":1,\"completion_tokens\":1,\"x\":\"{}\"}}", "x".repeat(CAPTURE_BYTES_MAX));
    let text = format!("{{\"usage\":{usage},\"model\":\"m\"}}");
    let mut scan = UsageScan::new();
    for piece in text.as_bytes().chunks(100) {
        scan.feed(piece);
        assert!(scan.captured.capacity() <= 2 * CAPTURE_BYTES_MAX);
    }
    assert_eq!(scan.model(), Some("m"));
    assert_eq!(scan.finish(), Some(Usage { flawed: true, ..Usage::default() }));
}

#[test]
fn damaged_answers_never_panic_at_any_split() {
    let mut seeded = crate::seeded::Seeded::new(5);
    for _ in 0..2_000 {
        let mut bytes = CHAT.as_bytes().to_vec();
        for _ in 0..8 {
            let at = seeded.below(bytes.len());
            bytes[at] = (seeded.next() & 0xff) as u8;
        }
        let mut scan = UsageScan::new();
        bytes.chunks(1 + seeded.below(50)).for_each(|piece| scan.feed(piece));
        assert_eq!(scan.finish(), of_answer(&bytes));
    }
}
