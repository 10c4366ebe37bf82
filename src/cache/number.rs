//! Writes a JSON number by its value: exact, whatever its size, and with the same bytes for `1`, `1.0` and `10e-1`.
//! Pure; the canonical form uses it on the shard that owns the request. It never converts to a float, because as floats
//! 2⁵³ and 2⁵³ + 1 are the same number.

/// Appends the value of `raw` to `out`. The walker must have checked that `raw` is a JSON number.
pub(super) fn write(raw: &str, out: &mut Vec<u8>) {
    // Fast path: nearly all numbers are short whole numbers.
    if raw.len() <= WHOLE_DIGITS_MAX
        && let Ok(value) = raw.parse::<u64>()
    {
        return write_whole(false, value, out);
    }
    let Some(decimal) = Decimal::of(raw) else {
        return write_raw(raw, out);
    };
    match decimal.whole() {
        Some(value) => write_whole(decimal.negative, value, out),
        None => decimal.write(out),
    }
}

/// The value `digits` × 10^`exponent`, with no leading or trailing zeros in `digits`. Zero has no digits.
struct Decimal<'b> {
    negative: bool,
    /// Digits before the decimal point, and after it.
    digits: [&'b [u8]; 2],
    exponent: i64,
}

impl<'b> Decimal<'b> {
    /// Returns `None` when the exponent does not fit an i64 and the value is not zero.
    fn of(raw: &'b str) -> Option<Decimal<'b>> {
        let (negative, raw) = raw.strip_prefix('-').map_or((false, raw), |rest| (true, rest));
        let (mantissa, exponent) = raw.split_once(['e', 'E']).unwrap_or((raw, "0"));
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let [mut whole, mut fraction] = [whole.as_bytes(), fraction.as_bytes()];
        let mut shift = 0;
        // Strips trailing zeros: those of the fraction, and if nothing is left of the fraction, those of the whole part.
        while let Some((b'0', rest)) = fraction.split_last() {
            fraction = rest;
        }
        while fraction.is_empty()
            && let Some((b'0', rest)) = whole.split_last()
        {
            whole = rest;
            shift += 1;
        }
        let after_point = fraction.len() as i64;
        while let Some((b'0', rest)) = whole.split_first() {
            whole = rest;
        }
        while whole.is_empty()
            && let Some((b'0', rest)) = fraction.split_first()
        {
            fraction = rest;
        }
        if whole.is_empty() && fraction.is_empty() {
            return Some(Decimal { negative: false, digits: [b"", b""], exponent: 0 });
        }
        let exponent = exponent.parse::<i64>().ok()?.checked_add(shift)?.checked_sub(after_point)?;
        Some(Decimal { negative, digits: [whole, fraction], exponent })
    }

    /// Returns the absolute value if it is a whole number of at most [`WHOLE_DIGITS_MAX`] digits.
    fn whole(&self) -> Option<u64> {
        let zeros = usize::try_from(self.exponent).ok()?;
        if self.len().checked_add(zeros)? > WHOLE_DIGITS_MAX {
            return None;
        }
        let all = self.digits.iter().flat_map(|part| part.iter());
        let value = all.fold(0, |value: u64, digit| value * 10 + u64::from(digit - b'0'));
        Some(value * 10_u64.pow(zeros as u32))
    }

    fn len(&self) -> usize {
        self.digits.iter().map(|part| part.len()).sum()
    }

    fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&[DECIMAL, u8::from(self.negative)]);
        out.extend_from_slice(&self.exponent.to_le_bytes());
        out.extend_from_slice(&(self.len() as u32).to_le_bytes());
        for part in self.digits {
            out.extend_from_slice(part);
        }
    }
}

fn write_whole(negative: bool, value: u64, out: &mut Vec<u8>) {
    out.push(if negative { NEGATIVE } else { WHOLE });
    out.extend_from_slice(&value.to_le_bytes());
}

/// Writes the number as it was spelled, for exponents of more than eighteen digits. Equal numbers may then differ in their
/// bytes, which costs a cache hit, but different numbers never have the same bytes.
fn write_raw(raw: &str, out: &mut Vec<u8>) {
    out.push(RAW);
    out.extend_from_slice(&(raw.len() as u32).to_le_bytes());
    out.extend_from_slice(raw.as_bytes());
}

const WHOLE: u8 = b'i';
const NEGATIVE: u8 = b'j';
const DECIMAL: u8 = b'd';
const RAW: u8 = b'x';
/// Most digits of a number written as a u64, which holds any number with this many digits, and with one more.
const WHOLE_DIGITS_MAX: usize = 18;

#[cfg(test)]
mod tests {
    use super::*;

    fn of(raw: &str) -> Vec<u8> {
        let mut out = Vec::new();
        write(raw, &mut out);
        out
    }

    #[test]
    fn equal_values_are_written_alike() {
        for alike in [
            &["0", "-0", "0.0", "0e9", "0E-99999999999999999999999999", "-0.000"][..],
            &["1", "1.0", "10e-1", "0.1e1", "1E0", "1e+0", "0.00001e5", "1.000e-0"],
            &["-1", "-1.0", "-10e-1"],
            &["0.5", "5e-1", "0.50", "50E-2", "0.005e2"],
            &["100", "1e2", "1E+2", "0.1e3", "100.00", "10000e-2"],
            &["12.5", "125e-1", "0.125e2", "12.500"],
            &["999999999999999999", "999999999999999999.0", "0.999999999999999999e18"],
            &["1000000000000000000", "1e18", "10e17", "1000000000000000000.0"],
            &["123456789012345678901234567890", "123456789012345678901234567890.0", "12345678901234567890123456789e1"],
            &["1e400", "10e399", "0.1e401"],
            &["1e-400", "0.1e-399"],
        ] {
            for raw in alike {
                assert_eq!(of(raw), of(alike[0]), "{raw} and {}", alike[0]);
            }
        }
    }

    #[test]
    fn different_values_are_written_differently() {
        let values = [
            "0",
            "1",
            "-1",
            "2",
            "10",
            "0.1",
            "0.01",
            "1.1",
            "11",
            "1e1000",
            "1e1001",
            "1e-1000",
            "-1e1000",
            "9007199254740992",
            "9007199254740993",
            "18446744073709551615",
            "18446744073709551616",
            "18446744073709551617",
            "0.1000000000000000055511151231257827",
            "0.1000000000000000055511151231257828",
            "999999999999999999",
            "1e18",
            "1000000000000000001",
            "1e999999999999999999",
            "1e9999999999999999999999",
            "1e9999999999999999999998",
            "-1e9999999999999999999999",
            "0.3",
            "0.30000000000000004",
        ];
        for (at, one) in values.iter().enumerate() {
            for other in &values[..at] {
                assert_ne!(of(one), of(other), "{one} and {other}");
            }
        }
    }

    #[test]
    fn all_spellings_of_a_random_decimal_are_written_alike() {
        let mut seed = crate::seeded::Seeded::new(11);
        for _ in 0..20_000 {
            let value = seed.next() >> seed.below(64);
            let places = seed.below(6);
            let digits = format!("{value:0>width$}", width = places + 1);
            let (whole, fraction) = digits.split_at(digits.len() - places);
            let plain = if places == 0 { whole.to_owned() } else { format!("{whole}.{fraction}") };
            let zeros = "0".repeat(seed.below(5));
            let padded = if places == 0 { plain.clone() } else { format!("{plain}{zeros}") };
            let scaled = format!("{value}{zeros}e-{}", places + zeros.len());
            assert_eq!(of(&padded), of(&plain), "{padded} and {plain}");
            assert_eq!(of(&scaled), of(&plain), "{scaled} and {plain}");
            assert_ne!(of(&format!("{}e-{places}", u128::from(value) + 1)), of(&plain), "{plain} and its neighbour");
        }
    }
}
