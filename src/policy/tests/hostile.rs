//! Hostile expressions: bombs that must be refused, and random token soup that must not panic.

use super::*;

#[test]
#[allow(clippy::disallowed_methods, reason = "a bound on a test's own time")]
fn bombs_are_refused_quickly() {
    let wrap = |open: &str, times: usize, core: &str, close: &str| {
        format!("{}{core}{}", open.repeat(times), close.repeat(times))
    };
    let many = (0..65).map(|n| n.to_string()).collect::<Vec<_>>().join(",");
    let list = (0..64).map(|n| n.to_string()).collect::<Vec<_>>().join(",");
    let bombs = [
        "(".repeat(4096),
        "[".repeat(4096),
        "{".repeat(4096),
        ")".repeat(4096),
        "'".repeat(4096),
        "$ ".repeat(2048),
        wrap("(", 10_000, "true", ")"),
        wrap("(", 33, "true", ")"),
        wrap("[", 33, "1", "]"),
        wrap("!(", 33, "true", ")"),
        "x".repeat(1 << 20),
        "true&&".repeat(1 << 18),
        format!("1{} > 0", "+1".repeat(2000)),
        format!("1{}", "<1".repeat(2000)),
        format!("model{} == 1", ".a".repeat(2000)),
        format!("model{}", ".f()".repeat(1000)),
        format!("model{}", "[0]".repeat(1000)),
        format!("{}true", "stream?true:".repeat(300)),
        format!("{}true", "stream&&stream?true:".repeat(200)),
        format!("{}1 > 0", "-(".repeat(30)),
        format!("[{many}].all(x, x > 0)"),
        format!("[{list}].all(x, [{list}].all(y, x > y))"),
        format!("[{list}].all(x, {})", vec!["x > 0"; 40].join(" && ")),
        format!("{} true", "[1].map(x,".repeat(30)),
        "[1, 2].map(x, x).map(y, y).size() > 0".to_owned(),
        "[model, user_id].map(x, [x])  == []".to_owned(),
        format!("model.matches('{}')", "(".repeat(100)),
        "model.matches('(\\\\w{1,100}){1,100}')".to_owned(),
        "model.matches('a{1000}{1000}')".to_owned(),
        format!("1{} > 0", " + 1".repeat(32)),
    ];
    for bomb in bombs {
        let error = refusal(&bomb);
        assert!(error.message.len() < 300, "{:.60}: {error}", bomb);
    }
}

#[test]
fn expressions_exactly_at_the_limits_are_accepted() {
    let ids = (0..400).map(|n| format!("'m{n}'")).collect::<Vec<_>>().join(",");
    let list = (0..64).map(|n| n.to_string()).collect::<Vec<_>>().join(",");
    let fine = [
        format!("{}true{}", "(".repeat(32), ")".repeat(32)),
        format!("{}true", "!".repeat(120)),
        format!("model in [{ids}]"),
        vec!["model == 'a'"; 250].join(" || "),
        format!("1{} > 0", " + 1".repeat(30)),
        format!("[{list}].all(x, x >= 0)"),
        format!("true{}", " ".repeat(4092)),
    ];
    for text in fine {
        assert!(check_expression(&text).is_ok(), "{:.60}: {:?}", text, check_expression(&text));
    }
    assert!(refusal(&format!("true{}", " ".repeat(4093))).message.contains("at most 4096"));
}

/// Valid and broken tokens, some of them not CEL at all.
const SOUP: [&str; 84] = [
    "model",
    "cost_usd",
    "request_count",
    "stream",
    "now",
    "x",
    "1",
    "1u",
    "0x",
    "0x1",
    "1.5",
    ".5",
    "1e9",
    "'a'",
    "\"b\"",
    "b'a'",
    "r'\\'",
    "'''",
    "'",
    "\"",
    "true",
    "false",
    "null",
    "in",
    "&&",
    "||",
    "!",
    "-",
    "+",
    "*",
    "/",
    "%",
    "?",
    ":",
    "(",
    ")",
    "[",
    "]",
    "{",
    "}",
    ".",
    ",",
    "==",
    "!=",
    "<",
    ">=",
    "has",
    "all",
    ".all(x,",
    ".exists(x,",
    ".map(x,",
    ".filter(x,",
    ".exists_one(x,",
    "size(",
    "int(",
    "double(",
    "string(",
    "bool(",
    "duration('1s')",
    "timestamp('x')",
    ".matches('a')",
    ".matches('(')",
    ".contains(",
    ".getHours(",
    "`",
    "`a`",
    "$",
    "é",
    "\u{1F600}",
    "\n",
    "//c\n",
    " ",
    "\\",
    "@",
    "if",
    "for",
    "_",
    "99999999999999999999",
    "1e999",
    "-9223372036854775808",
    "\u{0}",
    "\r",
    "'\\x",
    "uint(",
];

#[test]
fn token_soup_never_panics() {
    let mut random = fastrand::Rng::with_seed(20_261_124);
    let mut texts = Vec::new();
    for _ in 0..6_000 {
        let mut text = String::new();
        for _ in 0..random.usize(1..16) {
            text.push_str(SOUP[random.usize(0..SOUP.len())]);
            text.push_str(if random.bool() { " " } else { "" });
        }
        texts.push(text);
    }
    judge_all(&texts, 1);
}

/// Judges texts that mostly parse and often pass the check: valid parts, joined by valid operators.
#[test]
fn well_formed_soup_never_panics_when_judged() {
    let atoms = [
        "model",
        "'a'",
        "cost_usd",
        "request_count",
        "-9223372036854775808",
        "9223372036854775807",
        "0",
        "1",
        "0.0",
        "1u",
        "now",
        "duration('1s')",
        "stream",
        "true",
        "[1, 2]",
        "timestamp('9999-12-31T23:59:59Z')",
        "duration('-292y')",
        "duration('9000000000s')",
        "temperature",
        "['a', 'b']",
        "x",
        "-1",
        "1e308",
        "timestamp('0001-01-01T00:00:00Z')",
    ];
    let operators = [" + ", " - ", " * ", " / ", " % ", " == ", " < ", " >= ", " in ", " && ", " || ", " != "];
    let functions = ["int", "double", "string", "uint", "bool", "size", "!", "-", "[1, 0].all", "[0, 2].map"];
    let mut random = fastrand::Rng::with_seed(7);
    let texts: Vec<String> = (0..12_000)
        .map(|_| {
            let mut text = atoms[random.usize(0..atoms.len())].to_owned();
            for _ in 0..random.usize(1..5) {
                text = match random.u8(0..4) {
                    0 => format!("{}({text})", functions[random.usize(0..8)]),
                    1 => format!("{}(x, {text})", functions[random.usize(8..10)]),
                    _ => format!("({text}{}{})", operators[random.usize(0..12)], atoms[random.usize(0..atoms.len())]),
                };
            }
            if random.bool() { format!("{text} == {}", atoms[random.usize(0..atoms.len())]) } else { text }
        })
        .collect();
    judge_all(&texts, 200);
}

/// Compiles all texts and judges those that pass, on one large stack. At least `least` texts must pass, or the test proves
/// nothing.
fn judge_all(texts: &[String], least: usize) {
    let policies: Vec<Policy> = texts.iter().map(|text| policy(text, 0, Action::Alert, text)).collect();
    let failed = Compiled::new(&policies).expect_err("most are nonsense");
    for Failed { id, error } in &failed {
        assert!(!error.message.contains("panicked"), "{id:?}: {error}");
        let at = error.position.unwrap_or_else(|| panic!("{id:?}: {error}"));
        assert!(id.is_char_boundary(at.offset), "{id:?}: {error}");
    }
    let failed: std::collections::HashSet<&str> = failed.iter().map(|it| it.id.as_str()).collect();
    let passed: Vec<Policy> = policies.into_iter().filter(|policy| !failed.contains(policy.id.as_str())).collect();
    assert!(passed.len() >= least, "only {} of {}", passed.len(), texts.len());
    let verdict = judge(&passed, &request());
    for fault in verdict.errors {
        assert_ne!(fault.kind, FaultKind::Other, "{}", passed[fault.policy].expression);
    }
}
