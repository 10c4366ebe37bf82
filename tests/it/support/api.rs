//! A client of the REST API: one connection per call, JSON in and out. Every answer is checked against the OpenAPI
//! document.

use serde_json::Value;

use super::{Answer, Running, contract};

/// A client of a running luner's REST API.
pub struct Api<'r> {
    luner: &'r Running,
    /// Header lines of every call, each ending with CR LF.
    headers: String,
}

impl<'r> Api<'r> {
    pub fn new(luner: &'r Running, token: Option<&str>) -> Api<'r> {
        let authorization = token.map(|token| format!("Authorization: Bearer {token}\r\n"));
        Api { luner, headers: format!("Host: localhost\r\n{}", authorization.unwrap_or_default()) }
    }

    /// A client that sends these header lines instead, each ending with CR LF.
    pub fn with_headers(&self, headers: &str) -> Api<'r> {
        Api { luner: self.luner, headers: headers.to_owned() }
    }

    #[track_caller]
    pub fn get(&self, path: &str) -> Answer {
        let answer = self.luner.ask(format!("GET {path} HTTP/1.1\r\n{}\r\n", self.headers));
        contract::check("GET", path, &answer);
        answer
    }

    #[track_caller]
    pub fn post(&self, path: &str, body: &Value) -> Answer {
        self.send("POST", path, body.to_string())
    }

    #[track_caller]
    pub fn put(&self, path: &str, body: &Value) -> Answer {
        self.send("PUT", path, body.to_string())
    }

    #[track_caller]
    pub fn delete(&self, path: &str) -> Answer {
        let answer = self.luner.ask(format!("DELETE {path} HTTP/1.1\r\n{}\r\n", self.headers));
        contract::check("DELETE", path, &answer);
        answer
    }

    /// Calls with any method and any body, which is announced as JSON.
    #[track_caller]
    pub fn send(&self, method: &str, path: &str, body: impl AsRef<[u8]>) -> Answer {
        let (headers, body) = (&self.headers, body.as_ref());
        let length = body.len();
        let head = format!(
            "{method} {path} HTTP/1.1\r\n{headers}Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n"
        );
        let answer = self.luner.ask([head.as_bytes(), body].concat());
        contract::check(method, path, &answer);
        answer
    }

    /// Creates a policy and returns it as the API does.
    #[track_caller]
    pub fn create(&self, policy: &Value) -> Value {
        let answer = self.post("/api/policies", policy);
        assert_eq!(answer.status, 201, "{}", answer.text());
        answer.json()
    }

    /// All policies without their hourly matches, and so equal to what [`Api::create`] returned.
    #[track_caller]
    pub fn policies(&self) -> Vec<Value> {
        let answer = self.get("/api/policies");
        assert_eq!(answer.status, 200, "{}", answer.text());
        let mut items = answer.json()["items"].as_array().expect("a list").clone();
        items.iter_mut().for_each(without_series);
        items
    }

    /// One policy without its hourly matches.
    #[track_caller]
    pub fn policy(&self, path: &str) -> Value {
        let answer = self.get(path);
        assert_eq!(answer.status, 200, "{}", answer.text());
        let mut policy = answer.json();
        without_series(&mut policy);
        policy
    }

    /// Waits for at least `count` traces that match this query, and returns the newest ones.
    #[track_caller]
    pub fn traces(&self, query: &str, count: usize) -> Vec<Value> {
        let mut items = Vec::new();
        super::eventually(&format!("{count} traces"), || {
            let answer = self.get(&format!("/api/traces?page_size=200&{query}"));
            assert_eq!(answer.status, 200, "{}", answer.text());
            items = answer.json()["items"].as_array().expect("a list").clone();
            items.len() >= count
        });
        items
    }

    /// The newest entries of the audit log.
    #[track_caller]
    pub fn audit(&self) -> Vec<Value> {
        let answer = self.get("/api/audit?page_size=200");
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer.json()["items"].as_array().expect("a list").clone()
    }

    /// `GET /api/config`.
    #[track_caller]
    pub fn config(&self) -> Value {
        let answer = self.get("/api/config");
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer.json()
    }
}

fn without_series(policy: &mut Value) {
    // The series is absent when the storage cannot be read.
    policy.as_object_mut().expect("an object").remove("series");
}
