//! Notices that the configuration file has other content than before, however that came about: written in place, replaced by
//! rename, or behind a symbolic link that was swapped (Kubernetes). Runs on a helper thread of its own. It never parses the
//! file and keeps nothing of it but a hash.
//!
//! The kernel tells what happens in the folders on the way to the file. That only wakes the thread; what counts is the content,
//! read once the folders are quiet. A slow poll finds what the kernel did not tell: network filesystems, no watches left,
//! an overflow.

use std::collections::HashMap;
use std::ffi::OsString;
use std::fs::{self, File};
use std::hash::{DefaultHasher, Hasher};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use notify::event::{AccessKind, AccessMode};
use notify::{EventKind, RecommendedWatcher, RecursiveMode, Watcher as _};
use zeroize::Zeroizing;

use crate::clock::Clock;

#[cfg(test)]
mod tests;

/// A folder that is never quiet is looked at after so many debounces: 2 s with the usual 200 ms.
const DEBOUNCES_MAX: u32 = 10;
/// As many as the kernel follows (path_resolution(7)).
const LINKS_MAX: usize = 40;
/// What is hashed; a larger file is refused by `config` anyway.
const FILE_BYTES_MAX: u64 = (1 << 20) + 1;
/// The usual size of a configuration, and more: reading does not reallocate and leave copies of literal keys behind.
const FILE_BYTES_USUAL: usize = 64 << 10;
/// The thread reads a file and resolves links; notify's own thread has the default.
const STACK_BYTES: usize = 256 * 1024;

/// The file has other content than when it was last told of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Changed {
    /// See [`bytes_hash`].
    pub bytes_hash: u64,
}

/// Watches until it is dropped.
#[derive(Debug)]
pub struct Watcher {
    stop: Arc<AtomicBool>,
    wake: flume::Sender<()>,
    polls_only: Option<String>,
}

/// Starts to watch. What is in the file at this moment counts as known: start before the file is read, and no change falls
/// in between. Looks every `poll` without being woken, and after `debounce` of quiet when woken.
///
/// `on_change` is called on the helper thread and may wait there; changes meanwhile are told of once, afterwards.
///
/// # Errors
/// The thread could not be started, or the working directory of a relative path is gone.
pub fn start(
    path: PathBuf,
    poll: Duration,
    debounce: Duration,
    on_change: Box<dyn Fn(Changed) + Send>,
) -> io::Result<Watcher> {
    let report = move |look| {
        if let Look::Changed(bytes_hash) = look {
            on_change(Changed { bytes_hash });
        }
    };
    start_with(&path, poll, debounce, Box::new(report), Notices::On)
}

impl Watcher {
    /// Why only the poll finds changes, if so; worth one line in the log.
    pub fn polls_only(&self) -> Option<&str> {
        self.polls_only.as_deref()
    }
}

impl Drop for Watcher {
    /// Tells the thread to end. It is not waited for: it may be in `on_change`, waiting for whoever drops this.
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        // A full channel wakes it as well.
        let _ = self.wake.try_send(());
    }
}

/// The hash that [`Changed`] carries, within one process.
pub fn bytes_hash(bytes: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    hasher.write(bytes);
    hasher.finish()
}

/// What a look at the file has found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Look {
    Changed(u64),
    Same,
    /// Missing, not readable, or no plain file. What was known stays known.
    Unreadable,
}

/// Whether the kernel is asked at all.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Notices {
    On,
    #[cfg_attr(not(test), expect(dead_code, reason = "tests look at the poll alone"))]
    Off,
}

fn start_with(
    path: &Path,
    poll: Duration,
    debounce: Duration,
    report: Box<dyn Fn(Look) + Send>,
    notices: Notices,
) -> io::Result<Watcher> {
    let path = std::path::absolute(path)?;
    let (wake, woken) = flume::bounded(1);
    let (folders, polls_only) = match notices {
        Notices::Off => (None, Some("switched off".to_owned())),
        Notices::On => match Folders::watch(&path, wake.clone()) {
            Ok(folders) => (Some(folders), None),
            Err(error) => (None, Some(error.to_string())),
        },
    };
    let known = read_hash(&path);
    let stop = Arc::new(AtomicBool::new(false));
    let follower = Follower { path, poll, debounce, report, folders, woken, stop: stop.clone(), known };
    thread::Builder::new().name("config watch".into()).stack_size(STACK_BYTES).spawn(move || follower.run())?;
    Ok(Watcher { stop, wake, polls_only })
}

/// The helper thread's state.
struct Follower {
    path: PathBuf,
    poll: Duration,
    debounce: Duration,
    report: Box<dyn Fn(Look) + Send>,
    folders: Option<Folders>,
    woken: flume::Receiver<()>,
    stop: Arc<AtomicBool>,
    known: Option<u64>,
}

impl Follower {
    fn run(mut self) {
        loop {
            let woken = self.woken.recv_timeout(self.poll).is_ok();
            if self.stopped() {
                return;
            }
            // What a poll finds may be half written, too.
            if woken || read_hash(&self.path).is_some_and(|hash| Some(hash) != self.known) {
                self.settle();
            }
            if self.stopped() {
                return;
            }
            // Before the look, so that whatever comes after it wakes the thread again.
            if let Some(folders) = &mut self.folders {
                folders.follow(&self.path);
            }
            let look = self.look();
            (self.report)(look);
        }
    }

    fn stopped(&self) -> bool {
        self.stop.load(Ordering::Acquire)
    }

    /// Waits until nothing has happened for one debounce, or [`DEBOUNCES_MAX`] of them have gone by.
    fn settle(&self) {
        let clock = Clock::start();
        let began = clock.now();
        let patience = self.debounce * DEBOUNCES_MAX;
        loop {
            let left = patience.saturating_sub(clock.now().since(began));
            if left.is_zero() || self.stopped() || self.woken.recv_timeout(self.debounce.min(left)).is_err() {
                return;
            }
        }
    }

    fn look(&mut self) -> Look {
        match read_hash(&self.path) {
            None => Look::Unreadable,
            found if found == self.known => Look::Same,
            Some(hash) => {
                self.known = Some(hash);
                Look::Changed(hash)
            }
        }
    }
}

/// None if there is no plain file that can be read. A pipe (`--config <(…)`) must not be read twice, or waited for.
fn read_hash(path: &Path) -> Option<u64> {
    if !fs::metadata(path).ok()?.is_file() {
        return None;
    }
    let mut bytes = Zeroizing::new(Vec::with_capacity(FILE_BYTES_USUAL));
    File::open(path).ok()?.take(FILE_BYTES_MAX).read_to_end(&mut bytes).ok()?;
    Some(bytes_hash(&bytes))
}

/// The folders that the kernel watches: those of the file and of every symbolic link on the way to it.
struct Folders {
    watcher: RecommendedWatcher,
    /// By path, with device and inode: a folder that was replaced needs a new watch.
    watched: HashMap<PathBuf, (u64, u64)>,
}

impl Folders {
    /// Errors if not even the folder of `path` itself can be watched for want of the kernel's resources.
    fn watch(path: &Path, wake: flume::Sender<()>) -> notify::Result<Folders> {
        let watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
            // An error is a reason to look, an overflow comes as an event of another kind.
            if event.as_ref().is_ok_and(|event| only_reads(event.kind)) {
                return;
            }
            // A full channel wakes the thread as well.
            let _ = wake.try_send(());
        })?;
        let mut folders = Folders { watcher, watched: HashMap::new() };
        match folders.follow(path) {
            Some(error) if matches!(error.kind, notify::ErrorKind::MaxFilesWatch) => Err(error),
            _ => Ok(folders),
        }
    }

    /// Watches what is on the way to `path` now, and no more what was. Gives the last error; a folder that does not exist yet
    /// is tried again next time.
    fn follow(&mut self, path: &Path) -> Option<notify::Error> {
        let mut wanted = HashMap::new();
        for stop in way(path) {
            let folder = stop.parent().unwrap_or(Path::new("/"));
            if let Ok(metadata) = fs::metadata(folder) {
                wanted.insert(folder.to_owned(), (metadata.dev(), metadata.ino()));
            }
        }
        let Folders { watcher, watched } = self;
        watched.retain(|folder, identity| {
            let stays = wanted.get(folder) == Some(identity);
            if !stays {
                // The kernel may have dropped it already, with the folder.
                let _ = watcher.unwatch(folder);
            }
            stays
        });
        let mut failed = None;
        for (folder, identity) in wanted {
            // Those that are watched as well: a folder that was deleted and made again may have its old inode, but no watch
            // any more. For the others it changes nothing.
            match watcher.watch(&folder, RecursiveMode::NonRecursive) {
                Ok(()) => _ = watched.insert(folder, identity),
                Err(error) => failed = Some(error),
            }
        }
        failed
    }
}

/// Opening and reading, by this thread among others, changes nothing.
fn only_reads(kind: EventKind) -> bool {
    matches!(kind, EventKind::Access(access) if access != AccessKind::Close(AccessMode::Write))
}

/// Every symbolic link that is followed from `path` to its file, and the file, whether it exists or not: what can be replaced.
fn way(path: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut ahead = parts(path);
    let mut at = PathBuf::from("/");
    while let Some(part) = ahead.pop() {
        if part == ".." {
            at.pop();
            continue;
        }
        let next = at.join(&part);
        match fs::read_link(&next) {
            Ok(target) if found.len() < LINKS_MAX => {
                if target.is_absolute() {
                    at = PathBuf::from("/");
                }
                ahead.extend(parts(&target));
                found.push(next);
            }
            _ => at = next,
        }
    }
    found.push(at);
    found
}

/// The names in a path, last first.
fn parts(path: &Path) -> Vec<OsString> {
    let named = |part: Component<'_>| match part {
        Component::Normal(_) | Component::ParentDir => Some(part.as_os_str().to_owned()),
        Component::Prefix(_) | Component::RootDir | Component::CurDir => None,
    };
    path.components().rev().filter_map(named).collect()
}
