//! An identity in the REST API: the names of its parts in answers, the parameters that filter by them. Pure. The one place
//! where the API spells these names.

use schemars::JsonSchema;
use serde::Serialize;

use super::error::ApiError;
use super::parameter::{Parameter, Values, text};
use crate::who::{Who, WhoPart};

/// The name of each part in JSON, in CSV and in queries.
const FIELDS: Who<&str> = Who { tenant: "tenant_id", user: "user_id", agent: "agent_name" };

/// The names in the order in which answers show them.
pub(crate) const ORDERED_FIELDS: [&str; 3] = [FIELDS.agent, FIELDS.user, FIELDS.tenant];

pub(crate) static AGENT: Parameter = text(FIELDS.agent, "Exactly this agent.");
pub(crate) static USER: Parameter = text(FIELDS.user, "Exactly this user.");
pub(crate) static TENANT: Parameter = text(FIELDS.tenant, "Exactly this tenant.");
pub(crate) static UNNAMED: Parameter = text(
    "unnamed",
    "Parts of the identity that must be empty, separated by commas: agent_name, user_id, tenant_id. An empty value of those \
     parameters themselves does not filter.",
);

/// An identity in an answer.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub(crate) struct NamedWho<T = String> {
    agent_name: T,
    user_id: T,
    tenant_id: T,
}

impl<T> NamedWho<T> {
    /// The parts in the order of [`ORDERED_FIELDS`].
    pub(crate) fn ordered(&self) -> [&T; 3] {
        [&self.agent_name, &self.user_id, &self.tenant_id]
    }
}

impl<T> From<Who<T>> for NamedWho<T> {
    fn from(who: Who<T>) -> NamedWho<T> {
        NamedWho { agent_name: who.agent, user_id: who.user, tenant_id: who.tenant }
    }
}

/// The identity to filter by. A part that must be empty is the empty text.
pub(super) fn wanted(values: &Values) -> Result<Who<Option<String>>, ApiError> {
    let parameter = |part| match part {
        WhoPart::Tenant => &TENANT,
        WhoPart::User => &USER,
        WhoPart::Agent => &AGENT,
    };
    let mut wanted = Who::from_fn(|part| values.text(parameter(part)));
    let unnamed = values.text(&UNNAMED).unwrap_or_default();
    for name in unnamed.split(',').filter(|name| !name.is_empty()) {
        let part = WhoPart::ALL.into_iter().find(|part| *FIELDS.get(*part) == name);
        match part.map(|part| wanted.get_mut(part)) {
            Some(wanted @ None) => *wanted = Some(String::new()),
            Some(Some(_)) => {
                let message = format!("`{name}` cannot have a value and be empty");
                return Err(ApiError::parameter("invalid_value", UNNAMED.name, &message));
            }
            None => {
                let message = "must be some of agent_name, user_id and tenant_id, separated by commas";
                return Err(ApiError::parameter("invalid_value", UNNAMED.name, message));
            }
        }
    }
    Ok(wanted)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::coordinator::api::shape::parameter::Query;

    fn read(query: &str) -> Result<Who<Option<String>>, ApiError> {
        const KNOWN: Query = Query::Known(&[&[&AGENT, &USER, &TENANT, &UNNAMED]]);
        wanted(&Values::read(Some(query), &KNOWN).unwrap())
    }

    #[test]
    fn fields_have_one_order_everywhere() {
        let named = NamedWho::from(FIELDS);
        assert_eq!(named.ordered(), ORDERED_FIELDS.each_ref());
        let expected = ORDERED_FIELDS.map(|name| format!("\"{name}\":\"{name}\"")).join(",");
        assert_eq!(serde_json::to_string(&named).unwrap(), format!("{{{expected}}}"));
    }

    #[test]
    fn each_parameter_is_its_part() {
        let who = Who { tenant: "t", user: "u", agent: "a" };
        assert_eq!(read("agent_name=a&user_id=u&tenant_id=t").unwrap(), who.map(|name| Some(name.to_owned())));
        assert_eq!(read("agent_name=").unwrap(), Who::default());
    }

    #[test]
    fn unnamed_parts_must_be_empty() {
        let who = Who { tenant: "", user: "", agent: "a" };
        let wanted = read("unnamed=user_id,tenant_id&agent_name=a").unwrap();
        assert_eq!(wanted, who.map(|name| Some(name.to_owned())));
        for query in ["unnamed=model", "unnamed=user_id,x", "unnamed=user_id&user_id=u", "unnamed=user_id,user_id"] {
            assert!(read(query).is_err(), "{query}");
        }
    }
}
