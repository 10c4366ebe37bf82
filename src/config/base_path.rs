//! The path under which users find the console. Behind a proxy it may differ from `/`.
//! A plain value, used on every thread.
//! Never holds a byte that is special in HTML, in a header or in a path.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::address::AddressError;

/// A path that begins and ends with a slash, such as `/` or `/luner/`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BasePath(String);

impl BasePath {
    /// Includes both slashes.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Default for BasePath {
    fn default() -> BasePath {
        BasePath("/".to_owned())
    }
}

/// First segments of luner's own paths. A base path that begins with one of them would make those paths ambiguous.
const TAKEN: [&str; 4] = ["api", "assets", "metrics", "v1"];
/// Longest base path. Arbitrary: longer than any path in use.
const BYTES_MAX: usize = 256;

impl FromStr for BasePath {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<BasePath, AddressError> {
        let Some(inner) = text.strip_prefix('/') else {
            return Err(AddressError("must begin with a slash: / or /luner/"));
        };
        if text.len() > BYTES_MAX {
            return Err(AddressError("is too long: 256 bytes at most"));
        }
        let inner = inner.strip_suffix('/').unwrap_or(inner);
        if inner.is_empty() && text.len() == 1 {
            return Ok(BasePath::default());
        }
        // The unreserved characters of RFC 3986, which have no special meaning anywhere.
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~');
        for segment in inner.split('/') {
            if segment.is_empty() || matches!(segment, "." | "..") || !segment.bytes().all(plain) {
                return Err(AddressError(
                    "must consist of letters, digits, hyphens, dots, underscores and tildes between single slashes, without . and ..",
                ));
            }
        }
        match inner.split('/').next() {
            Some(first) if TAKEN.contains(&first) => {
                Err(AddressError("must not begin with one of luner's own paths: /api, /assets, /metrics or /v1"))
            }
            _ => Ok(BasePath(format!("/{inner}/"))),
        }
    }
}

impl fmt::Display for BasePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Serialize for BasePath {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for BasePath {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<BasePath, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base_path_gets_both_slashes_and_refuses_unsafe_characters() {
        for (text, expected) in [
            ("/", "/"),
            ("/luner", "/luner/"),
            ("/luner/", "/luner/"),
            ("/tools/luner-1.2_~x", "/tools/luner-1.2_~x/"),
            ("/apis", "/apis/"),
        ] {
            assert_eq!(text.parse::<BasePath>().unwrap().as_str(), expected, "{text}");
        }
        for text in [
            "", "luner", "luner/", "//", "//luner", "/luner//", "/a//b", "/../x", "/a/..", "/./x", "/a b", "/a\"b",
            "/<b>", "/a%20b", "/a?b", "/a#b", "/a;b", "/ü", "/a\\b", "/a\0", "/v1", "/v1/x", "/api/", "/assets",
            "/metrics",
        ] {
            assert!(text.parse::<BasePath>().is_err(), "{text}");
        }
        assert!(format!("/{}", "a".repeat(BYTES_MAX)).parse::<BasePath>().is_err());
    }
}
