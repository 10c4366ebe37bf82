//! Tests of the shipped files, of the form of problems, and of the values in a loaded configuration.

mod hostile;
mod rules;
mod secrets;

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;

use super::problem::{PROBLEMS_MAX, ProblemCollector};
use super::*;

/// A valid file with one provider; tests add one mistake to it.
const GOOD: &str = "version: v1
providers:
  - name: a
    base_url: http://127.0.0.1:9/v1
    models: [m]
";

fn no_env(_: &str) -> Option<String> {
    None
}

fn parse_plain(text: &str) -> Result<Config, Problems> {
    parse(text, "config.yaml", &no_env)
}

fn problems(text: &str) -> Vec<Problem> {
    parse_plain(text).err().map(|problems| problems.list).unwrap_or_default()
}

fn shipped(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("config").join(name)
}

fn example() -> String {
    std::fs::read_to_string(shipped("config.example.yaml")).expect("the example ships with the source")
}

#[test]
fn all_mistakes_are_reported_at_once_with_their_lines() {
    let text = "version: v1
server:
  read_timeout: 30
providers:
  - name: openai prod
    bse_url: https://api.openai.com/v1
    models: []
rate_limit:
  providers:
    - { name: nobody, qps: -1 }
";
    let found = parse_plain(text).expect_err("every section has a mistake").to_string();
    let expected = "\
config.yaml:3:17: server.read_timeout: must be a duration such as 30s, not a number; it needs a unit, such as 30s
config.yaml:5:5: providers[0].base_url: this key is missing
config.yaml:5:11: providers[0].name: `openai prod` must be 1 to 64 letters, digits, dots, underscores or hyphens
config.yaml:6:5: providers[0].bse_url: unknown key (did you mean `base_url`?)
config.yaml:7:5: providers[0].models: must have at least one entry
config.yaml:10:15: rate_limit.providers[0].name: no provider is named `nobody`
config.yaml:10:28: rate_limit.providers[0].qps: `-1` is out of range: it must be from 0.001 to 1000000";
    assert_eq!(found, expected);
}

#[test]
fn smallest_file_gets_every_default() {
    let config = parse_plain(GOOD).expect("a good file");
    assert_eq!(config.server, ServerConfig::default());
    assert_eq!(config.server.listen.to_string(), ":8080");
    assert_eq!(config.server.read_timeout, Duration::from_secs(30));
    assert_eq!(config.server.write_timeout, Duration::from_secs(120));
    assert_eq!(config.server.limits.body_bytes, 10 << 20);
    let provider = &config.providers[0];
    assert_eq!(provider.timeout, Duration::from_secs(30));
    assert_eq!(provider.connect_timeout, Duration::from_secs(5));
    assert_eq!(provider.stream_idle_timeout, Duration::from_secs(60));
    assert_eq!((provider.retries, provider.weight), (1, 0));
    assert!(provider.api_key.is_empty() && provider.downgrade.is_empty());
    assert_eq!((config.cache.max_items, config.cache.max_bytes), (5000, 256 << 20));
    assert_eq!(config.cache.scope, CacheScope::Tenant);
    assert!(config.rate_limit.enabled && config.rate_limit.providers.is_empty());
    assert_eq!(config.pricing.unknown, UnknownPrice::Allow);
    assert_eq!(config.storage.sqlite.path, PathBuf::from("data/luner.db"));
    assert_eq!((config.storage.retention.days, config.storage.retention.max_bytes), (7, 2 << 30));
    assert_eq!(config.telemetry.log, LogLevel::Info);
    assert!(config.warnings.is_empty(), "{:?}", config.warnings);
}

#[test]
fn documented_example_loads() {
    let text = r#"
version: v1
server:
  listen: ":8080"
  read_timeout: 30s
  write_timeout: 120s
  drain_timeout: 30s
  workers: 0
  admin: { token: "${LUNER_ADMIN_TOKEN:-}", open: false, hosts: [] }
  limits: { head_bytes: 32KiB, headers: 100, body_bytes: 10MiB, held_bytes: 512MiB, json_depth: 128, connections: 20000 }
providers:
  - name: openai-prod
    base_url: "https://api.openai.com/v1"
    api_key: "${OPENAI_API_KEY}"
    models: ["gpt-4o", "gpt-4o-mini"]
    timeout: 30s
    retries: 1
    downgrade: { gpt-4o: gpt-4o-mini }
cache:      { enabled: true, max_items: 5000, max_bytes: 256MiB, default_ttl: 2h, scope: tenant }
rate_limit: { enabled: true, providers: [ { name: openai-prod, qps: 50.0, burst: 10 } ] }
pricing:    { file: config/prices.json, unknown: allow }
storage:    { backend: sqlite, sqlite: { path: data/luner.db }, retention: { days: 7, max_bytes: 2GiB }, capture: none }
telemetry:  { log: info }
"#;
    let env = |name: &str| (name == "OPENAI_API_KEY").then(|| "sk-1".to_owned());
    let config = parse(text, "config.yaml", &env).expect("a valid file");
    assert_eq!(config.providers[0].api_key.expose(), "sk-1");
    assert_eq!(config.rate_limit.providers[0].qps, 50.0);
    assert!(config.warnings.is_empty(), "{:?}", config.warnings);
}

#[test]
fn values_are_typed_after_expansion_and_quoted_ones_stay_text() {
    let text =
        format!("{GOOD}rate_limit:\n  providers:\n    - name: a\n      qps: ${{QPS:-50}}\n      burst: ${{BURST}}\n");
    let env = |name: &str| (name == "BURST").then(|| "7".to_owned());
    let config = parse(&text, "c", &env).expect("numbers from variables");
    assert_eq!((config.rate_limit.providers[0].qps, config.rate_limit.providers[0].burst), (50.0, 7));

    let text = GOOD.replace("name: a", "name: ${N}\n    api_key: $${K}$$ ").replace("$${K}$$ ", "'$$-${K}-$-$K'");
    let env = |name: &str| Some(if name == "N" { "123" } else { "007" }.to_owned());
    let config = parse(&text, "c", &env).expect("digits from a variable are a valid name");
    assert_eq!(config.providers[0].name, "123");
    assert_eq!(config.providers[0].api_key.expose(), "$-007-$-$K");
}

#[test]
fn empty_variable_is_empty_text_and_not_a_number() {
    let text = GOOD.replace("name: a", "name: a\n    api_key: ${K:-}");
    assert!(parse_plain(&text).expect("an empty key is valid").providers[0].api_key.is_empty());
    let empty = |_: &str| Some(String::new());
    let text = GOOD.replace("name: a", "name: a\n    retries: ${K:-3}\n    weight: ${W}");
    let found = parse(&text, "c", &empty).expect_err("a weight is a number");
    let keys: Vec<&str> = found.list.iter().map(|problem| problem.key.as_str()).collect();
    assert_eq!(keys, ["providers[0].weight"], "the default stands in for an empty variable");
}

#[test]
fn variable_cannot_change_the_structure_of_the_file() {
    let text = GOOD.replace("name: a", "name: a\n    api_key: ${K}");
    let env = |_: &str| Some("x, models: [\"evil\"]".to_owned());
    let found = parse(&text, "c", &env).expect_err("a key with spaces");
    assert_eq!((found.list.len(), found.list[0].key.as_str()), (1, "providers[0].api_key"));
}

#[test]
fn running_configuration_prints_in_human_units_and_loads_again() {
    let config = load(&shipped("config.example.yaml"), &no_env).expect("the example");
    let shown = serde_json::to_value(&config).expect("a configuration serialises");
    assert_eq!(shown["server"]["limits"]["body_bytes"], "10MiB");
    assert_eq!(shown["cache"]["default_ttl"], "2h");
    assert_eq!(shown["providers"][1]["base_url"], "https://dashscope.aliyuncs.com/compatible-mode");
    // JSON is YAML, so the printed configuration is a valid file.
    let again = parse_plain(&shown.to_string()).expect("the printed configuration loads");
    assert_eq!(again.providers, config.providers);
    assert_eq!(again.server, config.server);
}

#[test]
fn shipped_files_load_unchanged() {
    let config = load(&shipped("config.example.yaml"), &no_env).expect("no variable is needed");
    assert_eq!(config.server, ServerConfig::default(), "the example shows the defaults");
    assert_eq!(config.cache, CacheConfig::default());
    assert_eq!(config.storage, StorageConfig::default());
    assert_eq!(config.telemetry, TelemetryConfig::default());
    assert_eq!(config.providers.len(), 3);
    let keyless: Vec<&str> = config.warnings.iter().map(|warning| warning.key.as_str()).collect();
    assert_eq!(keyless, ["providers[0].api_key", "providers[1].api_key"]);

    let missing = load(&shipped("minimal.yaml"), &no_env).expect_err("minimal.yaml needs a key");
    assert!(missing.to_string().contains("OPENAI_API_KEY is not set"), "{missing}");
    let set = |_: &str| Some("sk-1".to_owned());
    assert!(load(&shipped("minimal.yaml"), &set).expect("minimal.yaml is valid with a key").warnings.is_empty());
    for file in ["config.example.yaml", "minimal.yaml"] {
        let text = std::fs::read_to_string(shipped(file)).expect("the file is shipped");
        assert!(text.starts_with("# yaml-language-server: $schema=schema.json\n"), "{file}");
    }
}

#[test]
fn example_has_every_key_of_the_schema_with_a_comment() {
    fn walk(schema: &Value, node: &tree::Node, path: &str, lines: &[&str]) {
        for (key, below) in schema["properties"].as_object().into_iter().flatten() {
            let path = tree::join(path, key);
            let entry = node.entries().iter().find(|entry| entry.key == *key);
            let entry = entry.unwrap_or_else(|| panic!("config.example.yaml lacks {path}"));
            let line = lines[entry.at.line as usize - 1];
            assert!(line.contains(" # ") || path == "storage.sqlite", "{path} has no comment");
            assert!(below["description"].is_string(), "{path} has no description");
            walk(below, &entry.value, &path, lines);
            if let Some(first) = entry.value.items().first() {
                walk(&below["items"], first, &path, lines);
            }
        }
    }
    let text = example();
    let mut problems = ProblemCollector::default();
    let root = tree::parse(&text, &mut problems).expect("the example is YAML");
    walk(&schema::CHECKED_SCHEMA, &root, "", &text.lines().collect::<Vec<_>>());
}

#[test]
fn schema_file_matches_the_generator() {
    let made = schema();
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(shipped("schema.json"), &made).expect("config/ is writable");
    }
    let kept = std::fs::read_to_string(shipped("schema.json")).unwrap_or_default();
    assert!(kept == made, "config/schema.json is stale; UPDATE_GOLDEN=1 cargo test rewrites it");
    assert!(!made.contains("\"x-"), "internal keywords must not be in the public schema");
}
