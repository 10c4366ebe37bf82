//! A filter against a request that has just ended, as the live stream needs it: what [`Filter::condition`] asks the file,
//! asked the value itself. Pure. It never says otherwise than the file would of a trace of that one request.

use super::super::writer::shortened;
use super::filter::{Filter, StatusFilter};
use super::search::holds;
use crate::link::trace::{Marks, Trace};

impl Filter {
    /// Whether a list would show this request as a trace of its own. [`Filter::after`] does not matter.
    pub fn passes(&self, trace: &Trace) -> bool {
        let is = |wanted: &Option<String>, names: &[&str]| {
            wanted.as_deref().map(shortened).is_none_or(|wanted| names.iter().any(|name| shortened(name) == wanted))
        };
        let in_time = self.from_ms.is_none_or(|from| trace.started_ms >= from)
            && self.to_ms.is_none_or(|to| trace.started_ms < to);
        let in_size = self.min_cost.is_none_or(|least| trace.cost >= least)
            && self.min_ms.is_none_or(|least| trace.duration_ns / 1000 >= least.saturating_mul(1000));
        in_time
            && in_size
            && self.who.parts().all(|(part, wanted)| is(wanted, &[trace.who.get(part)]))
            && is(&self.provider, &[&trace.provider])
            && is(&self.model, &[&trace.model_asked, &trace.model])
            && self.policy.as_deref().is_none_or(|id| trace.matches.iter().any(|matched| *matched.id == *id))
            && self.status.is_none_or(|status| ended(status, trace))
            && self.q.as_deref().map(str::trim).is_none_or(|text| text.is_empty() || found(text, trace))
    }
}

fn ended(status: StatusFilter, trace: &Trace) -> bool {
    match status {
        StatusFilter::Ok => !trace.marks().has_any(Marks::ERROR.with(Marks::BLOCKED)),
        StatusFilter::Marked(marks) => trace.marks().has_any(marks),
        StatusFilter::Class(class) => trace.status / 100 == class,
        StatusFilter::Code(code) => trace.status == code,
    }
}

fn found(text: &str, trace: &Trace) -> bool {
    let text = shortened(text);
    // The same one that is stored.
    let error = trace.refusal.as_ref().map(|refused| &*refused.message).or(trace.cut.as_deref()).unwrap_or_default();
    let who = trace.who.parts().map(|(_, name)| &**name);
    who.chain([&*trace.provider, &*trace.model_asked, &*trace.model, error])
        .any(|name| holds(shortened(name).as_bytes(), text.as_bytes()))
        || *trace.request_id == *text
        || format!("{:032x}", trace.trace_id).starts_with(&text.to_ascii_lowercase())
}
