//! Tests hostile and broken files: alias bombs, garbage, truncated files, mutations.

use super::*;

#[test]
fn alias_bomb_is_refused_without_being_expanded() {
    let mut text = "version: v1\nproviders: &l0 [a, a, a, a, a, a, a, a, a]\n".to_owned();
    for level in 1..12 {
        let before = format!("*l{}, ", level - 1).repeat(9);
        text.push_str(&format!("x{level}: &l{level} [{before}]\n"));
    }
    let found = problems(&text);
    assert!(found.iter().any(|p| p.line == 2 && p.message.contains("anchors and aliases")));
    assert!(found.len() <= PROBLEMS_MAX + 1);
}

#[test]
fn nesting_depth_is_bounded_in_every_style() {
    let block: String = (0..200).map(|level| format!("{}k:\n", " ".repeat(level))).collect();
    for text in ["[".repeat(10_000), "{a: ".repeat(10_000), "- ".repeat(10_000), "? ".repeat(10_000), block] {
        let found = problems(&text);
        assert!(
            found.iter().any(|p| p.message.contains("32 levels") || p.message.contains("not valid YAML")),
            "{found:?}"
        );
    }
}

#[test]
fn empty_file_is_reported_as_empty() {
    for text in ["", "\n\n", "# only a comment\n", "---\n", "\u{feff}", "~", "null\n"] {
        let found = problems(text);
        assert_eq!((found.len(), found[0].line), (1, 1), "{text:?} {found:?}");
        assert!(found[0].message.contains("the file is empty"), "{text:?} {found:?}");
    }
    for text in ["hello", "[1, 2]", "5", "\"\""] {
        let found = problems(text);
        assert!(found[0].message.contains("must be a mapping"), "{text:?} {found:?}");
    }
}

#[test]
fn unreadable_files_are_reported() {
    let folder = std::env::temp_dir().join(format!("luner-config-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("the temporary folder is writable");
    let message = |path: &Path| load(path, &no_env).expect_err("not a configuration").to_string();
    let file = folder.join("config.yaml");
    assert!(message(&file).contains("config.yaml: cannot be read: No such file"));
    assert!(message(&folder).contains("cannot be read"));
    for (bytes, part) in [
        (b"version: v1\n  \xff\xfe".to_vec(), "config.yaml:2:3: this is not UTF-8 text"),
        (b"\x7fELF\x02\x01\x00\x00".to_vec(), "config.yaml:1:1: this is not a text file"),
        (b"version: v1\na\x00".to_vec(), "config.yaml:2:2: this is not a text file"),
        (vec![b'#'; (1 << 20) + 1], "config.yaml: the file is larger than 1 MiB"),
        (vec![0xff; (1 << 20) + 1], "config.yaml: the file is larger than 1 MiB"),
    ] {
        std::fs::write(&file, bytes).expect("the temporary folder is writable");
        assert!(message(&file).contains(part), "{}", message(&file));
    }
    std::fs::remove_dir_all(&folder).expect("the folder is ours");
}

#[test]
fn every_prefix_of_the_example_loads_or_names_a_line() {
    let text = example();
    for end in (0..text.len()).filter(|end| text.is_char_boundary(*end)).step_by(7) {
        let found = problems(&text[..end]);
        let lines = text[..end].lines().count() as u32 + 1;
        assert!(found.iter().all(|p| p.line <= lines), "{end} {found:?}");
    }
    let half = text.split("    models:").next().expect("a first half");
    assert!(problems(half).iter().any(|p| p.key == "providers[0].models"));
}

#[test]
fn large_hostile_file_yields_a_bounded_list_of_problems() {
    // Leaves room for the text before the repeated unit.
    let size = (1 << 20) - 100;
    let of = |unit: &str| unit.repeat(size / unit.len());
    let wide: String = (0..60_000).map(|n| format!("k{n}: v\n")).collect();
    for (what, text) in [
        ("brackets", of("[")),
        ("dashes", of("- ")),
        ("questions", of("? ")),
        ("colons", of("a: ")),
        ("quotes", of("\"")),
        ("keys", wide),
        ("items", of("- a\n")),
        ("dollars", format!("a: {}", of("$"))),
        ("opens", format!("a: '{}'", of("${"))),
        ("variables", format!("a: '{}'", of("${A}"))),
        ("comments", of("#")),
        ("commas", format!("[{}", of(","))),
        ("blanks", of(" ")),
        ("lines", of("\n")),
        ("stars", of("*a ")),
        ("tags", of("!a ")),
        ("block", format!("a: |\n{}", of(" x\n"))),
    ] {
        let env = |_: &str| Some("x".repeat(100_000));
        let found = parse(&text, "c", &env).expect_err("none of these files is a configuration");
        assert!(found.list.len() <= PROBLEMS_MAX + 1, "{what}");
    }
}

/// Tokens with a meaning in YAML.
#[rustfmt::skip]
const TOKENS: [&str; 32] = [
    "\n", "  ", "\t", ": ", "- ", "[", "]", "{", "}", "\"", "'", "#", " #", "&a ", "*a", "!", "!!str ", "|\n", ">-\n", "${", "}", "$$",
    "---\n", "...\n", "\u{e9}", "? ", "%YAML 1.2\n", "%TAG ! x\n", ",", "a", "\\x4", "\r",
];

/// The number of rounds of the random tests, from `FUZZ_ROUNDS`.
fn rounds() -> usize {
    std::env::var("FUZZ_ROUNDS").ok().and_then(|rounds| rounds.parse().ok()).unwrap_or(2_000)
}

/// An xorshift generator that yields the same numbers in every run.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % bound.max(1) as u64) as usize
    }
}

fn assert_no_panic(text: &str) {
    let env = |name: &str| name.contains('K').then(|| text.chars().take(20).collect());
    if let Err(found) = parse(text, "c", &env) {
        assert!(!found.list.is_empty());
    }
}

#[test]
fn random_yaml_tokens_never_panic() {
    let mut dice = Dice(0x9e37_79b9_7f4a_7c15);
    for _ in 0..rounds() * 10 {
        let length = 1 + dice.below(40);
        let text: String = (0..length).map(|_| TOKENS[dice.below(TOKENS.len())]).collect();
        assert_no_panic(&text);
    }
}

#[test]
fn mutations_of_the_example_never_panic() {
    let original = example().into_bytes();
    let mut dice = Dice(0x2545_f491_4f6c_dd1d);
    for _ in 0..rounds() {
        let mut bytes = original.clone();
        bytes.truncate(200 + dice.below(original.len()));
        for _ in 0..=dice.below(8) {
            let at = dice.below(bytes.len());
            match dice.below(4) {
                0 => drop(bytes.splice(at..at, TOKENS[dice.below(TOKENS.len())].bytes())),
                1 => bytes[at] = dice.below(256) as u8,
                2 => drop(bytes.drain(at..(at + dice.below(40)).min(bytes.len()))),
                _ => {
                    let from = dice.below(original.len());
                    let piece = &original[from..(from + dice.below(60)).min(original.len())];
                    drop(bytes.splice(at..at, piece.iter().copied()));
                }
            }
        }
        assert_no_panic(&String::from_utf8_lossy(&bytes));
    }
}
