//! The operators that a policy may use, with their operand and result types.
//! Runs on the compiling thread, as part of `check`.
//! Never accepts two types between which cel has no operation: one error now is better than one at every request.

use cel::common::ast::{CallExpr, Expr, IdedExpr, LiteralValue, operators};

use super::check::{Checker, Typed};
use super::syntax::ExpressionError;
use super::types::{BOOL, CelType, INT, Type};

impl Checker<'_> {
    /// Returns the type of `call` when it is an operator, or `None` when it is a function.
    pub(super) fn operator(
        &mut self,
        id: u64,
        call: &mut CallExpr,
        depth: usize,
    ) -> Result<Option<Type>, ExpressionError> {
        let CallExpr { func_name, target: None, args } = call else {
            return Ok(None);
        };
        let typed = match (func_name.as_str(), args.as_mut_slice()) {
            (operators::CONDITIONAL, [condition, yes, no]) => self.conditional(condition, yes, no, depth)?,
            (name @ (operators::LOGICAL_AND | operators::LOGICAL_OR), [left, right]) => {
                self.boolean(left, symbol(name), depth)?;
                self.boolean(right, symbol(name), depth)?;
                BOOL
            }
            (name @ (operators::LOGICAL_NOT | operators::NOT_STRICTLY_FALSE), [operand]) => {
                self.boolean(operand, symbol(name), depth)?;
                BOOL
            }
            (operators::NEGATE, [operand]) => match self.expr(operand, depth)? {
                it @ Type::One(CelType::Int | CelType::Double) => it,
                it => return Err(self.error(id, format!("'-' needs an int or a double, this is {it}"))),
            },
            (
                name @ (operators::EQUALS
                | operators::NOT_EQUALS
                | operators::LESS
                | operators::LESS_EQUALS
                | operators::GREATER
                | operators::GREATER_EQUALS),
                [left, right],
            ) => {
                let (a, b) = (self.expr(left, depth)?, self.expr(right, depth)?);
                comparison(name, a, b).map_err(|message| self.error(id, message))?
            }
            (operators::IN, [item, list]) => {
                let (a, b) = (self.expr(item, depth)?, self.expr(list, depth)?);
                match (a, b) {
                    (Type::One(x), Type::List(of)) if of.is_none_or(|y| x.compares_with(y)) => BOOL,
                    (Type::One(_), Type::List(_)) => {
                        return Err(self.error(id, format!("{a} can never be in {b}")));
                    }
                    (_, Type::One(CelType::String)) => {
                        return Err(self.error(id, "'in' looks into lists; for a part of a string use contains"));
                    }
                    _ => return Err(self.error(id, format!("'in' needs a list on its right, this is {b}"))),
                }
            }
            (
                name @ (operators::ADD
                | operators::SUBSTRACT
                | operators::MULTIPLY
                | operators::DIVIDE
                | operators::MODULO),
                [left, right],
            ) => {
                let (a, b) = (self.expr(left, depth)?, self.expr(right, depth)?);
                self.arithmetic(name, Typed(left, a), Typed(right, b)).map_err(|message| self.error(id, message))?
            }
            (operators::INDEX | operators::OPT_INDEX | operators::OPT_SELECT, _) => {
                return Err(self.error(id, "indexing is not available in policies"));
            }
            _ => return Ok(None),
        };
        Ok(Some(typed))
    }

    fn boolean(&mut self, expr: &mut IdedExpr, symbol: &str, depth: usize) -> Result<(), ExpressionError> {
        match self.expr(expr, depth)? {
            BOOL => Ok(()),
            it => Err(self.error_at(expr, format!("'{symbol}' needs true or false, this is {it}"))),
        }
    }

    fn conditional(
        &mut self,
        condition: &mut IdedExpr,
        yes: &mut IdedExpr,
        no: &mut IdedExpr,
        depth: usize,
    ) -> Result<Type, ExpressionError> {
        self.boolean(condition, "?", depth)?;
        let (a, b) = (self.expr(yes, depth)?, self.expr(no, depth)?);
        match (a, b) {
            _ if a == b => Ok(a),
            (Type::List(None), Type::List(of)) | (Type::List(of), Type::List(None)) => Ok(Type::List(of)),
            (Type::One(CelType::Double), INT) => {
                widen(no);
                Ok(a)
            }
            (INT, Type::One(CelType::Double)) => {
                widen(yes);
                Ok(b)
            }
            _ => Err(self.error_at(no, format!("both outcomes of '?' need one type: this is {b}, the other is {a}"))),
        }
    }

    /// Checks arithmetic. Allows CEL's own, and also mixes int and double, which CEL does not: converts the int.
    fn arithmetic(&self, name: &str, left: Typed<'_>, right: Typed<'_>) -> Result<Type, String> {
        use CelType::{Double, Duration, Int, String, Timestamp, Uint};
        let (Typed(left, a), Typed(right, b)) = (left, right);
        let (add, subtract) = (name == operators::ADD, name == operators::SUBSTRACT);
        let modulo = name == operators::MODULO;
        match (a, b) {
            (Type::One(Int), Type::One(Int)) | (Type::One(Uint), Type::One(Uint)) => Ok(a),
            (Type::One(Double), Type::One(Double)) if !modulo => Ok(a),
            (Type::One(Double), Type::One(Int)) if !modulo => {
                widen(right);
                Ok(a)
            }
            (Type::One(Int), Type::One(Double)) if !modulo => {
                widen(left);
                Ok(b)
            }
            (Type::One(String), Type::One(String)) if add => Ok(a),
            (Type::One(Duration), Type::One(Duration)) if add || subtract => Ok(a),
            (Type::One(Timestamp), Type::One(Duration)) if add || subtract => Ok(a),
            (Type::One(Duration), Type::One(Timestamp)) if add => Ok(b),
            (Type::One(Timestamp), Type::One(Timestamp)) if subtract => Ok(Type::One(Duration)),
            (Type::List(x), Type::List(y)) if add && (x == y || x.is_none() || y.is_none()) => Ok(Type::List(x.or(y))),
            (Type::One(Double), _) | (_, Type::One(Double)) if modulo => Err("'%' needs ints".to_owned()),
            _ => Err(format!("'{}' does not work between {a} and {b}", symbol(name))),
        }
    }
}

/// Checks a comparison. Allows scalars of one type, and numbers of any types: cel itself compares numbers across types.
fn comparison(name: &str, a: Type, b: Type) -> Result<Type, String> {
    let ordered = !matches!(name, operators::EQUALS | operators::NOT_EQUALS);
    match (a, b) {
        (BOOL, BOOL) if ordered => Err(format!("'{}' does not order bools", symbol(name))),
        (Type::One(x), Type::One(y)) if x.compares_with(y) => Ok(BOOL),
        _ => Err(format!("cannot compare {a} with {b}")),
    }
}

/// Converts an int to a double: a literal at once, any other expression at run time.
fn widen(expr: &mut IdedExpr) {
    let double = match &expr.expr {
        // Rounds to the nearest double, as cel's `double()` does.
        Expr::Literal(LiteralValue::Int(int)) => Expr::Literal(LiteralValue::Double((*int.inner() as f64).into())),
        _ => Expr::Call(CallExpr { func_name: "double".into(), target: None, args: vec![std::mem::take(expr)] }),
    };
    expr.expr = double;
}

/// Returns an operator as it is written in an expression.
fn symbol(name: &str) -> &str {
    match name {
        operators::CONDITIONAL => "?",
        operators::NOT_STRICTLY_FALSE => "all",
        name => name.trim_matches('_'),
    }
}
