//! Checks every answer that a test gets through [`super::Api`] against the OpenAPI document.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::LazyLock;

use jsonschema::Validator;
use serde_json::{Value, json};

use super::{Answer, project_file};

static DOCUMENT: LazyLock<Value> = LazyLock::new(|| {
    let text =
        std::fs::read_to_string(project_file("config/openapi.json")).expect("the OpenAPI document is in the tree");
    serde_json::from_str(&text).expect("it is JSON")
});

thread_local! {
    /// Compiled schemas, by method, path and status: compiling one takes longer than the call that it checks.
    static VALIDATORS: RefCell<HashMap<String, Rc<Validator>>> = RefCell::default();
}

/// Panics if the document does not allow this answer to this request. Paths and methods that are not in it must be
/// refused with 404 and 405.
#[track_caller]
pub fn check(method: &str, path: &str, answer: &Answer) {
    let bare = path.split('?').next().unwrap_or_default();
    let paths = DOCUMENT["paths"].as_object().expect("paths");
    let operations = paths.get(bare).or_else(|| {
        let mut templates = paths.iter().filter(|(template, _)| matches(template, bare));
        templates.next().map(|(_, operations)| operations)
    });
    let Some(operations) = operations else {
        assert_eq!(answer.status, 404, "{method} {path} is not in the document");
        return;
    };
    let Some(operation) = operations.get(method.to_ascii_lowercase()) else {
        assert_eq!(answer.status, 405, "{method} {path} is not in the document");
        return;
    };
    let status = answer.status.to_string();
    let Some(response) = operation["responses"].get(&status) else {
        panic!("{method} {path} answers {status}, which is not in the document: {}", answer.text());
    };
    let media = answer.header("content-type").unwrap_or_default().split(';').next().unwrap_or_default();
    let Some(content) = response.get("content") else {
        assert!(answer.body.is_empty(), "{method} {path} answers {status} with a body: {}", answer.text());
        return;
    };
    let Some(schema) = content.get(media).map(|content| &content["schema"]) else {
        panic!("{method} {path} answers {status} with {media:?}, in the document: {content}");
    };
    if media == "application/json" {
        let key = format!("{method} {bare} {status}");
        let value = answer.json();
        let faults: Vec<String> = validator(key, schema).iter_errors(&value).map(|fault| fault.to_string()).collect();
        assert!(faults.is_empty(), "{method} {path} answers {status} against its schema: {faults:?}: {value}");
    }
}

fn matches(template: &str, path: &str) -> bool {
    let (template, path): (Vec<&str>, Vec<&str>) = (template.split('/').collect(), path.split('/').collect());
    template.len() == path.len()
        && template.iter().zip(&path).all(|(part, given)| part == given || part.starts_with('{') && !given.is_empty())
}

fn validator(key: String, schema: &Value) -> Rc<Validator> {
    VALIDATORS.with_borrow_mut(|validators| {
        let compile = || {
            // The schema's references lead into the components.
            let whole = json!({ "allOf": [schema], "components": DOCUMENT["components"] });
            let options = jsonschema::options().should_validate_formats(true);
            Rc::new(options.build(&whole).unwrap_or_else(|error| panic!("a schema: {error}")))
        };
        validators.entry(key).or_insert_with(compile).clone()
    })
}
