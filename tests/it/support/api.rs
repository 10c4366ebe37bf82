//! A client of the REST API: one connection a call, JSON in and out. Every answer is held against the API's description.

use serde_json::Value;

use super::{Answer, Running, contract};

/// Who calls the API of a running luner.
pub struct Api<'r> {
    luner: &'r Running,
    /// Header lines, each ending with CR LF.
    lines: String,
}

impl<'r> Api<'r> {
    pub fn new(luner: &'r Running, token: Option<&str>) -> Api<'r> {
        let authorization = token.map(|token| format!("Authorization: Bearer {token}\r\n"));
        Api { luner, lines: format!("Host: localhost\r\n{}", authorization.unwrap_or_default()) }
    }

    /// The same caller with these lines as its whole head, each ending with CR LF.
    pub fn with(&self, lines: &str) -> Api<'r> {
        Api { luner: self.luner, lines: lines.to_owned() }
    }

    #[track_caller]
    pub fn get(&self, path: &str) -> Answer {
        let answer = self.luner.ask(format!("GET {path} HTTP/1.1\r\n{}\r\n", self.lines));
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
        let answer = self.luner.ask(format!("DELETE {path} HTTP/1.1\r\n{}\r\n", self.lines));
        contract::check("DELETE", path, &answer);
        answer
    }

    /// Any method with any body that claims to be JSON.
    #[track_caller]
    pub fn send(&self, method: &str, path: &str, body: impl AsRef<[u8]>) -> Answer {
        let (lines, body) = (&self.lines, body.as_ref());
        let length = body.len();
        let head = format!(
            "{method} {path} HTTP/1.1\r\n{lines}Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n"
        );
        let answer = self.luner.ask([head.as_bytes(), body].concat());
        contract::check(method, path, &answer);
        answer
    }

    /// Creates a policy and gives it back.
    #[track_caller]
    pub fn create(&self, policy: &Value) -> Value {
        let answer = self.post("/api/policies", policy);
        assert_eq!(answer.status, 201, "{}", answer.text());
        answer.json()
    }

    /// All policies, as the answer to their creation showed them: without their matches by the hour.
    #[track_caller]
    pub fn policies(&self) -> Vec<Value> {
        let answer = self.get("/api/policies");
        assert_eq!(answer.status, 200, "{}", answer.text());
        let mut items = answer.json()["items"].as_array().expect("a list").clone();
        items.iter_mut().for_each(without_series);
        items
    }

    /// One policy, likewise.
    #[track_caller]
    pub fn policy(&self, path: &str) -> Value {
        let answer = self.get(path);
        assert_eq!(answer.status, 200, "{}", answer.text());
        let mut policy = answer.json();
        without_series(&mut policy);
        policy
    }

    /// The newest traces that pass this query, once there are so many of them.
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

    /// The newest entries of the audit.
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
    // Absent where the storage cannot be read.
    policy.as_object_mut().expect("an object").remove("series");
}
