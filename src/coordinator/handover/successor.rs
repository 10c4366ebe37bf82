//! The process that is to go on, as the one that it replaces sees it: started, given the sockets, waited for, within bounds.
//! A helper thread waits; the coordinator owns the handle. A successor that does not come up leaves nothing behind.

use std::ffi::OsString;
use std::io::{self, BufRead, BufReader, Write};
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;
use std::{env, fs};

use super::{GO, PATIENCE, READY, STANDING, STOPPED, VARIABLE, sockets};
use crate::clock::Clock;
use crate::link::{Event, Succession};

/// A process that has closed its end of the line is about to end, and has so long to say how. Arbitrary.
const LAST_WORDS: Duration = Duration::from_secs(2);
/// How often it is looked whether it has.
const LOOK_AGAIN: Duration = Duration::from_millis(10);
/// What procfs appends to the path of a file that is gone.
const DELETED: &str = " (deleted)";
/// Variables that are about this process and not about the next.
const OWN_VARIABLES: [&str; 5] = ["LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES", "WATCHDOG_PID", VARIABLE];

/// How this process was started, so that another can be started in the same way.
#[derive(Clone, Debug)]
pub struct Launch {
    program: PathBuf,
    arguments: Vec<OsString>,
}

/// Why no other process can take over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoLaunch {
    #[error("a gateway whose configuration is no file cannot be started once more")]
    NoFile,
    #[error("a container ends with its first process: replace the container")]
    FirstProcess,
    #[error("it is not known what this process was started from")]
    Unknown,
}

impl Launch {
    /// To be asked at the start, before the file at that path is replaced.
    ///
    /// # Errors
    /// It is not known, or of no use.
    pub fn of_this_process() -> Result<Launch, NoLaunch> {
        if std::process::id() == 1 {
            return Err(NoLaunch::FirstProcess);
        }
        let mut arguments = env::args_os();
        let called = arguments.next();
        let program = program(called.map(PathBuf::from)).ok_or(NoLaunch::Unknown)?;
        Ok(Launch { program, arguments: arguments.collect() })
    }
}

/// The path by which it was called, links and all, so that a link that is switched leads to the new version; the file itself
/// where that leads elsewhere.
fn program(called: Option<PathBuf>) -> Option<PathBuf> {
    let running = fs::metadata("/proc/self/exe").ok();
    let is_it = |path: &Path| {
        let file = |of: fs::Metadata| (of.dev(), of.ino());
        running.as_ref().is_some_and(|running| fs::metadata(path).is_ok_and(|it| file(it) == file(running.clone())))
    };
    let called = called.and_then(|called| match called.components().count() {
        1 if !called.as_os_str().as_encoded_bytes().contains(&b'/') => {
            env::split_paths(&env::var_os("PATH")?).map(|folder| folder.join(&called)).find(|path| is_it(path))
        }
        _ => std::path::absolute(called).ok(),
    });
    called.filter(|path| is_it(path)).or_else(|| env::current_exe().ok().map(undeleted))
}

/// The path where a file was that has been replaced meanwhile.
fn undeleted(path: PathBuf) -> PathBuf {
    match path.to_str().and_then(|path| path.strip_suffix(DELETED)) {
        Some(before) if !path.exists() => before.into(),
        _ => path,
    }
}

/// A successor that is being started, or that has taken over.
#[derive(Debug)]
pub struct Successor {
    control: UnixStream,
    given_up: Arc<AtomicBool>,
}

impl Successor {
    /// Starts it. What becomes of it comes as [`Event::Succession`].
    ///
    /// # Errors
    /// There is no thread or no pair of sockets to be had.
    pub fn start(launch: Launch, sockets: Vec<TcpListener>, events: flume::Sender<Event>) -> io::Result<Successor> {
        let (ours, theirs) = UnixStream::pair()?;
        let (control, given_up) = (ours.try_clone()?, Arc::new(AtomicBool::new(false)));
        let known = given_up.clone();
        let work = move || {
            let told = bring_up(&launch, ours, theirs, &sockets, &events);
            let told = told.unwrap_or_else(|(reason, mut child)| {
                let patience = if known.load(Ordering::Acquire) { Duration::ZERO } else { LAST_WORDS };
                let how = child.as_mut().map(|child| end(child, patience));
                Succession::Failed([Some(reason), how].into_iter().flatten().collect::<Vec<_>>().join("; "))
            });
            let _ = events.send(Event::Succession(told));
        };
        thread::Builder::new().name("successor".into()).spawn(work)?;
        Ok(Successor { control, given_up })
    }

    /// Nothing changes here any more; it may read what there is.
    pub fn go(&mut self) {
        // Should it be gone, its helper tells.
        let _ = writeln!(self.control, "{GO}");
    }

    /// It alone accepts connections now.
    pub fn stopped(&mut self) {
        let _ = writeln!(self.control, "{STOPPED}");
    }

    /// Gives it up: its helper ends it at once, and tells.
    pub fn give_up(&self) {
        self.given_up.store(true, Ordering::Release);
        let _ = self.control.shutdown(std::net::Shutdown::Both);
    }
}

/// Starts it and waits until it is ready, or says why it is not.
fn bring_up(
    launch: &Launch,
    mut ours: UnixStream,
    theirs: UnixStream,
    sockets: &[TcpListener],
    events: &flume::Sender<Event>,
) -> Result<Succession, (String, Option<Child>)> {
    let mut command = Command::new(&launch.program);
    OWN_VARIABLES.iter().for_each(|name| _ = command.env_remove(name));
    command.args(&launch.arguments).env(VARIABLE, std::process::id().to_string());
    command.stdin(Stdio::from(OwnedFd::from(theirs)));
    let spawned = command.spawn();
    let child = spawned.map_err(|error| (format!("starting {}: {error}", launch.program.display()), None))?;
    // The command holds their end, too: with it this side would never see them leave.
    drop(command);
    let mut lead = || -> Result<(), String> {
        ours.set_write_timeout(Some(PATIENCE)).map_err(|error| error.to_string())?;
        sockets::send(&mut ours, sockets).map_err(|error| format!("handing the sockets over: {error}"))?;
        let (clock, mut lines) = (Clock::start(), BufReader::new(&ours));
        let started = clock.now();
        expect(&mut lines, STANDING, || PATIENCE.saturating_sub(clock.now().since(started)))?;
        let _ = events.send(Event::Succession(Succession::Standing));
        expect(&mut lines, READY, || PATIENCE.saturating_sub(clock.now().since(started)))
    };
    match lead() {
        Ok(()) => Ok(Succession::Ready { pid: child.id() }),
        Err(reason) => Err((reason, Some(child))),
    }
}

fn expect(lines: &mut BufReader<&UnixStream>, wanted: &str, left: impl Fn() -> Duration) -> Result<(), String> {
    let mut line = String::new();
    let in_time = Some(left()).filter(|left| !left.is_zero());
    let read = in_time.ok_or(io::Error::from(io::ErrorKind::TimedOut)).and_then(|left| {
        lines.get_ref().set_read_timeout(Some(left))?;
        lines.read_line(&mut line)
    });
    match read {
        Ok(0) => Err(LEFT.into()),
        Ok(_) if line.trim_end() == wanted => Ok(()),
        Ok(_) => Err(format!("it said {:?} where `{wanted}` was expected", line.trim_end())),
        Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {
            Err(format!("it was not {wanted} within {} s", PATIENCE.as_secs()))
        }
        Err(error) if error.kind() == io::ErrorKind::ConnectionReset => Err(LEFT.into()),
        Err(error) => Err(format!("waiting until it is {wanted}: {error}")),
    }
}

const LEFT: &str = "it left";

/// Makes sure that it is gone, and says how it ended.
fn end(child: &mut Child, patience: Duration) -> String {
    let (clock, mut status) = (Clock::start(), None);
    let started = clock.now();
    while status.is_none() && clock.now().since(started) < patience {
        status = child.try_wait().ok().flatten();
        if status.is_none() {
            thread::sleep(LOOK_AGAIN);
        }
    }
    if let Some(status) = status {
        return status.to_string();
    }
    let _ = child.kill();
    child.wait().map_or_else(|error| error.to_string(), |status| format!("ended by force, {status}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_replaced_file_is_looked_for_at_its_old_path() {
        assert_eq!(undeleted("/nowhere/luner (deleted)".into()), PathBuf::from("/nowhere/luner"));
        assert_eq!(undeleted("/nowhere/luner".into()), PathBuf::from("/nowhere/luner"));
        let folder = tempfile::tempdir().unwrap();
        let odd = folder.path().join("luner (deleted)");
        fs::write(&odd, "").unwrap();
        assert_eq!(undeleted(odd.clone()), odd, "a file of that very name");
    }

    #[test]
    fn a_link_stays_a_link_and_what_is_no_program_of_ours_is_passed_over() {
        let running = env::current_exe().unwrap();
        let folder = tempfile::tempdir().unwrap();
        let link = folder.path().join("current");
        std::os::unix::fs::symlink(&running, &link).unwrap();
        assert_eq!(program(Some(link.clone())), Some(link));
        assert_eq!(program(Some("/bin/sh".into())), Some(running.clone()));
        assert_eq!(program(None), Some(running));
    }
}
