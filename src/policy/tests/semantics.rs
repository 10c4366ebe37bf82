//! The meaning of the allowed constructs, modelled on cel-spec's conformance cases.

use super::*;

const TRUE: [&str; 69] = [
    // numbers of different types
    "cost_usd > 10",
    "request_count > 100.0",
    "request_count == 200.0",
    "request_count != 200.5",
    "1 < 1.5 && 1.5 > 1 && 1u < 1.5 && 2 > 1u && 1u == 1 && -1 < 1u && 1.0 == 1u",
    "9223372036854775807 > 1.0 && -9223372036854775808 < 18446744073709551615u",
    "cost_usd in [20, 30] && request_count in [200.0]",
    // arithmetic that mixes int and double, beyond CEL
    "cost_usd * 2 > 39 && cost_usd / request_count == 0.1",
    "request_count + 0.5 == 200.5 && 2 * cost_usd == 40.0",
    "(stream ? 1 : 0.5) == 0.5 && (stream ? 0.5 : 1) == 1.0",
    // arithmetic
    "7 / 2 == 3 && -7 / 2 == -3 && 7 % 3 == 1 && -7 % 3 == -1",
    "1 + 2 * 3 == 7 && (1 + 2) * 3 == 9 && 10 - 2 - 3 == 5",
    "0x1F == 31 && 1e3 == 1000.0 && .5 == 0.5 && 3u + 2u == 5u",
    "-(-3) == 3 && --3 == 3 && !!true",
    "1.0 / 0.0 > 1e308",
    // strings
    "model.startsWith('gpt-') && model.endsWith('4o') && model.contains('t-4')",
    "!model.startsWith('GPT') && model.contains('') && ''.contains('')",
    "size(model) == 6 && model.size() == 6 && size('πέντε') == 5 && size('') == 0",
    "'a' < 'b' && 'a' < 'aa' && 'B' < 'a' && 'a' + 'b' == 'ab'",
    "'\\u00e9' == 'é' && '\\x41' == 'A' && r'\\d' == '\\\\d' && \"it's\" == 'it\\'s' && '\\101' == 'A'",
    "model in['gpt-4o'] && user_id != ''",
    // patterns
    "model.matches('^gpt-[0-9]o$') && matches(model, 'gpt') && !model.matches('^o')",
    "model.matches(r'^\\w+-\\d') && model.matches('(?i)GPT')",
    "'a@b.example'.matches(r'^\\w+@\\w+\\.\\w+$')",
    "(model.matches('x') ? 'a' : 'b').matches('b')",
    // lists
    "1 in [1, 2] && !(3 in [1, 2]) && !(1 in []) && !('a' in [])",
    "model in [user_id, 'gpt-4o'] && size([1, 2, 3]) == 3 && [].size() == 0",
    "1 in [0] + [1] && 1 in (stream ? [] : [1])",
    "[1, 2].all(x, x > 0) && [1, 2].exists(x, x == 2) && [1, 2].exists_one(x, x == 2) && ![1, 1].exists_one(x, x == 1)",
    "[].all(x, x) && ![].exists(x, x)",
    "['gpt', 'claude'].exists(prefix, model.startsWith(prefix))",
    "4 in [1, 2].map(x, x * 2) && size([1, 2, 3].filter(x, x > 1)) == 2 && 9 in [2, 3].map(x, x > 2, x * x)",
    "size([1, 2].map(x, 'k')) == 2 && 'k' in [1].map(x, 'k')",
    // errors are absorbed when the other side decides the result
    "true || 1 / 0 > 0",
    "1 / 0 > 0 || true",
    "!(false && 1 / 0 > 0)",
    "!(1 / 0 > 0 && false)",
    "[0, 1].exists(x, 1 / x > 0)",
    "![0, -1].all(x, 1 / x > 0)",
    "stream ? 1 / 0 > 0 : true",
    "true ? true : 1 / 0 > 0",
    // conversions
    "int('42') == 42 && int(3.9) == 3 && int(-3.9) == -3 && int(7u) == 7 && int(timestamp('1970-01-01T00:00:05Z')) == 5",
    "double(1) == 1.0 && double('1.5') == 1.5 && uint(3) == 3u && uint('3') == 3u",
    "string(1) == '1' && string(1.5) == '1.5' && string(true) == 'true' && string(2u) == '2'",
    "string(timestamp('2026-01-02T03:04:05Z')) == '2026-01-02T03:04:05Z' && string(duration('1m')) == '60s'",
    "bool('true') && !bool('false') && bool(true)",
    // time
    "now == timestamp('2023-11-14T22:13:20Z') && now.getFullYear() == 2023 && now.getMonth() == 10",
    "now.getDate() == 14 && now.getDayOfMonth() == 13 && now.getDayOfWeek() == 2 && now.getDayOfYear() == 317",
    "now.getHours() == 22 && now.getMinutes() == 13 && now.getSeconds() == 20 && now.getMilliseconds() == 0",
    "now.getHours('Europe/Berlin') == 23 && now.getHours('-08:00') == 14 && now.getDate('Asia/Tokyo') == 15",
    "now - timestamp('2023-11-14T00:00:00Z') > duration('22h') && now + duration('1h') > now",
    "duration('1h') + now == now + duration('60m') && now - duration('1s') < now",
    "duration('1h30m').getMinutes() == 90 && duration('1.5s').getMilliseconds() == 1500 && duration('25h').getHours() == 25",
    "duration('2h') - duration('1h') == duration('60m') && duration('-1s') < duration('0s')",
    "now in [timestamp('2023-11-14T22:13:20Z')]",
    // layout
    "true // a comment ( [ { '",
    "\ttrue\r\n&&\n true",
    "(((true)))",
    "true ? (true ? true : false) : false",
    "false ? false : true ? true : false",
    "!(true && false) == true",
    "1 < 2 == true",
    "model == 'gpt-4o' && !stream && temperature >= 1.0 && max_tokens <= 0",
    "endpoint == '/v1/chat/completions' || endpoint.endsWith('/embeddings')",
    "cost_usd + est_cost_usd > 20",
    "tokens_used + est_input_tokens + max_tokens >= 0",
    "tenant_id != '' && !(tenant_id in ['blocked', 'banned'])",
    "request_count > 100 ? model == 'gpt-4o' : false",
    "'{' != '}' && '(' != ')' && '[' != '//'",
];

#[test]
fn allowed_constructs_mean_what_cel_says() {
    let inputs = Inputs { cost_usd: 20.0, request_count: 200, now_ms: 1_700_000_000_000, ..request() };
    for expression in TRUE {
        assert_eq!(holds(expression, &inputs), Ok(true), "{expression}");
    }
}

#[test]
fn run_time_failures_report_their_fault_kind() {
    use FaultKind::{Conversion, DivisionByZero, NotComparable, Overflow};
    let cases = [
        ("9223372036854775807 + request_count > 0", Overflow),
        ("-9223372036854775808 - request_count < 0", Overflow),
        ("9223372036854775807 * (request_count + 1) > 0", Overflow),
        ("-9223372036854775808 / -request_count > 0", Overflow),
        ("-9223372036854775808 % -request_count > 0", Overflow),
        ("-(-9223372036854775808) > request_count", Overflow),
        ("1u - 2u > 0u", Overflow),
        ("duration('9000000000s') + duration('9000000000s') > duration('0s')", Overflow),
        ("timestamp('0001-01-01T00:00:00Z') - duration('1s') < now", Overflow),
        ("timestamp('9999-12-31T23:59:59Z') - timestamp('0001-01-01T00:00:00Z') > duration('1s')", Overflow),
        ("1 / (request_count - 1) > 0", DivisionByZero),
        ("1 % (request_count - 1) > 0", DivisionByZero),
        ("int(1e300) > 0", Conversion),
        ("int(model) > 0", Conversion),
        ("uint(-request_count) > 0u", Conversion),
        ("double(model) > 0.0", Conversion),
        ("bool(model)", Conversion),
        ("0.0 / 0.0 > cost_usd", NotComparable),
        ("1 / 0 > 0 || false", DivisionByZero),
        ("1 / 0 > 0 && true", DivisionByZero),
        ("[0, 1].all(x, 1 / x > 0)", DivisionByZero),
    ];
    for (expression, kind) in cases {
        assert_eq!(holds(expression, &request()), Err(kind), "{expression}");
    }
}

#[test]
fn nan_cost_fails_closed() {
    let inputs = Inputs { cost_usd: f64::NAN, ..request() };
    let verdict = judge(&[policy("p", 0, Action::Block, "cost_usd > 10.0")], &inputs);
    assert_eq!((verdict.blocked, verdict.errors.len()), (Some(0), 1));
}
