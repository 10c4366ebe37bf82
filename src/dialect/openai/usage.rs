//! Reads the value of a `usage` member: chat completions, completions and embeddings name the figures one way,
//! Responses another. Pure; it reports what is stated, and [`UsageReport::settle`] makes sense of it.

use crate::json::{Value, Walker};
use crate::llm::{Counting, LaterReport, PartCounting, UsageReport};

#[cfg(test)]
mod tests;

/// OpenAI's figures of input and output include their parts, and every report of a stream is complete.
pub const COUNTING: Counting =
    Counting { cache: PartCounting::Inside, reasoning: PartCounting::Inside, later_report: LaterReport::Replaces };

/// Reads the value of a `usage` member. `None` if it is null; any other value than an object is unreadable.
pub fn read(json: &[u8]) -> Option<UsageReport> {
    let Ok(mut walker) = Walker::lenient(json) else {
        return Some(UsageReport::UNREADABLE);
    };
    if walker.peek() == Some(b'n') {
        return walker.value().is_err().then_some(UsageReport::UNREADABLE);
    }
    let mut report = UsageReport::default();
    Some(read_object(&mut walker, &mut report).map_or(UsageReport::UNREADABLE, |()| report))
}

/// `None` if the JSON is broken or not an object.
fn read_object(walker: &mut Walker<'_>, report: &mut UsageReport) -> Option<()> {
    walker.open_object().ok()?;
    while let Some(key) = walker.next_key().ok()? {
        match key.decode().as_ref() {
            "prompt_tokens" | "input_tokens" => report.input = figure(walker, report)?.or(report.input),
            "completion_tokens" | "output_tokens" => report.output = figure(walker, report)?.or(report.output),
            "total_tokens" => report.total = figure(walker, report)?,
            "prompt_tokens_details" | "input_tokens_details" => read_details(walker, report, input_part)?,
            "completion_tokens_details" | "output_tokens_details" => read_details(walker, report, output_part)?,
            _ => walker.skip().ok()?,
        }
    }
    walker.end().ok()
}

/// The parts of one figure. `part` finds the field of the report for a key.
fn read_details(walker: &mut Walker<'_>, report: &mut UsageReport, part: PartOf) -> Option<()> {
    if walker.peek() != Some(b'{') {
        let (_, value) = walker.value().ok()?;
        report.flawed |= value != Value::Null;
        return Some(());
    }
    walker.open_object().ok()?;
    while let Some(key) = walker.next_key().ok()? {
        let key = key.decode();
        if part(report, &key).is_none() {
            walker.skip().ok()?;
            continue;
        }
        let stated = figure(walker, report)?;
        if let Some(part) = part(report, &key) {
            *part = stated.or(*part);
        }
    }
    Some(())
}

type PartOf = for<'r> fn(&'r mut UsageReport, &str) -> Option<&'r mut Option<u64>>;

fn input_part<'r>(report: &'r mut UsageReport, key: &str) -> Option<&'r mut Option<u64>> {
    match key {
        "cached_tokens" => Some(&mut report.cache_read),
        // Written to the cache and billed for it: OpenAI, OpenRouter.
        "cache_write_tokens" => Some(&mut report.cache_write),
        _ => None,
    }
}

fn output_part<'r>(report: &'r mut UsageReport, key: &str) -> Option<&'r mut Option<u64>> {
    if key == "reasoning_tokens" { Some(&mut report.reasoning) } else { None }
}

/// The outer `None` stands for broken JSON, the inner one for null. Flags the report if the value is not a token count.
fn figure(walker: &mut Walker<'_>, report: &mut UsageReport) -> Option<Option<u64>> {
    let (figure, is_count) = match walker.value().ok()?.1 {
        Value::Null => return Some(None),
        Value::Number(raw) => clamp(raw),
        _ => (0, false),
    };
    report.flawed |= !is_count;
    Some(Some(figure))
}

/// A number as a count of tokens, and whether it is one without being clamped.
fn clamp(raw: &str) -> (u64, bool) {
    let value = match raw.parse::<u64>() {
        Ok(value) => return (value.min(FIGURE_MAX), value <= FIGURE_MAX),
        Err(_) => raw.parse::<f64>().unwrap_or(0.0),
    };
    let is_count = value.fract() == 0.0 && (0.0..=FIGURE_MAX as f64).contains(&value);
    // A float-to-integer cast saturates: negative values become 0, values too large become the maximum.
    ((value as u64).min(FIGURE_MAX), is_count)
}

/// 2⁵³: larger figures are not exact in every JSON reader (RFC 8259 §6), and no answer has that many tokens.
const FIGURE_MAX: u64 = 1 << 53;
