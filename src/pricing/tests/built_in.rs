//! The built-in table.

use super::*;

#[test]
fn every_model_of_the_built_in_table_has_a_price() {
    let prices = Prices::built_in();
    assert!(prices.skipped().is_empty(), "{:?}", prices.skipped());
    let listed: serde_json::Map<String, serde_json::Value> =
        serde_json::from_str(include_str!("../../../config/prices.json")).expect("a JSON object");
    let models: Vec<&String> = listed.keys().filter(|name| !name.starts_with('_')).collect();
    assert_eq!(models.len(), prices.len());
    for model in models {
        let price = prices.price(model).expect(model);
        assert!(price.rates.input > 0, "{model}");
        let reads_only = listed[model]["mode"] == "embedding";
        assert_eq!(price.rates.output == 0, reads_only, "{model}");
        assert_eq!(price.max_output_tokens.is_none(), reads_only, "{model}");
        // No provider charges more for reading its cache than for reading the input, or less for writing it.
        assert!(price.rates.cache_read.is_none_or(|read| read > 0 && read < price.rates.input), "{model}");
        assert!(price.rates.cache_write.is_none_or(|write| write > price.rates.input), "{model}");
        assert!(reads_only || price.rates.output >= price.rates.input, "{model}");
        assert!(price.above.is_sorted_by_key(|tier| tier.0), "{model}");
        assert!(price.above.iter().all(|(_, rates)| rates.blend() > price.rates.blend()), "{model}");
    }
}

#[test]
fn well_known_answers_cost_what_their_providers_charge() {
    let prices = Prices::built_in();
    for (model, usage, micro) in [
        ("gpt-4o", usage(MILLION, 0, MILLION, 0), 12_500_000),
        ("gpt-4o", usage(MILLION, MILLION, 0, 0), 1_250_000),
        ("gpt-4o-mini", usage(MILLION, 0, MILLION, 0), 750_000),
        ("openai/gpt-4.1-mini-2025-04-14", usage(MILLION, 0, MILLION, 0), 2_000_000),
        ("o3", usage(10_000, 0, 20_000, 15_000), 180_000),
        ("gpt-5-nano", usage(1_000, 1_000, 0, 0), 5),
        ("claude-haiku-4-5-20251001", usage(MILLION, 0, MILLION, 0), 6_000_000),
        ("claude-sonnet-4-5@20250929", usage(200_000, 0, 1_000, 0), 615_000),
        ("claude-sonnet-4-5", usage(200_001, 0, 1_000, 0), 1_222_506),
        ("gemini/gemini-2.5-pro", usage(100_000, 0, 1_000, 900), 135_000),
        ("qwen-turbo", usage(1_000, 0, 1_000, 500), 400),
        ("qwen3-max", usage(32_001, 0, 0, 0), 76_802),
        ("deepseek-chat", usage(1_000, 500, 1_000, 0), 574),
        ("mistral-large-latest", usage(1_000, 0, 1_000, 0), 2_000),
        ("text-embedding-3-small", usage(MILLION, 0, 0, 0), 20_000),
    ] {
        assert_eq!(prices.price(model).map(|price| price.cost(&usage)), Some(MicroUsd(micro)), "{model}");
    }
    assert!(prices.price("gpt-99").is_none());
    let written = Usage { cache_write: MILLION / 2, ..usage(MILLION, 0, 0, 0) };
    for (model, micro) in [("claude-haiku-4-5", 1_125_000), ("claude-sonnet-4-5", 6_750_000), ("gpt-4o", 2_500_000)] {
        assert_eq!(prices.price(model).map(|price| price.cost(&written)), Some(MicroUsd(micro)), "{model}");
    }
}
