//! Rules that span several keys: names that must be unique, names that must exist, and what is allowed
//! but probably not meant.
//! Runs on the coordinator at start and on a reload, over the tree, so that it has lines and goes on
//! where other keys are wrong. Never repeats a complaint that `check.rs` makes.

use super::check::did_you_mean;
use super::problem::{Complaints, Mark};
use super::shapes::{Capture, Config, StorageBackend};
use super::tree::Node;

/// Rules whose breach is an error.
pub(super) fn complaints(root: &Node, complaints: &mut Complaints) {
    let providers = root.get("providers").map(Node::items).unwrap_or_default();
    unique(
        providers
            .iter()
            .enumerate()
            .filter_map(|(index, provider)| Some((format!("providers[{index}].name"), provider.get("name")?))),
        "a provider of that name is already on line",
        complaints,
    );
    for (index, provider) in providers.iter().enumerate() {
        let models = provider.get("models").map(Node::items).unwrap_or_default();
        unique(
            models
                .iter()
                .enumerate()
                .map(|(position, model)| (format!("providers[{index}].models[{position}]"), model)),
            "this provider has that model already on line",
            complaints,
        );
    }
    limits(root, providers, complaints);
    downgrades(providers, complaints);
    storage(root, complaints);
}

fn limits(root: &Node, providers: &[Node], complaints: &mut Complaints) {
    let limits = root.get("rate_limit").and_then(|limit| limit.get("providers")).map(Node::items).unwrap_or_default();
    let names = limits
        .iter()
        .enumerate()
        .filter_map(|(index, limit)| Some((format!("rate_limit.providers[{index}].name"), limit.get("name")?)));
    unique(names.clone(), "that provider has a limit already on line", complaints);
    // While a provider's own name is in doubt, nothing can be said about who is missing.
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
        let near = if scalar.written.is_none() {
            did_you_mean(&scalar.text, literal_names(providers).iter())
        } else {
            String::new()
        };
        complaints.add(name.at, &path, format!("no provider is called {}{near}", name.shown()));
    }
}

fn downgrades(providers: &[Node], complaints: &mut Complaints) {
    let all: Option<Vec<Vec<&str>>> = providers.iter().map(patterns).collect();
    for (index, provider) in providers.iter().enumerate() {
        let (Some(all), Some(own), Some(map)) = (&all, patterns(provider), provider.get("downgrade")) else {
            continue;
        };
        for entry in map.entries() {
            let path = format!("providers[{index}].downgrade.{}", entry.key);
            let odd = entry.key.contains('*') || entry.key.contains("${");
            if !odd && !own.iter().any(|pattern| serves(pattern, &entry.key)) {
                complaints.add(entry.at, &path, "this provider has no such model");
            }
            let Some(target) = entry.value.text().filter(|text| !text.is_empty() && !text.contains('*')) else {
                continue;
            };
            if target == entry.key {
                complaints.add(entry.value.at, &path, "a model cannot be downgraded to itself");
            } else if !all.iter().flatten().any(|pattern| serves(pattern, target)) {
                complaints.add(entry.value.at, &path, format!("no provider has a model {}", entry.value.shown()));
            }
        }
    }
}

fn storage(root: &Node, complaints: &mut Complaints) {
    let Some(storage) = root.get("storage") else {
        return;
    };
    let path = storage.get("sqlite").and_then(|sqlite| sqlite.get("path"));
    if let Some(path) = path
        && path.text() == Some("")
        && text_at(storage, "backend").unwrap_or("sqlite") == "sqlite"
    {
        complaints.add(path.at, "storage.sqlite.path", "is empty; give it a file, or set storage.backend to none");
    }
}

/// What loads, and deserves a sentence in the log.
pub(super) fn warnings(config: &Config, root: &Node, warnings: &mut Complaints) {
    let nodes = root.get("providers").map(Node::items).unwrap_or_default();
    for (index, (provider, node)) in config.providers.iter().zip(nodes).enumerate() {
        let mut warn = |key: &str, message: &str| {
            warnings.add(place(node, &[key]), &format!("providers[{index}].{key}"), message);
        };
        let public = provider.base_url.is_public();
        if public && !provider.base_url.tls {
            warn("base_url", "plain http to a public host: the key and every prompt can be read on the way; use https");
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
    let nothing_kept = match storage.backend {
        StorageBackend::None => Some("has no effect while storage.backend is none"),
        StorageBackend::Sqlite if !storage.traces => Some("has no effect while storage.traces is false"),
        StorageBackend::Sqlite => None,
    };
    if let Some(why) = nothing_kept.filter(|_| storage.capture != Capture::None) {
        warnings.add(place(root, &["storage", "capture"]), "storage.capture", why);
    }
}

fn admin(config: &Config, root: &Node, warnings: &mut Complaints) {
    let admin = &config.server.admin;
    let open_at = place(root, &["server", "admin", "open"]);
    if admin.open && !admin.token.is_empty() {
        warnings.add(open_at, "server.admin.open", "lets everyone manage luner without the token that is set");
    } else if admin.open && !config.server.listen.is_loopback() {
        warnings.add(open_at, "server.admin.open", "everyone who reaches the port can manage luner");
    }
    let mut seen: Vec<u8> = admin.token.expose().bytes().collect();
    seen.sort_unstable();
    seen.dedup();
    if !admin.token.is_empty() && seen.len() < TOKEN_VARIETY_MIN {
        let at = place(root, &["server", "admin", "token"]);
        warnings.add(at, "server.admin.token", "looks easy to guess; make one with: openssl rand -hex 24");
    }
}

/// Complains about every text that stood before; `message` is followed by the first one's line.
fn unique<'n>(named: impl Iterator<Item = (String, &'n Node)>, message: &str, complaints: &mut Complaints) {
    let mut first = std::collections::HashMap::new();
    for (path, node) in named {
        let Some(text) = node.text().filter(|text| !text.is_empty()) else {
            continue;
        };
        match first.get(text) {
            Some(line) => complaints.add(node.at, &path, format!("{message} {line}")),
            None => {
                first.insert(text, node.at.line);
            }
        }
    }
}

/// The place of a key, or of the nearest thing above it that the file has.
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

/// Names that stand in the file as such, and may thus be suggested in a message.
fn literal_names(providers: &[Node]) -> Vec<String> {
    let names = providers.iter().filter_map(|provider| provider.get("name")?.scalar());
    names.filter(|name| name.written.is_none()).map(|name| name.text.to_string()).collect()
}

/// The provider's models; `None` when one of them is in doubt.
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

/// Arbitrary: sixteen random bytes, even in hexadecimal, have fewer distinct characters practically never.
const TOKEN_VARIETY_MIN: usize = 6;
