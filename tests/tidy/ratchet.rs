//! A bound with a list of exceptions that only shrinks: what broke a rule when the rule came may stay as bad as it was,
//! must not get worse, and leaves the list once it keeps the rule.

use std::collections::BTreeMap;

/// The exceptions to one rule; `ratchet_lists.rs` holds them.
pub struct List {
    /// Name of the constant, for complaints.
    pub name: &'static str,
    /// Key and size of each exception.
    pub entries: &'static [(&'static str, usize)],
}

/// One thing that a rule measured. Those within the bound need not be given.
pub struct Measure {
    /// The list's key for it: a path, a function's name, a type's name.
    pub key: String,
    pub size: usize,
    /// Printed when the size is beyond the bound. Each names its file and line.
    pub complaints: Vec<String>,
}

/// Complains about each measure beyond `max`, unless the list allows its size; and about each entry that is not needed any more.
/// Of several measures with one key, the largest counts.
pub fn check(measures: Vec<Measure>, list: &List, max: usize) -> Vec<String> {
    let mut largest: BTreeMap<&str, usize> = BTreeMap::new();
    let mut complaints = Vec::new();
    for measure in &measures {
        let size = largest.entry(&measure.key).or_insert(0);
        *size = measure.size.max(*size);
        match list.entries.iter().find(|(key, _)| *key == measure.key) {
            _ if measure.size <= max => {}
            None => complaints.extend(measure.complaints.iter().cloned()),
            Some((_, allowed)) if measure.size > *allowed => {
                let note = format!("(`{}` is listed in {} with {allowed} and may only shrink)", measure.key, list.name);
                complaints.extend(measure.complaints.iter().map(|complaint| format!("{complaint} {note}")));
            }
            Some(_) => {}
        }
    }
    for (key, _) in list.entries {
        let reason = match largest.get(key) {
            None => "does not break the rule any more, or is gone",
            Some(size) if *size <= max => "keeps the rule now",
            Some(_) => continue,
        };
        complaints.push(format!("tests/tidy/ratchet_lists.rs: `{key}` {reason}; delete its line from {}", list.name));
    }
    complaints
}

mod tests {
    use super::*;
    use crate::tree::assert_complaints;

    const MAX: usize = 400;
    const EMPTY: List = List { name: "LONG", entries: &[] };
    const ONE: List = List { name: "LONG", entries: &[("a", 450)] };

    fn measure(key: &str, size: usize) -> Vec<Measure> {
        vec![Measure { key: key.to_owned(), size, complaints: vec![format!("{key}:1: {size} lines")] }]
    }

    #[test]
    fn unlisted_measure_beyond_the_bound_is_refused() {
        assert_complaints(&check(measure("a", 401), &EMPTY, MAX), &["a:1: 401 lines"]);
        assert_complaints(&check(measure("a", 400), &EMPTY, MAX), &[]);
    }

    #[test]
    fn listed_measure_may_shrink_and_not_grow() {
        assert_complaints(&check(measure("a", 450), &ONE, MAX), &[]);
        assert_complaints(&check(measure("a", 430), &ONE, MAX), &[]);
        assert_complaints(&check(measure("a", 451), &ONE, MAX), &["a:1: 451 lines (`a` is listed in LONG with 450"]);
    }

    #[test]
    fn entry_that_is_not_needed_is_refused() {
        assert_complaints(&check(measure("a", 400), &ONE, MAX), &["`a` keeps the rule now; delete its line from LONG"]);
        assert_complaints(&check(Vec::new(), &ONE, MAX), &["`a` does not break the rule any more, or is gone"]);
    }
}
