//! Newtypes for values with a unit (bytes, durations, money) and for secrets, which must never be printed.
//! Plain values, used on every thread.
//! Never does I/O, and parsing never panics, whatever the text.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use zeroize::Zeroizing;

/// The reason for which a text is not a valid quantity. The message follows the quoted text, says what is allowed, and never
/// repeats the text, which may be a secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum UnitError {
    #[error("is not a size: write a whole number and a unit, such as 32KiB, 10MiB or 2GB")]
    Size,
    #[error("is not a duration: write whole numbers with units d, h, m, s, ms, such as 30s, 1m30s or 7d")]
    Duration,
    #[error("is not an amount: write dollars with at most six decimals, such as 0.25")]
    Money,
    #[error("is too large")]
    TooLarge,
}

/// A number of bytes, written like `32KiB`, `10MiB` or `512MB`. A number without a unit is bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct ByteSize(pub u64);

/// Largest first. Where two units give equally short numbers, the earlier one is printed, so binary units are preferred.
const SIZE_UNITS: [(&str, u64); 9] = [
    ("TiB", 1 << 40),
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("TB", 1_000_000_000_000),
    ("GB", 1_000_000_000),
    ("MB", 1_000_000),
    ("KB", 1_000),
    ("B", 1),
];

impl FromStr for ByteSize {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<ByteSize, UnitError> {
        let (digits, unit) = split_number(text.trim()).ok_or(UnitError::Size)?;
        let unit = unit.trim_start();
        let factor = if unit.is_empty() {
            1
        } else {
            SIZE_UNITS
                .iter()
                .find(|(name, _)| name.eq_ignore_ascii_case(unit))
                .map(|(_, factor)| *factor)
                .ok_or(UnitError::Size)?
        };
        let number: u64 = digits.parse().map_err(|_| UnitError::TooLarge)?;
        number.checked_mul(factor).map(ByteSize).ok_or(UnitError::TooLarge)
    }
}

impl fmt::Display for ByteSize {
    /// Uses the unit that gives the smallest whole number: `512MB`, not `500000KiB`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let exact = SIZE_UNITS.iter().filter(|(_, factor)| self.0.is_multiple_of(*factor));
        match exact.min_by_key(|(_, factor)| self.0 / factor) {
            Some((unit, factor)) if self.0 > 0 => write!(f, "{}{unit}", self.0 / factor),
            _ => write!(f, "{}B", self.0),
        }
    }
}

/// A duration, written like `250ms`, `30s`, `1m30s`, `2h` or `7d`. The resolution is one millisecond.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct HumanDuration(pub Duration);

/// Units and their length in milliseconds, in the order in which they must be written, each at most once.
const TIME_UNITS: [(&str, u64); 5] = [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];

impl FromStr for HumanDuration {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<HumanDuration, UnitError> {
        let mut rest = text.trim();
        let mut total_ms: u64 = 0;
        let mut units = TIME_UNITS.iter();
        if rest.is_empty() {
            return Err(UnitError::Duration);
        }
        while !rest.is_empty() {
            let (digits, after) = split_number(rest).ok_or(UnitError::Duration)?;
            let end = after.find(|c: char| !c.is_ascii_lowercase()).unwrap_or(after.len());
            let (unit, next) = after.split_at(end);
            // `find` consumes the iterator up to the unit that it finds, which enforces the order.
            let factor = units.find(|(name, _)| *name == unit).ok_or(UnitError::Duration)?.1;
            let number: u64 = digits.parse().map_err(|_| UnitError::TooLarge)?;
            total_ms = number.checked_mul(factor).and_then(|ms| total_ms.checked_add(ms)).ok_or(UnitError::TooLarge)?;
            rest = next;
        }
        Ok(HumanDuration(Duration::from_millis(total_ms)))
    }
}

impl fmt::Display for HumanDuration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut left_ms = self.0.as_millis();
        if left_ms == 0 {
            return f.write_str("0s");
        }
        for (unit, factor) in TIME_UNITS {
            let count = left_ms / u128::from(factor);
            left_ms %= u128::from(factor);
            if count > 0 {
                write!(f, "{count}{unit}")?;
            }
        }
        Ok(())
    }
}

/// Money in millionths of a dollar: exact, and cheap to add up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct MicroUsd(pub i64);

impl MicroUsd {
    /// Rounds to the nearest millionth. Returns `None` if `usd` is not finite or out of range.
    pub fn from_usd(usd: f64) -> Option<MicroUsd> {
        let micro = (usd * 1e6).round();
        // An i64 ends just beyond ±9.2e18; the cast below is exact within.
        (micro.is_finite() && micro.abs() < 9.2e18).then_some(MicroUsd(micro as i64))
    }

    pub fn usd(self) -> f64 {
        self.0 as f64 / 1e6
    }

    pub fn saturating_add(self, other: MicroUsd) -> MicroUsd {
        MicroUsd(self.0.saturating_add(other.0))
    }
}

impl FromStr for MicroUsd {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<MicroUsd, UnitError> {
        let (negative, text) = match text.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
        let digits = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
        if !digits(whole) || !digits(fraction) || fraction.len() > 6 {
            return Err(UnitError::Money);
        }
        let micro: i64 = format!("{whole}{fraction:0<6}").parse().map_err(|_| UnitError::TooLarge)?;
        Ok(MicroUsd(if negative { -micro } else { micro }))
    }
}

impl fmt::Display for MicroUsd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.0 < 0 { "-" } else { "" };
        let micro = self.0.unsigned_abs();
        write!(f, "{sign}{}.{:06}", micro / 1_000_000, micro % 1_000_000)
    }
}

/// A key or token. `Debug` and `Display` print `***`; it serialises as `***`, or as `""` if it is empty. Its memory is zeroed
/// on drop. `==` does not take constant time: tokens that callers present are compared elsewhere.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Secret(Zeroizing<String>);

impl Secret {
    pub fn new(text: String) -> Secret {
        Secret(Zeroizing::new(text))
    }

    /// Returns the secret itself. A review should look at every call.
    pub fn expose(&self) -> &str {
        &self.0
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(if self.is_empty() { "" } else { "***" })
    }
}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Secret, D::Error> {
        // Moves the owned `String` instead of copying it, so that no second copy is left behind without being zeroed.
        String::deserialize(from).map(Secret::new)
    }
}

/// For `#[serde(with = "crate::units::bytes")]` on a `u64`.
pub mod bytes {
    use super::*;

    pub fn serialize<S: Serializer>(bytes: &u64, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(&ByteSize(*bytes))
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<u64, D::Error> {
        struct Size;
        impl de::Visitor<'_> for Size {
            type Value = u64;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a size such as 10MiB")
            }

            fn visit_u64<E: de::Error>(self, bytes: u64) -> Result<u64, E> {
                Ok(bytes)
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<u64, E> {
                text.parse::<ByteSize>().map(|size| size.0).map_err(E::custom)
            }
        }
        from.deserialize_any(Size)
    }
}

/// For `#[serde(with = "crate::units::duration")]` on a `Duration`.
pub mod duration {
    use super::*;

    pub fn serialize<S: Serializer>(duration: &Duration, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(&HumanDuration(*duration))
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
        let text = String::deserialize(from)?;
        text.parse::<HumanDuration>().map(|human| human.0).map_err(de::Error::custom)
    }
}

/// Splits a text after its leading digits. Returns `None` if it has none.
fn split_number(text: &str) -> Option<(&str, &str)> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    (end > 0).then(|| text.split_at(end))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_parse_in_binary_and_decimal_units() {
        for (text, bytes) in [
            ("0", 0),
            ("17", 17),
            ("32KiB", 32 << 10),
            ("10MiB", 10 << 20),
            ("2GiB", 2 << 30),
            ("1 TiB", 1 << 40),
            ("512MB", 512_000_000),
            ("3kB", 3_000),
            ("7B", 7),
        ] {
            assert_eq!(text.parse(), Ok(ByteSize(bytes)), "{text}");
        }
        for text in ["", "KiB", "-1", "1.5GiB", "10M", "1e3", "10MiBs", "٣KiB"] {
            assert_eq!(text.parse::<ByteSize>(), Err(UnitError::Size), "{text}");
        }
        for text in ["99999999999999999999", "18446744073709551615KiB"] {
            assert_eq!(text.parse::<ByteSize>(), Err(UnitError::TooLarge), "{text}");
        }
    }

    #[test]
    fn durations_parse_in_descending_units() {
        for (text, ms) in [
            ("250ms", 250),
            ("30s", 30_000),
            ("1m30s", 90_000),
            ("2h", 7_200_000),
            ("7d", 604_800_000),
            ("1d2h3m4s5ms", 93_784_005),
            ("0s", 0),
        ] {
            assert_eq!(text.parse(), Ok(HumanDuration(Duration::from_millis(ms))), "{text}");
        }
        for text in ["", "30", "s", "1.5s", "30 s", "-1s", "1s1m", "1s1s", "10us", "1S", "²s"] {
            assert_eq!(text.parse::<HumanDuration>(), Err(UnitError::Duration), "{text}");
        }
        assert_eq!("999999999999999d".parse::<HumanDuration>(), Err(UnitError::TooLarge));
    }

    #[test]
    fn human_units_round_trip() {
        let mut seed = 0x9e37_79b9_7f4a_7c15_u64;
        for _ in 0..20_000 {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let number = seed >> (seed % 64);
            let size = ByteSize(number);
            assert_eq!(size.to_string().parse(), Ok(size));
            let duration = HumanDuration(Duration::from_millis(number));
            assert_eq!(duration.to_string().parse(), Ok(duration));
            let money = MicroUsd((number >> 1) as i64 * if seed & 1 == 0 { 1 } else { -1 });
            assert_eq!(money.to_string().parse(), Ok(money));
        }
        assert_eq!(ByteSize(512_000_000).to_string(), "512MB");
        assert_eq!(ByteSize(2 << 30).to_string(), "2GiB");
        assert_eq!(HumanDuration(Duration::from_secs(90)).to_string(), "1m30s");
    }

    #[test]
    fn money_is_exact_in_millionths() {
        assert_eq!("0.000001".parse(), Ok(MicroUsd(1)));
        assert_eq!("-12.5".parse(), Ok(MicroUsd(-12_500_000)));
        assert_eq!(MicroUsd(-1_500_000).to_string(), "-1.500000");
        assert_eq!(MicroUsd::from_usd(0.1 + 0.2), Some(MicroUsd(300_000)));
        assert_eq!(MicroUsd::from_usd(f64::NAN), None);
        assert_eq!(MicroUsd::from_usd(1e300), None);
        for text in ["", ".", "1.", ".5", "1e3", "0.0000001", "--1", "$1"] {
            assert_eq!(text.parse::<MicroUsd>(), Err(UnitError::Money), "{text}");
        }
    }

    #[test]
    fn secret_prints_as_stars_everywhere() {
        let secret = Secret::new("sk-canary".to_owned());
        assert_eq!(format!("{secret} {secret:?}"), "*** ***");
        assert_eq!(serde_json::to_string(&secret).expect("a string serialises"), "\"***\"");
        assert_eq!(serde_json::to_string(&Secret::default()).expect("an empty secret serialises"), "\"\"");
        assert_eq!(secret.expose(), "sk-canary");
    }
}
