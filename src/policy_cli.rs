//! `luner policy test`: evaluates one expression once, or on stored requests, without a gateway.
//! Runs on the main thread of a process that does nothing else. It evaluates with the same code as the gateway.
//! Never reads a configuration and never writes to a store.

use std::borrow::Cow;
use std::path::Path;
use std::process::ExitCode;

use luner::clock::Clock;
use luner::coordinator::replay;
use luner::coordinator::store::reader::Reader;
use luner::coordinator::try_expression::{GivenVariables, Trial, json_of};
use luner::policy::{Action, Downgrades, ExpressionError, Repriced};
use serde_json::Map;

/// Wrong usage; the same code as clap's.
const EXIT_USAGE: u8 = 2;

/// Prints true or false. Returns exit code 0 for either result, 1 if the evaluation fails for these variables, 2 if the
/// expression is not valid in a policy or a variable does not exist.
pub fn test(expression: &str, vars: &[String]) -> ExitCode {
    let given = match parse_vars(vars) {
        Ok(given) => given,
        Err(complaints) => {
            complaints.iter().for_each(|complaint| eprintln!("luner: --var {complaint}"));
            return ExitCode::from(EXIT_USAGE);
        }
    };
    let trial = Trial { expression: expression.to_owned(), action: Action::Alert, target_model: None };
    match trial.run(&given, &NoPlan) {
        Ok(outcome) => match outcome.error {
            None => {
                println!("{}", outcome.matched);
                ExitCode::SUCCESS
            }
            Some(fault) => {
                eprintln!("luner: the evaluation fails for these variables: {fault:?}");
                ExitCode::FAILURE
            }
        },
        Err(error) => report(expression, &error),
    }
}

/// Prints how many of the newest stored requests match and what they cost. Returns exit code 0 for any number, 1 if the file
/// cannot be read.
pub fn replay(expression: &str, db: &Path, last: u32) -> ExitCode {
    let trial = Trial { expression: expression.to_owned(), action: Action::Block, target_model: None };
    let compiled = match trial.compile() {
        Ok(compiled) => compiled,
        Err(error) => return report(expression, &error),
    };
    let rows = Reader::open(db, Clock::start()).and_then(|reader| reader.newest_requests(last));
    let rows = match rows {
        Ok(rows) => rows,
        Err(error) => {
            eprintln!("luner: --db {error}");
            return ExitCode::FAILURE;
        }
    };
    let replay = replay::replay(&trial, &compiled, &rows, &NoPlan, &|_, _| None);
    println!("{} of {} requests match; they cost ${:.6}", replay.matched, replay.evaluated, replay.cost_usd);
    for (why, count) in &replay.why {
        println!("{count} could not be judged: {why}");
    }
    for example in &replay.examples {
        let replay::Example { at, trace_id, user_id, model, cost_usd } = example;
        println!("  {at} {trace_id} user={user_id:?} model={model:?} ${cost_usd:.6}");
    }
    ExitCode::SUCCESS
}

fn report(expression: &str, error: &ExpressionError) -> ExitCode {
    eprintln!("luner: --expr {error}");
    if let Some(excerpt) = point_at(expression, error) {
        eprintln!("{excerpt}");
    }
    ExitCode::from(EXIT_USAGE)
}

/// Parses `NAME=VALUE` pairs; each name may occur once.
fn parse_vars(vars: &[String]) -> Result<GivenVariables, Vec<String>> {
    let (mut map, mut complaints) = (Map::new(), Vec::new());
    for var in vars {
        match var.split_once('=') {
            None => complaints.push(format!("{var}: write NAME=VALUE")),
            Some((name, value)) if map.insert(name.to_owned(), json_of(name, value)).is_some() => {
                complaints.push(format!("{name}: given twice"));
            }
            Some(_) => {}
        }
    }
    match GivenVariables::new(&map, Clock::start().now()) {
        Ok(given) if complaints.is_empty() => Ok(given),
        Ok(_) => Err(complaints),
        Err(errors) => Err(complaints.into_iter().chain(errors.iter().map(ToString::to_string)).collect()),
    }
}

/// Returns the line with the mistake, and a caret below its place.
fn point_at(expression: &str, error: &ExpressionError) -> Option<String> {
    let at = error.position?;
    let line = expression.lines().nth(usize::try_from(at.line).ok()?.checked_sub(1)?).unwrap_or_default();
    let before = line.chars().take(usize::try_from(at.column).ok()?.saturating_sub(1));
    // Tabs are kept, so that the caret is aligned with its place.
    let margin: String = before.map(|c| if c == '\t' { '\t' } else { ' ' }).collect();
    Some(format!("  {line}\n  {margin}^"))
}

/// Stands in for a plan: no model has a downgrade target, and every model is served at no cost.
struct NoPlan;

impl Downgrades for NoPlan {
    fn target(&self, _: &str) -> Option<Cow<'_, str>> {
        None
    }

    fn is_served(&self, _: &str) -> bool {
        true
    }

    fn reprice(&self, _: &str) -> Repriced<'_> {
        Repriced { provider: Cow::Borrowed(""), est_cost_usd: 0.0 }
    }
}
