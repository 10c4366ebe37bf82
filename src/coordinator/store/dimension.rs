//! By what requests are told apart in sums and lists, and the numbers that stand for it in the file. Plain values, for the
//! writer and its readers. The numbers never change: files hold them.

use std::str::FromStr;

/// What costs are attributed to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Dimension {
    User,
    Tenant,
    Agent,
    Provider,
    /// The one that was used.
    Model,
}

impl Dimension {
    pub const ALL: [Dimension; 5] =
        [Dimension::User, Dimension::Tenant, Dimension::Agent, Dimension::Provider, Dimension::Model];

    /// As the REST API names it; also its column in `usage_minute` and `trace`.
    pub fn name(self) -> &'static str {
        match self {
            Dimension::User => "user",
            Dimension::Tenant => "tenant",
            Dimension::Agent => "agent",
            Dimension::Provider => "provider",
            Dimension::Model => "model",
        }
    }

    /// `kind` in `usage_hour` and `trace_also`.
    pub(super) fn number(self) -> i64 {
        match self {
            Dimension::User => 1,
            Dimension::Tenant => 2,
            Dimension::Agent => 3,
            Dimension::Provider => 4,
            Dimension::Model => 5,
        }
    }
}

/// `kind` of an HTTP status in `trace_also`.
pub(super) const STATUS_NUMBER: i64 = 6;
/// `kind` of an error message in `trace_also`.
pub(super) const ERROR_NUMBER: i64 = 7;
/// `kind` of a policy's id in `trace_also`: of each that matched a request of the trace.
pub(super) const POLICY_NUMBER: i64 = 8;

/// The name is none of [`Dimension::ALL`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be one of agent, user, tenant, model, provider")]
pub struct UnknownDimension;

impl FromStr for Dimension {
    type Err = UnknownDimension;

    fn from_str(name: &str) -> Result<Dimension, UnknownDimension> {
        Dimension::ALL.into_iter().find(|dimension| dimension.name() == name).ok_or(UnknownDimension)
    }
}
