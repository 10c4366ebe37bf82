//! Watches the configuration file for new content, however it got there: written in place, replaced by a rename, or behind a
//! symbolic link that was swapped (Kubernetes). Runs on a helper thread of its own. It never parses the file and keeps only a
//! hash of it.
//!
//! The kernel reports events in the folders on the path to the file. They only wake the thread, which then reads the content
//! once the folders are quiet. A slow poll finds changes that the kernel does not report: on network filesystems, without a
//! free watch, after an overflow.

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

/// The file is read after this many debounces even if its folder is never quiet: 2 s with the usual 200 ms.
const DEBOUNCES_MAX: u32 = 10;
/// Symbolic links to follow, as many as the kernel does (path_resolution(7)).
const LINKS_MAX: usize = 40;
/// Bytes that are hashed; `config` refuses a larger file anyway.
const FILE_BYTES_MAX: u64 = (1 << 20) + 1;
/// More than the usual size of a configuration, so that reading does not reallocate and leave copies of literal keys behind.
const FILE_BYTES_USUAL: usize = 64 << 10;
/// Enough to read a file and resolve links; notify's own thread has the default size.
const STACK_BYTES: usize = 256 * 1024;

/// The file has other content than at the last report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Changed {
    /// See [`bytes_hash`].
    pub bytes_hash: u64,
}

/// Handle of the watching thread, which ends when this is dropped.
#[derive(Debug)]
pub struct Watcher {
    stop: Arc<AtomicBool>,
    wake: flume::Sender<()>,
    polls_only: Option<String>,
}

/// Starts to watch. The content at this moment counts as known, so start before reading the file to miss no change. Checks the
/// file every `poll`, and after an event once nothing has happened for `debounce`.
///
/// `on_change` is called on the helper thread and may block; changes meanwhile are reported once, afterwards.
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
    /// The reason why only the poll finds changes, if that is so. Worth a line in the log.
    pub fn polls_only(&self) -> Option<&str> {
        self.polls_only.as_deref()
    }
}

impl Drop for Watcher {
    /// Tells the thread to end, without waiting: it may be in `on_change`, waiting for the thread that drops this.
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        // A full channel wakes the thread, too.
        let _ = self.wake.try_send(());
    }
}

/// The hash that [`Changed`] carries, within one process.
pub fn bytes_hash(bytes: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    hasher.write(bytes);
    hasher.finish()
}

/// The result of checking the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Look {
    Changed(u64),
    Same,
    /// The file is missing, not readable, or not a plain file. The known content stays the known one.
    Unreadable,
}

/// Whether to use the kernel's events.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Notices {
    On,
    #[cfg_attr(not(test), expect(dead_code, reason = "for tests of the poll alone"))]
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
    let watching = WatchThread { path, poll, debounce, report, folders, woken, stop: stop.clone(), known };
    thread::Builder::new().name("config watch".into()).stack_size(STACK_BYTES).spawn(move || watching.run())?;
    Ok(Watcher { stop, wake, polls_only })
}

/// The helper thread's state.
struct WatchThread {
    path: PathBuf,
    poll: Duration,
    debounce: Duration,
    report: Box<dyn Fn(Look) + Send>,
    folders: Option<Folders>,
    woken: flume::Receiver<()>,
    stop: Arc<AtomicBool>,
    known: Option<u64>,
}

impl WatchThread {
    fn run(mut self) {
        loop {
            let woken = self.woken.recv_timeout(self.poll).is_ok();
            if self.stopped() {
                return;
            }
            // A poll may find a file that is half written.
            if woken || read_hash(&self.path).is_some_and(|hash| Some(hash) != self.known) {
                self.settle();
            }
            if self.stopped() {
                return;
            }
            // Before the check, so that a later change wakes the thread again.
            if let Some(folders) = &mut self.folders {
                folders.update(&self.path);
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

/// Returns `None` unless it is a plain file that can be read. A pipe (`--config <(…)`) cannot be read twice and could block.
fn read_hash(path: &Path) -> Option<u64> {
    if !fs::metadata(path).ok()?.is_file() {
        return None;
    }
    let mut bytes = Zeroizing::new(Vec::with_capacity(FILE_BYTES_USUAL));
    File::open(path).ok()?.take(FILE_BYTES_MAX).read_to_end(&mut bytes).ok()?;
    Some(bytes_hash(&bytes))
}

/// The folders that the kernel watches: those of the file and of every symbolic link on the path to it.
struct Folders {
    watcher: RecommendedWatcher,
    /// Device and inode by path. A folder that was replaced needs a new watch.
    watched: HashMap<PathBuf, (u64, u64)>,
}

impl Folders {
    /// Fails if the kernel has no watch left for the folder of `path`.
    fn watch(path: &Path, wake: flume::Sender<()>) -> notify::Result<Folders> {
        let watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
            // An error is a reason to check the file. An overflow is reported as an event of another kind.
            if event.as_ref().is_ok_and(|event| only_reads(event.kind)) {
                return;
            }
            // A full channel wakes the thread as well.
            let _ = wake.try_send(());
        })?;
        let mut folders = Folders { watcher, watched: HashMap::new() };
        match folders.update(path) {
            Some(error) if matches!(error.kind, notify::ErrorKind::MaxFilesWatch) => Err(error),
            _ => Ok(folders),
        }
    }

    /// Watches the folders that are on the path now, and stops watching the others. Returns the last error; a folder that does
    /// not exist yet is tried again next time.
    fn update(&mut self, path: &Path) -> Option<notify::Error> {
        let mut wanted = HashMap::new();
        for stop in links_and_file(path) {
            let folder = stop.parent().unwrap_or(Path::new("/"));
            if let Ok(metadata) = fs::metadata(folder) {
                wanted.insert(folder.to_owned(), (metadata.dev(), metadata.ino()));
            }
        }
        let Folders { watcher, watched } = self;
        watched.retain(|folder, identity| {
            let stays = wanted.get(folder) == Some(identity);
            if !stays {
                // The kernel may have removed the watch already, with the folder.
                let _ = watcher.unwatch(folder);
            }
            stays
        });
        let mut failed = None;
        for (folder, identity) in wanted {
            // Also for folders that are watched: one that was deleted and created again may have the old inode, but has no
            // watch any more. For the others this changes nothing.
            match watcher.watch(&folder, RecursiveMode::NonRecursive) {
                Ok(()) => _ = watched.insert(folder, identity),
                Err(error) => failed = Some(error),
            }
        }
        failed
    }
}

/// Returns true for opening and reading, which this thread does, too.
fn only_reads(kind: EventKind) -> bool {
    matches!(kind, EventKind::Access(access) if access != AccessKind::Close(AccessMode::Write))
}

/// Everything on the path that can be replaced: each symbolic link that is followed, and the file, whether it exists or not.
fn links_and_file(path: &Path) -> Vec<PathBuf> {
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

/// The names in a path, last one first.
fn parts(path: &Path) -> Vec<OsString> {
    let named = |part: Component<'_>| match part {
        Component::Normal(_) | Component::ParentDir => Some(part.as_os_str().to_owned()),
        Component::Prefix(_) | Component::RootDir | Component::CurDir => None,
    };
    path.components().rev().filter_map(named).collect()
}
