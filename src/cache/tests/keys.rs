//! Tests which requests share a key: named cases, and bodies generated from a seed and checked against an oracle.

use std::collections::HashMap;
use std::num::NonZeroUsize;

use super::*;
use crate::dialect::openai::request;
use crate::llm::{FactLimits, Operation};

const CHAT: Operation = Operation::Chat;

fn fresh() -> Keys {
    Keys::new(HashKey::new([42; 32]))
}

fn asked<'a>(body: &'a str, group: &'a str, operation: Operation, model: &'a str) -> Asked<'a> {
    Asked { shared_within: Some(group), operation, model, body: body.as_bytes(), depth_max: 128 }
}

fn key_in(keys: &mut Keys, body: &str) -> Option<Key> {
    let asked = asked(body, "acme", CHAT, "m");
    let key = keys.key(&asked);
    assert_eq!(key, keys.key(&asked), "remembered: {body}");
    assert_eq!(key, keys.canonical_key(&asked), "made again: {body}");
    key
}

fn key(body: &str) -> Key {
    key_in(&mut fresh(), body).unwrap_or_else(|| panic!("no key: {body}"))
}

#[test]
fn equivalent_bodies_share_one_key() {
    let one =
        key(r#"{"model":"m","messages":[{"role":"user","content":"a é 😀"}],"temperature":0,"seed":1,"stop":["x"]}"#);
    for same in [
        r#"{ "stop" : [ "x" ] , "seed" : 1 , "temperature" : 0 , "messages" : [ { "content" : "a é 😀" , "role" : "user" } ] , "model" : "m" }"#,
        r#"{"model":"m","messages":[{"role":"us\u0065r","content":"\u0061 \u00e9 \ud83d\uDE00"}],"temperature":0,"seed":1,"stop":["x"]}"#,
        r#"{"model":"m","m\u0065ssages":[{"r\u006fle":"user","content":"a é 😀"}],"temperature":0.0,"seed":10e-1,"stop":["x"]}"#,
        r#"{"model":"other","user":"u","metadata":{"a":[1]},"messages":[{"role":"user","content":"a é 😀"}],"temperature":-0,"seed":1.0,"stop":["x"]}"#,
        r#"{"stream":false,"stream_options":null,"model":"m","messages":[{"role":"user","content":"a é 😀"}],"temperature":0,"seed":1,"stop":["x"],"n":null,"tools":null}"#,
        r#"{"stream":null,"model":"m","messages":[{"role":"user","content":"a é 😀"}],"temperature":0,"seed":1,"stop":["x"],"background":false,"conversation":null}"#,
    ] {
        assert_eq!(key(same), one, "{same}");
    }
}

#[test]
fn whatever_can_change_the_answer_changes_the_key() {
    let bodies = [
        r#"{"messages":[{"role":"user","content":"a"}],"temperature":0}"#,
        r#"{"messages":[{"role":"user","content":"b"}],"temperature":0}"#,
        r#"{"messages":[{"role":"user","content":"a "}],"temperature":0}"#,
        r#"{"messages":[{"role":"system","content":"a"}],"temperature":0}"#,
        r#"{"messages":[{"role":"user","content":"a"}],"temperature":0.1}"#,
        r#"{"messages":[{"role":"user","content":"a"}],"temperature":0,"stream":true}"#,
        r#"{"messages":[{"role":"user","content":"a"}],"temperature":0,"top_p":0.5}"#,
        r#"{"messages":[{"role":"user","content":"a"}],"temperature":0,"n":2}"#,
        r#"{"messages":[{"role":"user","content":"a"}],"temperature":0,"n":"2"}"#,
        r#"{"messages":[{"role":"user","content":"a"}],"temperature":0,"tools":[]}"#,
        r#"{"messages":[{"role":"user","content":"a"}],"temperature":0,"tools":{}}"#,
        r#"{"messages":[{"role":"user","content":"a"}],"temperature":0,"seed":9007199254740992}"#,
        r#"{"messages":[{"role":"user","content":"a"}],"temperature":0,"seed":9007199254740993}"#,
        r#"{"messages":[{"role":"user","content":"a","name":null}],"temperature":0}"#,
        r#"{"messages":[{"role":"user","content":"a","user":"u"}],"temperature":0}"#,
        r#"{"messages":[{"role":"user","content":["a"]}],"temperature":0}"#,
        r#"{"messages":[[{"role":"user","content":"a"}]],"temperature":0}"#,
        r#"{"messages":[{"role":"user"},{"content":"a"}],"temperature":0}"#,
        r#"{"messages":[{"role":"user","content":"a"}],"temperature":0,"x":"1"}"#,
        r#"{"messages":[{"role":"user","content":"a"}],"temperature":0,"x":1}"#,
        r#"{"messages":[{"role":"user","content":"a"}],"temperature":0,"x":true}"#,
        r#"{"messages":[{"role":"user","content":"a"}],"temperature":0,"x":false}"#,
        r#"{"messages":[{"role":"user","content":"a"}],"temperature":0,"x":[null]}"#,
        r#"{"messages":[{"role":"user","content":"a"}],"temperature":0,"x":[]}"#,
        r#"{"messages":[{"role":"user","content":"a"}],"temperature":0,"x":[0,1]}"#,
        r#"{"messages":[{"role":"user","content":"a"}],"temperature":0,"x":[1,0]}"#,
        r#"{"messages":[{"role":"user","content":"a"}],"temperature":0,"previous_response_id":"r1"}"#,
        // The same values in different structures, and strings that look like structure.
        r#"{"x":[[1],2]}"#,
        r#"{"x":[[1,2]]}"#,
        r#"{"x":[[1,2],[]]}"#,
        r#"{"x":[[],[1,2]]}"#,
        r#"{"x":[{"a":1},{}]}"#,
        r#"{"x":[{},{"a":1}]}"#,
        r#"{"x":["as\u0000\u0000b","c"]}"#,
        r#"{"x":["a","bs\u0000\u0000c"]}"#,
        r#"{"x":["as\u0000\u0001b","c"]}"#,
        r#"{"x":["a","bs\u0000\u0001c"]}"#,
        r#"{"x":{"a":{"b":1},"c":2}}"#,
        r#"{"x":{"a":{"b":1,"c":2}}}"#,
        r#"{"x":{"a":1},"c":2}"#,
    ];
    let mut seen = HashMap::new();
    for body in bodies {
        if let Some(other) = seen.insert(key(body), body) {
            panic!("{body} and {other}");
        }
    }
}

#[test]
fn group_operation_and_model_are_kept_apart_in_the_key() {
    let body = r#"{"model":"m","temperature":0}"#;
    let mut keys = fresh();
    let texts = ["", "a", "ab", "b", "\u{0}", "a\u{0}"];
    let groups = texts.iter().flat_map(|group| texts.map(|model| (*group, model)));
    let all: Vec<_> = groups.flat_map(|(group, model)| Operation::ALL.map(|it| (group, it, model))).collect();
    let (mut seen, mut seeded) = (HashMap::new(), Seeded::new(3));
    // All of these have the same fingerprint, so they compete for two slots of the memo, in changing pairs.
    for _ in 0..20_000 {
        let (group, operation, model) = all[seeded.below(all.len())];
        let key = keys.key(&asked(body, group, operation, model));
        assert_eq!(*seen.entry(key).or_insert((group, operation, model)), (group, operation, model));
    }
    assert_eq!(seen.len(), all.len());
    let global = Asked { shared_within: None, ..asked(body, "", CHAT, "a") };
    for _ in 0..2 {
        assert!(!seen.contains_key(&keys.key(&global)), "an answer that everyone shares has a key of its own");
    }
}

#[test]
fn answers_that_depend_on_the_providers_state_have_no_key() {
    for body in [
        r#"{"conversation":"c1"}"#,
        r#"{"conversation":{"id":"c1"}}"#,
        r#"{"background":true}"#,
        r#"{"b\u0061ckground":true}"#,
    ] {
        assert_eq!(key_in(&mut fresh(), body), None, "{body}");
    }
    key(r#"{"messages":[{"conversation":"c1","background":true}]}"#);
}

#[test]
fn malformed_body_has_no_key_and_never_panics() {
    let mut keys = fresh();
    for body in ["", "[]", "{", "{}x", "{\"a\":}", "{\"a\":[1,{\"b\":2}", "nul", "\u{feff}{}"] {
        assert_eq!(key_in(&mut keys, body), None, "{body}");
    }
    let mut seeded = Seeded::new(5);
    for _ in 0..20_000 {
        let pieces =
            ["{", "}", "[", "]", ",", ":", "\"a\"", "\"\\u00", "1", "-", "1e9", "null", "true", "\"stream\"", " "];
        let soup: String = (0..seeded.below(12)).map(|_| pieces[seeded.below(pieces.len())]).collect();
        let _ = key_in(&mut keys, &format!("{{{soup}"));
    }
}

#[test]
fn body_deeper_than_the_facts_allow_has_no_key() {
    let nested = |depth: usize| format!("{{\"x\":{}{}}}", "[".repeat(depth - 1), "]".repeat(depth - 1));
    let mut keys = fresh();
    for (depth, depth_max, expected) in [(128, 128, true), (129, 128, false), (512, 512, true), (513, 512, false)] {
        let body = nested(depth);
        let asked = Asked { depth_max, ..asked(&body, "", CHAT, "m") };
        assert_eq!(keys.key(&asked).is_some(), expected, "{depth} of {depth_max}");
    }
}

#[test]
fn body_that_needs_too_much_work_has_no_key() {
    let members = |count: usize| {
        let members: Vec<_> = (0..count).map(|n| format!("\"{n}\":{n}")).collect();
        format!("{{\"x\":{{{}}}}}", members.join(","))
    };
    let items = |count: usize| format!("{{\"x\":[{}]}}", vec!["1"; count].join(","));
    let mut keys = fresh();
    assert!(key_in(&mut keys, &members(32_000)).is_some());
    assert_eq!(key_in(&mut keys, &members(33_000)), None);
    assert!(key_in(&mut keys, &items(131_000)).is_some());
    assert_eq!(key_in(&mut keys, &items(132_000)), None);
    // State left over from rejected bodies does not affect the next key.
    assert_eq!(key_in(&mut keys, r#"{"a":1}"#), Some(key(r#"{"a":1}"#)));
}

#[test]
fn different_secret_gives_different_keys() {
    let body = r#"{"a":1}"#;
    let other = key_in(&mut Keys::new(HashKey::new([43; 32])), body);
    assert_ne!(other, Some(key(body)));
    assert!(!format!("{:?}", HashKey::new([42; 32])).contains("42"));
}

#[test]
fn only_a_temperature_of_exactly_zero_and_no_stream_are_cacheable() {
    for (members, expected) in [
        (r#""temperature":0"#, true),
        (r#""temperature":0.0"#, true),
        (r#""temperature":-0"#, true),
        (r#""temperature":1e-300"#, false),
        (r#""temperature":null"#, false),
        (r#""top_p":0"#, false),
        (r#""temperature":0,"stream":false"#, true),
        (r#""temperature":0,"stream":true"#, false),
    ] {
        let body = format!(r#"{{"model":"m",{members}}}"#);
        let request = request::read(body.as_bytes(), CHAT, &FactLimits::default()).expect(members);
        assert_eq!(is_cacheable(&request.facts), expected, "{members}");
    }
}

#[test]
fn keys_are_spread_evenly_over_their_owners() {
    for shards in [1, 2, 3, 8, 64] {
        let shards = NonZeroUsize::new(shards).expect("not zero");
        let mut counts = vec![0_u32; shards.get()];
        for number in 0..64_000 {
            counts[Key::of_number(number).owner(shards)] += 1;
        }
        let even = 64_000 / shards.get() as u32;
        assert!(counts.iter().all(|&count| count.abs_diff(even) < even / 4 + 1), "{counts:?}");
    }
}

// ---- bodies generated from a seed ----

#[derive(Clone, Debug)]
enum Tree {
    Null,
    Bool(bool),
    /// An integer times a power of ten: the integer, then the exponent.
    Number(i64, i32),
    Text(String),
    Array(Vec<Tree>),
    Object(Vec<(String, Tree)>),
}

struct Author {
    seeded: Seeded,
}

impl Author {
    fn text(&mut self) -> String {
        const PIECES: [&str; 9] = ["a", "b", "\"", "\\", "\n", "é", "😀", "\u{0}", "/"];
        let pieces = match self.seeded.below(24) {
            0 => self.seeded.below(1200),
            1 => self.seeded.below(120),
            _ => self.seeded.below(3),
        };
        (0..pieces).map(|_| PIECES[self.seeded.below(PIECES.len())]).collect()
    }

    fn object(&mut self, depth: usize) -> Tree {
        let count = if self.seeded.one_in(60) { self.seeded.below(60) } else { self.seeded.below(4) };
        let mut members: Vec<(String, Tree)> = Vec::new();
        for _ in 0..count {
            let name = self.text();
            if members.iter().all(|(other, _)| *other != name) {
                members.push((name, self.tree(depth + 1)));
            }
        }
        Tree::Object(members)
    }

    fn tree(&mut self, depth: usize) -> Tree {
        match self.seeded.below(if depth < 5 { 9 } else { 6 }) {
            0 => Tree::Null,
            1 => Tree::Bool(self.seeded.one_in(2)),
            2 | 3 => Tree::Number(self.seeded.below(25) as i64 - 12, self.seeded.below(5) as i32 - 2),
            4 | 5 => Tree::Text(self.text()),
            6 => Tree::Array((0..self.seeded.below(4)).map(|_| self.tree(depth + 1)).collect()),
            _ => self.object(depth),
        }
    }

    /// Writes the tree in one of the many equivalent JSON forms.
    fn write(&mut self, tree: &Tree, out: &mut String) {
        self.space(out);
        match tree {
            Tree::Null => out.push_str("null"),
            Tree::Bool(value) => out.push_str(&value.to_string()),
            Tree::Number(value, power) => {
                // `00` is not a JSON number.
                let zeros = if *value == 0 { 0 } else { self.seeded.below(3) };
                let digits = format!("{value}{}", "0".repeat(zeros));
                let power = power - zeros as i32;
                match power {
                    0 if self.seeded.one_in(2) => out.push_str(&digits),
                    0 => out.push_str(&format!("{digits}.0")),
                    _ => out.push_str(&format!("{digits}e{power}")),
                }
            }
            Tree::Text(text) => self.write_text(text, out),
            Tree::Array(items) => {
                out.push('[');
                for (n, item) in items.iter().enumerate() {
                    out.push_str(if n > 0 { "," } else { "" });
                    self.write(item, out);
                }
                self.space(out);
                out.push(']');
            }
            Tree::Object(members) => {
                let mut order: Vec<_> = members.iter().collect();
                for n in (1..order.len()).rev() {
                    order.swap(n, self.seeded.below(n + 1));
                }
                out.push('{');
                for (n, (name, value)) in order.into_iter().enumerate() {
                    out.push_str(if n > 0 { "," } else { "" });
                    self.space(out);
                    self.write_text(name, out);
                    self.space(out);
                    out.push(':');
                    self.write(value, out);
                }
                self.space(out);
                out.push('}');
            }
        }
        self.space(out);
    }

    fn write_text(&mut self, text: &str, out: &mut String) {
        out.push('"');
        for char in text.chars() {
            if char < ' ' || char == '"' || char == '\\' || self.seeded.one_in(4) {
                for unit in char.encode_utf16(&mut [0; 2]) {
                    out.push_str(&format!("\\u{unit:04x}"));
                }
            } else {
                out.push(char);
            }
        }
        out.push('"');
    }

    fn space(&mut self, out: &mut String) {
        out.push_str(["", "", "", " ", "\n\t"][self.seeded.below(5)]);
    }

    /// Changes the tree's meaning: replaces a value, adds a value or renames a member.
    fn change(&mut self, tree: &mut Tree) {
        match tree {
            Tree::Array(items) if !items.is_empty() && !self.seeded.one_in(3) => {
                let chosen = self.seeded.below(items.len());
                self.change(&mut items[chosen]);
            }
            Tree::Object(members) if !members.is_empty() && !self.seeded.one_in(3) => {
                let chosen = self.seeded.below(members.len());
                if self.seeded.one_in(4) {
                    members[chosen].0.push('y');
                } else {
                    self.change(&mut members[chosen].1);
                }
            }
            Tree::Array(items) if self.seeded.one_in(2) => items.push(Tree::Null),
            Tree::Object(members) if self.seeded.one_in(2) => members.push((format!("z{}", members.len()), Tree::Null)),
            Tree::Text(text) => text.push('z'),
            Tree::Number(value, _) => *value += 1,
            other => *other = Tree::Text(format!("{other:?} no more")),
        }
    }
}

/// The oracle: returns equal texts only for equal meanings, by plain recursion.
fn meaning(tree: &Tree) -> String {
    match tree {
        Tree::Null => "null".into(),
        Tree::Bool(value) => value.to_string(),
        Tree::Number(0, _) => "0e0".into(),
        Tree::Number(value, power) if value % 10 == 0 => meaning(&Tree::Number(value / 10, power + 1)),
        Tree::Number(value, power) => format!("{value}e{power}"),
        Tree::Text(text) => format!("{text:?}"),
        Tree::Array(items) => format!("[{}]", items.iter().map(meaning).collect::<Vec<_>>().join(",")),
        Tree::Object(members) => {
            let mut members: Vec<_> =
                members.iter().map(|(name, value)| format!("{name:?}:{}", meaning(value))).collect();
            members.sort();
            format!("{{{}}}", members.join(","))
        }
    }
}

#[test]
fn generated_bodies_share_a_key_exactly_when_they_mean_the_same() {
    let mut author = Author { seeded: Seeded::new(77) };
    let mut keys = fresh();
    let (mut by_meaning, mut by_key) = (HashMap::new(), HashMap::new());
    for _ in 0..1_500 {
        let mut members = [("x", author.object(0)), ("y", author.tree(1))];
        for _ in 0..2 {
            // A null at the top level counts as absent, so it is left out.
            let present = members.iter().filter(|(_, value)| !matches!(value, Tree::Null));
            let tree = Tree::Object(present.map(|(name, value)| ((*name).into(), value.clone())).collect());
            let meaning = meaning(&tree);
            for _ in 0..3 {
                let mut body = String::new();
                author.write(&tree, &mut body);
                let key = key_in(&mut keys, &body).unwrap_or_else(|| panic!("no key: {body}"));
                assert_eq!(*by_meaning.entry(meaning.clone()).or_insert(key), key, "{body}");
                assert_eq!(*by_key.entry(key).or_insert_with(|| meaning.clone()), meaning, "{body}");
            }
            let chosen = author.seeded.below(2);
            author.change(&mut members[chosen].1);
        }
    }
    assert!(by_meaning.len() > 1_250, "only {} different bodies", by_meaning.len());
}
