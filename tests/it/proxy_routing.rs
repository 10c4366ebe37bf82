//! Which provider a request goes to, with which path and key, and over which connection.

use serde_json::json;

use crate::support::*;

#[test]
fn exact_name_wins_over_longer_pattern_over_file_order() {
    let mock = mock();
    let luner = Gateway::new()
        .provider("all", mock.base_url(), &["*"])
        .provider("short", mock.base_url(), &["gpt-*"])
        .provider("long", mock.base_url(), &["gpt-4*"])
        .provider("long-too", mock.base_url(), &["gpt-4*", "gpt-4o"])
        .provider("exact-too", mock.base_url(), &["gpt-4o"])
        .start();
    for (model, provider) in [
        ("gpt-4o", "long-too"),
        ("gpt-4o-mini", "long"),
        ("gpt-4", "long"),
        ("gpt-3.5", "short"),
        ("gpt-", "short"),
        ("gpt", "all"),
        ("GPT-4o", "all"),
        ("*", "all"),
    ] {
        let answer = luner.post_chat(model, "x");
        assert_eq!(answer.header("x-luner-provider"), Some(provider), "{model}");
    }
}

#[test]
fn base_url_may_omit_v1_or_contain_a_path() {
    let upstream = Upstream::always(ok_chat("hi"));
    let root = format!("http://{}", upstream.addr());
    let luner = Gateway::new()
        .provider("a", format!("{root}/v1"), &["a"])
        .provider("b", &root, &["b"])
        .provider("c", format!("{root}/v1/"), &["c"])
        .provider("d", format!("{root}/openai/v1"), &["d"])
        .start();
    for (model, path) in [
        ("a", "/v1/chat/completions"),
        ("b", "/v1/chat/completions"),
        ("c", "/v1/chat/completions"),
        ("d", "/openai/v1/chat/completions"),
    ] {
        assert_eq!(luner.post_chat(model, "x").status, 200);
        assert_eq!(upstream.requests().last().unwrap().line(), format!("POST {path} HTTP/1.1"));
    }
}

#[test]
fn provider_without_a_key_gets_no_authorization() {
    let upstream = Upstream::always(ok_chat("hi"));
    let luner = Gateway::new().provider_with("local", upstream.url(), &["m"], json!({ "api_key": "" })).start();
    let answer = luner.ask(post_with(CHAT, "Authorization: Bearer of-the-caller\r\n", chat("m", "x")));
    assert_eq!(answer.status, 200);
    assert_eq!(upstream.requests()[0].header("authorization"), None);
}

#[test]
fn api_key_may_come_from_the_environment() {
    let upstream = Upstream::always(ok_chat("hi"));
    let luner = Gateway::new()
        .provider_with("a", upstream.url(), &["m"], json!({ "api_key": "${IT_KEY}" }))
        .env("IT_KEY", &format!("{CANARY}-of-the-environment"))
        .start();
    assert_eq!(luner.post_chat("m", "x").status, 200);
    let bearer = format!("Bearer {CANARY}-of-the-environment");
    assert_eq!(upstream.requests()[0].header("authorization"), Some(bearer.as_str()));
}

#[test]
fn providers_429_passes_unchanged() {
    let body =
        r#"{"error":{"message":"slow down","type":"requests","param":null,"code":"rate_limit_exceeded"}, "x":1 }"#;
    let upstream = Upstream::always(format!(
        "HTTP/1.1 429 Too Many Requests\r\nContent-Type: application/json\r\nRetry-After: 7\r\nretry-after-ms: 6500\r\n\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    ));
    let luner = Gateway::in_front_of(upstream.url()).start();
    let answer = luner.post_chat("gpt-4o", "x");
    assert_eq!((answer.status, answer.text()), (429, body));
    assert_eq!((answer.header("retry-after"), answer.header("retry-after-ms")), (Some("7"), Some("6500")));
    assert_eq!(answer.header("x-luner-provider"), Some("openai"));
    assert_eq!(upstream.requests().len(), 1, "a 4xx is not retried");
}

#[test]
fn upstream_connections_are_reused() {
    let mock = mock();
    let luner = Gateway::in_front_of(mock.base_url()).start();
    let mut client = luner.connect();
    for turn in 0..20 {
        let request = if turn % 2 == 0 { post_chat("gpt-4o", "x") } else { post_stream("gpt-4o", "x") };
        assert_eq!(client.send(request).answer().content(), reply("x"));
    }
    assert_eq!(mock.totals().connections, 1);
}
