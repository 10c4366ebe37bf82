use super::*;
use crate::seeded::Seeded;

/// Walks a whole text to its end.
fn walk(text: &[u8]) -> Result<(), JsonError> {
    walk_with_depth(text, DEPTH_MAX_DEFAULT)
}

fn walk_with_depth(text: &[u8], depth: usize) -> Result<(), JsonError> {
    let walk = || {
        let mut walker = Walker::strict(text, depth)?;
        walker.value()?;
        walker.end()
    };
    walk().map_err(|error| *error)
}

fn kind(text: &[u8]) -> JsonErrorKind {
    walk(text).expect_err("refused").kind
}

#[test]
fn json_corpus_is_accepted_and_refused_as_its_names_say() {
    let Some(corpus) = std::env::var_os("LUNER_CORPUS") else {
        eprintln!("skipped: LUNER_CORPUS is not set");
        return;
    };
    let mut seen = 0;
    for entry in std::fs::read_dir(std::path::Path::new(&corpus).join("json")).expect("corpus/json") {
        let path = entry.expect("an entry").path();
        let name = path.file_name().expect("a name").to_string_lossy().into_owned();
        let result = walk(&std::fs::read(&path).expect("readable"));
        match name.get(..2) {
            // The corpus allows duplicate keys, luner does not.
            Some("y_") if name.contains("duplicated_key") => {
                assert!(matches!(result.expect_err(&name).kind, JsonErrorKind::DuplicateKey(_)), "{name}");
            }
            Some("y_") => assert_eq!(result, Ok(()), "{name}"),
            Some("n_") => assert!(result.is_err(), "{name}"),
            _ => {}
        }
        seen += 1;
    }
    assert!(seen > 300, "only {seen} texts in the corpus");
}

#[test]
fn hundred_thousand_levels_are_refused_early() {
    for unit in ["[", "{\"a\":", "[[{\"a\":"] {
        let error = walk(unit.repeat(100_000).as_bytes()).expect_err("too deep");
        assert_eq!(error.kind, JsonErrorKind::TooDeep);
        assert!(error.at < 1_000);
    }
}

#[test]
fn depth_counts_open_containers() {
    assert_eq!(walk_with_depth(b"[[[1],[2]],[]]", 3), Ok(()));
    assert_eq!(walk_with_depth(b"[[[1],[[]]]]", 3).expect_err("four deep").at, 7);
    assert_eq!(walk_with_depth(b"1", 0), Ok(()));
}

#[test]
fn ten_megabyte_string_is_accepted_and_such_a_number_is_refused() {
    let string = format!("\"{}\"", "x".repeat(10 << 20));
    assert_eq!(walk(string.as_bytes()), Ok(()));
    assert_eq!(kind(&b"1".repeat(10 << 20)), JsonErrorKind::LongNumber);
    assert_eq!(kind(format!("[0.{}e1]", "0".repeat(10 << 20)).as_bytes()), JsonErrorKind::LongNumber);
    assert_eq!(walk("9".repeat(NUMBER_BYTES_MAX).as_bytes()), Ok(()));
}

#[test]
fn texts_with_too_many_values_are_refused() {
    let list = |count: usize| format!("[{}0]", "0,".repeat(count - 1));
    assert_eq!(walk(list(VALUES_MAX - 1).as_bytes()), Ok(()));
    assert_eq!(kind(list(VALUES_MAX).as_bytes()), JsonErrorKind::TooManyValues);
    let object = |count: usize| format!("[{{\"a\":0}}{}]", ",{\"a\":0}".repeat(count - 1));
    assert_eq!(walk(object(MEMBERS_MAX).as_bytes()), Ok(()));
    assert_eq!(kind(object(MEMBERS_MAX + 1).as_bytes()), JsonErrorKind::TooManyMembers);
}

#[test]
fn lone_surrogates_are_refused_and_pairs_are_accepted() {
    let refused = [
        "\\ud800",
        "\\udbff",
        "\\udc00",
        "\\udfff",
        "\\ud800\\ud800",
        "\\ud800x",
        "\\ud800\\n",
        "\\ud800\\u0041",
        "\\ud83d\\\\ude00",
    ];
    for inner in refused {
        assert_eq!(kind(format!("\"{inner}\"").as_bytes()), JsonErrorKind::LoneSurrogate, "{inner}");
        assert_eq!(kind(format!("{{\"{inner}\":1}}").as_bytes()), JsonErrorKind::LoneSurrogate, "{inner}");
    }
    assert_eq!(walk(b"\"\\ud83d\\ude00 \\uDBFF\\uDFFF\""), Ok(()));
    for inner in ["\\u12", "\\u12g4", "\\ud83d\\ude0", "\\a", "\\u+123", "\\"] {
        assert!(walk(format!("\"{inner}\"").as_bytes()).is_err(), "{inner}");
    }
}

#[test]
fn bytes_that_are_not_utf8_are_refused_with_their_position() {
    for bytes in [&b"\xff"[..], b"\xc0\x80", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xe2\x82"] {
        let text = [b"[\"ab", bytes, b"\"]"].concat();
        assert_eq!(walk(&text), Err(JsonError { at: 4, kind: JsonErrorKind::NotUtf8 }));
    }
    assert_eq!(kind(b"\xef\xbb\xbf{}"), JsonErrorKind::ByteOrderMark);
    assert!(walk(b"\xff\xfe{\0}\0").is_err());
}

#[test]
fn control_characters_in_strings_are_refused_at_every_position() {
    for control in 0..0x20u8 {
        for before in [0, 1, 7, 8, 16, 63, 64, 80, 100, 200] {
            let mut text = vec![b'"'];
            text.extend(std::iter::repeat_n(b'a', before));
            text.push(control);
            text.extend(std::iter::repeat_n(b'b', 100));
            text.push(b'"');
            assert_eq!(walk(&text), Err(JsonError { at: before + 1, kind: JsonErrorKind::ControlCharacter }));
        }
    }
}

#[test]
fn duplicate_key_is_refused_at_every_level() {
    let twice = [
        r#"{"a":1,"a":2}"#,
        r#"{"a":1,"\u0061":2}"#,
        r#"[{"x":{"b":[{"k":1,"c":0,"k":{}}]}}]"#,
        r#"{"__proto__":1,"__proto__":1}"#,
        r#"{"":1,"":2}"#,
        r#"{"😀":1,"\ud83d\ude00":2}"#,
        r#"{"a":{"b":1},"c":{"b":1},"a":0}"#,
    ];
    for text in twice {
        assert!(matches!(kind(text.as_bytes()), JsonErrorKind::DuplicateKey(_)), "{text}");
    }
    // Composed and decomposed é are different keys, and equal keys in two objects are not duplicates.
    assert_eq!(walk("{\"a\":{\"a\":{\"a\":1},\"b\":{\"a\":1}},\"é\":1,\"e\u{301}\":1}".as_bytes()), Ok(()));
    assert_eq!(walk(br#"{"A":1,"a":2}"#), Ok(()));
}

#[test]
fn duplicate_key_is_found_in_objects_of_any_size() {
    for count in [2, 15, 16, 17, 18, 40, 1_000, 60_000] {
        let mut members: Vec<String> = (0..count).map(|at| format!("\"key{at}\":{{\"key1\":0}}")).collect();
        let text = format!("{{{}}}", members.join(","));
        assert_eq!(walk(text.as_bytes()), Ok(()), "{count}");
        for (first, second) in [(0, count - 1), (count / 2 - 1, count - 1), (0, count / 2)] {
            let kept = std::mem::replace(&mut members[second], format!("\"\\u006bey{first}\":0"));
            let text = format!("{{{}}}", members.join(","));
            let error = walk(text.as_bytes()).expect_err("twice");
            assert_eq!(error.kind, JsonErrorKind::DuplicateKey(format!("key{first}").into()), "{count}");
            assert_eq!(text.get(error.at..error.at + 8), Some("\"\\u006be"), "{count}");
            members[second] = kept;
        }
    }
}

#[test]
fn lenient_walker_accepts_duplicate_keys() {
    let mut walker = Walker::lenient(br#"{"a":1,"a":2}"#).expect("UTF-8");
    assert!(walker.value().is_ok() && walker.end().is_ok());
}

#[test]
fn steps_that_the_text_does_not_allow_are_errors() {
    let mut walker = Walker::strict(b"{}", 9).expect("UTF-8");
    assert!(walker.next_key().is_err() && walker.next_item().is_err() && walker.open_array().is_err());
    assert!(walker.open_object().is_ok() && walker.end().is_err() && walker.value().is_err());
}

#[test]
fn message_shows_at_most_64_bytes_of_a_key() {
    let key = "é".repeat(100);
    let error = walk(format!("{{\"{key}\":1,\"{key}\":1}}").as_bytes()).expect_err("twice");
    assert_eq!(error.kind, JsonErrorKind::DuplicateKey("é".repeat(32).into()));
    let error = walk(b"{\"a\" 1}").expect_err("no colon");
    assert_eq!(error.to_string(), "expected ':' at byte 5");
}

/// Every string value of a text, as luner's walker finds them.
fn strings(text: &[u8]) -> Vec<String> {
    let mut found = Vec::new();
    let mut walker = Walker::lenient(text).expect("UTF-8");
    walker.value_with(|_, text| found.push(text.decode().into_owned())).expect("valid");
    found
}

fn strings_of(value: &serde_json::Value, found: &mut Vec<String>) {
    match value {
        serde_json::Value::String(text) => found.push(text.clone()),
        serde_json::Value::Array(items) => items.iter().for_each(|item| strings_of(item, found)),
        serde_json::Value::Object(members) => members.values().for_each(|item| strings_of(item, found)),
        _ => {}
    }
}

/// Writes a random valid document with odd white space and escapes.
fn document(seeded: &mut Seeded, depth: usize, out: &mut String) {
    let space = [" ", "", "", "\n", "\t\r"];
    out.push_str(space[seeded.below(5)]);
    match seeded.below(if depth == 0 { 5 } else { 7 }) {
        0 => out.push_str(["null", "true", "false"][seeded.below(3)]),
        1 | 2 => {
            out.push_str(["0", "-0", "1.5", "-12e3", "1E-2", "0.0", "123456789012345678901234567890"][seeded.below(7)])
        }
        3 | 4 => string(seeded, out),
        5 => {
            out.push('[');
            for at in 0..seeded.below(4) {
                out.push_str(if at > 0 { "," } else { "" });
                document(seeded, depth - 1, out);
            }
            out.push(']');
        }
        _ => {
            out.push('{');
            for at in 0..seeded.below(25) {
                // The keys are sorted, so that serde_json's sorted map keeps the order of the text.
                out.push_str(&format!(
                    "{}\"{at:03}{}\" :",
                    if at > 0 { "," } else { "" },
                    ["", "\\u0041", "é"][seeded.below(3)]
                ));
                document(seeded, depth.saturating_sub(2), out);
            }
            out.push('}');
        }
    }
    out.push_str(space[seeded.below(5)]);
}

fn string(seeded: &mut Seeded, out: &mut String) {
    out.push('"');
    let len_max = if seeded.one_in(4) { 60 } else { 5 };
    for _ in 0..seeded.below(len_max) {
        out.push_str(
            ["a", "hello ", "\\n", "\\\"", "\\\\", "é", "語", "😀", "\\u00e9", "\\ud83d\\ude00", "{", "]", ",", ":"]
                [seeded.below(14)],
        );
    }
    out.push('"');
}

#[test]
fn walker_agrees_with_serde_json_on_valid_and_broken_documents() {
    let mut seeded = Seeded::new(1);
    let (mut valid, mut broken) = (0, 0);
    for _ in 0..3_000 {
        let mut text = String::new();
        document(&mut seeded, 5, &mut text);
        let value: serde_json::Value = serde_json::from_str(&text).expect("made valid");
        let mut expected = Vec::new();
        strings_of(&value, &mut expected);
        assert_eq!(walk(text.as_bytes()), Ok(()), "{text}");
        assert_eq!(strings(text.as_bytes()), expected, "{text}");
        for _ in 0..10 {
            let mut bytes = text.clone().into_bytes();
            for _ in 0..1 + seeded.below(2) {
                damage(&mut seeded, &mut bytes);
            }
            // serde_json refuses lone surrogates when it reads a `Value`, as luner does.
            match (serde_json::from_slice::<serde_json::Value>(&bytes), walk(&bytes)) {
                (Ok(_), Ok(())) => valid += 1,
                (Err(_), Err(_)) => broken += 1,
                (Ok(_), Err(JsonError { kind: JsonErrorKind::DuplicateKey(_), .. })) => {}
                (Err(error), Ok(())) if error.to_string().contains("number out of range") => {}
                (serde, ours) => panic!("{serde:?} but {ours:?}: {}", String::from_utf8_lossy(&bytes)),
            }
        }
    }
    assert!(valid > 1_000 && broken > 1_000, "{valid} valid, {broken} broken");
}

/// Changes, removes, inserts or cuts bytes at a random position.
fn damage(seeded: &mut Seeded, bytes: &mut Vec<u8>) {
    let at = seeded.below(bytes.len());
    if bytes.is_empty() {
        return;
    }
    match seeded.below(5) {
        0 => bytes[at] = b"\"\\{}[],:0-+.eEtfnu \n\x01\x7f\x80\xc3\xff"[seeded.below(25)],
        1 => drop(bytes.remove(at)),
        2 => bytes.insert(at, b"\"\\{}[],:0-.e\0"[seeded.below(13)]),
        3 => bytes.truncate(at),
        _ => bytes.push(b" ,0]}"[seeded.below(5)]),
    }
}
