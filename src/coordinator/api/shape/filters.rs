//! The parameters of lists of traces and of periods, and what they mean. Pure. The list, its facets, its export, its live
//! stream and the neighbours of one trace all take the same filters.

use super::error::ApiError;
use super::identity::{self, AGENT, TENANT, UNNAMED, USER};
use super::parameter::{Parameter, ParameterKind, Values, text};
use crate::clock::Now;
use crate::coordinator::store::reader::{Filter, StatusFilter, TimeRange};
use crate::coordinator::store::{PAGE_SIZE_MAX, Paging};
use crate::units::MicroUsd;

/// Rows of a page by default, as in the Go version of luner.
const PAGE_SIZE: u64 = 20;
/// Length of a period whose start is not given.
const DAY_MS: u64 = 24 * 3_600_000;

/// Parameters of pages.
pub(crate) const PAGING: &[&Parameter] = &[&PAGE, &SIZE];
/// Parameters of a period.
pub(crate) const PERIOD: &[&Parameter] = &[&FROM, &TO];
/// Parameters that filter traces.
pub(crate) const FILTERS: &[&Parameter] =
    &[&AGENT, &USER, &TENANT, &MODEL, &PROVIDER, &STATUS, &POLICY, &UNNAMED, &Q, &FROM, &TO, &MIN_COST, &MIN_MS];

static PAGE: Parameter = Parameter {
    name: "page",
    kind: ParameterKind::Whole { least: 1, most: u32::MAX as u64 },
    about: "Number of the page, from 1.",
};
static SIZE: Parameter = Parameter {
    name: "page_size",
    kind: ParameterKind::Whole { least: 1, most: PAGE_SIZE_MAX as u64 },
    about: "Items per page; 20 if absent.",
};
static MODEL: Parameter = text("model", "Exactly this model, asked for or used.");
static PROVIDER: Parameter = text("provider", "Exactly this provider.");
static STATUS: Parameter = text(
    "status",
    "An HTTP status, a class such as 4xx, or ok, error, blocked, alerted, downgraded, shadowed, hit, cut.",
);
static POLICY: Parameter = text("policy", "The id of a policy that matched, with or without an effect.");
static Q: Parameter =
    text("q", "A part of a name, model, provider or error message, the start of a trace id, or a whole request id.");
static FROM: Parameter = Parameter {
    name: "from",
    kind: ParameterKind::Time,
    about: "Start of the period, inclusive: RFC 3339, or seconds or milliseconds since 1970.",
};
static TO: Parameter =
    Parameter { name: "to", kind: ParameterKind::Time, about: "End of the period, exclusive, in the same formats." };
static MIN_COST: Parameter =
    Parameter { name: "min_cost", kind: ParameterKind::Amount, about: "Minimum cost in dollars." };
static MIN_MS: Parameter = Parameter {
    name: "min_ms",
    kind: ParameterKind::Whole { least: 0, most: u32::MAX as u64 },
    about: "Minimum duration in milliseconds.",
};

/// The traces that the parameters in [`FILTERS`] select.
pub(crate) fn filter(values: &Values) -> Result<Filter, ApiError> {
    let status = values.text(&STATUS).map(|status| status.parse::<StatusFilter>()).transpose();
    let (from_ms, to_ms) = (values.whole(&FROM), values.whole(&TO));
    if from_ms.zip(to_ms).is_some_and(|(from, to)| from > to) {
        return Err(ends_before_it_starts());
    }
    Ok(Filter {
        who: identity::wanted(values)?,
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

/// The page that the parameters in [`PAGING`] select.
pub(crate) fn paging(values: &Values) -> Paging {
    let number = |parameter, default| u32::try_from(values.whole(parameter).unwrap_or(default)).unwrap_or(u32::MAX);
    Paging { page: number(&PAGE, 1), page_size: number(&SIZE, PAGE_SIZE) }
}

/// The period that the parameters in [`PERIOD`] select. By default it ends now and starts a day before its end.
pub(crate) fn span(values: &Values, now: Now) -> Result<TimeRange, ApiError> {
    let to_ms = values.whole(&TO).unwrap_or(now.wall_ms);
    let from_ms = values.whole(&FROM).unwrap_or(to_ms.saturating_sub(DAY_MS));
    if from_ms > to_ms { Err(ends_before_it_starts()) } else { Ok(TimeRange { from_ms, to_ms }) }
}

/// The period of the same length just before `span`.
pub(crate) fn before(span: TimeRange) -> TimeRange {
    TimeRange { from_ms: span.from_ms.saturating_sub(span.to_ms - span.from_ms), to_ms: span.from_ms }
}

fn ends_before_it_starts() -> ApiError {
    ApiError::parameter("invalid_value", FROM.name, "must not be later than `to`, or than now")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::coordinator::api::shape::parameter::Query;
    use crate::link::trace::Marks;

    fn values(query: &str) -> Values {
        Values::read(Some(query), &Query::Known(&[PAGING, FILTERS])).unwrap()
    }

    #[test]
    fn absent_parameters_do_not_filter() {
        assert_eq!(filter(&values("agent_name=&q=")).unwrap(), Filter::default());
        assert_eq!(paging(&values("")), Paging { page: 1, page_size: 20 });
        assert_eq!(paging(&values("page=7&page_size=200")), Paging { page: 7, page_size: 200 });
    }

    #[test]
    fn each_parameter_is_its_condition() {
        let query = "model=m&provider=p&status=blocked&q=x+y&from=1&to=2&min_cost=0.0000001&min_ms=5&policy=pol_1";
        let expected = Filter {
            model: Some("m".into()),
            provider: Some("p".into()),
            status: Some(StatusFilter::Marked(Marks::BLOCKED)),
            q: Some("x y".into()),
            policy: Some("pol_1".into()),
            from_ms: Some(1000),
            to_ms: Some(2000),
            min_cost: Some(MicroUsd(1)),
            min_ms: Some(5),
            ..Filter::default()
        };
        assert_eq!(filter(&values(query)).unwrap(), expected);
        assert!(filter(&values("status=OK")).is_err() && filter(&values("from=3&to=2")).is_err());
    }

    #[test]
    fn period_is_the_last_day_unless_parameters_say_otherwise() {
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
