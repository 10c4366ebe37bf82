//! Rule: a top module imports from its own layer and from lower ones.

use crate::source::Source;
use crate::tree::{crate_sources, expect_none};

/// The top modules, lowest first, one to a line; an empty line begins the next layer. `a | b` share a layer, and neither
/// imports the other. To add a module, add its line.
const LAYERS: &str = "
    units
    clock
    names
    fault_injection
    console
    seeded

    json

    http

    who

    llm

    dialect

    translate

    config
    policy
    pricing
    usage
    limit
    breaker
    cache
    keys
    budget
    cells

    shared

    plan

    link

    shard | coordinator

    process

    demo
    main
    health_cli
    policy_cli
";

#[test]
fn modules_import_only_from_their_own_layer_and_below() {
    expect_none(&upward_imports(crate_sources()));
}

fn upward_imports(sources: &[Source]) -> Vec<String> {
    let mut complaints = Vec::new();
    for source in sources {
        let own = source.module_path();
        // The root declares the modules and imports nothing.
        let Some(top) = own.first() else { continue };
        let Some(layer) = layer_of(top) else {
            let advice = "is in no layer; add its line to LAYERS in tests/tidy/layers.rs";
            complaints.push(source.complaint(0, &format!("module `{top}` {advice}")));
            continue;
        };
        for import in source.imports() {
            let Some(used) = top_module(source, &own, import.at, &import.path).filter(|used| used != top) else {
                continue;
            };
            let reason = match layer_of(&used) {
                Some(_) if are_strangers(top, &used) => "they meet in `link` only".to_owned(),
                Some(used_layer) if used_layer > layer => {
                    format!("layer {used_layer} is above layer {layer}; move what both need below, or pass a value")
                }
                Some(_) => continue,
                None => "it is in no layer; import from the module that owns the item".to_owned(),
            };
            complaints.push(source.complaint(import.at, &format!("`{top}` imports from `crate::{used}`: {reason}")));
        }
    }
    complaints
}

/// Complains about the modules that `lib` lists below one of a higher layer.
pub fn listed_out_of_order(lib: &Source) -> Vec<String> {
    let mut complaints = Vec::new();
    let mut highest = (0, String::new());
    for line in lib.mod_lines().into_iter().filter(|line| !lib.is_test(line.at)) {
        // A module without a layer is reported at its own file.
        let Some(layer) = layer_of(&line.name) else { continue };
        if layer < highest.0 {
            let what = format!("`mod {}` belongs to a lower layer than `{}`; list it above", line.name, highest.1);
            complaints.push(lib.complaint(line.at, &what));
        } else {
            highest = (layer, line.name);
        }
    }
    complaints
}

/// The top module that `path`, found at `at` in the module `own`, leads to; `None` for another crate's path.
fn top_module(source: &Source, own: &[String], at: usize, path: &[String]) -> Option<String> {
    let rest: Vec<&String> = path.iter().skip_while(|segment| *segment == "self").collect();
    match rest.first()?.as_str() {
        "crate" => rest.get(1).map(|segment| (*segment).clone()),
        "super" => {
            let supers = rest.iter().take_while(|segment| **segment == "super").count();
            let up = supers.saturating_sub(source.inline_modules(at).count());
            if up < own.len() { Some(own[0].clone()) } else { rest.get(supers).map(|segment| (*segment).clone()) }
        }
        _ => None,
    }
}

fn layer_of(module: &str) -> Option<usize> {
    LAYERS.trim().split("\n\n").position(|layer| layer.split(['\n', '|']).any(|listed| listed.trim() == module))
}

fn are_strangers(a: &str, b: &str) -> bool {
    LAYERS.lines().any(|line| {
        let mut modules = line.split('|').map(str::trim);
        line.contains('|') && modules.clone().any(|module| module == a) && modules.any(|module| module == b)
    })
}

mod tests {
    use super::*;
    use crate::tree::{assert_complaints, snippets};

    fn check(path: &str, text: &str) -> Vec<String> {
        upward_imports(&snippets(&[(path, text)]))
    }

    #[test]
    fn import_from_the_own_layer_or_below_passes() {
        let text = "use crate::{plan::Plan, http::{head, body}};\nuse super::flow;\nmod tests { use super::*; use super::super::link; }";
        assert_complaints(&check("src/shard/accept.rs", text), &[]);
        assert_complaints(&check("src/config/mod.rs", "use crate::policy::Policy;"), &[]);
    }

    #[test]
    fn import_from_a_higher_layer_is_refused() {
        let text = "\nuse crate::{clock::Now, plan::{self, Plan}};";
        let expected = ["src/policy/mod.rs:2: `policy` imports from `crate::plan`", "`crate::plan`"];
        assert_complaints(&check("src/policy/mod.rs", text), &expected);
    }

    #[test]
    fn higher_layer_named_in_the_code_is_refused() {
        let text = "fn f() -> u8 { crate::shard::flow::run() }";
        assert_complaints(&check("src/http/head.rs", text), &["`crate::shard`"]);
    }

    #[test]
    fn higher_layer_reached_through_super_is_refused() {
        let text = "use super::super::coordinator::Event;\nmod tests { use super::super::super::link::Order; }";
        let expected =
            ["local.rs:1: `usage` imports from `crate::coordinator`", "local.rs:2: `usage` imports from `crate::link`"];
        assert_complaints(&check("src/usage/local.rs", text), &expected);
    }

    #[test]
    fn planes_that_import_each_other_are_refused() {
        let shard = check("src/shard/flow.rs", "use crate::coordinator::Event;");
        assert_complaints(&shard, &["they meet in `link` only"]);
        let coordinator = check("src/coordinator/mod.rs", "use crate::shard;");
        assert_complaints(&coordinator, &["they meet in `link` only"]);
    }

    #[test]
    fn module_without_a_layer_is_refused() {
        assert_complaints(&check("src/helpers.rs", ""), &["src/helpers.rs:1: module `helpers` is in no layer"]);
        assert_complaints(&check("src/plan.rs", "use crate::Anything;"), &["it is in no layer"]);
    }

    #[test]
    fn assembly_may_import_everything() {
        assert_complaints(&check("src/lib.rs", "pub mod shard;\nuse crate::{shard, coordinator};"), &[]);
        assert_complaints(&check("src/process.rs", "use crate::{shard, coordinator};"), &[]);
    }
}
