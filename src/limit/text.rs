//! Formats the headers that tell a caller the state of its provider's rate limit. Pure; appends to the answer's head.
//! A reported time is never shorter than the true one, to the microsecond, so that a caller that waits for that
//! long is not refused because the reported time was too short.

use std::io::Write;
use std::time::Duration;

/// Writes `x-ratelimit-reset-requests` as OpenAI does (and as Go prints durations): `17ms`, `8.64s`, `6m0s`, `1h0m30s`. The
/// precision here is one millisecond.
pub fn write_reset(reset: Duration, out: &mut Vec<u8>) {
    let ms = millis(reset);
    if ms < 1000 {
        return number(ms, if ms == 0 { "s" } else { "ms" }, out);
    }
    let (hours, minutes, seconds) = (ms / 3_600_000, ms / 60_000 % 60, ms / 1000 % 60);
    if hours > 0 {
        number(hours, "h", out);
    }
    if hours > 0 || minutes > 0 {
        number(minutes, "m", out);
    }
    number(seconds, "", out);
    if !ms.is_multiple_of(1000) {
        let fraction = format!(".{:03}", ms % 1000);
        out.extend_from_slice(fraction.trim_end_matches('0').as_bytes());
    }
    out.push(b's');
}

/// Writes `retry-after` (RFC 9110 section 10.2.3) in whole seconds.
pub fn write_retry_after_s(retry_after: Duration, out: &mut Vec<u8>) {
    number(millis(retry_after).div_ceil(1000), "", out);
}

/// Writes `retry-after-ms`, which OpenAI's clients read before `retry-after`.
pub fn write_retry_after_ms(retry_after: Duration, out: &mut Vec<u8>) {
    number(millis(retry_after), "", out);
}

/// Rounds up to the next millisecond; an excess of less than a microsecond is ignored.
fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros().div_ceil(1_000)).unwrap_or(u64::MAX)
}

fn number(value: u64, unit: &str, out: &mut Vec<u8>) {
    write!(out, "{value}{unit}").expect("a Vec takes all that is written to it");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(write: fn(Duration, &mut Vec<u8>), duration: Duration) -> String {
        let mut out = Vec::new();
        write(duration, &mut out);
        String::from_utf8(out).expect("ASCII")
    }

    #[test]
    fn reset_is_formatted_like_openai() {
        for (ms, expected) in [
            (0, "0s"),
            (17, "17ms"),
            (999, "999ms"),
            (1000, "1s"),
            (8_640, "8.64s"),
            (59_999, "59.999s"),
            (60_000, "1m0s"),
            (360_000, "6m0s"),
            (3_600_000, "1h0m0s"),
            (3_630_500, "1h0m30.5s"),
            (90_061_001, "25h1m1.001s"),
        ] {
            assert_eq!(text(write_reset, Duration::from_millis(ms)), expected);
        }
    }

    #[test]
    fn times_are_rounded_up() {
        let little = Duration::from_micros(1);
        let second_and_little = Duration::new(1, 1_000);
        assert_eq!([text(write_reset, little), text(write_retry_after_ms, little)], ["1ms", "1"]);
        assert_eq!([text(write_retry_after_s, little), text(write_retry_after_s, second_and_little)], ["1", "2"]);
        assert_eq!(text(write_retry_after_ms, second_and_little), "1001");
        assert_eq!(text(write_reset, Duration::new(1, 1)), "1s");
        assert_eq!(
            text(write_retry_after_s, Duration::MAX),
            text(write_retry_after_s, Duration::from_millis(u64::MAX))
        );
    }
}
