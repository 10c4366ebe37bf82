//! The policies of a plan, compiled and sorted.
//! The coordinator makes them on a thread with a large stack; all shards share them through the plan.
//! Never holds an unchecked expression, and never changes.

use std::thread;

use cel::common::ast::IdedExpr;
use cel::common::value::Val;
use schemars::JsonSchema;
use serde::Serialize;

use super::check::{Checked, Ready, compile};
use super::draft::{Action, Mode, Policy};
use super::syntax::ExpressionError;
use super::values::base_context;
use super::variable::Variables;

/// Stack size of the compiling thread, which is never a shard's thread: cel's parser recurses. Arbitrary, far above the
/// need of 32 levels of nesting.
const STACK_BYTES: usize = 16 << 20;

/// The enabled policies, sorted by priority, then by id.
#[derive(Debug, Default)]
pub struct Compiled {
    policies: Vec<Runnable>,
    /// Patterns, lists, timestamps and durations. The trees refer to them by index.
    constants: Vec<Box<dyn Val>>,
    variables: Variables,
}

/// A policy that can be judged.
#[derive(Debug)]
pub struct Runnable {
    /// Index in [`Compiled::policies`]. A verdict uses it to name the policy.
    pub index: usize,
    pub id: String,
    pub name: String,
    pub action: Action,
    pub mode: Mode,
    pub target_model: Option<String>,
    pub message: Option<String>,
    pub priority: i64,
    pub variables: Variables,
    pub(super) expr: IdedExpr,
}

/// A policy that does not compile.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema, thiserror::Error)]
#[error("policy {id}: {error}")]
pub struct Failed {
    pub id: String,
    pub error: ExpressionError,
}

impl Compiled {
    /// Compiles the enabled policies, or returns an error for each that does not compile. Takes about 0.1 ms per policy.
    pub fn new(policies: &[Policy]) -> Result<Compiled, Vec<Failed>> {
        let mut enabled: Vec<&Policy> = policies.iter().filter(|policy| policy.enabled).collect();
        if enabled.is_empty() {
            return Ok(Compiled::empty());
        }
        enabled.sort_by(|a, b| (a.priority, &a.id).cmp(&(b.priority, &b.id)));
        on_large_stack(|| compile_all(&enabled)).unwrap_or_else(|error| {
            Err(enabled.iter().map(|policy| Failed { id: policy.id.clone(), error: error.clone() }).collect())
        })
    }

    pub fn empty() -> Compiled {
        Compiled::default()
    }

    pub fn is_empty(&self) -> bool {
        self.policies.is_empty()
    }

    /// Returns the variables that at least one policy reads.
    pub fn variables(&self) -> Variables {
        self.variables
    }

    pub fn policies(&self) -> &[Runnable] {
        &self.policies
    }

    pub(super) fn constants(&self) -> &[Box<dyn Val>] {
        &self.constants
    }
}

/// Checks that `text` may be a policy's expression, and returns the variables it reads. Takes about 0.3 ms, on a separate
/// thread.
pub fn check_expression(text: &str) -> Result<Checked, ExpressionError> {
    on_large_stack(|| compile(text, &base_context(), &mut Vec::new()))?
        .map(|Ready { variables, .. }| Checked { variables })
}

fn compile_all(policies: &[&Policy]) -> Result<Compiled, Vec<Failed>> {
    let base = base_context();
    let mut compiled = Compiled::empty();
    let mut failed = Vec::new();
    for policy in policies {
        let Ready { expr, variables } = match compile(&policy.expression, &base, &mut compiled.constants) {
            Ok(ready) => ready,
            Err(error) => {
                failed.push(Failed { id: policy.id.clone(), error });
                continue;
            }
        };
        compiled.variables = compiled.variables.union(variables);
        compiled.policies.push(Runnable {
            index: compiled.policies.len(),
            id: policy.id.clone(),
            name: policy.name.clone(),
            action: policy.action,
            mode: policy.mode,
            target_model: policy.target_model.clone(),
            message: policy.message.clone(),
            priority: policy.priority,
            variables,
            expr,
        });
    }
    if failed.is_empty() { Ok(compiled) } else { Err(failed) }
}

/// Runs `work` to completion on a thread with [`STACK_BYTES`] of stack. Fails when the system cannot start the thread, or
/// when `work` panics.
fn on_large_stack<T: Send>(work: impl FnOnce() -> T + Send) -> Result<T, ExpressionError> {
    let failed = |what: &str| ExpressionError { message: format!("could not be compiled: {what}"), position: None };
    thread::scope(|scope| {
        let thread = thread::Builder::new().name("policy-compile".into()).stack_size(STACK_BYTES);
        let running = thread.spawn_scoped(scope, work).map_err(|error| failed(&error.to_string()))?;
        running.join().map_err(|_| failed("the compiler panicked"))
    })
}
