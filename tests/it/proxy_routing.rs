//! Which provider a request goes to, with which key and path, and how its own refusals come back.

use crate::support::*;

#[test]
fn an_exact_name_wins_then_the_longer_pattern_then_the_order_of_the_file() {
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
fn a_base_url_may_end_with_v1_or_not_or_stand_below_a_path() {
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
fn a_provider_without_a_key_gets_none() {
    let upstream = Upstream::always(ok_chat("hi"));
    let luner = Gateway::new().provider_with("local", upstream.url(), &["m"], "api_key: \"\"").start();
    let answer = luner.ask(post_with(CHAT, "Authorization: Bearer of-the-caller\r\n", chat("m", "x")));
    assert_eq!(answer.status, 200);
    assert_eq!(upstream.requests()[0].header("authorization"), None);
}

#[test]
fn a_key_may_come_from_the_environment() {
    let upstream = Upstream::always(ok_chat("hi"));
    let luner = Gateway::new()
        .provider_with("a", upstream.url(), &["m"], "api_key: \"${IT_KEY}\"")
        .env("IT_KEY", &format!("{CANARY}-of-the-environment"))
        .start();
    assert_eq!(luner.post_chat("m", "x").status, 200);
    let bearer = format!("Bearer {CANARY}-of-the-environment");
    assert_eq!(upstream.requests()[0].header("authorization"), Some(bearer.as_str()));
}

#[test]
fn a_providers_own_4xx_passes_as_it_came() {
    let body =
        r#"{"error":{"message":"slow down","type":"requests","param":null,"code":"rate_limit_exceeded"}, "x":1 }"#;
    let upstream = Upstream::always(format!(
        "HTTP/1.1 429 Too Many Requests\r\nContent-Type: application/json\r\nRetry-After: 7\r\nretry-after-ms: 6500\r\n\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    ));
    let luner = Gateway::before(upstream.url()).start();
    let answer = luner.post_chat("gpt-4o", "x");
    assert_eq!((answer.status, answer.text()), (429, body));
    assert_eq!((answer.header("retry-after"), answer.header("retry-after-ms")), (Some("7"), Some("6500")));
    assert_eq!(answer.header("x-luner-provider"), Some("openai"));
    assert_eq!(upstream.requests().len(), 1, "4xx is not tried again");
}

#[test]
fn connections_to_a_provider_are_used_again() {
    let mock = mock();
    let luner = Gateway::before(mock.base_url()).start();
    let mut client = luner.connect();
    for turn in 0..20 {
        let request = if turn % 2 == 0 { post_chat("gpt-4o", "x") } else { post_stream("gpt-4o", "x") };
        assert_eq!(client.send(request).answer().said(), reply("x"));
    }
    assert_eq!(mock.totals().connections, 1);
}
