//! Decimal numbers, costs of answers, and estimates.

use super::decimal::scaled;
use super::price::RATE_MAX;
use super::*;
use crate::llm::Usage;
use crate::seeded::Seeded;
use crate::units::MicroUsd;

mod built_in;
mod oracle;
mod parsing;

const MILLION: u64 = 1_000_000;

fn usage(input: u64, cache_read: u64, output: u64, reasoning: u64) -> Usage {
    Usage { input, cache_read, output, reasoning, total: input + output, ..Usage::default() }
}

#[test]
fn decimal_texts_are_converted_exactly() {
    for (text, pico) in [
        ("2.5e-06", 2_500_000),
        ("2.5E-6", 2_500_000),
        ("0.0000025", 2_500_000),
        ("25e-7", 2_500_000),
        ("0.00000000250000000000e+3", 2_500_000),
        ("1.25e-07", 125_000),
        ("1.875e-08", 18_750),
        ("5e-09", 5_000),
        ("1e-12", 1),
        ("0.00012", 120_000_000),
        ("1", 1_000_000_000_000),
        ("0", 0),
        ("-0.0", 0),
        ("0e999999999999", 0),
        ("1e-999999999999999999999", 0),
        // Fractions of a pico-dollar are rounded half up.
        ("4.9e-13", 0),
        ("5e-13", 1),
        ("1.4999999999e-12", 1),
        ("1.5e-12", 2),
        // Digits that come from a generator printing a double do not make another price.
        ("3.0000000000000004e-07", 300_000),
        ("1.9999999999999999e-06", 2_000_000),
    ] {
        assert_eq!(scaled(text, 12, RATE_MAX), Ok(pico), "{text}");
    }
    for (text, flaw) in [
        ("-1e-06", Flaw::Negative),
        ("-5e-324", Flaw::Negative),
        ("1.000000000001", Flaw::TooLarge),
        ("2", Flaw::TooLarge),
        ("1e30", Flaw::TooLarge),
        ("1e999999999999", Flaw::TooLarge),
        ("99999999999999999999999999", Flaw::TooLarge),
        ("", Flaw::NotANumber),
        ("-", Flaw::NotANumber),
        (".5", Flaw::NotANumber),
        ("NaN", Flaw::NotANumber),
        ("0x10", Flaw::NotANumber),
    ] {
        assert_eq!(scaled(text, 12, RATE_MAX), Err(flaw), "{text}");
    }
}

#[test]
fn cost_is_the_sum_of_its_parts_rounded_once() {
    let prices = Prices::parse(
        r#"{"m": {"input_cost_per_token": 2.5e-06, "output_cost_per_token": 1e-05,
                  "cache_read_input_token_cost": 1.25e-06, "cache_creation_input_token_cost": 3e-06,
                  "output_cost_per_reasoning_token": 2e-05},
            "plain": {"input_cost_per_token": 4e-07, "output_cost_per_token": 1.6e-06}}"#,
    );
    let prices = prices.expect("sound");
    let (full, plain) = (prices.price("m").expect("listed"), prices.price("plain").expect("listed"));
    for (price, usage, micro) in [
        (full, usage(0, 0, 0, 0), 0),
        (full, usage(1_000, 0, 500, 0), 7_500),
        (full, usage(1_000, 400, 500, 0), 7_000),
        (full, usage(1_000, 1_000, 500, 500), 11_250),
        (full, Usage { cache_write: 600, ..usage(1_000, 400, 0, 0) }, 2_300),
        (full, Usage { cache_write: 100, ..usage(1_000, 400, 0, 0) }, 2_050),
        (plain, Usage { cache_write: 600, ..usage(1_000, 400, 0, 0) }, 400),
        // 2.5 µ$ is rounded up; 1.25 + 1.25 is rounded as a sum.
        (full, usage(1, 0, 0, 0), 3),
        (full, usage(2, 2, 0, 0), 3),
        (plain, usage(1_000, 400, 500, 500), 1_200),
        (plain, usage(1, 0, 0, 0), 0),
        (plain, usage(3, 0, 0, 0), 1),
        // Parts that exceed their wholes do not lower the cost.
        (full, usage(10, 1_000, 1, 50), 33),
        (full, Usage { cache_write: u64::MAX, ..usage(10, 4, 0, 0) }, 23),
    ] {
        assert_eq!(price.cost(&usage), MicroUsd(micro), "{usage:?}");
    }
    assert_eq!(full.cost(&usage(u64::MAX / 2, 0, u64::MAX / 2, 0)), MicroUsd(i64::MAX));
}

#[test]
fn long_inputs_have_their_own_rates() {
    let prices = Prices::parse(
        r#"{"pro": {"input_cost_per_token": 1e-06, "output_cost_per_token": 2e-06, "cache_read_input_token_cost": 1e-07,
                    "cache_creation_input_token_cost_above_200k_tokens": 5e-06, "cache_creation_input_token_cost_above_1hr": 9,
                    "input_cost_per_token_above_200k_tokens": 4e-06, "output_cost_per_token_above_200k_tokens": 8e-06,
                    "input_cost_per_token_above_200k_tokens_priority": 9e-06, "input_cost_per_token_above_k_tokens": 9},
            "max": {"tiered_pricing": [
                {"input_cost_per_token": 5e-06, "output_cost_per_token": 6e-06, "range": [32000.0, 64000.0]},
                {"input_cost_per_token": 1e-06, "output_cost_per_token": 2e-06, "range": [0, 32000.0], "note": {}}]}}"#,
    );
    let prices = prices.expect("sound");
    for (model, usage, micro) in [
        ("pro", usage(200_000, 0, 10, 0), 200_020),
        ("pro", usage(200_001, 0, 10, 0), 800_084),
        ("pro", usage(200_000, 100_000, 0, 0), 110_000),
        // The tier has no rate for cache reads, so they cost as much as other input.
        ("pro", usage(300_000, 100_000, 0, 0), 1_200_000),
        ("pro", Usage { cache_write: 1_000, ..usage(200_000, 0, 0, 0) }, 200_000),
        ("pro", Usage { cache_write: 100_000, ..usage(300_000, 0, 0, 0) }, 1_300_000),
        ("max", usage(32_000, 0, 1, 0), 32_002),
        ("max", usage(32_001, 0, 1, 0), 160_011),
        ("max", usage(MILLION, 0, 0, 0), 5 * MILLION as i64),
    ] {
        assert_eq!(prices.price(model).map(|price| price.cost(&usage)), Some(MicroUsd(micro)), "{model} {usage:?}");
    }
}

#[test]
fn estimate_is_capped_at_the_longest_answer_of_the_model() {
    let table = r#"{"m": {"input_cost_per_token": 1e-06, "output_cost_per_token": 2e-06, "max_output_tokens": 4096},
                    "n": {"input_cost_per_token": 1e-06, "output_cost_per_token": 2e-06, "max_output_tokens": "?"}}"#;
    let prices = Prices::parse(table).expect("sound");
    let estimate = |model: &str, output| prices.price(model).map(|price| price.estimate(100, output));
    assert_eq!(estimate("m", 50), Some(MicroUsd(200)));
    assert_eq!(estimate("m", u64::MAX), Some(MicroUsd(100 + 2 * 4096)));
    assert_eq!(estimate("n", MILLION), Some(MicroUsd(100 + 2 * MILLION as i64)));
    let asked_for_all = Learned::default().estimate("n", 400, Some(u64::MAX));
    assert_eq!(asked_for_all, Estimate { input_tokens: 100, output_tokens: 1 << 20 });
}

#[test]
fn unknown_model_is_estimated_at_four_bytes_per_token_and_256_tokens() {
    let learned = Learned::default();
    assert_eq!(learned.estimate("m", 4_001, None), Estimate { input_tokens: 1_001, output_tokens: 256 });
    assert_eq!(learned.estimate("m", 0, Some(7)), Estimate { input_tokens: 0, output_tokens: 7 });
    assert_eq!(learned.estimate("m", usize::MAX, Some(0)).output_tokens, 0);
}

#[test]
fn estimates_follow_the_answers_of_the_model() {
    let mut learned = Learned::default();
    for _ in 0..200 {
        learned.learn("m", 6_000, &usage(1_000, 0, 40, 0));
    }
    let Estimate { input_tokens, output_tokens } = learned.estimate("m", 12_000, None);
    assert!((2_000..=2_001).contains(&input_tokens) && output_tokens == 40);
    assert_eq!(learned.estimate("other", 400, None), Estimate { input_tokens: 100, output_tokens: 256 });
    // After as many answers as the means cover, they have moved at least half way.
    for _ in 0..32 {
        learned.learn("m", 3_000, &usage(1_000, 0, 1_040, 0));
    }
    let Estimate { input_tokens, output_tokens } = learned.estimate("m", 12_000, None);
    assert!((2_800..4_000).contains(&input_tokens) && (540..1_040).contains(&output_tokens));
}

#[test]
fn flawed_figures_do_not_change_estimates() {
    let mut learned = Learned::default();
    learned.learn("m", 4_000, &Usage { flawed: true, ..usage(1, 0, 1_000_000, 0) });
    learned.learn("m", 4_000, &usage(0, 0, 9, 0));
    learned.learn("m", 0, &usage(9, 0, 9, 0));
    assert!(learned.is_empty());
    // An image, and a provider that counts tokens nobody sent: the bounds limit what either teaches.
    for (body_bytes, prompt, least, most) in [(10_000_000, 1, 250, 300), (1, 1 << 53, 3_500, 4_000)] {
        let mut learned = Learned::default();
        for _ in 0..1_000 {
            learned.learn("m", body_bytes, &usage(prompt, 0, 1 << 53, 0));
        }
        let Estimate { input_tokens, output_tokens } = learned.estimate("m", 4_000, None);
        assert!((least..=most).contains(&input_tokens) && output_tokens <= 1 << 20, "{input_tokens} {output_tokens}");
    }
}

#[test]
fn many_models_stay_within_bounds_and_busy_ones_are_kept() {
    let mut learned = Learned::default();
    for model in 0..200_000 {
        learned.learn(&format!("model-{model}"), 4_000, &usage(1_000, 0, 10, 0));
        if model % 100 == 0 {
            learned.learn("busy", 8_000, &usage(1_000, 0, 10, 0));
        }
    }
    assert!(learned.len() <= 2 * 1_024, "{}", learned.len());
    let Estimate { input_tokens, output_tokens } = learned.estimate("busy", 8_000, None);
    assert!((1_000..=1_001).contains(&input_tokens) && output_tokens == 10);
}
