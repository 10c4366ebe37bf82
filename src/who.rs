//! Who a request is for: the one identity type. Requests, usage windows, traces, stored rows and console filters all use it,
//! each with its own kind of value. Plain data, owned by whoever holds it.

use crate::names;

/// The parts of an identity, each as a `T`: text that was received, an id in the store, a filter's condition.
///
/// As text, an empty part means that the caller did not say. Comparing and hashing go part by part.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Who<T = Box<str>> {
    /// The organisation or customer.
    pub tenant: T,
    /// The end user.
    pub user: T,
    /// The program that acts for the user.
    pub agent: T,
}

/// Names one part of a [`Who`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum WhoPart {
    Tenant,
    User,
    Agent,
}

impl WhoPart {
    /// Every part, from the broadest to the narrowest.
    pub const ALL: [WhoPart; 3] = [WhoPart::Tenant, WhoPart::User, WhoPart::Agent];

    /// The request header by which a caller states this part.
    pub const fn header(self) -> &'static str {
        match self {
            WhoPart::Tenant => names::LUNER_TENANT,
            WhoPart::User => names::LUNER_USER,
            WhoPart::Agent => names::LUNER_AGENT,
        }
    }

    /// The part's name in the store and in logs.
    pub const fn name(self) -> &'static str {
        match self {
            WhoPart::Tenant => "tenant",
            WhoPart::User => "user",
            WhoPart::Agent => "agent",
        }
    }
}

impl<T> Who<T> {
    /// Builds an identity by asking for each part in the order of [`WhoPart::ALL`].
    pub fn from_fn(mut part: impl FnMut(WhoPart) -> T) -> Who<T> {
        Who { tenant: part(WhoPart::Tenant), user: part(WhoPart::User), agent: part(WhoPart::Agent) }
    }

    /// Like [`Who::from_fn`], but stops at the first error.
    ///
    /// # Errors
    /// The first error that `part` returns.
    pub fn try_from_fn<E>(mut part: impl FnMut(WhoPart) -> Result<T, E>) -> Result<Who<T>, E> {
        Ok(Who { tenant: part(WhoPart::Tenant)?, user: part(WhoPart::User)?, agent: part(WhoPart::Agent)? })
    }

    pub fn get(&self, part: WhoPart) -> &T {
        match part {
            WhoPart::Tenant => &self.tenant,
            WhoPart::User => &self.user,
            WhoPart::Agent => &self.agent,
        }
    }

    pub fn get_mut(&mut self, part: WhoPart) -> &mut T {
        match part {
            WhoPart::Tenant => &mut self.tenant,
            WhoPart::User => &mut self.user,
            WhoPart::Agent => &mut self.agent,
        }
    }

    /// Converts every part.
    pub fn map<U>(self, mut convert: impl FnMut(T) -> U) -> Who<U> {
        Who { tenant: convert(self.tenant), user: convert(self.user), agent: convert(self.agent) }
    }

    /// Replaces every part but the broadest by `other`: what remains where there are too many identities to tell apart.
    #[must_use]
    pub fn with_narrower_as(self, other: impl Fn() -> T) -> Who<T> {
        Who { user: other(), agent: other(), ..self }
    }

    pub fn as_ref(&self) -> Who<&T> {
        Who { tenant: &self.tenant, user: &self.user, agent: &self.agent }
    }

    /// The parts with their names, from the broadest to the narrowest.
    pub fn parts(&self) -> impl Iterator<Item = (WhoPart, &T)> {
        WhoPart::ALL.into_iter().map(|part| (part, self.get(part)))
    }
}

impl<T: AsRef<str>> Who<T> {
    /// The identity as borrowed text.
    pub fn as_str(&self) -> Who<&str> {
        Who { tenant: self.tenant.as_ref(), user: self.user.as_ref(), agent: self.agent.as_ref() }
    }
}

impl<'a> Who<&'a str> {
    /// The parts from the broadest to the narrowest.
    pub const fn new(tenant: &'a str, user: &'a str, agent: &'a str) -> Who<&'a str> {
        Who { tenant, user, agent }
    }

    /// A tenant's user, without an agent.
    pub const fn of_user(tenant: &'a str, user: &'a str) -> Who<&'a str> {
        Who { tenant, user, agent: "" }
    }

    pub fn to_owned(self) -> Who {
        self.map(Into::into)
    }

    /// The identity whose usage is counted together: a tenant's user, whichever agent acts for it.
    #[must_use]
    pub fn without_agent(self) -> Self {
        Who { agent: "", ..self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_part_is_reached_by_its_name() {
        let who = Who::from_fn(WhoPart::name);
        assert_eq!(who, Who { tenant: "tenant", user: "user", agent: "agent" });
        assert!(who.parts().all(|(part, text)| *text == part.name()));
    }

    #[test]
    fn identities_of_one_user_with_different_agents_count_together() {
        let planner = Who { tenant: "acme", user: "alice", agent: "planner" };
        let coder = Who { agent: "coder", ..planner };
        assert_ne!(planner, coder);
        assert_eq!(planner.without_agent(), coder.without_agent());
    }
}
