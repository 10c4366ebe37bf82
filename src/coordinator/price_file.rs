//! Reads the price table that the configuration names. On the coordinator's thread, at start and on a reload, and in
//! `luner check`. It never falls back to another table than the configured one.

use std::fs::File;
use std::io::Read;
use std::sync::Arc;

use super::helpers::watch::bytes_hash;
use crate::config::{PricingConfig, Problem};
use crate::pricing::{PriceError, Prices};

/// Larger files are refused. Arbitrary: ten times LiteLLM's table of 2026.
const FILE_BYTES_MAX: u64 = 16 << 20;

/// Prices, and a hash of the file content that they were read from.
#[derive(Clone, Debug)]
pub struct PriceTable {
    pub prices: Arc<Prices>,
    /// `None` for the built-in table.
    pub(super) bytes_hash: Option<u64>,
}

impl PriceTable {
    /// The table that is compiled into luner.
    pub fn built_in() -> PriceTable {
        PriceTable { prices: Prices::built_in(), bytes_hash: None }
    }
}

/// Reads the file that `pricing.file` names, or takes the built-in table if it names none.
///
/// # Errors
/// The file cannot be read or is not a price table. The problem names the key, the file and the position in it.
pub fn read(pricing: &PricingConfig) -> Result<PriceTable, Problem> {
    if pricing.file.as_os_str().is_empty() {
        return Ok(PriceTable::built_in());
    }
    let shown = pricing.file.display();
    let problem = |message| Problem { line: 0, column: 0, key: "pricing.file".into(), message };
    let mut bytes = Vec::new();
    let file = File::open(&pricing.file).and_then(|file| file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes));
    file.map_err(|error| problem(format!("{shown} cannot be read: {error}")))?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err(problem(format!("{shown} is larger than 16 MiB")));
    }
    let text = std::str::from_utf8(&bytes).map_err(|_| problem(format!("{shown} is not UTF-8 text")))?;
    match Prices::parse(text) {
        Ok(prices) => Ok(PriceTable { prices: Arc::new(prices), bytes_hash: Some(bytes_hash(&bytes)) }),
        Err(error) => Err(problem(format!("{shown}{}: {error}", position(text, &error)))),
    }
}

/// The error's line and column as `:3:14`, or nothing if it has no position.
fn position(text: &str, error: &PriceError) -> String {
    let json_error = match error {
        PriceError::Json(error) | PriceError::JsonOf { error, .. } => error,
        PriceError::NotAnObject { .. } | PriceError::Field { .. } => return String::new(),
    };
    let before = text.as_bytes().get(..json_error.at).unwrap_or(text.as_bytes());
    let line_start = before.iter().rposition(|byte| *byte == b'\n').map_or(0, |newline| newline + 1);
    let column = String::from_utf8_lossy(before.get(line_start..).unwrap_or_default()).chars().count() + 1;
    format!(":{}:{column}", before.iter().filter(|byte| **byte == b'\n').count() + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_text(text: impl AsRef<[u8]>) -> Result<PriceTable, String> {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("prices.json");
        std::fs::write(&file, text).unwrap();
        let shown = file.display().to_string();
        read(&PricingConfig { file, ..PricingConfig::default() }).map_err(|problem| {
            assert_eq!(problem.key, "pricing.file");
            problem.message.strip_prefix(&shown).expect("the message starts with the file name").to_owned()
        })
    }

    #[test]
    fn mistake_is_shown_with_its_position() {
        assert_eq!(read_text("{\n  \"é\": ü }").unwrap_err()[..5], *":2:8:");
        assert!(read_text("").unwrap_err().starts_with(":1:1:"));
        let negative = read_text(r#"{"m":{"input_cost_per_token":-1}}"#).unwrap_err();
        assert!(negative.contains("\"m\"") && negative.contains("input_cost_per_token"), "{negative}");
        assert!(read_text(b"\xff").unwrap_err().contains("UTF-8"));
    }

    #[test]
    fn equal_content_has_an_equal_hash() {
        let text = r#"{"m":{"input_cost_per_token":1e-6,"output_cost_per_token":2e-6}}"#;
        let (one, two) = (read_text(text).unwrap(), read_text(text).unwrap());
        assert_eq!((one.bytes_hash, one.prices.len()), (two.bytes_hash, 1));
        assert_ne!(one.bytes_hash, read_text(format!("{text} ")).unwrap().bytes_hash);
        assert!(PriceTable::built_in().bytes_hash.is_none());
    }

    #[test]
    fn missing_file_does_not_fall_back_to_other_prices() {
        let missing =
            read(&PricingConfig { file: "/no/such/prices.json".into(), ..PricingConfig::default() }).unwrap_err();
        assert!(missing.message.contains("/no/such/prices.json"), "{}", missing.message);
        assert!(!read(&PricingConfig::default()).unwrap().prices.is_empty());
    }
}
