//! Puts a canary in place of every value: it may appear in the configuration, and must not appear in any message.

use super::*;

const CANARY: &str = "sk-canary-0123456789";

fn canary(name: &str) -> Option<String> {
    Some(match name {
        "SPACED" => format!("{CANARY} {CANARY}"),
        "BROKEN" => format!("{CANARY}\n\u{1b}[31m"),
        "URL" => format!("https://user:{CANARY}@host/v1"),
        _ => CANARY.to_owned(),
    })
}

#[test]
fn message_never_contains_the_value_of_a_variable() {
    let text = example();
    let mut problems = 0;
    for line in 0..text.lines().count() {
        for variable in ["X", "SPACED", "BROKEN", "URL", "X} ${SPACED", "X:-1}${X"] {
            for value in [format!("${{{variable}}}"), format!("\"${{{variable}}}\""), format!("[\"${{{variable}}}\"]")]
            {
                let changed: Vec<String> = text
                    .lines()
                    .enumerate()
                    .map(|(index, old)| {
                        let colon = old.find(": ").filter(|_| index == line);
                        colon.map_or(old.to_owned(), |colon| format!("{}: {value}", &old[..colon]))
                    })
                    .collect();
                if let Err(found) = parse(&changed.join("\n"), "c", &canary) {
                    problems += found.list.len();
                    let message = format!("{found}\n{found:?}");
                    assert!(!message.contains("canary"), "{line} {value}\n{message}");
                }
            }
        }
    }
    assert!(problems > 500, "too few messages to test: {problems}");
}

#[test]
fn message_never_contains_a_literal_secret() {
    for bad in [
        "\"sk-canary x\"",
        "[sk-canary]",
        "{ sk-canary: 1 }",
        "\"sk-canary\\n\"",
        "${sk-canary}",
        "sk-canary ${",
        "&sk-canary x",
    ] {
        for key in ["api_key", "base_url"] {
            let text = GOOD
                .replace("    base_url: http://127.0.0.1:9/v1\n", "")
                .replace("name: a", &format!("name: a\n    {key}: {bad}"));
            let message = parse_plain(&text).expect_err("none of these keys is valid").to_string();
            assert!(!message.contains("canary"), "{bad} {message}");
        }
    }
    let url = GOOD.replace("http://", "http://me:sk-canary@");
    assert!(!parse_plain(&url).expect_err("credentials in a URL").to_string().contains("canary"));
    let token = format!("{GOOD}server: {{ admin: {{ token: sk-canary }} }}\n");
    assert!(!parse_plain(&token).expect_err("a short token").to_string().contains("canary"));
}

#[test]
fn configuration_masks_secrets() {
    let text = format!("{GOOD}    api_key: ${{X}}\nserver: {{ admin: {{ token: \"${{X}}\" }} }}\n")
        .replace("127.0.0.1:9", "example.com");
    let config = parse(&text, "c", &canary).expect("keys from variables");
    assert_eq!(config.providers[0].api_key.expose(), CANARY);
    assert_eq!(config.server.admin.token.expose(), CANARY);
    assert!(!config.warnings.is_empty());
    let shown = serde_json::to_string(&config).expect("a configuration serialises");
    for message in [format!("{config:?}"), format!("{config:#?}"), shown, format!("{:?}", config.warnings)] {
        assert!(!message.contains("canary"), "{message}");
    }
}
