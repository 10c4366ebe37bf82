//! The command line and what it says about a configuration (FAULTS.md rows 70, 76, 78).

use std::process::Output;

use serde_json::Value;

use crate::support::*;

/// Bad configuration (sysexits.h).
const BAD_CONFIG: Option<i32> = Some(78);

fn check(text: &str) -> (Scratch, Output) {
    let file = Scratch::new(text);
    let output = luner(&["check", "--config", file.path.to_str().unwrap()]);
    (file, output)
}

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

#[test]
fn five_mistakes_are_named_at_once_with_their_lines() {
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
    let said = String::from_utf8_lossy(&output.stderr);
    for (line, key) in [
        (3, "server.read_timeout"),
        (4, "server.limits.body_bites"),
        (7, "providers[0].base_url"),
        (8, "providers[0].models"),
        (11, "rate_limit.providers[0].name"),
    ] {
        let place = format!("{}:{line}:", file.path.display());
        assert!(said.lines().any(|text| text.starts_with(&place) && text.contains(key)), "{place} {key} in\n{said}");
    }
    assert_eq!(said.lines().count(), 5, "{said}");
    // The server says the same and does not start.
    let server = luner(&["--config", file.path.to_str().unwrap(), "--listen", "127.0.0.1:0"]);
    assert_eq!(server.status.code(), BAD_CONFIG);
    assert_eq!(String::from_utf8_lossy(&server.stderr), said);
}

#[test]
fn a_good_file_is_in_order() {
    let (_file, output) = check(&Gateway::before("http://127.0.0.1:9/v1").text());
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    assert!(!said(&output).contains(CANARY));
}

#[test]
fn the_files_that_ship_are_in_order() {
    for name in ["config/config.example.yaml", "config/minimal.yaml"] {
        let path = project(name);
        if !path.exists() && option_env!("CARGO_BIN_EXE_luner").is_none() {
            println!("skipped: {} is not here", path.display());
            continue;
        }
        let output = luner_with(&["check", "--config", path.to_str().unwrap()], &[("OPENAI_API_KEY", CANARY)]);
        assert_eq!(output.status.code(), Some(0), "{name}: {}", said(&output));
        assert!(!said(&output).contains(CANARY), "{}", said(&output));
    }
}

// Row 70.
#[test]
fn a_file_that_is_no_configuration_is_refused_with_a_line() {
    let bomb = "a: &a [x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b,*b,*b]\n";
    let good = Gateway::before("http://127.0.0.1:9/v1").text();
    for (what, text) in [
        ("nothing", String::new()),
        ("white space", "\n\n  \n".into()),
        ("not YAML", "version: v1\nproviders: [\n".into()),
        ("a tab", format!("{good}\tx: 1\n")),
        ("a list", "- version: v1\n".into()),
        ("a text", "version v1".into()),
        ("a key twice", format!("{good}version: v1\n")),
        ("aliases", format!("{good}{bomb}")),
        ("two documents", format!("{good}---\n{good}")),
        ("half", good[..good.find("models").unwrap()].into()),
        ("an unknown version", good.replace("v1\nstorage", "v9\nstorage")),
    ] {
        let (file, output) = check(&text);
        assert_eq!(output.status.code(), BAD_CONFIG, "{what}: {}", said(&output));
        let complaint = String::from_utf8_lossy(&output.stderr).into_owned();
        let place = format!("{}:", file.path.display());
        assert!(complaint.lines().all(|line| line.starts_with(&place)) && !complaint.is_empty(), "{what}: {complaint}");
    }
}

#[test]
fn a_file_that_cannot_be_read_is_named() {
    for arguments in [vec!["check", "--config", "/no/such/file.yaml"], vec!["--config", "/no/such/file.yaml"]] {
        let output = luner(&arguments);
        assert_eq!(output.status.code(), BAD_CONFIG);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(said.contains("/no/such/file.yaml") && said.contains("No such file"), "{said}");
        assert_eq!(said.lines().count(), 1, "{said}");
    }
    let output = luner(&["check", "--config", std::env::temp_dir().to_str().unwrap()]);
    assert_eq!(output.status.code(), BAD_CONFIG, "{}", said(&output));
}

#[test]
fn a_variable_that_is_missing_is_named_with_its_line() {
    let text = Gateway::new()
        .provider_with("a", "http://127.0.0.1:9/v1", &["m"], "api_key: \"${IT_NOT_SET_ANYWHERE}\"")
        .text();
    let line = 1 + text.lines().position(|line| line.contains("IT_NOT_SET")).unwrap();
    let (file, output) = check(&text);
    assert_eq!(output.status.code(), BAD_CONFIG);
    let complaint = said(&output);
    assert!(complaint.contains("IT_NOT_SET_ANYWHERE"), "{complaint}");
    assert!(complaint.contains(&format!("{}:{line}:", file.path.display())), "{complaint}");
    let with_default = text.replace("ANYWHERE}", "ANYWHERE:-}");
    assert_eq!(check(&with_default).1.status.code(), Some(0));
}

// Row 76.
#[test]
fn a_base_url_that_is_no_providers_is_refused() {
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
        let (_file, output) = check(&Gateway::before(url).text());
        assert_eq!(output.status.code(), BAD_CONFIG, "{url:?}: {}", said(&output));
        assert!(said(&output).contains("base_url"), "{url:?}: {}", said(&output));
        assert!(!said(&output).contains("password"), "{url:?}: {}", said(&output));
    }
    // Plain http to a public host sends the key in the clear: warned of.
    let (_file, output) = check(&Gateway::before("http://example.com/v1").text());
    assert!(said(&output).contains("base_url") && said(&output).contains("http"), "{}", said(&output));
}

// Row 78.
#[test]
fn no_complaint_repeats_a_key() {
    let good = Gateway::before("http://127.0.0.1:9/v1").text();
    let key = format!("api_key: \"{CANARY}\"");
    for (what, written) in [
        ("a typo in the key's name", format!("api_kye: {CANARY}")),
        ("a list", format!("api_key: [{CANARY}]")),
        ("a map", format!("api_key: {{ {CANARY}: x }}")),
        ("a line break", format!("api_key: \"{CANARY}\\nX-Evil: 1\"")),
        ("twice", format!("api_key: {CANARY}\n    api_key: {CANARY}")),
        ("not ASCII", format!("api_key: {CANARY}\u{e9}")),
        ("an unfinished variable", format!("api_key: \"{CANARY}${{X\"")),
        ("a missing variable", format!("api_key: \"{CANARY}${{IT_NOT_SET_ANYWHERE}}\"")),
        ("not closed", format!("api_key: \"{CANARY}")),
        ("a wrong indent", format!("api_key:\n   {CANARY}: x\n  y")),
    ] {
        let (_file, output) = check(&good.replace(&key, &written));
        assert_eq!(output.status.code(), BAD_CONFIG, "{what}: {}", said(&output));
        assert!(!said(&output).contains(CANARY), "{what}: {}", said(&output));
    }
    let from_env = good.replace(&key, "api_key: \"${IT_KEY}\"\n    timeout: \"${IT_KEY}\"");
    let file = Scratch::new(&from_env);
    let output = luner_with(&["check", "--config", file.path.to_str().unwrap()], &[("IT_KEY", CANARY)]);
    assert_eq!(output.status.code(), BAD_CONFIG);
    assert!(!said(&output).contains(CANARY), "{}", said(&output));
}

#[test]
fn the_schema_is_json() {
    let output = luner(&["schema"]);
    assert_eq!(output.status.code(), Some(0));
    let schema: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert!(schema["$schema"].is_string() && schema["properties"]["providers"].is_object());
    assert!(output.stderr.is_empty());
}

#[test]
fn the_version_is_told() {
    let output = luner(&["--version"]);
    assert_eq!(output.status.code(), Some(0));
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let version = said.trim().strip_prefix("luner ").unwrap_or_else(|| panic!("{said}"));
    assert_eq!(version.split('.').count(), 3, "{version}");
}

#[test]
fn help_names_the_commands() {
    let output = luner(&["--help"]);
    assert_eq!(output.status.code(), Some(0));
    for command in ["serve", "check", "demo", "schema", "completions"] {
        assert!(said(&output).contains(command), "{command} in {}", said(&output));
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
        let output = luner(arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {}", said(&output));
        assert!(!output.stderr.is_empty(), "{arguments:?}");
    }
}

#[test]
fn completions_are_printed_for_every_shell() {
    for shell in ["bash", "zsh", "fish"] {
        let output = luner(&["completions", shell]);
        assert_eq!(output.status.code(), Some(0));
        assert!(String::from_utf8_lossy(&output.stdout).contains("luner"));
    }
}

#[test]
fn serve_may_be_said_or_left_out() {
    let file = Scratch::new("version: v1\n");
    for arguments in [&["serve", "--config"][..], &["--config"]] {
        let output = luner(&[arguments, &[file.path.to_str().unwrap()]].concat());
        assert_eq!(output.status.code(), BAD_CONFIG, "{}", said(&output));
        assert!(said(&output).contains("providers"));
    }
}

#[test]
fn an_expression_can_be_tried_on_the_command_line() {
    let test = |expression: &str, vars: &[&str]| {
        let mut arguments = vec!["policy", "test", "--expr", expression];
        vars.iter().for_each(|var| arguments.extend(["--var", var]));
        let output = luner(&arguments);
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (output.status.code(), text(&output.stdout), text(&output.stderr))
    };
    let (code, out, err) = test("cost_usd > 10.0 && model == 'gpt-4o'", &["cost_usd=10.5", "model=gpt-4o"]);
    assert_eq!((code, out.as_str(), err.as_str()), (Some(0), "true\n", ""));
    assert_eq!(test("cost_usd > 10.0", &[]).1, "false\n");
    assert_eq!(test("stream && request_count == 3", &["stream=true", "request_count=3"]).1, "true\n");
    assert_eq!(test("now.getFullYear() == 2025", &["now=2025-06-01T00:00:00Z"]).1, "true\n");

    let (code, out, err) = test("true &&\n  costs > 1", &[]);
    assert_eq!((code, out.as_str()), (Some(2), ""));
    assert!(err.ends_with("    costs > 1\n    ^\n") && err.contains("line 2, column 3"), "{err}");
    let (code, out, err) = test("1 / request_count > 0", &[]);
    assert_eq!((code, out.as_str()), (Some(1), ""));
    assert!(err.contains("DivisionByZero"), "{err}");
    for (var, said) in [
        ("cost=1", "there is no such variable"),
        ("request_count=many", "whole number"),
        ("stream=yes", "true or false"),
        ("now=noon", "RFC 3339"),
        ("model", "NAME=VALUE"),
    ] {
        let (code, out, err) = test("true", &[var]);
        assert_eq!((code, out.as_str()), (Some(2), ""), "{var}");
        assert!(err.contains(said) && err.contains(var.split('=').next().unwrap()), "{var}: {err}");
    }
    assert_eq!(test("true", &["model=a", "model=b"]).0, Some(2));
    assert_eq!(luner(&["policy", "test"]).status.code(), Some(2));
}

#[test]
fn who_reads_only_the_beginning_of_what_is_printed_causes_no_failure() {
    for arguments in [&["schema"][..], &["openapi"], &["completions", "bash"]] {
        let (reader, writer) = std::io::pipe().expect("a pipe");
        drop(reader);
        let mut command = std::process::Command::new(binary());
        let output = command.args(arguments).stdout(writer).stderr(std::process::Stdio::piped()).output();
        let output = output.expect("luner runs");
        assert!(output.status.success() && output.stderr.is_empty(), "{arguments:?}: {output:?}");
    }
}
