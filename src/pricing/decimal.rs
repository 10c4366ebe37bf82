//! Decimal numbers as whole multiples of a power of ten, read from their text.
//! Pure. No floating point is involved, so `2.5e-06` is exactly two and a half millionths.

/// Why a number is not a price or a count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Flaw {
    #[error("is not a number")]
    NotANumber,
    #[error("is negative")]
    Negative,
    #[error("is absurdly large")]
    TooLarge,
}

/// A JSON number times `10^scale`, rounded half up to a whole number of at most `max`.
pub(super) fn scaled(number: &str, scale: i64, max: u64) -> Result<u64, Flaw> {
    let (negative, number) = match number.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, number),
    };
    let (mantissa, exponent) = number.split_once(['e', 'E']).unwrap_or((number, "0"));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    if whole.is_empty() || !whole.bytes().chain(fraction.bytes()).all(|byte| byte.is_ascii_digit()) {
        return Err(Flaw::NotANumber);
    }
    let digits = || whole.bytes().chain(fraction.bytes()).skip_while(|&byte| byte == b'0');
    if digits().next().is_none() {
        return Ok(0);
    }
    if negative {
        return Err(Flaw::Negative);
    }
    // An exponent beyond the range of `i32` makes the value 0 or far too large.
    let far = if exponent.starts_with('-') { i64::from(i32::MIN) } else { i64::from(i32::MAX) };
    let exponent = exponent.parse::<i32>().map_or(far, i64::from);
    let digits_before_point = digits().count() as i64 - fraction.len() as i64 + exponent + scale;
    if digits_before_point > DIGITS_MAX {
        return Err(Flaw::TooLarge);
    }
    let kept = digits().chain(std::iter::repeat(b'0')).take(usize::try_from(digits_before_point).unwrap_or(0));
    let value = kept.fold(0, |value, byte| 10 * value + u64::from(byte - b'0'));
    let first_dropped = if digits_before_point < 0 { None } else { digits().nth(digits_before_point as usize) };
    let value = value + u64::from(first_dropped.is_some_and(|byte| byte >= b'5'));
    if value > max { Err(Flaw::TooLarge) } else { Ok(value) }
}

/// Any number of this many digits fits into 64 bits.
const DIGITS_MAX: i64 = 18;
