//! The static check: walks a syntax tree once, infers types, rejects everything that is not on the allow-list, and replaces
//! constants with references.
//! Runs on the compiling thread, whose stack is 16 MiB; the tree is at most a few hundred levels deep (see `syntax`).
//! Never accepts a kind of node that the walk does not handle explicitly.

use cel::Context;
use cel::common::ast::{ComprehensionExpr, Expr, IdedExpr, LiteralValue, SourceInfo};
use cel::common::value::Val;
use serde::Serialize;

use super::syntax::{DEPTH_MAX, ExpressionError, Position, parse};
use super::types::{BOOL, CelType, Type};
use super::variable::{Variable, Variables};

/// Longest list that `all`, `exists`, … may iterate over, in elements. Arbitrary: lists written by hand are shorter.
const ITERATED_MAX: usize = 64;

/// Most nodes that one evaluation may visit, about 0.2 ms of work. Nodes in a loop count once per element. A source of
/// 4 KiB without a loop stays below this limit.
const STEPS_MAX: usize = 4_096;

/// The result of checking an expression that a policy may use: the variables it reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Checked {
    pub variables: Variables,
}

/// A tree that may run: the check knows every kind of node in it.
#[derive(Debug)]
pub(super) struct Ready {
    pub(super) expr: IdedExpr,
    pub(super) variables: Variables,
}

/// An operand and its type.
pub(super) struct Typed<'e>(pub(super) &'e mut IdedExpr, pub(super) Type);

/// Parses and checks `text`. Appends its constants to `constants`; the tree refers to them by their index there.
pub(super) fn compile(
    text: &str,
    base: &Context<'static, 'static>,
    constants: &mut Vec<Box<dyn Val>>,
) -> Result<Ready, ExpressionError> {
    let (mut expr, source) = parse(text)?;
    let mut checker =
        Checker { text, source, base, constants, variables: Variables::NONE, local: None, steps: 0, weight: 1 };
    match checker.expr(&mut expr, 0)? {
        BOOL => Ok(Ready { expr, variables: checker.variables }),
        it => Err(checker.error_at(&expr, format!("the expression must be true or false, this is {it}"))),
    }
}

pub(super) struct Checker<'a> {
    pub(super) text: &'a str,
    source: SourceInfo,
    /// Standard functions, used to evaluate constants.
    pub(super) base: &'a Context<'static, 'static>,
    constants: &'a mut Vec<Box<dyn Val>>,
    variables: Variables,
    /// The comprehension that is being walked. Comprehensions do not nest.
    local: Option<Local>,
    steps: usize,
    /// Number of times that one evaluation visits the current node.
    weight: usize,
}

/// The names that a comprehension introduces: the element, and the accumulator, whose name cannot be written in source.
struct Local {
    item: (String, Option<CelType>),
    accumulator: (String, Type),
}

impl Checker<'_> {
    pub(super) fn expr(&mut self, expr: &mut IdedExpr, above: usize) -> Result<Type, ExpressionError> {
        let depth = above + 1;
        if depth > DEPTH_MAX {
            return Err(self.error_at(expr, format!("more than {DEPTH_MAX} levels deep")));
        }
        self.steps += self.weight;
        if self.steps > STEPS_MAX {
            return Err(self.error_at(expr, "too much work for one request: shorten the lists that are walked over"));
        }
        let id = expr.id;
        match &mut expr.expr {
            Expr::Literal(literal) => literal_type(literal).map_err(|message| self.error(id, message)),
            Expr::Ident(name) => {
                let name = name.clone();
                self.name(id, &name)
            }
            Expr::List(_) => self.list(expr, depth),
            Expr::Comprehension(comprehension) => self.comprehension(id, comprehension, depth),
            Expr::Call(call) => match self.operator(id, call, depth)? {
                Some(typed) => Ok(typed),
                None => self.function(expr, depth),
            },
            Expr::Select(select) if select.test => {
                Err(self.error(id, "has() has no use in policies: all variables exist"))
            }
            Expr::Select(select) => Err(self.error(id, format!("there are no fields, so no .{} either", select.field))),
            Expr::Map(_) | Expr::Struct(_) => Err(self.error(id, "maps and messages are not available in policies")),
            Expr::Unspecified => Err(self.error(id, "the expression cannot be parsed")),
        }
    }

    fn name(&mut self, id: u64, name: &str) -> Result<Type, ExpressionError> {
        if let Some(Local { item, accumulator }) = &self.local {
            if item.0 == name {
                // The loop body never runs over an empty list, so any type will do.
                return Ok(Type::One(item.1.unwrap_or(CelType::Bool)));
            }
            if accumulator.0 == name {
                return Ok(accumulator.1);
            }
        }
        if let Some(variable) = Variable::from_name(name) {
            self.variables.insert(variable);
            return Ok(Type::One(variable.cel_type()));
        }
        let hint = Variable::near(name).map(|near| format!(", did you mean {}?", near.name())).unwrap_or_default();
        Err(self.error(id, format!("there is no variable {name}{hint}")))
    }

    /// Returns the type of a list, whose elements must all have one type. Makes a list of literals a constant.
    fn list(&mut self, expr: &mut IdedExpr, depth: usize) -> Result<Type, ExpressionError> {
        let id = expr.id;
        let Expr::List(list) = &mut expr.expr else {
            return Err(self.error(id, "is no list"));
        };
        if !list.optional_indices.is_empty() {
            return Err(self.error(id, "optional elements are not available in policies"));
        }
        let mut of = None;
        for element in &mut list.elements {
            match (self.expr(element, depth)?, of) {
                (Type::One(it), None) => of = Some(it),
                (Type::One(it), Some(first)) if it == first => {}
                (it @ Type::One(_), Some(first)) => {
                    let first = Type::One(first);
                    return Err(
                        self.error_at(element, format!("a list holds one type: this is {it}, the first is {first}"))
                    );
                }
                (Type::List(_), _) => return Err(self.error_at(element, "a list cannot hold lists")),
            }
        }
        if of.is_some() && list.elements.iter().all(|element| matches!(element.expr, Expr::Literal(_))) {
            let value = cel::Value::resolve_val(expr, self.base).map(|value| value.into_owned());
            let value = value.map_err(|error| self.error(id, error.to_string()))?;
            self.constant(expr, value);
        }
        Ok(Type::List(of))
    }

    /// Checks a comprehension, into which the parser expands `all`, `exists`, `exists_one`, `map` and `filter`.
    fn comprehension(
        &mut self,
        id: u64,
        comprehension: &mut ComprehensionExpr,
        depth: usize,
    ) -> Result<Type, ExpressionError> {
        let Expr::List(list) = &comprehension.iter_range.expr else {
            return Err(self.error(id, "only a list written on the spot can be walked over"));
        };
        let length = list.elements.len();
        if length > ITERATED_MAX {
            return Err(
                self.error(id, format!("the list has {length} elements, at most {ITERATED_MAX} can be walked over"))
            );
        }
        if self.local.is_some() {
            return Err(self.error(id, "a walk over a list inside another is not available in policies"));
        }
        let item = comprehension.iter_var.clone();
        if Variable::from_name(&item).is_some() {
            return Err(self.error(id, format!("{item} is a variable already, choose another name for the element")));
        }
        let Type::List(of) = self.expr(&mut comprehension.iter_range, depth)? else {
            return Err(self.error(id, "only a list written on the spot can be walked over"));
        };
        let start = self.expr(&mut comprehension.accu_init, depth)?;
        let accumulator = (comprehension.accu_var.clone(), start);
        self.local = Some(Local { item: (item, of), accumulator });
        self.weight = length.max(1);
        let condition = self.expr(&mut comprehension.loop_cond, depth)?;
        let step = self.expr(&mut comprehension.loop_step, depth)?;
        self.weight = 1;
        let grown = match (start, step) {
            _ if start == step => step,
            (Type::List(None), Type::List(_)) => step, // `map` and `filter` start with an empty list
            _ => return Err(self.error(id, format!("the walk yields {step} where {start} is due"))),
        };
        if condition != BOOL {
            return Err(self.error(id, "the walk has no condition to go on"));
        }
        if let Some(local) = &mut self.local {
            local.accumulator.1 = grown;
        }
        let result = self.expr(&mut comprehension.result, depth)?;
        self.local = None;
        Ok(result)
    }

    /// Appends `value` to the constants and replaces `expr` with a reference to it.
    pub(super) fn constant(&mut self, expr: &mut IdedExpr, value: Box<dyn Val>) {
        expr.expr = Expr::Ident(format!("@{}", self.constants.len()));
        self.constants.push(value);
    }

    /// Returns an error whose position is the operator or function `id`.
    pub(super) fn error(&self, id: u64, message: impl Into<String>) -> ExpressionError {
        let position =
            self.source.offset_for(id).map(|(start, _)| Position::at(self.text, self.name_start(start as usize)));
        ExpressionError { message: message.into(), position }
    }

    /// Returns an error whose position is the first character of `expr`.
    pub(super) fn error_at(&self, expr: &IdedExpr, message: impl Into<String>) -> ExpressionError {
        let position = self.first(expr).map(|start| Position::at(self.text, start));
        ExpressionError { message: message.into(), position }
    }

    /// Returns the offset of the leftmost byte of a tree. Visits at most 128 nodes, down the left side of the tree.
    fn first(&self, expr: &IdedExpr) -> Option<usize> {
        let mut least: Option<usize> = None;
        let mut next = Some(expr);
        while let Some(expr) = next {
            let own = self.source.offset_for(expr.id).map(|(start, _)| self.name_start(start as usize));
            least = least.into_iter().chain(own).min();
            next = match &expr.expr {
                Expr::Call(call) => call.target.as_deref().or(call.args.first()),
                Expr::Comprehension(comprehension) => Some(&comprehension.iter_range),
                Expr::Select(select) => Some(&select.operand),
                _ => None,
            };
        }
        least
    }

    /// Returns the offset at which a call's name begins. cel gives the offset of the opening bracket instead.
    fn name_start(&self, start: usize) -> usize {
        let before = self.text.get(..start).unwrap_or_default();
        match self.text.as_bytes().get(start) {
            Some(b'(') => {
                let name = before.trim_end();
                name.trim_end_matches(|c: char| c.is_ascii_alphanumeric() || c == '_').len()
            }
            _ => start,
        }
    }
}

fn literal_type(literal: &LiteralValue) -> Result<Type, &'static str> {
    match literal {
        LiteralValue::Boolean(_) => Ok(BOOL),
        LiteralValue::Int(_) => Ok(Type::One(CelType::Int)),
        LiteralValue::UInt(_) => Ok(Type::One(CelType::Uint)),
        LiteralValue::Double(_) => Ok(Type::One(CelType::Double)),
        LiteralValue::String(_) => Ok(Type::One(CelType::String)),
        LiteralValue::Bytes(_) => Err("bytes are not available in policies"),
        LiteralValue::Null => Err("null is not available in policies: all variables have values"),
    }
}
