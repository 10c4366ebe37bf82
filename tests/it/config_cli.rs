//! The command line, and what it reports about a config file (FAULTS.md rows 70, 76 and 78).

use std::process::Output;

use serde_json::{Value, json};

use crate::support::*;

/// Exit code for a bad config file: EX_CONFIG of sysexits.h.
const BAD_CONFIG: Option<i32> = Some(78);

/// A valid config file, to be broken.
fn valid_config() -> String {
    format!(
        "version: v1
storage: {{ backend: none }}
providers:
  - name: openai
    base_url: \"http://127.0.0.1:9/v1\"
    models: [gpt-4o, gpt-4o-mini]
    api_key: \"{CANARY}\"
"
    )
}

/// Runs `luner check` on this text. Returns the file, whose path is in the output, and the output.
fn check(text: &str) -> (Scratch, Output) {
    let file = Scratch::new(text);
    let output = run_luner(&["check", "--config", file.path.to_str().unwrap()]);
    (file, output)
}

/// Everything that was printed.
fn printed(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

#[test]
fn five_mistakes_are_reported_together_with_their_lines() {
    let text = "version: v1
server:
  read_timeout: 30
  limits: { body_bites: 1MiB }
providers:
  - name: a
    base_url: file:///etc/passwd
    models: []
rate_limit:
  providers:
    - { name: nobody, qps: 5 }
";
    let (file, output) = check(text);
    assert_eq!(output.status.code(), BAD_CONFIG);
    let stderr = String::from_utf8_lossy(&output.stderr);
    for (line, key) in [
        (3, "server.read_timeout"),
        (4, "server.limits.body_bites"),
        (7, "providers[0].base_url"),
        (8, "providers[0].models"),
        (11, "rate_limit.providers[0].name"),
    ] {
        let place = format!("{}:{line}:", file.path.display());
        let named = stderr.lines().any(|text| text.starts_with(&place) && text.contains(key));
        assert!(named, "{place} {key} in\n{stderr}");
    }
    assert_eq!(stderr.lines().count(), 5, "{stderr}");
    // The server prints the same and does not start.
    let server = run_luner(&["--config", file.path.to_str().unwrap(), "--listen", "127.0.0.1:0"]);
    assert_eq!(server.status.code(), BAD_CONFIG);
    assert_eq!(String::from_utf8_lossy(&server.stderr), stderr);
}

#[test]
fn valid_file_passes_the_check() {
    for text in [valid_config(), Gateway::in_front_of("http://127.0.0.1:9/v1").config_text()] {
        let (_file, output) = check(&text);
        assert_eq!(output.status.code(), Some(0), "{}", printed(&output));
        assert!(!printed(&output).contains(CANARY));
    }
}

#[test]
fn shipped_config_files_pass_the_check() {
    for name in ["config/config.example.yaml", "config/minimal.yaml"] {
        let path = project_file(name);
        if !path.exists() && option_env!("CARGO_BIN_EXE_luner").is_none() {
            println!("skipped: {} does not exist", path.display());
            continue;
        }
        let output = run_luner_with_env(&["check", "--config", path.to_str().unwrap()], &[("OPENAI_API_KEY", CANARY)]);
        assert_eq!(output.status.code(), Some(0), "{name}: {}", printed(&output));
        assert!(!printed(&output).contains(CANARY), "{}", printed(&output));
    }
}

/// FAULTS.md row 70.
#[test]
fn malformed_file_is_refused_with_its_location() {
    let bomb = "a: &a [x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b,*b,*b]\n";
    let good = valid_config();
    for (what, text) in [
        ("an empty file", String::new()),
        ("white space", "\n\n  \n".into()),
        ("not YAML", "version: v1\nproviders: [\n".into()),
        ("a tab", format!("{good}\tx: 1\n")),
        ("a list", "- version: v1\n".into()),
        ("a string", "version v1".into()),
        ("a repeated key", format!("{good}version: v1\n")),
        ("aliases", format!("{good}{bomb}")),
        ("two documents", format!("{good}---\n{good}")),
        ("half a file", good[..good.find("models").unwrap()].into()),
        ("an unknown version", good.replace("v1\nstorage", "v9\nstorage")),
    ] {
        let (file, output) = check(&text);
        assert_eq!(output.status.code(), BAD_CONFIG, "{what}: {}", printed(&output));
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        let place = format!("{}:", file.path.display());
        assert!(stderr.lines().all(|line| line.starts_with(&place)) && !stderr.is_empty(), "{what}: {stderr}");
    }
}

#[test]
fn unreadable_file_is_named() {
    for arguments in [vec!["check", "--config", "/no/such/file.yaml"], vec!["--config", "/no/such/file.yaml"]] {
        let output = run_luner(&arguments);
        assert_eq!(output.status.code(), BAD_CONFIG);
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(stderr.contains("/no/such/file.yaml") && stderr.contains("No such file"), "{stderr}");
        assert_eq!(stderr.lines().count(), 1, "{stderr}");
    }
    let output = run_luner(&["check", "--config", std::env::temp_dir().to_str().unwrap()]);
    assert_eq!(output.status.code(), BAD_CONFIG, "{}", printed(&output));
}

#[test]
fn unset_variable_is_named_with_its_line() {
    let text = Gateway::new()
        .provider_with("a", "http://127.0.0.1:9/v1", &["m"], json!({ "api_key": "${IT_NOT_SET_ANYWHERE}" }))
        .config_text();
    let line = 1 + text.lines().position(|line| line.contains("IT_NOT_SET")).unwrap();
    let (file, output) = check(&text);
    assert_eq!(output.status.code(), BAD_CONFIG);
    let printed = printed(&output);
    assert!(printed.contains("IT_NOT_SET_ANYWHERE"), "{printed}");
    assert!(printed.contains(&format!("{}:{line}:", file.path.display())), "{printed}");
    let with_default = text.replace("ANYWHERE}", "ANYWHERE:-}");
    assert_eq!(check(&with_default).1.status.code(), Some(0));
}

/// FAULTS.md row 76.
#[test]
fn invalid_base_url_is_refused() {
    for url in [
        "file:///etc/passwd",
        "ftp://example.com/v1",
        "http://",
        "https:///v1",
        "example.com/v1",
        "//example.com/v1",
        "https://user:password@example.com/v1",
        "https://example.com/v1?key=x",
        "https://example.com/v1#x",
        "https://example.com:99999/v1",
        "https://exa mple.com/v1",
        "javascript:alert(1)",
        "",
    ] {
        let (_file, output) = check(&Gateway::in_front_of(url).config_text());
        assert_eq!(output.status.code(), BAD_CONFIG, "{url:?}: {}", printed(&output));
        assert!(printed(&output).contains("base_url"), "{url:?}: {}", printed(&output));
        assert!(!printed(&output).contains("password"), "{url:?}: {}", printed(&output));
    }
    // Plain HTTP to a public host would send the key unencrypted, so it gets a warning.
    let (_file, output) = check(&Gateway::in_front_of("http://example.com/v1").config_text());
    assert!(printed(&output).contains("base_url") && printed(&output).contains("http"), "{}", printed(&output));
}

/// FAULTS.md row 78.
#[test]
fn error_messages_never_contain_a_key() {
    let good = valid_config();
    let key = format!("api_key: \"{CANARY}\"");
    for (what, replacement) in [
        ("a typo in the key's name", format!("api_kye: {CANARY}")),
        ("a list", format!("api_key: [{CANARY}]")),
        ("an object", format!("api_key: {{ {CANARY}: x }}")),
        ("a line break", format!("api_key: \"{CANARY}\\nX-Evil: 1\"")),
        ("a repeated key", format!("api_key: {CANARY}\n    api_key: {CANARY}")),
        ("a character outside ASCII", format!("api_key: {CANARY}\u{e9}")),
        ("an unfinished variable", format!("api_key: \"{CANARY}${{X\"")),
        ("a missing variable", format!("api_key: \"{CANARY}${{IT_NOT_SET_ANYWHERE}}\"")),
        ("an unclosed string", format!("api_key: \"{CANARY}")),
        ("a wrong indent", format!("api_key:\n   {CANARY}: x\n  y")),
    ] {
        let (_file, output) = check(&good.replace(&key, &replacement));
        assert_eq!(output.status.code(), BAD_CONFIG, "{what}: {}", printed(&output));
        assert!(!printed(&output).contains(CANARY), "{what}: {}", printed(&output));
    }
    let from_env = good.replace(&key, "api_key: \"${IT_KEY}\"\n    timeout: \"${IT_KEY}\"");
    let file = Scratch::new(&from_env);
    let output = run_luner_with_env(&["check", "--config", file.path.to_str().unwrap()], &[("IT_KEY", CANARY)]);
    assert_eq!(output.status.code(), BAD_CONFIG);
    assert!(!printed(&output).contains(CANARY), "{}", printed(&output));
}

#[test]
fn schema_is_printed_as_json() {
    let output = run_luner(&["schema"]);
    assert_eq!(output.status.code(), Some(0));
    let schema: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert!(schema["$schema"].is_string() && schema["properties"]["providers"].is_object());
    assert!(output.stderr.is_empty());
}

#[test]
fn version_is_printed() {
    let output = run_luner(&["--version"]);
    assert_eq!(output.status.code(), Some(0));
    let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
    let version = stdout.trim().strip_prefix("luner ").unwrap_or_else(|| panic!("{stdout}"));
    assert_eq!(version.split('.').count(), 3, "{version}");
}

#[test]
fn help_lists_the_commands() {
    let output = run_luner(&["--help"]);
    assert_eq!(output.status.code(), Some(0));
    for command in ["serve", "check", "demo", "schema", "completions"] {
        assert!(printed(&output).contains(command), "{command} in {}", printed(&output));
    }
}

#[test]
fn wrong_usage_exits_with_2() {
    for arguments in [
        &["--no-such-flag"][..],
        &["no-such-command"],
        &[],
        &["check"],
        &["serve"],
        &["--config"],
        &["--config", "x.yaml", "--workers", "many"],
        &["--config", "x.yaml", "--listen", "nowhere"],
        &["--config", "x.yaml", "--log", "xml"],
        &["completions", "no-shell"],
    ] {
        let output = run_luner(arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {}", printed(&output));
        assert!(!output.stderr.is_empty(), "{arguments:?}");
    }
}

#[test]
fn completions_are_printed_for_every_shell() {
    for shell in ["bash", "zsh", "fish"] {
        let output = run_luner(&["completions", shell]);
        assert_eq!(output.status.code(), Some(0));
        assert!(String::from_utf8_lossy(&output.stdout).contains("luner"));
    }
}

#[test]
fn serve_is_the_default_command() {
    let file = Scratch::new("version: v1\n");
    for arguments in [&["serve", "--config"][..], &["--config"]] {
        let output = run_luner(&[arguments, &[file.path.to_str().unwrap()]].concat());
        assert_eq!(output.status.code(), BAD_CONFIG, "{}", printed(&output));
        assert!(printed(&output).contains("providers"));
    }
}

#[test]
fn policy_test_evaluates_an_expression() {
    let evaluate = |expression: &str, vars: &[&str]| {
        let mut arguments = vec!["policy", "test", "--expr", expression];
        vars.iter().for_each(|var| arguments.extend(["--var", var]));
        let output = run_luner(&arguments);
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (output.status.code(), text(&output.stdout), text(&output.stderr))
    };
    let (code, out, err) = evaluate("cost_usd > 10.0 && model == 'gpt-4o'", &["cost_usd=10.5", "model=gpt-4o"]);
    assert_eq!((code, out.as_str(), err.as_str()), (Some(0), "true\n", ""));
    assert_eq!(evaluate("cost_usd > 10.0", &[]).1, "false\n");
    assert_eq!(evaluate("stream && request_count == 3", &["stream=true", "request_count=3"]).1, "true\n");
    assert_eq!(evaluate("now.getFullYear() == 2025", &["now=2025-06-01T00:00:00Z"]).1, "true\n");

    let (code, out, err) = evaluate("true &&\n  costs > 1", &[]);
    assert_eq!((code, out.as_str()), (Some(2), ""));
    assert!(err.ends_with("    costs > 1\n    ^\n") && err.contains("line 2, column 3"), "{err}");
    let (code, out, err) = evaluate("1 / request_count > 0", &[]);
    assert_eq!((code, out.as_str()), (Some(1), ""));
    assert!(err.contains("DivisionByZero"), "{err}");
    for (var, explanation) in [
        ("cost=1", "there is no such variable"),
        ("request_count=many", "whole number"),
        ("stream=yes", "true or false"),
        ("now=noon", "RFC 3339"),
        ("model", "NAME=VALUE"),
    ] {
        let (code, out, err) = evaluate("true", &[var]);
        assert_eq!((code, out.as_str()), (Some(2), ""), "{var}");
        assert!(err.contains(explanation) && err.contains(var.split('=').next().unwrap()), "{var}: {err}");
    }
    assert_eq!(evaluate("true", &["model=a", "model=b"]).0, Some(2));
    assert_eq!(run_luner(&["policy", "test"]).status.code(), Some(2));
}

#[test]
fn closed_stdout_is_not_an_error() {
    for arguments in [&["schema"][..], &["openapi"], &["completions", "bash"]] {
        let (reader, writer) = std::io::pipe().expect("a pipe");
        drop(reader);
        let mut command = std::process::Command::new(binary());
        let output = command.args(arguments).stdout(writer).stderr(std::process::Stdio::piped()).output();
        let output = output.expect("luner runs");
        assert!(output.status.success() && output.stderr.is_empty(), "{arguments:?}: {output:?}");
    }
}
