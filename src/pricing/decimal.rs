//! Decimal numbers as whole multiples of a power of ten, read from their text.
//! Pure; no floating point, so that `2.5e-06` is two and a half millionths and nothing else.

/// Why a number is no price, or no count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Flaw {
    #[error("is no number")]
    NoNumber,
    #[error("is negative")]
    Negative,
    #[error("is absurdly large")]
    TooLarge,
}

/// A JSON number times `10^scale`, rounded half up to a whole number, if it is at most `max`.
pub(super) fn scaled(number: &str, scale: i64, max: u64) -> Result<u64, Flaw> {
    let (negative, number) = match number.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, number),
    };
    let (mantissa, exponent) = number.split_once(['e', 'E']).unwrap_or((number, "0"));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    if whole.is_empty() || !whole.bytes().chain(fraction.bytes()).all(|byte| byte.is_ascii_digit()) {
        return Err(Flaw::NoNumber);
    }
    let digits = || whole.bytes().chain(fraction.bytes()).skip_while(|&byte| byte == b'0');
    if digits().next().is_none() {
        return Ok(0);
    }
    if negative {
        return Err(Flaw::Negative);
    }
    // An exponent beyond any i32 leaves nothing, or far too much.
    let far = if exponent.starts_with('-') { i64::from(i32::MIN) } else { i64::from(i32::MAX) };
    let exponent = exponent.parse::<i32>().map_or(far, i64::from);
    // So many of the digits stand before the point.
    let before = digits().count() as i64 - fraction.len() as i64 + exponent + scale;
    if before > DIGITS_MAX {
        return Err(Flaw::TooLarge);
    }
    let kept = digits().chain(std::iter::repeat(b'0')).take(usize::try_from(before).unwrap_or(0));
    let value = kept.fold(0, |value, byte| 10 * value + u64::from(byte - b'0'));
    let rest = if before < 0 { None } else { digits().nth(before as usize) };
    let value = value + u64::from(rest.is_some_and(|byte| byte >= b'5'));
    if value > max { Err(Flaw::TooLarge) } else { Ok(value) }
}

/// So many digits fit into 64 bits, whatever they are.
const DIGITS_MAX: i64 = 18;
