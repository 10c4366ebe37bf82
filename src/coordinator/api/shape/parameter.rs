//! Query parameters: one description of each, by which it is read, refused and documented. Pure; the shard that received the
//! bytes has bounded them. It never guesses: a parameter that is unknown, occurs twice or has a wrong value gets 400.

use chrono::DateTime;
use schemars::{Schema, json_schema};

use super::error::ApiError;

/// Longest text in a query, in bytes. Arbitrary: four times the length of most names of users and models.
const TEXT_BYTES_MAX: usize = 1024;
/// A time that is a number of at least this counts milliseconds: in seconds it would be in the year 5138.
const MILLISECONDS_FROM: u64 = 100_000_000_000;
/// The end of the year 9999, the last that RFC 3339 can write.
const TIME_MS_MAX: u64 = 253_402_300_799_999;

/// A parameter.
#[derive(Debug)]
pub(crate) struct Parameter {
    pub(crate) name: &'static str,
    pub(crate) kind: ParameterKind,
    /// For the document.
    pub(crate) about: &'static str,
}

/// The kinds of values that parameters have.
#[derive(Clone, Copy, Debug)]
pub(crate) enum ParameterKind {
    /// A text of at most [`TEXT_BYTES_MAX`]. An empty text counts as absent.
    Text,
    /// RFC 3339, or seconds or milliseconds since the Unix epoch. An empty text counts as absent.
    Time,
    /// A whole number within these bounds.
    Whole { least: u64, most: u64 },
    /// A number that is not negative.
    Amount,
    /// One of these words.
    Word(&'static [&'static str]),
}

/// A parameter whose value is a text.
pub(crate) const fn text(name: &'static str, about: &'static str) -> Parameter {
    Parameter { name, kind: ParameterKind::Text, about }
}

/// The parameters that an operation accepts.
pub(crate) enum Query {
    /// Any; all are ignored. Probes and scrapers add some of their own.
    Any,
    /// The parameters in these lists, and no others.
    Known(&'static [&'static [&'static Parameter]]),
}

impl Query {
    pub(crate) fn parameters(&self) -> impl Iterator<Item = &'static Parameter> {
        let lists = match self {
            Query::Any => &[],
            Query::Known(lists) => *lists,
        };
        lists.iter().flat_map(|list| list.iter().copied())
    }
}

/// The values of a query, each of its parameter's kind.
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
    /// Reads a query string that may hold these parameters.
    pub(crate) fn read(query: Option<&str>, known: &Query) -> Result<Values, ApiError> {
        let mut values = Values::default();
        if matches!(known, Query::Any) {
            return Ok(values);
        }
        for pair in query.unwrap_or_default().split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let Some(parameter) = known.parameters().find(|parameter| parameter.name == name) else {
                let name = decoded(name).unwrap_or_else(|| name.to_owned());
                return Err(ApiError::parameter("unknown_parameter", &name, "there is no such parameter here"));
            };
            let wrong = |message: &str| ApiError::parameter("invalid_value", name, message);
            if values.0.iter().any(|(taken, _)| *taken == parameter.name) {
                return Err(wrong("occurs twice"));
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

    /// The value of a whole number, or of a time in milliseconds since the Unix epoch.
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

impl ParameterKind {
    fn read(self, text: String) -> Result<Option<Value>, String> {
        let optional = matches!(self, ParameterKind::Text | ParameterKind::Time);
        if optional && text.is_empty() {
            return Ok(None);
        }
        let value = match self {
            ParameterKind::Text if text.len() > TEXT_BYTES_MAX => {
                return Err(format!("must be at most {TEXT_BYTES_MAX} bytes long"));
            }
            ParameterKind::Text => Value::Text(text),
            ParameterKind::Time => Value::Whole(time_ms(&text).ok_or(TIME_FORM)?),
            ParameterKind::Whole { least, most } => {
                let number = whole(&text).filter(|number| (least..=most).contains(number));
                Value::Whole(number.ok_or_else(|| format!("must be a whole number from {least} to {most}"))?)
            }
            ParameterKind::Amount => {
                let number: Option<f64> = text.parse().ok().filter(|number: &f64| number.is_finite() && *number >= 0.0);
                Value::Amount(number.ok_or("must be a number, not below 0")?)
            }
            ParameterKind::Word(words) => {
                let word = words.iter().find(|word| **word == text);
                Value::Word(word.ok_or_else(|| format!("must be one of {}", words.join(", ")))?)
            }
        };
        Ok(Some(value))
    }

    /// The schema for the document.
    pub(crate) fn schema(self) -> Schema {
        match self {
            ParameterKind::Text => json_schema!({ "type": "string", "maxLength": TEXT_BYTES_MAX / 4 }),
            // A number of seconds or milliseconds is accepted too.
            ParameterKind::Time => json_schema!({ "type": "string", "format": "date-time" }),
            ParameterKind::Whole { least, most } => {
                json_schema!({ "type": "integer", "minimum": least, "maximum": most })
            }
            ParameterKind::Amount => json_schema!({ "type": "number", "minimum": 0 }),
            ParameterKind::Word(words) => json_schema!({ "type": "string", "enum": words }),
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
            // The `+` of an offset reads as a space if it was not encoded.
            let time = DateTime::parse_from_rfc3339(&text.replace(' ', "+")).ok()?;
            u64::try_from(time.timestamp_millis()).ok()?
        }
    };
    (ms <= TIME_MS_MAX).then_some(ms)
}

/// Decodes a value of `application/x-www-form-urlencoded`, as browsers and clients encode queries.
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

    static PAGE: Parameter = Parameter { name: "page", kind: ParameterKind::Whole { least: 1, most: 200 }, about: "" };
    static Q: Parameter = Parameter { name: "q", kind: ParameterKind::Text, about: "" };
    static FROM: Parameter = Parameter { name: "from", kind: ParameterKind::Time, about: "" };
    static BY: Parameter = Parameter { name: "by", kind: ParameterKind::Word(&["agent", "user"]), about: "" };
    static MIN_COST: Parameter = Parameter { name: "min_cost", kind: ParameterKind::Amount, about: "" };

    fn read(query: &str) -> Result<Values, ApiError> {
        const KNOWN: Query = Query::Known(&[&[&PAGE, &Q], &[&FROM, &BY, &MIN_COST]]);
        Values::read(Some(query), &KNOWN)
    }

    #[test]
    fn wrong_parameter_is_named() {
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
            let refusal: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
            assert_eq!(
                (&refusal["error"]["param"], &refusal["error"]["code"]),
                (&param.into(), &code.into()),
                "{query}"
            );
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
    fn empty_text_or_time_counts_as_absent() {
        let values = read("q=&from=").unwrap();
        assert_eq!((values.text(&Q), values.whole(&FROM)), (None, None));
        assert!(Values::read(None, &Query::Known(&[])).is_ok() && Values::read(Some("&"), &Query::Known(&[])).is_ok());
    }

    #[test]
    fn time_may_be_written_in_three_forms() {
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
