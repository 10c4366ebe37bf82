//! Values and functions that cel lacks: a compiled pattern as a value, the function that matches it, and the base context
//! that holds them.
//! The context is built once per shard; patterns are built on the compiling thread and shared through the plan.
//! Never compiles a pattern while a request is judged.

use std::any::Any;
use std::sync::Arc;

use cel::common::types::{CelBool, CelString, STRING_TYPE, Type};
use cel::common::value::{CowVal, StaticVal, Val};
use cel::{Context, Env, ExecutionError};
use regex::{Regex, RegexBuilder};

/// Function that replaces `x.matches('…')`; its arguments are the receiver and a constant that holds the compiled pattern.
/// No source text can spell this name, because `@` is not a CEL character.
pub(super) const MATCHES: &str = "@matches";

/// Largest compiled pattern, in bytes. Each `\w` takes about 50 KiB because it covers all of Unicode (in RE2, which CEL
/// names, `\w` is ASCII only). `^\w+@\w+\.\w+$` should pass; `(\w{1,50}){1,50}` should not.
pub(super) const PATTERN_BYTES_MAX: usize = 512 << 10;

/// Deepest nesting inside a pattern. Arbitrary, far deeper than anyone writes.
const PATTERN_DEPTH_MAX: u32 = 32;

/// A compiled pattern. Shards may share it, because `regex` keeps its scratch space in a pool that never makes a thread
/// wait.
#[derive(Debug, Clone)]
pub(super) struct Pattern(Regex);

impl Pattern {
    pub(super) fn new(text: &str) -> Result<Pattern, String> {
        let built = RegexBuilder::new(text)
            .size_limit(PATTERN_BYTES_MAX)
            .dfa_size_limit(PATTERN_BYTES_MAX)
            .nest_limit(PATTERN_DEPTH_MAX)
            .build();
        built.map(Pattern).map_err(|error| match error {
            regex::Error::CompiledTooBig(_) => {
                r"the pattern is too large once compiled; [a-z0-9_] is far smaller than \w".to_owned()
            }
            // The last line states the reason; the lines above it draw the pattern.
            error => {
                let text = error.to_string();
                let reason = text.lines().last().unwrap_or_default();
                format!("the pattern is not valid: {}", reason.strip_prefix("error: ").unwrap_or(reason))
            }
        })
    }
}

const PATTERN: Type = Type::new_unspecified_type("luner.pattern");
static PATTERN_TYPE: Type = PATTERN;

impl Val for Pattern {
    fn get_type(&self) -> &Type {
        &PATTERN_TYPE
    }

    fn cel_type() -> &'static Type {
        &PATTERN_TYPE
    }

    fn clone_as_boxed<'v>(&self) -> Box<dyn Val + 'v>
    where
        Self: 'v,
    {
        Box::new(self.clone())
    }

    fn as_any(&self) -> Option<&dyn Any> {
        Some(self)
    }
}

impl StaticVal for Pattern {}

fn matches<'b, 'v>(args: Vec<CowVal<'b, 'v>>) -> Result<CowVal<'b, 'v>, ExecutionError> {
    let mut args = args.iter();
    let text = args.next().and_then(|arg| arg.downcast_ref::<CelString>());
    let pattern = args.next().and_then(|arg| arg.downcast_ref::<Pattern>());
    match (text, pattern) {
        (Some(text), Some(pattern)) => Ok(CowVal::owned(CelBool::from(pattern.0.is_match(text.inner())))),
        _ => Err(ExecutionError::missing_argument_or_target()),
    }
}

/// Builds a context with CEL's standard functions and [`MATCHES`], and no variables. Takes about 30 µs.
pub(super) fn base_context() -> Context<'static, 'static> {
    let mut env = Env::stdlib();
    let types = vec![STRING_TYPE, PATTERN];
    env.add_overload(MATCHES, "matches_pattern", types, matches).expect("no other function has an `@` in its name");
    Context::with_env(Arc::new(env))
}
