//! Checks the rules that span several keys: names that must be unique or must exist, and settings that are allowed but
//! probably a mistake.
//! Runs on the coordinator at start and on a reload. It reads the tree, which has line numbers and is available even if some
//! keys are wrong.
//! Never repeats a problem that `check.rs` reports.

use super::check::did_you_mean;
use super::problem::{Mark, ProblemCollector};
use super::shapes::{Capture, Config, StorageBackend};
use super::tree::Node;

/// Reports every violation that is an error.
pub(super) fn check(root: &Node, problems: &mut ProblemCollector) {
    let providers = root.get("providers").map(Node::items).unwrap_or_default();
    unique(
        providers
            .iter()
            .enumerate()
            .filter_map(|(index, provider)| Some((format!("providers[{index}].name"), provider.get("name")?))),
        "a provider with this name is already on line",
        problems,
    );
    for (index, provider) in providers.iter().enumerate() {
        let models = provider.get("models").map(Node::items).unwrap_or_default();
        unique(
            models
                .iter()
                .enumerate()
                .map(|(position, model)| (format!("providers[{index}].models[{position}]"), model)),
            "this provider already lists this model on line",
            problems,
        );
    }
    limits(root, providers, problems);
    downgrades(providers, problems);
    storage(root, problems);
}

fn limits(root: &Node, providers: &[Node], problems: &mut ProblemCollector) {
    let limits = root.get("rate_limit").and_then(|limit| limit.get("providers")).map(Node::items).unwrap_or_default();
    let names = limits
        .iter()
        .enumerate()
        .filter_map(|(index, limit)| Some((format!("rate_limit.providers[{index}].name"), limit.get("name")?)));
    unique(names.clone(), "this provider already has a limit on line", problems);
    // If the name of any provider is invalid, a limit may refer to that provider, so a missing name is not reported.
    let Some(known) = providers.iter().map(|provider| text_at(provider, "name")).collect::<Option<Vec<_>>>() else {
        return;
    };
    for (path, name) in names {
        let Some(scalar) = name.scalar() else {
            continue;
        };
        if scalar.text.is_empty() || known.contains(&scalar.text.as_str()) {
            continue;
        }
        let suggestion = if scalar.written.is_none() {
            did_you_mean(&scalar.text, literal_names(providers).iter())
        } else {
            String::new()
        };
        problems.add(name.at, &path, format!("no provider is named {}{suggestion}", name.shown()));
    }
}

fn downgrades(providers: &[Node], problems: &mut ProblemCollector) {
    let all: Option<Vec<Vec<&str>>> = providers.iter().map(patterns).collect();
    for (index, provider) in providers.iter().enumerate() {
        let (Some(all), Some(own), Some(map)) = (&all, patterns(provider), provider.get("downgrade")) else {
            continue;
        };
        for entry in map.entries() {
            let path = format!("providers[{index}].downgrade.{}", entry.key);
            let is_reported = entry.key.contains('*') || entry.key.contains("${");
            if !is_reported && !own.iter().any(|pattern| serves(pattern, &entry.key)) {
                problems.add(entry.at, &path, "this provider does not serve this model");
            }
            let Some(target) = entry.value.text().filter(|text| !text.is_empty() && !text.contains('*')) else {
                continue;
            };
            if target == entry.key {
                problems.add(entry.value.at, &path, "a model cannot be downgraded to itself");
            } else if !all.iter().flatten().any(|pattern| serves(pattern, target)) {
                problems.add(entry.value.at, &path, format!("no provider serves the model {}", entry.value.shown()));
            }
        }
    }
}

fn storage(root: &Node, problems: &mut ProblemCollector) {
    let Some(storage) = root.get("storage") else {
        return;
    };
    let path = storage.get("sqlite").and_then(|sqlite| sqlite.get("path"));
    if let Some(path) = path
        && path.text() == Some("")
        && text_at(storage, "backend").unwrap_or("sqlite") == "sqlite"
    {
        problems.add(path.at, "storage.sqlite.path", "is empty; name a file, or set storage.backend to none");
    }
}

/// Reports settings that are valid but probably a mistake; they are logged when the file is loaded.
pub(super) fn warnings(config: &Config, root: &Node, warnings: &mut ProblemCollector) {
    let nodes = root.get("providers").map(Node::items).unwrap_or_default();
    for (index, (provider, node)) in config.providers.iter().zip(nodes).enumerate() {
        let mut warn = |key: &str, message: &str| {
            warnings.add(place(node, &[key]), &format!("providers[{index}].{key}"), message);
        };
        let public = provider.base_url.is_public();
        if public && !provider.base_url.tls {
            warn("base_url", "plain http to a public host: the key and every prompt can be read in transit; use https");
        }
        if public && provider.api_key.is_empty() {
            warn("api_key", "is empty: requests to this provider carry no Authorization header");
        }
        if provider.connect_timeout > provider.timeout {
            warn("connect_timeout", "is longer than timeout, which ends the attempt first");
        }
    }
    admin(config, root, warnings);
    let storage = &config.storage;
    let no_effect = match storage.backend {
        StorageBackend::None => Some("has no effect while storage.backend is none"),
        StorageBackend::Sqlite if !storage.traces => Some("has no effect while storage.traces is false"),
        StorageBackend::Sqlite => None,
    };
    if let Some(why) = no_effect.filter(|_| storage.capture != Capture::None) {
        warnings.add(place(root, &["storage", "capture"]), "storage.capture", why);
    }
}

fn admin(config: &Config, root: &Node, warnings: &mut ProblemCollector) {
    let admin = &config.server.admin;
    let open_at = place(root, &["server", "admin", "open"]);
    if admin.open && !admin.token.is_empty() {
        warnings.add(open_at, "server.admin.open", "lets anyone manage luner without the configured token");
    } else if admin.open && !config.server.listen.is_loopback() {
        warnings.add(open_at, "server.admin.open", "anyone who can reach the port can manage luner");
    }
    let mut seen: Vec<u8> = admin.token.expose().bytes().collect();
    seen.sort_unstable();
    seen.dedup();
    if !admin.token.is_empty() && seen.len() < TOKEN_VARIETY_MIN {
        let at = place(root, &["server", "admin", "token"]);
        warnings.add(at, "server.admin.token", "looks easy to guess; generate one with: openssl rand -hex 24");
    }
}

/// Reports every text that occurs more than once. `message` is completed by the line of the first occurrence.
fn unique<'n>(named: impl Iterator<Item = (String, &'n Node)>, message: &str, problems: &mut ProblemCollector) {
    let mut first = std::collections::HashMap::new();
    for (path, node) in named {
        let Some(text) = node.text().filter(|text| !text.is_empty()) else {
            continue;
        };
        match first.get(text) {
            Some(line) => problems.add(node.at, &path, format!("{message} {line}")),
            None => {
                first.insert(text, node.at.line);
            }
        }
    }
}

/// Returns the place of a key, or of its nearest parent that is in the file.
fn place(root: &Node, keys: &[&str]) -> Mark {
    let mut node = root;
    for key in keys {
        let Some(below) = node.get(key) else { break };
        node = below;
    }
    node.at
}

fn text_at<'n>(node: &'n Node, key: &str) -> Option<&'n str> {
    node.get(key).and_then(Node::text)
}

/// Returns the names that do not come from a variable, which a message may therefore suggest.
fn literal_names(providers: &[Node]) -> Vec<String> {
    let names = providers.iter().filter_map(|provider| provider.get("name")?.scalar());
    names.filter(|name| name.written.is_none()).map(|name| name.text.to_string()).collect()
}

/// Returns the provider's models, or `None` if one of them is invalid.
fn patterns(provider: &Node) -> Option<Vec<&str>> {
    let models = provider.get("models").filter(|models| !models.items().is_empty())?;
    models.items().iter().map(Node::text).collect()
}

fn serves(pattern: &str, model: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(prefix) => model.starts_with(prefix),
        None => model == pattern,
    }
}

/// Fewest distinct characters of a token that does not look easy to guess. Arbitrary: sixteen random bytes, even in
/// hexadecimal, practically never have fewer.
const TOKEN_VARIETY_MIN: usize = 6;
