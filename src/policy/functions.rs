//! The functions that a policy may call, with their argument and result types.
//! Runs on the compiling thread, as part of `check`, and evaluates constants once.
//! Never leaves a pattern or a timestamp to be parsed, or a time zone to be validated, at run time.

use cel::common::ast::{CallExpr, Expr, IdedExpr, LiteralValue};
use cel::{ExecutionError, Value};

use super::check::Checker;
use super::method::is_accessor;
use super::syntax::ExpressionError;
use super::types::{BOOL, CelType, INT, STRING, Type};
use super::values::{MATCHES, Pattern};

/// Name of each function and how to call it, for error messages. Does not include the accessors of timestamps.
const FUNCTIONS: [(&str, &str); 12] = [
    ("size", "size(x) or x.size()"),
    ("contains", "x.contains('…')"),
    ("startsWith", "x.startsWith('…')"),
    ("endsWith", "x.endsWith('…')"),
    ("matches", "x.matches('pattern')"),
    ("int", "int(x)"),
    ("uint", "uint(x)"),
    ("double", "double(x)"),
    ("string", "string(x)"),
    ("bool", "bool(x)"),
    ("timestamp", "timestamp('2026-01-31T00:00:00Z')"),
    ("duration", "duration('1h30m')"),
];

/// The accessors that durations have too, without a time zone.
const DURATION_ACCESSORS: [&str; 4] = ["getHours", "getMinutes", "getSeconds", "getMilliseconds"];

/// Macros of CEL. The parser expands every macro that is written correctly, so a call that still has one of these names was
/// written incorrectly.
const MACROS: [&str; 6] = ["all", "exists", "exists_one", "existsOne", "map", "filter"];

impl Checker<'_> {
    pub(super) fn function(&mut self, expr: &mut IdedExpr, depth: usize) -> Result<Type, ExpressionError> {
        let id = expr.id;
        let Expr::Call(call) = &mut expr.expr else {
            return Err(self.error(id, "is no function"));
        };
        let (name, on, count) = (call.func_name.clone(), call.target.is_some(), call.args.len());
        match (name.as_str(), on, count) {
            ("size", true, 0) | ("size", false, 1) => {
                let it = self.receiver(call, depth)?;
                let fits = matches!(it, STRING | Type::List(_));
                self.expect(fits, id, || format!("size is of strings and lists, this is {it}"))?;
                Ok(INT)
            }
            ("contains" | "startsWith" | "endsWith", true, 1) => {
                let it = (self.receiver(call, depth)?, self.argument(call, depth)?);
                self.expect(it == (STRING, STRING), id, || {
                    format!("{name} is of strings, this is {} on {}", it.1, it.0)
                })?;
                Ok(BOOL)
            }
            ("matches", true, 1) | ("matches", false, 2) => self.matches(expr, depth),
            ("int" | "uint" | "double" | "string" | "bool", false, 1) => {
                let it = self.receiver(call, depth)?;
                let to = conversion(&name, it);
                to.ok_or_else(|| self.error(id, format!("{name}() does not convert {it}")))
            }
            ("timestamp" | "duration", false, 1) => {
                let literal = matches!(call.args[0].expr, Expr::Literal(LiteralValue::String(_)));
                self.expect(literal, id, || format!("{name}() takes a literal string"))?;
                let value = Value::resolve_val(expr, self.base).map(|value| value.into_owned());
                let value = value.map_err(|error| self.error(id, format!("not a {name}: {}", reason(&error))))?;
                self.constant(expr, value);
                Ok(Type::One(if name == "timestamp" { CelType::Timestamp } else { CelType::Duration }))
            }
            (accessor, true, 0 | 1) if is_accessor(accessor) => self.accessor(id, call, depth),
            _ => Err(self.error(id, unavailable(&name))),
        }
    }

    /// Checks a call of `matches`, compiles its pattern, and makes the pattern a constant.
    fn matches(&mut self, expr: &mut IdedExpr, depth: usize) -> Result<Type, ExpressionError> {
        let id = expr.id;
        let Expr::Call(call) = &mut expr.expr else {
            return Err(self.error(id, "is no function"));
        };
        let it = self.receiver(call, depth)?;
        self.expect(it == STRING, id, || format!("matches is of strings, this is {it}"))?;
        let pattern = call.args.pop().unwrap_or_default();
        let Expr::Literal(LiteralValue::String(text)) = &pattern.expr else {
            return Err(self.error_at(&pattern, "the pattern of matches must be a literal string"));
        };
        let compiled = Pattern::new(text.inner()).map_err(|message| self.error(pattern.id, message))?;
        let mut constant = IdedExpr { id: pattern.id, expr: Expr::Unspecified };
        self.constant(&mut constant, Box::new(compiled));
        let text = call.target.take().map(|target| *target).or_else(|| call.args.pop()).unwrap_or_default();
        expr.expr = Expr::Call(CallExpr { func_name: MATCHES.into(), target: None, args: vec![text, constant] });
        Ok(BOOL)
    }

    fn accessor(&mut self, id: u64, call: &mut CallExpr, depth: usize) -> Result<Type, ExpressionError> {
        let name = call.func_name.clone();
        let it = self.receiver(call, depth)?;
        let of_duration = DURATION_ACCESSORS.contains(&name.as_str()) && call.args.is_empty();
        let fits = it == Type::One(CelType::Timestamp) || of_duration && it == Type::One(CelType::Duration);
        self.expect(fits, id, || format!("{name} is not of {it}"))?;
        if let Some(zone) = call.args.first() {
            let literal = matches!(zone.expr, Expr::Literal(LiteralValue::String(_)));
            self.expect(literal, id, || "the time zone must be a literal string".to_owned())?;
            // Tries the zone on the start of 1970: a zone is known or unknown regardless of the time.
            let zero = Expr::Literal(LiteralValue::Int(0.into()));
            let zero =
                CallExpr { func_name: "timestamp".into(), target: None, args: vec![IdedExpr { id, expr: zero }] };
            let target = Some(Box::new(IdedExpr { id, expr: Expr::Call(zero) }));
            let probe = CallExpr { func_name: name, target, args: vec![zone.clone()] };
            let probe = IdedExpr { id, expr: Expr::Call(probe) };
            Value::resolve_val(&probe, self.base).map_err(|error| self.error(zone.id, reason(&error)))?;
        }
        Ok(INT)
    }

    /// Returns the type of the value that a function is called on: the one before the dot, or else the first argument.
    fn receiver(&mut self, call: &mut CallExpr, depth: usize) -> Result<Type, ExpressionError> {
        match (&mut call.target, call.args.as_mut_slice()) {
            (Some(target), _) => self.expr(target, depth),
            (None, [first, ..]) => self.expr(first, depth),
            (None, []) => Err(ExpressionError::at(self.text, 0, unavailable(&call.func_name))),
        }
    }

    fn argument(&mut self, call: &mut CallExpr, depth: usize) -> Result<Type, ExpressionError> {
        match call.args.as_mut_slice() {
            [first, ..] => self.expr(first, depth),
            [] => Err(ExpressionError::at(self.text, 0, unavailable(&call.func_name))),
        }
    }

    fn expect(&self, fits: bool, id: u64, message: impl FnOnce() -> String) -> Result<(), ExpressionError> {
        if fits { Ok(()) } else { Err(self.error(id, message())) }
    }
}

/// Returns the type of `name(it)`, or `None` when there is no such conversion.
fn conversion(name: &str, it: Type) -> Option<Type> {
    use CelType::{Bool, Double, Int, String, Timestamp, Uint};
    let Type::One(from) = it else {
        return None;
    };
    let (to, fits) = match name {
        "int" => (Int, from.is_number() || matches!(from, String | Timestamp)),
        "uint" => (Uint, from.is_number() || from == String),
        "double" => (Double, from.is_number() || from == String),
        "string" => (String, true),
        _ => (Bool, matches!(from, Bool | String)),
    };
    fits.then_some(Type::One(to))
}

fn unavailable(name: &str) -> String {
    if let Some((_, usage)) = FUNCTIONS.iter().find(|(known, _)| *known == name) {
        format!("{name} is called {usage}")
    } else if is_accessor(name) {
        format!("{name} is called now.{name}() or now.{name}('Europe/Berlin')")
    } else if MACROS.contains(&name) {
        format!("{name} is called ['a', 'b'].{name}(x, …)")
    } else {
        format!("there is no function {name} in policies")
    }
}

/// Returns the interpreter's message. For an error in a function, leaves out the text that the interpreter puts around it.
fn reason(error: &ExecutionError) -> String {
    match error {
        ExecutionError::FunctionError { message, .. } => message.clone(),
        error => error.to_string(),
    }
}
