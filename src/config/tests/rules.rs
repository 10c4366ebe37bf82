//! Tests every rule with a piece of YAML, and the line, key and words of the expected problem.

use super::*;

/// Appended to `GOOD`, which has 5 lines.
#[rustfmt::skip]
const SECTIONS: &[(&str, u32, &str, &str)] = &[
    ("nonsense: 1", 6, "nonsense", "unknown key"),
    ("sever: {}", 6, "sever", "did you mean `server`?"),
    ("Cache: {}", 6, "Cache", "did you mean `cache`?"),
    ("cache: { maxItems: 1 }", 6, "cache.maxItems", "did you mean `max_items`?"),
    ("cache: 5", 6, "cache", "must be a mapping (key: value), not a number"),
    ("cache: { enabled: \"true\" }", 6, "cache.enabled", "leave the quotes out"),
    ("cache: { enabled: yes }", 6, "cache.enabled", "must be true or false, not text"),
    ("cache: { max_items: 0 }", 6, "cache.max_items", "must be from 1 to 10000000"),
    ("cache: { max_items: 1.5 }", 6, "cache.max_items", "must be a whole number, not a decimal number"),
    ("cache:\n  max_items:", 7, "cache.max_items", "has no value"),
    ("cache: { max_bytes: 10M }", 6, "cache.max_bytes", "`10M` is not a size"),
    ("cache: { max_bytes: 1KiB }", 6, "cache.max_bytes", "must be from 64KiB to 16TiB"),
    ("cache: { max_bytes: 99999999TiB }", 6, "cache.max_bytes", "is too large"),
    ("cache: { max_bytes: -1 }", 6, "cache.max_bytes", "is not a size"),
    ("cache: { default_ttl: 0s }", 6, "cache.default_ttl", "must be from 1s to 365d"),
    ("cache: { default_ttl: 366d }", 6, "cache.default_ttl", "must be from 1s to 365d"),
    ("cache: { default_ttl: 2 hours }", 6, "cache.default_ttl", "`2 hours` is not a duration"),
    ("cache: { scope: user }", 6, "cache.scope", "is not one of: tenant, global"),
    ("cache: { scope: [tenant] }", 6, "cache.scope", "must be text, not a list"),
    ("server: { listen: 8080 }", 6, "server.listen", "must be text, not a number; put it in quotes"),
    ("server: { listen: \"8080\" }", 6, "server.listen", "write :8080"),
    ("server: { listen: \"::1:80\" }", 6, "server.listen", "write :8080"),
    ("server: { listen: \"example.com:80\" }", 6, "server.listen", "write :8080"),
    ("server: { listen: \":70000\" }", 6, "server.listen", "write :8080"),
    ("server: { listen: \":+80\" }", 6, "server.listen", "write :8080"),
    ("server: { base_path: luner }", 6, "server.base_path", "must begin with a slash"),
    ("server: { base_path: /a/../b/ }", 6, "server.base_path", "without . and .."),
    ("server: { base_path: \"/a\\\"b\" }", 6, "server.base_path", "must consist of letters"),
    ("server: { base_path: /v1/x }", 6, "server.base_path", "luner's own"),
    ("server: { read_timeout: 0ms }", 6, "server.read_timeout", "must be from 1ms to 24h"),
    ("server: { write_timeout: 25h }", 6, "server.write_timeout", "must be from 1ms to 24h"),
    ("server: { drain_timeout: 0s }", 6, "server.drain_timeout", "must be from 1ms to 24h"),
    ("server: { workers: 1025 }", 6, "server.workers", "must be from 0 to 1024"),
    ("server: { workers: -1 }", 6, "server.workers", "must be from 0 to 1024"),
    ("server: { admin: { token: short } }", 6, "server.admin.token", "16 bytes or more"),
    ("server: { admin: { token: \"with a space in its middle\" } }", 6, "server.admin.token", "visible ASCII"),
    ("server: { admin: { open: 1 } }", 6, "server.admin.open", "must be true or false"),
    ("server: { admin: { hosts: [\"http://x\"] } }", 6, "server.admin.hosts[0]", "without scheme or path"),
    ("server: { admin: { hosts: luner.example.com } }", 6, "server.admin.hosts", "must be a list, not text"),
    ("server: { limits: { headers: 1 } }", 6, "server.limits.headers", "must be from 8 to 1000"),
    ("server: { limits: { head_bytes: 2MiB } }", 6, "server.limits.head_bytes", "from 1KiB to 1MiB"),
    ("server: { limits: { body_bytes: 2GiB } }", 6, "server.limits.body_bytes", "from 1KiB to 1GiB"),
    ("server: { limits: { held_bytes: 1KiB } }", 6, "server.limits.held_bytes", "from 1MiB to 16TiB"),
    ("server: { limits: { json_depth: 100000 } }", 6, "server.limits.json_depth", "from 8 to 512"),
    ("server: { limits: { connections: 0 } }", 6, "server.limits.connections", "from 1 to 1000000"),
    ("rate_limit:\n  providers:\n    - { name: a, qps: 1 }\n    - { name: a, qps: 2 }", 9, "rate_limit.providers[1].name", "already has a limit on line 8"),
    ("rate_limit: { providers: [ { name: b, qps: 1 } ] }", 6, "rate_limit.providers[0].name", "no provider is named `b` (did you mean `a`?)"),
    ("rate_limit: { providers: [ { name: a } ] }", 6, "rate_limit.providers[0].qps", "this key is missing"),
    ("rate_limit: { providers: [ { qps: 1 } ] }", 6, "rate_limit.providers[0].name", "this key is missing"),
    ("rate_limit: { providers: [ { name: a, qps: 0 } ] }", 6, "rate_limit.providers[0].qps", "must be from 0.001"),
    ("rate_limit: { providers: [ { name: a, qps: .inf } ] }", 6, "rate_limit.providers[0].qps", "must be a number"),
    ("rate_limit: { providers: [ { name: a, qps: nan } ] }", 6, "rate_limit.providers[0].qps", "must be a number, not text"),
    ("rate_limit: { providers: [ { name: a, qps: \"50\" } ] }", 6, "rate_limit.providers[0].qps", "leave the quotes out"),
    ("rate_limit: { providers: [ { name: a, qps: 1, burst: 0 } ] }", 6, "rate_limit.providers[0].burst", "must be from 1 to"),
    ("rate_limit: { providers: [ { name: a, qps: 1, burst: 1e9 } ] }", 6, "rate_limit.providers[0].burst", "whole number"),
    ("rate_limit:\n  providers:\n    - { name: a, qps: 1e99 }", 8, "rate_limit.providers[0].qps", "must be from"),
    ("pricing: { unknown: deny }", 6, "pricing.unknown", "is not one of: allow, block"),
    ("storage: { backend: postgres }", 6, "storage.backend", "is not one of: sqlite, none"),
    ("storage: { capture: some }", 6, "storage.capture", "is not one of: none, errors, all"),
    ("storage: { sqlite: { path: \"\" } }", 6, "storage.sqlite.path", "is empty"),
    ("storage: { sqlite: { path: \"a\\0b\" } }", 6, "storage.sqlite.path", "control characters"),
    ("storage: { retention: { days: 0 } }", 6, "storage.retention.days", "from 1 to 3650"),
    ("storage: { retention: { max_bytes: 1KiB } }", 6, "storage.retention.max_bytes", "from 1MiB"),
    ("telemetry: { log: loud }", 6, "telemetry.log", "is not one of: error, warn, info, debug, trace"),
    ("telemetry: { log: true }", 6, "telemetry.log", "must be text, not true or false; put it in quotes"),
    ("version: v1", 6, "version", "duplicate key; the first is on line 1"),
    ("cache:\n  enabled: true\n  enabled: false", 8, "cache.enabled", "duplicate key; the first is on line 7"),
    ("server:\n  admin:\n    open: true\n    open: true", 9, "server.admin.open", "the first is on line 8"),
    ("cache: &c { enabled: true }", 6, "cache", "anchors and aliases"),
    ("cache: { <<: { enabled: true } }", 6, "cache", "merge keys"),
    ("cache: !!map { enabled: true }", 6, "cache", "tags"),
    ("cache: { [a]: b }", 6, "cache", "a key must be plain text"),
    ("---\nversion: v1", 6, "", "a second YAML document"),
    ("cache: { enabled: ${E:-true} }", 6, "", "write \"${NAME}\" in quotes"),
    ("cache:\n  enabled: ${E}", 7, "cache.enabled", "environment variable E is not set"),
    ("cache:\n  enabled: ${E", 7, "cache.enabled", "`${` has no closing `}`"),
    ("cache:\n  enabled: ${}", 7, "cache.enabled", "must hold a variable's name"),
    ("cache:\n  enabled: ${a-b}", 7, "cache.enabled", "must hold a variable's name"),
    ("cache:\n  enabled: ${A:-${B}}", 7, "cache.enabled", "do not nest"),
    ("cache:\n  \"${A}\": 1", 7, "cache.${A}", "unknown key"),
    ("cache:\n  max_items: ${A:-many}", 7, "cache.max_items", "must be a whole number, not text"),
    ("cache:\n  max_items: ${A:-0}", 7, "cache.max_items", "`${A:-0}` is out of range"),
    ("cache:\n\tenabled: true", 7, "", "indent with spaces; this line has a tab"),
];

/// Replaces the provider of `GOOD`, which begins on line 3.
#[rustfmt::skip]
const PROVIDERS: &[(&str, u32, &str, &str)] = &[
    ("name: a", 3, "providers[0].base_url", "this key is missing"),
    ("models: []", 3, "providers[0].models", "at least one entry"),
    ("models: gpt-4o", 3, "providers[0].models", "must be a list, not text"),
    ("models: [x, y, x]", 3, "providers[0].models[2]", "already lists this model on line 3"),
    ("models: [\"gpt-*-mini\"]", 3, "providers[0].models[0]", "a star only at its end"),
    ("models: [\"**\"]", 3, "providers[0].models[0]", "a star only at its end"),
    ("models: [\"a b\"]", 3, "providers[0].models[0]", "without spaces"),
    ("models: [\"\"]", 3, "providers[0].models[0]", "1 to 256 bytes"),
    ("models: [4]", 3, "providers[0].models[0]", "put it in quotes"),
    ("name: \"\"", 3, "providers[0].name", "1 to 64 letters"),
    ("name: a/b", 3, "providers[0].name", "1 to 64 letters"),
    ("name: 12345678901234567890123456789012345678901234567890123456789012345x", 3, "providers[0].name", "1 to 64"),
    ("name: 7", 3, "providers[0].name", "put it in quotes"),
    ("base_url: api.openai.com", 3, "providers[0].base_url", "must begin with http:// or https://"),
    ("base_url: \"file:///etc/passwd\"", 3, "providers[0].base_url", "must begin with http"),
    ("base_url: \"https://\"", 3, "providers[0].base_url", "has no host"),
    ("base_url: \"https:///v1\"", 3, "providers[0].base_url", "has no host"),
    ("base_url: \"https://me:pw@host/v1\"", 3, "providers[0].base_url", "must not contain credentials"),
    ("base_url: \"https://host/v1?key=1\"", 3, "providers[0].base_url", "query or a fragment"),
    ("base_url: \"https://host/v1#x\"", 3, "providers[0].base_url", "query or a fragment"),
    ("base_url: \"https://host:0/v1\"", 3, "providers[0].base_url", "port outside 1 to 65535"),
    ("base_url: \"https://host:99999/v1\"", 3, "providers[0].base_url", "port outside 1 to 65535"),
    ("base_url: \"https://a..b/v1\"", 3, "providers[0].base_url", "neither a name nor an IP address"),
    ("base_url: \"https://999.1.1.1/v1\"", 3, "providers[0].base_url", "neither a name nor an IP address"),
    ("base_url: \"https://[::1/v1\"", 3, "providers[0].base_url", "neither a name nor an IP address"),
    ("base_url: \"https://bücher.example/v1\"", 3, "providers[0].base_url", "xn--"),
    ("base_url: \"https://host/../v1\"", 3, "providers[0].base_url", "has an unsupported path"),
    ("base_url: \"https://host\\\\evil/v1\"", 3, "providers[0].base_url", "has an unsupported path"),
    ("base_url: \"https://ho st/v1\"", 3, "providers[0].base_url", "without spaces"),
    ("base_url: \"\"", 3, "providers[0].base_url", "is empty"),
    ("api_key: \"a b\"", 3, "providers[0].api_key", "visible ASCII"),
    ("api_key: \"a\\n\"", 3, "providers[0].api_key", "visible ASCII"),
    ("api_key: { x: 1 }", 3, "providers[0].api_key", "must be text, not a mapping"),
    ("timeout: 0s", 3, "providers[0].timeout", "from 1ms to 24h"),
    ("timeout: 2d", 3, "providers[0].timeout", "from 1ms to 24h"),
    ("connect_timeout: 30", 3, "providers[0].connect_timeout", "needs a unit"),
    ("stream_idle_timeout: soon", 3, "providers[0].stream_idle_timeout", "is not a duration"),
    ("retries: 11", 3, "providers[0].retries", "from 0 to 10"),
    ("weight: 1001", 3, "providers[0].weight", "from 0 to 1000"),
    ("downgrade: { m: n }", 3, "providers[0].downgrade.m", "no provider serves the model `n`"),
    ("downgrade: { n: m }", 3, "providers[0].downgrade.n", "this provider does not serve this model"),
    ("downgrade: { m: m }", 3, "providers[0].downgrade.m", "cannot be downgraded to itself"),
    ("downgrade: { m: \"*\" }", 3, "providers[0].downgrade.m", "without a star"),
    ("downgrade: { \"m*\": m }", 3, "providers[0].downgrade.m*", "the key must be an exact model name"),
    ("downgrade: { \"${M}\": m }", 3, "providers[0].downgrade.${M}", "in values, not in keys"),
    ("apikey: x", 3, "providers[0].apikey", "did you mean `api_key`?"),
];

#[test]
fn every_rule_reports_line_key_and_reason() {
    for (yaml, line, key, part) in SECTIONS {
        expect(&format!("{GOOD}{yaml}\n"), *line, key, part);
    }
    for (yaml, line, key, part) in PROVIDERS {
        let own = yaml.split(':').next().unwrap_or_default();
        let missing = part.contains("missing");
        let rest: Vec<&str> = ["name: a", "base_url: http://127.0.0.1", "models: [m]"]
            .into_iter()
            .filter(|other| {
                let left_out = missing && other.starts_with("base_url");
                !left_out && !other.starts_with(&format!("{own}:"))
            })
            .collect();
        let text = format!("version: v1\nproviders:\n  - {yaml}\n    {}\n", rest.join("\n    "));
        expect(&text, *line, key, part);
    }
    expect("version: v2\nproviders: [{ name: a, base_url: http://h, models: [m] }]", 1, "version", "is not one of: v1");
    expect("version: 1\nproviders: [{ name: a, base_url: http://h, models: [m] }]", 1, "version", "put it in quotes");
    expect(&GOOD.replace("version: v1", ""), 2, "version", "this key is missing");
    expect("version: v1", 1, "providers", "this key is missing");
    expect("version: v1\nproviders: []", 2, "providers", "at least one entry");
    expect("version: v1\nproviders: {}", 2, "providers", "must be a list, not a mapping");
    expect("version: v1\nproviders:\n", 2, "providers", "must be a list, not an empty value");
    let twice = format!("{GOOD}  - name: a\n    base_url: http://h\n    models: [m]\n");
    expect(&twice, 6, "providers[1].name", "already on line 3");
}

fn expect(text: &str, line: u32, key: &str, part: &str) {
    let found = problems(text);
    let fits = |p: &Problem| (p.line, p.key.as_str()) == (line, key) && p.message.contains(part);
    assert!(found.len() == 1 && fits(&found[0]), "{text}\nwanted {line} {key} {part}\nfound {found:#?}");
}

#[test]
fn one_mistake_causes_no_other_complaints() {
    // A limit may refer to a provider whose name is invalid.
    let text = GOOD.replace("name: a", "name: ${MISSING}");
    let text = format!(
        "{text}    downgrade: {{ m: m2 }}\n  - name: b\n    base_url: http://h\n    models: [\"${{MISSING}}\"]
rate_limit: {{ providers: [ {{ name: openai, qps: 1 }} ] }}\n"
    );
    let found = problems(&text);
    assert_eq!(found.len(), 2, "{found:#?}");
    assert!(found.iter().all(|problem| problem.message.contains("MISSING")));
}

#[test]
fn base_url_loses_only_its_trailing_v1() {
    for (text, tls, host, port, prefix, shown) in [
        ("https://api.openai.com/v1", true, "api.openai.com", 443, "", "https://api.openai.com"),
        ("https://api.openai.com", true, "api.openai.com", 443, "", "https://api.openai.com"),
        ("HTTPS://API.OpenAI.com/v1/", true, "api.openai.com", 443, "", "https://api.openai.com"),
        ("http://[::1]:8000/v1//", false, "::1", 8000, "", "http://[::1]:8000"),
        ("https://h:443/a/b/v1", true, "h", 443, "/a/b", "https://h/a/b"),
        ("https://h/v1/v1", true, "h", 443, "/v1", "https://h/v1"),
        ("https://h/xv1", true, "h", 443, "/xv1", "https://h/xv1"),
        ("http://h:443/", false, "h", 443, "", "http://h:443"),
        ("http://my_service:80/api%20x", false, "my_service", 80, "/api%20x", "http://my_service/api%20x"),
    ] {
        let url: BaseUrl = text.parse().unwrap_or_else(|error| panic!("{text} {error}"));
        let parts = (url.tls, url.host.as_str(), url.port, url.prefix.as_str());
        assert_eq!(parts, (tls, host, port, prefix), "{text}");
        assert_eq!(url.to_string(), shown);
    }
}

#[test]
fn public_and_private_hosts_are_distinguished() {
    let public = |host: &str| format!("http://{host}").parse::<BaseUrl>().map(|url| url.is_public());
    for host in ["api.openai.com", "8.8.8.8", "[2001:4860::1]", "172.32.0.1", "100.128.0.1"] {
        assert_eq!(public(host), Ok(true), "{host}");
    }
    for host in [
        "localhost",
        "ollama",
        "a.localhost",
        "x.internal",
        "127.0.0.1",
        "10.1.2.3",
        "192.168.1.1",
        "172.31.9.9",
        "100.64.0.1",
        "169.254.1.1",
        "[::1]",
        "[fd00::1]",
        "[fe80::1]",
        "llm.ns.svc",
        "llm.ns.svc.cluster.local",
    ] {
        assert_eq!(public(host), Ok(false), "{host}");
    }
}

#[test]
fn listen_address_round_trips() {
    for (text, shown, loopback) in [
        (":8080", ":8080", false),
        ("0.0.0.0:8080", "0.0.0.0:8080", false),
        ("127.0.0.1:0", "127.0.0.1:0", true),
        ("[::1]:80", "[::1]:80", true),
        ("[::]:80", "[::]:80", false),
        ("localhost:8080", "127.0.0.1:8080", true),
    ] {
        let listen: Listen = text.parse().unwrap_or_else(|error| panic!("{text} {error}"));
        assert_eq!((listen.to_string().as_str(), listen.is_loopback()), (shown, loopback), "{text}");
    }
}

#[test]
fn suspicious_but_valid_settings_are_warnings() {
    #[rustfmt::skip]
    let table = [
        (GOOD.replace("127.0.0.1:9", "api.example.com"), 4, "providers[0].base_url", "plain http to a public host"),
        (GOOD.replace("http://127.0.0.1:9", "https://api.example.com"), 3, "providers[0].api_key", "no Authorization header"),
        (format!("{GOOD}    connect_timeout: 2h\n"), 6, "providers[0].connect_timeout", "longer than timeout"),
        (format!("{GOOD}server:\n  admin: {{ open: true }}\n"), 7, "server.admin.open", "anyone who can reach the port"),
        (format!("{GOOD}server: {{ admin: {{ open: true, token: 0123456789abcdef }} }}\n"), 6, "server.admin.open", "without the configured token"),
        (format!("{GOOD}server: {{ admin: {{ token: aaaaaaaaaaaaaaaa }} }}\n"), 6, "server.admin.token", "easy to guess"),
        (format!("{GOOD}storage: {{ backend: none, capture: all }}\n"), 6, "storage.capture", "no effect while storage.backend"),
        (format!("{GOOD}storage: {{ traces: false, capture: all }}\n"), 6, "storage.capture", "no effect while storage.traces"),
    ];
    for (text, line, key, part) in table {
        let warnings = parse_plain(&text).unwrap_or_else(|problems| panic!("{text}\n{problems}")).warnings;
        let fits = |w: &Problem| (w.line, w.key.as_str()) == (line, key) && w.message.contains(part);
        assert!(warnings.iter().any(fits), "{text}\nwanted {line} {key} {part}\nfound {warnings:#?}");
    }
}
