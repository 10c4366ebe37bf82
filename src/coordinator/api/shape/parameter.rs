//! Parameters of queries: one description of each, by which it is read, refused by its name, and documented. Pure; the bytes
//! are bounded by the shard that took them. It never guesses: what is not known, comes twice or is not of its kind is 400.

use chrono::DateTime;
use schemars::{Schema, json_schema};

use super::error::ApiError;

/// A parameter.
#[derive(Debug)]
pub(crate) struct Parameter {
    pub name: &'static str,
    pub kind: Kind,
    /// For the document.
    pub about: &'static str,
}

/// What a parameter's value must be.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Kind {
    /// Of at most [`TEXT_BYTES_MAX`]; an empty one is as if it were absent.
    Text,
    /// RFC 3339, or seconds or milliseconds since the Unix epoch; an empty one is as if it were absent.
    Time,
    /// A whole number within these bounds.
    Whole { least: u64, most: u64 },
    /// A number that is not negative.
    Amount,
    /// One of these.
    Word(&'static [&'static str]),
}

/// A text in a query. Arbitrary: names of users and models are a quarter of it.
const TEXT_BYTES_MAX: usize = 1024;
/// A number from here on is of milliseconds: as seconds it would lie in the year 5138.
const MILLISECONDS_FROM: u64 = 100_000_000_000;
/// The end of the year 9999, beyond which RFC 3339 has no times.
const TIME_MS_MAX: u64 = 253_402_300_799_999;

/// The values of a query, all of their kind.
#[derive(Debug, Default)]
pub(crate) struct Values(Vec<(&'static str, Value)>);

#[derive(Debug, PartialEq)]
enum Value {
    Text(String),
    Whole(u64),
    Amount(f64),
    Word(&'static str),
}

impl Values {
    /// Reads a query that may have these parameters.
    pub(crate) fn read(query: Option<&str>, known: &[&'static Parameter]) -> Result<Values, ApiError> {
        let mut values = Values::default();
        for pair in query.unwrap_or_default().split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let Some(parameter) = known.iter().find(|parameter| parameter.name == name) else {
                let name = decoded(name).unwrap_or_else(|| name.to_owned());
                return Err(ApiError::parameter("unknown_parameter", &name, "there is no such parameter here"));
            };
            let wrong = |message: &str| ApiError::parameter("invalid_value", name, message);
            if values.0.iter().any(|(taken, _)| *taken == parameter.name) {
                return Err(wrong("comes twice"));
            }
            let text = decoded(value).ok_or_else(|| wrong("is not percent-encoded UTF-8"))?;
            if let Some(value) = parameter.kind.read(text).map_err(|message| wrong(&message))? {
                values.0.push((parameter.name, value));
            }
        }
        Ok(values)
    }

    fn find(&self, parameter: &Parameter) -> Option<&Value> {
        self.0.iter().find(|(name, _)| *name == parameter.name).map(|(_, value)| value)
    }

    pub(crate) fn text(&self, parameter: &Parameter) -> Option<String> {
        match self.find(parameter)? {
            Value::Text(text) => Some(text.clone()),
            _ => None,
        }
    }

    /// Of a whole number, or of a time in milliseconds since the Unix epoch.
    pub(crate) fn whole(&self, parameter: &Parameter) -> Option<u64> {
        match self.find(parameter)? {
            Value::Whole(number) => Some(*number),
            _ => None,
        }
    }

    pub(crate) fn amount(&self, parameter: &Parameter) -> Option<f64> {
        match self.find(parameter)? {
            Value::Amount(number) => Some(*number),
            _ => None,
        }
    }

    pub(crate) fn word(&self, parameter: &Parameter) -> Option<&'static str> {
        match self.find(parameter)? {
            Value::Word(word) => Some(word),
            _ => None,
        }
    }
}

impl Kind {
    fn read(self, text: String) -> Result<Option<Value>, String> {
        let optional = matches!(self, Kind::Text | Kind::Time);
        if optional && text.is_empty() {
            return Ok(None);
        }
        let value = match self {
            Kind::Text if text.len() > TEXT_BYTES_MAX => {
                return Err(format!("must be at most {TEXT_BYTES_MAX} bytes long"));
            }
            Kind::Text => Value::Text(text),
            Kind::Time => Value::Whole(time_ms(&text).ok_or(TIME_FORM)?),
            Kind::Whole { least, most } => {
                let number = whole(&text).filter(|number| (least..=most).contains(number));
                Value::Whole(number.ok_or_else(|| format!("must be a whole number from {least} to {most}"))?)
            }
            Kind::Amount => {
                let number: Option<f64> = text.parse().ok().filter(|number: &f64| number.is_finite() && *number >= 0.0);
                Value::Amount(number.ok_or("must be a number, not below 0")?)
            }
            Kind::Word(words) => {
                let word = words.iter().find(|word| **word == text);
                Value::Word(word.ok_or_else(|| format!("must be one of {}", words.join(", ")))?)
            }
        };
        Ok(Some(value))
    }

    /// For the document.
    pub(crate) fn schema(self) -> Schema {
        match self {
            Kind::Text => json_schema!({ "type": "string", "maxLength": TEXT_BYTES_MAX / 4 }),
            // A number of seconds or milliseconds is taken as well.
            Kind::Time => json_schema!({ "type": "string", "format": "date-time" }),
            Kind::Whole { least, most } => json_schema!({ "type": "integer", "minimum": least, "maximum": most }),
            Kind::Amount => json_schema!({ "type": "number", "minimum": 0 }),
            Kind::Word(words) => json_schema!({ "type": "string", "enum": words }),
        }
    }
}

const TIME_FORM: &str = "must be a time such as 2026-01-31T12:00:00Z (RFC 3339), or seconds or milliseconds since 1970";

fn whole(text: &str) -> Option<u64> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?
}

fn time_ms(text: &str) -> Option<u64> {
    let ms = match whole(text) {
        Some(number) if number >= MILLISECONDS_FROM => number,
        Some(number) => number * 1000,
        None => {
            // The plus of an offset, where it was not encoded, reads as a space.
            let time = DateTime::parse_from_rfc3339(&text.replace(' ', "+")).ok()?;
            u64::try_from(time.timestamp_millis()).ok()?
        }
    };
    (ms <= TIME_MS_MAX).then_some(ms)
}

/// A value of `application/x-www-form-urlencoded`: what browsers and clients make of a query.
fn decoded(text: &str) -> Option<String> {
    let mut decoded = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    let digit = |byte: Option<u8>| char::from(byte?).to_digit(16);
    while let Some(byte) = bytes.next() {
        match byte {
            b'+' => decoded.push(b' '),
            b'%' => decoded.push(u8::try_from(digit(bytes.next())? * 16 + digit(bytes.next())?).ok()?),
            byte => decoded.push(byte),
        }
    }
    String::from_utf8(decoded).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::link::ApiAnswer;

    static PAGE: Parameter = Parameter { name: "page", kind: Kind::Whole { least: 1, most: 200 }, about: "" };
    static Q: Parameter = Parameter { name: "q", kind: Kind::Text, about: "" };
    static FROM: Parameter = Parameter { name: "from", kind: Kind::Time, about: "" };
    static BY: Parameter = Parameter { name: "by", kind: Kind::Word(&["agent", "user"]), about: "" };
    static MIN_COST: Parameter = Parameter { name: "min_cost", kind: Kind::Amount, about: "" };

    fn read(query: &str) -> Result<Values, ApiError> {
        Values::read(Some(query), &[&PAGE, &Q, &FROM, &BY, &MIN_COST])
    }

    #[test]
    fn a_wrong_parameter_is_named() {
        for (query, param, code) in [
            ("x=1", "x", "unknown_parameter"),
            ("page=1&size=2", "size", "unknown_parameter"),
            ("PAGE=1", "PAGE", "unknown_parameter"),
            ("%70age=1", "page", "unknown_parameter"),
            ("page=1&page=1", "page", "invalid_value"),
            ("page=0", "page", "invalid_value"),
            ("page=", "page", "invalid_value"),
            ("page", "page", "invalid_value"),
            ("page=+1", "page", "invalid_value"),
            ("page=1.0", "page", "invalid_value"),
            ("page=18446744073709551616", "page", "invalid_value"),
            ("page=201", "page", "invalid_value"),
            ("page=1'--", "page", "invalid_value"),
            ("q=%ff", "q", "invalid_value"),
            ("q=%4", "q", "invalid_value"),
            ("from=yesterday", "from", "invalid_value"),
            ("from=-1", "from", "invalid_value"),
            ("from=1969-12-31T23:59:59Z", "from", "invalid_value"),
            ("from=99999999999999999", "from", "invalid_value"),
            ("by=Agent", "by", "invalid_value"),
            ("min_cost=-1", "min_cost", "invalid_value"),
            ("min_cost=NaN", "min_cost", "invalid_value"),
            ("min_cost=inf", "min_cost", "invalid_value"),
        ] {
            let answer = ApiAnswer::from(read(query).unwrap_err());
            let said: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
            assert_eq!((&said["error"]["param"], &said["error"]["code"]), (&param.into(), &code.into()), "{query}");
        }
        assert!(read(&format!("q={}", "x".repeat(TEXT_BYTES_MAX + 1))).is_err());
    }

    #[test]
    fn values_are_decoded() {
        let values = read("q=a%20b+c%2B%C3%9F&page=1%30&by=user&min_cost=0.5").unwrap();
        assert_eq!(values.text(&Q).as_deref(), Some("a b c+ß"));
        assert_eq!(
            (values.whole(&PAGE), values.word(&BY), values.amount(&MIN_COST)),
            (Some(10), Some("user"), Some(0.5))
        );
        assert_eq!(values.whole(&FROM), None);
    }

    #[test]
    fn an_empty_text_or_time_is_absent() {
        let values = read("q=&from=").unwrap();
        assert_eq!((values.text(&Q), values.whole(&FROM)), (None, None));
        assert!(Values::read(None, &[]).is_ok() && Values::read(Some("&"), &[]).is_ok());
    }

    #[test]
    fn a_time_has_three_forms() {
        for text in [
            "2026-01-31T12:00:00.007Z",
            "2026-01-31T13:00:00.007%2B01:00",
            "2026-01-31T13:00:00.007+01:00",
            "1769860800007",
        ] {
            assert_eq!(read(&format!("from={text}")).unwrap().whole(&FROM), Some(1_769_860_800_007), "{text}");
        }
        assert_eq!(read("from=1769860800").unwrap().whole(&FROM), Some(1_769_860_800_000));
    }
}
