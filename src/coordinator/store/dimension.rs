//! What usage is broken down by, and the numbers that stand for it in the file. Plain values, for the writer and its readers.
//! The numbers never change, because files hold them.

use std::str::FromStr;

use crate::who::WhoPart;

/// What costs are attributed to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Dimension {
    Who(WhoPart),
    Provider,
    /// The model that answered, not the one that was asked for.
    Model,
}

impl Dimension {
    pub const ALL: [Dimension; 5] = [
        Dimension::Who(WhoPart::User),
        Dimension::Who(WhoPart::Tenant),
        Dimension::Who(WhoPart::Agent),
        Dimension::Provider,
        Dimension::Model,
    ];

    /// The dimension's name in the REST API, and its column in `usage_minute` and `trace`.
    pub const fn name(self) -> &'static str {
        match self {
            Dimension::Who(part) => part.name(),
            Dimension::Provider => "provider",
            Dimension::Model => "model",
        }
    }

    /// `kind` in `usage_hour` and `trace_also`.
    pub(super) const fn number(self) -> i64 {
        match self {
            Dimension::Who(WhoPart::User) => 1,
            Dimension::Who(WhoPart::Tenant) => 2,
            Dimension::Who(WhoPart::Agent) => 3,
            Dimension::Provider => 4,
            Dimension::Model => 5,
        }
    }
}

/// `kind` of an HTTP status in `trace_also`.
pub(super) const STATUS_NUMBER: i64 = 6;
/// `kind` of an error message in `trace_also`.
pub(super) const ERROR_NUMBER: i64 = 7;
/// `kind` in `trace_also` of the id of a policy that matched a request of the trace.
pub(super) const POLICY_NUMBER: i64 = 8;

/// The columns that hold an identity, in the order of [`WhoPart::ALL`].
pub(super) const WHO_COLUMNS: [&str; WhoPart::ALL.len()] = {
    let mut columns = [""; WhoPart::ALL.len()];
    let mut at = 0;
    while at < columns.len() {
        columns[at] = WhoPart::ALL[at].name();
        at += 1;
    }
    columns
};

/// The name is none of [`Dimension::ALL`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("costs are not attributed to that")]
pub struct UnknownDimension;

impl FromStr for Dimension {
    type Err = UnknownDimension;

    fn from_str(name: &str) -> Result<Dimension, UnknownDimension> {
        Dimension::ALL.into_iter().find(|dimension| dimension.name() == name).ok_or(UnknownDimension)
    }
}
