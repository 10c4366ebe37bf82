//! Parameters of lists of traces, and what they mean. Pure. The list, its facets, its export, its live stream and the way
//! from one trace to the next take the same ones.

use super::error::ApiError;
use super::parameter::{Kind, Parameter, Values};
use crate::clock::Now;
use crate::coordinator::store::reader::{Filter, StatusFilter, TimeRange};
use crate::coordinator::store::{PAGE_SIZE_MAX, Paging};
use crate::units::MicroUsd;
use crate::who::{Who, WhoPart};

/// Rows of a page where the caller does not say. The Go luner's.
const PAGE_SIZE: u64 = 20;
/// What a question about a time without one is about.
const DAY_MS: u64 = 24 * 3_600_000;

pub(crate) static PAGE: Parameter =
    Parameter { name: "page", kind: Kind::Whole { least: 1, most: u32::MAX as u64 }, about: "From 1." };
pub(crate) static SIZE: Parameter = Parameter {
    name: "page_size",
    kind: Kind::Whole { least: 1, most: PAGE_SIZE_MAX as u64 },
    about: "Items of a page; 20 if absent.",
};
pub(crate) static AGENT: Parameter = text("agent_name", "Exactly this agent.");
pub(crate) static USER: Parameter = text("user_id", "Exactly this user.");
pub(crate) static TENANT: Parameter = text("tenant_id", "Exactly this tenant.");
pub(crate) static MODEL: Parameter = text("model", "Exactly this model, asked for or used.");
pub(crate) static PROVIDER: Parameter = text("provider", "Exactly this provider.");
pub(crate) static STATUS: Parameter = text(
    "status",
    "An HTTP status, a class of them such as 4xx, or ok, error, blocked, alerted, downgraded, shadowed, hit, cut.",
);
pub(crate) static POLICY: Parameter = text("policy", "The id of a policy that matched, whatever came of it.");
pub(crate) static UNNAMED: Parameter = text(
    "unnamed",
    "What must be empty, with commas between: agent_name, user_id, tenant_id. In its own parameter, an empty value asks nothing.",
);
pub(crate) static Q: Parameter = text(
    "q",
    "A part of a user, tenant, agent, provider, model or error message, the beginning of a trace id, or a request id.",
);
pub(crate) static FROM: Parameter = Parameter {
    name: "from",
    kind: Kind::Time,
    about: "The first moment: RFC 3339, or seconds or milliseconds since 1970.",
};
pub(crate) static TO: Parameter =
    Parameter { name: "to", kind: Kind::Time, about: "The first moment after, in the same forms." };
pub(crate) static MIN_COST: Parameter =
    Parameter { name: "min_cost", kind: Kind::Amount, about: "At least so many dollars." };
pub(crate) static MIN_MS: Parameter = Parameter {
    name: "min_ms",
    kind: Kind::Whole { least: 0, most: u32::MAX as u64 },
    about: "At least so many milliseconds.",
};

const fn text(name: &'static str, about: &'static str) -> Parameter {
    Parameter { name, kind: Kind::Text, about }
}

/// Which traces.
pub(crate) fn filter(values: &Values) -> Result<Filter, ApiError> {
    let status = values.text(&STATUS).map(|status| status.parse::<StatusFilter>()).transpose();
    let (from_ms, to_ms) = (values.whole(&FROM), values.whole(&TO));
    if from_ms.zip(to_ms).is_some_and(|(from, to)| from > to) {
        return Err(backwards());
    }
    Ok(Filter {
        who: who(values)?,
        policy: values.text(&POLICY),
        model: values.text(&MODEL),
        provider: values.text(&PROVIDER),
        status: status.map_err(|error| ApiError::parameter("invalid_value", STATUS.name, &error.to_string()))?,
        from_ms,
        to_ms,
        q: values.text(&Q),
        min_cost: values.amount(&MIN_COST).map(|usd| MicroUsd((usd * 1e6).ceil() as i64)),
        min_ms: values.whole(&MIN_MS),
        after: None,
    })
}

/// The wanted identity. A part that must be empty is the empty text.
fn who(values: &Values) -> Result<Who<Option<String>>, ApiError> {
    let parameter = |part| match part {
        WhoPart::Tenant => &TENANT,
        WhoPart::User => &USER,
        WhoPart::Agent => &AGENT,
    };
    let mut wanted = Who::from_fn(|part| values.text(parameter(part)));
    let unnamed = values.text(&UNNAMED).unwrap_or_default();
    for name in unnamed.split(',').filter(|name| !name.is_empty()) {
        let part = WhoPart::ALL.into_iter().find(|part| parameter(*part).name == name);
        match part.map(|part| wanted.get_mut(part)) {
            Some(wanted @ None) => *wanted = Some(String::new()),
            Some(Some(_)) => {
                return Err(ApiError::parameter("invalid_value", UNNAMED.name, "a name cannot be given and be empty"));
            }
            None => {
                let message = "must be some of agent_name, user_id and tenant_id, with commas between";
                return Err(ApiError::parameter("invalid_value", UNNAMED.name, message));
            }
        }
    }
    Ok(wanted)
}

pub(crate) fn paging(values: &Values) -> Paging {
    let of = |parameter, default| u32::try_from(values.whole(parameter).unwrap_or(default)).unwrap_or(u32::MAX);
    Paging { page: of(&PAGE, 1), page_size: of(&SIZE, PAGE_SIZE) }
}

/// A range of time: where nothing is said the last day, and a day before the end where only that is.
pub(crate) fn span(values: &Values, now: Now) -> Result<TimeRange, ApiError> {
    let to_ms = values.whole(&TO).unwrap_or(now.wall_ms);
    let from_ms = values.whole(&FROM).unwrap_or(to_ms.saturating_sub(DAY_MS));
    if from_ms > to_ms { Err(backwards()) } else { Ok(TimeRange { from_ms, to_ms }) }
}

/// The range of the same length before this one.
pub(crate) fn before(span: TimeRange) -> TimeRange {
    TimeRange { from_ms: span.from_ms.saturating_sub(span.to_ms - span.from_ms), to_ms: span.from_ms }
}

fn backwards() -> ApiError {
    ApiError::parameter("invalid_value", FROM.name, "must not be later than `to`, or than now")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::link::trace::Marks;

    fn values(query: &str) -> Values {
        let known = [
            &PAGE, &SIZE, &AGENT, &USER, &TENANT, &MODEL, &PROVIDER, &STATUS, &POLICY, &UNNAMED, &Q, &FROM, &TO,
            &MIN_COST, &MIN_MS,
        ];
        Values::read(Some(query), &known).unwrap()
    }

    #[test]
    fn what_is_not_said_does_not_filter() {
        assert_eq!(filter(&values("agent_name=&q=")).unwrap(), Filter::default());
        assert_eq!(paging(&values("")), Paging { page: 1, page_size: 20 });
        assert_eq!(paging(&values("page=7&page_size=200")), Paging { page: 7, page_size: 200 });
    }

    #[test]
    fn each_parameter_is_its_condition() {
        let query = "agent_name=a&user_id=u&tenant_id=t&model=m&provider=p&status=blocked&q=x+y&from=1&to=2\
            &min_cost=0.0000001&min_ms=5&policy=pol_1";
        let expected = Filter {
            who: Who { tenant: "t", user: "u", agent: "a" }.map(|name| Some(name.to_owned())),
            model: Some("m".into()),
            provider: Some("p".into()),
            status: Some(StatusFilter::Marked(Marks::BLOCKED)),
            q: Some("x y".into()),
            policy: Some("pol_1".into()),
            from_ms: Some(1000),
            to_ms: Some(2000),
            min_cost: Some(MicroUsd(1)),
            min_ms: Some(5),
            after: None,
        };
        assert_eq!(filter(&values(query)).unwrap(), expected);
        assert!(filter(&values("status=OK")).is_err() && filter(&values("from=3&to=2")).is_err());
    }

    #[test]
    fn what_must_be_empty_is_named_in_a_parameter_of_its_own() {
        let filtered = filter(&values("unnamed=user_id,tenant_id&agent_name=a")).unwrap();
        assert_eq!(filtered.who, Who { tenant: "", user: "", agent: "a" }.map(|name| Some(name.to_owned())));
        for query in ["unnamed=model", "unnamed=user_id,x", "unnamed=user_id&user_id=u", "unnamed=user_id,user_id"] {
            assert!(filter(&values(query)).is_err(), "{query}");
        }
    }

    #[test]
    fn a_range_is_the_last_day_or_ends_where_it_is_told() {
        let now = Now { mono_ns: 0, wall_ms: 10 * DAY_MS };
        assert_eq!(span(&values(""), now).unwrap(), TimeRange { from_ms: 9 * DAY_MS, to_ms: 10 * DAY_MS });
        let week = span(&values("from=86400&to=172800"), now).unwrap();
        assert_eq!(week, TimeRange { from_ms: DAY_MS, to_ms: 2 * DAY_MS });
        assert_eq!(before(week), TimeRange { from_ms: 0, to_ms: DAY_MS });
        assert_eq!(span(&values("to=172800"), now).unwrap(), week);
        assert!(span(&values("from=99999999999"), now).is_err());
        assert_eq!(before(TimeRange { from_ms: 5, to_ms: 100 }), TimeRange { from_ms: 0, to_ms: 5 });
    }
}
