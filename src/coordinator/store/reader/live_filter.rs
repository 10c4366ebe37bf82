//! Applies a filter to a request that has just ended, for the live stream: the same test that [`Filter::condition`] makes on
//! the file. Pure. It agrees with what a list would show for a trace of this one request.

use super::super::layout::shortened;
use super::filter::{Filter, StatusFilter};
use super::search::contains;
use crate::link::trace::{Marks, Trace};

impl Filter {
    /// Returns true if a list would show this request as a trace of its own. Ignores [`Filter::after`].
    pub fn matches(&self, trace: &Trace) -> bool {
        let is = |wanted: &Option<String>, names: &[&str]| {
            wanted.as_deref().map(shortened).is_none_or(|wanted| names.iter().any(|name| shortened(name) == wanted))
        };
        let in_time = self.from_ms.is_none_or(|from| trace.started_ms >= from)
            && self.to_ms.is_none_or(|to| trace.started_ms < to);
        let large_enough = self.min_cost.is_none_or(|least| trace.cost >= least)
            && self.min_ms.is_none_or(|least| trace.duration_ns / 1000 >= least.saturating_mul(1000));
        in_time
            && large_enough
            && self.who.parts().all(|(part, wanted)| is(wanted, &[trace.who.get(part)]))
            && is(&self.provider, &[&trace.provider])
            && is(&self.model, &[&trace.model_asked, &trace.model])
            && self.policy.as_deref().is_none_or(|id| trace.matches.iter().any(|matched| *matched.id == *id))
            && self.status.is_none_or(|status| has_status(trace, status))
            && self.q.as_deref().map(str::trim).is_none_or(|text| text.is_empty() || is_found_by(trace, text))
    }
}

fn has_status(trace: &Trace, status: StatusFilter) -> bool {
    match status {
        StatusFilter::Ok => !trace.marks().has_any(Marks::ERROR.with(Marks::BLOCKED)),
        StatusFilter::Marked(marks) => trace.marks().has_any(marks),
        StatusFilter::Class(class) => trace.status / 100 == class,
        StatusFilter::Code(code) => trace.status == code,
    }
}

fn is_found_by(trace: &Trace, text: &str) -> bool {
    let text = shortened(text);
    // The writer stores the same message.
    let error = trace.refusal.as_ref().map(|refused| &*refused.message).or(trace.cut.as_deref()).unwrap_or_default();
    let who = trace.who.parts().map(|(_, name)| &**name);
    who.chain([&*trace.provider, &*trace.model_asked, &*trace.model, error])
        .any(|name| contains(shortened(name).as_bytes(), text.as_bytes()))
        || *trace.request_id == *text
        || format!("{:032x}", trace.trace_id).starts_with(&text.to_ascii_lowercase())
}
