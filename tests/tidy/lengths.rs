//! Rules: bounds for the lines of a file, for the lines of a function, and for the parameters of a function. They hold for
//! tests and benchmarks too.

use crate::ratchet::{self, List, Measure};
use crate::ratchet_lists::{LONG_FILES, LONG_FUNCTIONS, MANY_PARAMETERS, TUPLE_PARAMETERS};
use crate::signature::{Function, functions};
use crate::source::Source;
use crate::tree::{all_sources, expect_none};

/// The 90th percentile of the proxies that are pleasant to read (CONTRIBUTING.md, Rules of the tree).
const FILE_LINES_MAX: usize = 400;
/// A function on one screen of a tall window (CONTRIBUTING.md, Rules of the tree).
const FUNCTION_LINES_MAX: usize = 70;
/// Arbitrary: with more, calls become rows of arguments that are easily swapped.
const PARAMETERS_MAX: usize = 5;

#[test]
fn files_stay_within_their_length() {
    expect_none(&long_files(all_sources(), &LONG_FILES));
}

#[test]
fn functions_stay_within_their_length() {
    expect_none(&long_functions(all_sources(), &LONG_FUNCTIONS));
}

#[test]
fn functions_have_few_parameters() {
    expect_none(&many_parameters(all_sources(), &MANY_PARAMETERS));
}

#[test]
fn functions_take_no_tuples_apart_in_their_parameters() {
    expect_none(&tuple_parameters(all_sources(), &TUPLE_PARAMETERS));
}

fn long_files(sources: &[Source], list: &List) -> Vec<String> {
    let measure = |source: &Source| {
        let size = source.text.lines().count();
        let complaint = format!("{}:1: {size} lines, at most {FILE_LINES_MAX}; split the file by topic", source.path);
        Measure { key: source.path.clone(), size, complaints: vec![complaint] }
    };
    ratchet::check(sources.iter().map(measure).collect(), list, FILE_LINES_MAX)
}

fn long_functions(sources: &[Source], list: &List) -> Vec<String> {
    check_functions(sources, list, FUNCTION_LINES_MAX, |function| {
        (function.lines, format!("{} lines, at most {FUNCTION_LINES_MAX}; split it by step", function.lines))
    })
}

fn many_parameters(sources: &[Source], list: &List) -> Vec<String> {
    check_functions(sources, list, PARAMETERS_MAX, |function| {
        let count = function.parameters.len();
        (count, format!("{count} parameters, at most {PARAMETERS_MAX}; group those that belong together in a struct"))
    })
}

fn tuple_parameters(sources: &[Source], list: &List) -> Vec<String> {
    check_functions(sources, list, 0, |function| {
        let count = function.parameters.iter().filter(|parameter| parameter.starts_with('(')).count();
        (count, "a tuple is taken apart in the parameters; pass a struct with named fields".to_owned())
    })
}

/// `measure` returns a function's size and what to say when it is beyond `max`. The list's keys are names of functions
/// alone, so that moving a function to another file leaves the list as it is.
fn check_functions(
    sources: &[Source],
    list: &List,
    max: usize,
    measure: impl Fn(&Function) -> (usize, String),
) -> Vec<String> {
    let mut measures = Vec::new();
    for source in sources {
        for function in functions(source) {
            let (size, what) = measure(&function);
            if size > max {
                let complaint = source.complaint(function.at, &format!("fn {}: {what}", function.name));
                measures.push(Measure { key: function.name.to_owned(), size, complaints: vec![complaint] });
            }
        }
    }
    ratchet::check(measures, list, max)
}

mod tests {
    use super::*;
    use crate::tree::{assert_complaints, snippets};

    const NONE: List = List { name: "LIST", entries: &[] };

    #[test]
    fn file_beyond_its_length_is_refused_tests_included() {
        let lines = |count: usize| "//\n".repeat(count);
        let check = |path, text: &str| long_files(&snippets(&[(path, text)]), &NONE);
        assert_complaints(&check("src/plan.rs", &lines(401)), &["src/plan.rs:1: 401 lines, at most 400"]);
        assert_complaints(&check("tests/it/main.rs", &lines(401)), &["tests/it/main.rs:1: 401 lines"]);
        assert_complaints(&check("src/plan.rs", &lines(400)), &[]);
    }

    #[test]
    fn function_beyond_its_length_is_refused() {
        let check = |lines: usize| {
            let text = format!("\nfn long() {{\n{}}}\nfn short() {{}}\n", "    f();\n".repeat(lines - 2));
            long_functions(&snippets(&[("src/plan.rs", &text)]), &NONE)
        };
        assert_complaints(&check(FUNCTION_LINES_MAX + 1), &["src/plan.rs:2: fn long: 71 lines, at most 70"]);
        assert_complaints(&check(FUNCTION_LINES_MAX), &[]);
    }

    #[test]
    fn sixth_parameter_is_refused_and_the_receiver_is_not_counted() {
        let check = |text| many_parameters(&snippets(&[("src/plan.rs", text)]), &NONE);
        assert_complaints(&check("fn f(&self, a: u8, b: u8, c: u8, d: u8, e: Map<u8, u8>) {}"), &[]);
        let six = "trait T {\n    fn f(a: u8, b: u8, c: u8, d: u8, e: u8, f: u8);\n}";
        assert_complaints(&check(six), &["src/plan.rs:2: fn f: 6 parameters, at most 5"]);
    }

    #[test]
    fn tuple_in_the_parameters_is_refused_and_in_a_closure_it_is_not() {
        let check = |text| tuple_parameters(&snippets(&[("src/plan.rs", text)]), &NONE);
        assert_complaints(&check("fn f(&self, (a, b): (u8, u8)) {}"), &["src/plan.rs:1: fn f: a tuple is taken apart"]);
        assert_complaints(&check("fn f(a: &[(u8, u8)]) { a.iter().map(|(a, b): &(u8, u8)| a + b); }"), &[]);
    }
}
