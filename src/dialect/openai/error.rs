//! The error body of the OpenAI API.
//! Pure. Used wherever a refusal is written to the wire; the table of refusals decides what each one says.

use crate::json::write_string;

/// `{"error":{"message":…,"type":…,"param":…,"code":…}}`. All four members are always present, as `null` without a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ErrorBody<'a> {
    pub message: &'a str,
    /// `type` on the wire: `invalid_request_error`, `server_error`, …
    pub kind: &'static str,
    pub param: Option<&'a str>,
    pub code: Option<&'a str>,
}

impl ErrorBody<'_> {
    /// Appends the whole body.
    pub fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"{\"error\":");
        self.write_inner(out);
        out.push(b'}');
    }

    /// Appends only the value of `error`.
    pub(super) fn write_inner(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"{\"message\":");
        write_string(self.message, out);
        out.extend_from_slice(b",\"type\":");
        write_string(self.kind, out);
        out.extend_from_slice(b",\"param\":");
        write_optional(self.param, out);
        out.extend_from_slice(b",\"code\":");
        write_optional(self.code, out);
        out.push(b'}');
    }
}

/// Appends a string, or `null`.
pub(super) fn write_optional(text: Option<&str>, out: &mut Vec<u8>) {
    match text {
        Some(text) => write_string(text, out),
        None => out.extend_from_slice(b"null"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn error_body_has_all_four_members_in_openais_order() {
        let mut out = Vec::new();
        let body = ErrorBody {
            message: "no \"such\" model\r\n\u{1b}[31m",
            kind: "invalid_request_error",
            param: Some("model"),
            code: None,
        };
        body.write(&mut out);
        assert_eq!(
            String::from_utf8_lossy(&out),
            r#"{"error":{"message":"no \"such\" model\r\n\u001b[31m","type":"invalid_request_error","param":"model","code":null}}"#
        );
    }
}
