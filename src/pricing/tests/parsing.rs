//! Tables that are accepted or refused, and the names under which a model is found.

use super::*;

fn message(json: &str) -> String {
    Prices::parse(json).expect_err(json).to_string()
}

#[test]
fn bad_price_is_refused_with_the_name_of_its_model() {
    for (price, says) in [
        (r#"{"input_cost_per_token": -1e-06}"#, r#"the price of "bad": input_cost_per_token is negative"#),
        (r#"{"output_cost_per_token": 2}"#, r#"the price of "bad": output_cost_per_token is absurdly large"#),
        (
            r#"{"cache_read_input_token_cost": "1e-6"}"#,
            r#"the price of "bad": cache_read_input_token_cost is not a number"#,
        ),
        (r#"{"cache_creation_input_token_cost": -1}"#, r#""bad": cache_creation_input_token_cost is negative"#),
        (r#"{"output_cost_per_reasoning_token": "NaN"}"#, r#""bad": output_cost_per_reasoning_token is not a number"#),
        (
            r#"{"input_cost_per_token_above_200k_tokens": -1}"#,
            r#""bad": input_cost_per_token_above_200k_tokens is neg"#,
        ),
        (r#"{"max_output_tokens": -5}"#, r#"the price of "bad": max_output_tokens is negative"#),
        (r#"{"input_cost_per_token": NaN}"#, r#"in the price of "bad": "#),
        (
            r#"{"input_cost_per_token": 1, "input_cost_per_token": 0}"#,
            r#"in the price of "bad": the key "input_cost_per"#,
        ),
        (
            r#"{"tiered_pricing": [{"input_cost_per_token": -1}]}"#,
            r#"the price of "bad": input_cost_per_token is negative"#,
        ),
        (r#"{"tiered_pricing": [7]}"#, r#"in the price of "bad": expected '{'"#),
        ("0.5", r#"the price of "bad" is not an object"#),
        ("null", r#"the price of "bad" is not an object"#),
    ] {
        let good = r#""good": {"input_cost_per_token": 1e-06, "output_cost_per_token": 1e-06}"#;
        let message = message(&format!(r#"{{{good}, "bad": {price}}}"#));
        assert!(message.contains(says), "{message:?} should say {says:?}");
    }
    assert!(message(r#"{"a": {}, "a": {}}"#).contains(r#"the key "a" occurs twice"#));
    assert!(message(&format!(r#"{{"{}": 1}}"#, "é".repeat(1_000))).len() < 200);
    for broken in ["", "[]", "7", "{", r#"{"a": {}} x"#, r#"{"a": {"#] {
        Prices::parse(broken).expect_err(broken);
    }
}

#[test]
fn models_without_a_price_per_token_are_listed_as_skipped() {
    let prices = Prices::parse(
        r#"{"_source": ["anything", 1], "sample_spec": {"input_cost_per_token": -1, "max_output_tokens": "words"},
            "dall-e-3": {"mode": "image_generation", "input_cost_per_image": 0.04},
            "half": {"mode": "chat", "input_cost_per_token": 1e-06, "output_cost_per_token": null},
            "embed": {"mode": "embedding", "input_cost_per_token": 1e-07, "max_output_tokens": 0},
            "free": {"input_cost_per_token": 0, "output_cost_per_token": 0.0, "litellm_provider": "ollama"},
            "more": {"input_cost_per_token": 1e-06, "output_cost_per_token": 2e-06, "input_cost_per_token_batches": -3,
                     "search_context_cost_per_query": {"search_context_size_high": 0.05}, "supports_vision": true}}"#,
    );
    let prices = prices.expect("sound");
    assert_eq!(prices.skipped().iter().map(AsRef::as_ref).collect::<Vec<&str>>(), ["dall-e-3", "half"]);
    assert_eq!(prices.len(), 3);
    for (model, input, output) in [("embed", 100_000, 0), ("free", 0, 0), ("more", MILLION, 2 * MILLION)] {
        let rates = prices.price(model).map(|price| price.rates);
        assert_eq!(rates, Some(Rates { input, output, ..Rates::default() }), "{model}");
    }
    assert!(["sample_spec", "_source", "half", ""].iter().all(|model| prices.price(model).is_none()));
    assert_eq!(prices.price("embed").and_then(|price| price.max_output_tokens), None);
    assert!(Prices::parse("{}").expect("an empty table is one").is_empty());
}

#[test]
fn model_is_found_under_each_of_its_names() {
    let entry = |name: &str, input: u32| {
        format!(r#""{name}": {{"input_cost_per_token": {input}e-06, "output_cost_per_token": 1e-06}}"#)
    };
    let table = [
        entry("gpt-4o", 1),
        entry("gpt-4o-2024-05-13", 2),
        entry("azure/gpt-4o", 3),
        entry("dashscope/qwen-max", 4),
        entry("one/shared", 5),
        entry("two/shared", 7),
        entry("three/shared", 6),
        entry("host/models/deep", 8),
        entry("claude-sonnet-4-5", 9),
    ];
    let prices = Prices::parse(&format!("{{{}}}", table.join(","))).expect("sound");
    for (model, input) in [
        ("gpt-4o", Some(1)),
        ("openai/gpt-4o", Some(1)),
        ("openrouter/openai/gpt-4o", Some(1)),
        ("azure/gpt-4o", Some(3)),
        ("gpt-4o-2024-08-06", Some(1)),
        ("openai/gpt-4o-2024-08-06", Some(1)),
        ("azure/gpt-4o-2024-08-06", Some(3)),
        ("gpt-4o-2024-05-13", Some(2)),
        ("openai/gpt-4o-2024-05-13", Some(2)),
        ("qwen-max", Some(4)),
        ("dashscope/qwen-max", Some(4)),
        ("elsewhere/qwen-max", Some(4)),
        ("qwen-max-2025-01-25", Some(4)),
        ("shared", Some(7)),
        ("three/shared", Some(6)),
        ("deep", Some(8)),
        ("models/deep", Some(8)),
        ("claude-sonnet-4-5-20250929", Some(9)),
        ("claude-sonnet-4-5@20250929", Some(9)),
        ("vertex_ai/claude-sonnet-4-5@20250929", Some(9)),
        ("claude-sonnet-4-5@default", Some(9)),
        ("gpt-4o-mini", None),
        ("gpt-4o-2024-08", None),
        ("gpt-4o-2024x08-06", None),
        ("gpt-4o-é2024-08-06", None),
        ("GPT-4o", None),
        ("-2024-08-06", None),
        ("@", None),
        ("/", None),
        ("", None),
        ("é024-08-06", None),
    ] {
        let found = prices.price(model).map(|price| price.rates.input);
        assert_eq!(found, input.map(|input: u64| input * MILLION), "{model}");
    }
}

#[test]
fn cheapest_model_is_one_with_a_price() {
    let prices = Prices::built_in();
    for (models, cheapest) in [
        (&["gpt-4o", "gpt-4o-mini", "o3"][..], Some("gpt-4o-mini")),
        (&["nobody-knows", "gpt-4o"], Some("gpt-4o")),
        (&["openai/gpt-4.1", "gpt-4.1-nano-2025-04-14", "gpt-4.1-nano"], Some("gpt-4.1-nano-2025-04-14")),
        (&["nobody-knows"], None),
        (&[], None),
    ] {
        assert_eq!(prices.cheapest(models.iter().copied()), cheapest, "{models:?}");
    }
}

#[test]
fn damaged_tables_never_panic() {
    let mut seeded = Seeded::new(7);
    let sound =
        r#"{"a/b": {"input_cost_per_token": 1.5e-06, "tiered_pricing": [{"range": [0, 1e3]}], "mode": "chat"}}"#;
    for _ in 0..20_000 {
        let mut bytes = sound.as_bytes().to_vec();
        for _ in 0..1 + seeded.below(4) {
            let at = seeded.below(bytes.len());
            bytes[at] = b"{}[]\",:0-.e9 x"[seeded.below(14)];
        }
        let json = String::from_utf8(bytes).expect("ASCII");
        if let Ok(prices) = Prices::parse(&json) {
            prices.price(&json);
        }
    }
}
