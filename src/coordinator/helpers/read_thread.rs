//! Reads the store where the coordinator must not wait: a helper thread with its own connection answers one question after
//! another, straight to the caller. The thread starts with the first question and ends with the store. It never holds up a
//! shard or the coordinator: the queue is bounded, and a question that finds it full is refused at once.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::thread;

use crate::clock::Clock;
use crate::coordinator::store::StoreError;
use crate::coordinator::store::reader::Reader;
use crate::link::ApiAnswer;

/// Most questions that may wait. Arbitrary: more than all pages of a few consoles ask at once. A question takes two seconds at
/// most, so that even the last one is answered before its caller gives up.
const QUESTIONS_MAX: usize = 64;

/// Niceness of threads that read for a person at a screen. Arbitrary: a tenth of a shard's weight.
const NICE: i32 = 10;

/// Makes an answer from a reader, or from the reason why there is none.
pub(crate) type Question = Box<dyn FnOnce(Result<&Reader, NoReader>) -> ApiAnswer + Send>;

/// Why there is no reader.
#[derive(Debug)]
pub(crate) enum NoReader {
    /// There is no store.
    Off,
    /// Too many questions wait, or no thread could be started.
    Busy,
    /// The file cannot be opened.
    Store(Box<StoreError>),
}

/// Handle of the thread.
pub(crate) struct ReadThread {
    /// `None` without a store.
    path: Option<PathBuf>,
    clock: Clock,
    /// `None` before the first question.
    thread: Option<flume::Sender<(Question, flume::Sender<ApiAnswer>)>>,
}

impl ReadThread {
    /// A handle for the file at `path`, which a store has migrated already.
    pub(crate) fn new(path: Option<&Path>, clock: Clock) -> ReadThread {
        ReadThread { path: path.map(Path::to_owned), clock, thread: None }
    }

    /// The file, for an export that opens it itself.
    pub(crate) fn path(&self) -> Option<&Path> {
        self.path.as_deref()
    }

    /// Sends the answer to a question to `reply`. Without a reader, answers at once.
    pub(crate) fn ask(&mut self, question: Question, reply: flume::Sender<ApiAnswer>) {
        let Err((refused, question)) = self.queue(question, &reply) else { return };
        // An error means that the caller has left.
        let _ = reply.try_send(question(Err(refused)));
    }

    fn queue(&mut self, question: Question, reply: &flume::Sender<ApiAnswer>) -> Result<(), (NoReader, Question)> {
        let Some(path) = &self.path else { return Err((NoReader::Off, question)) };
        if self.thread.is_none() {
            match start(path.clone(), self.clock) {
                Ok(thread) => self.thread = Some(thread),
                Err(error) => {
                    tracing::error!(%error, "could not start the thread that reads the storage");
                    return Err((NoReader::Busy, question));
                }
            }
        }
        let Some(thread) = &self.thread else { return Err((NoReader::Busy, question)) };
        thread.try_send((question, reply.clone())).map_err(|refused| (NoReader::Busy, refused.into_inner().0))
    }
}

fn start(path: PathBuf, clock: Clock) -> io::Result<flume::Sender<(Question, flume::Sender<ApiAnswer>)>> {
    let (questions, asked) = flume::bounded::<(Question, flume::Sender<ApiAnswer>)>(QUESTIONS_MAX);
    thread::Builder::new().name("reader".into()).spawn(move || {
        give_way();
        let mut open = None;
        for (question, reply) in asked {
            // The caller has left.
            if reply.is_disconnected() {
                continue;
            }
            let answer = match opened(&mut open, &path, clock) {
                Ok(reader) => question(Ok(reader)),
                Err(error) => question(Err(NoReader::Store(Box::new(error)))),
            };
            let _ = reply.try_send(answer);
        }
    })?;
    Ok(questions)
}

/// Makes the scheduler prefer shards to the calling thread, if the system permits. Counting 200,000 traces took a core for
/// 40 ms, and delayed the requests of the shard on that core.
pub(crate) fn give_way() {
    // On Linux this sets the thread's own niceness, unlike in POSIX (setpriority(2)).
    let _ = rustix::process::setpriority_process(None, NICE);
}

/// Returns the reader of the file that is at the path now. A backup may have replaced the file since the last question.
fn opened<'o>(open: &'o mut Option<(Reader, [u64; 2])>, path: &Path, clock: Clock) -> Result<&'o Reader, StoreError> {
    let identity = fs::metadata(path).map(|file| [file.dev(), file.ino()]).unwrap_or_default();
    let reader = match open.take().filter(|(_, of)| *of == identity) {
        Some(open) => open,
        None => (Reader::open(path, clock)?, identity),
    };
    Ok(&open.insert(reader).0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::coordinator::store::Store;

    fn word(word: &'static str) -> ApiAnswer {
        ApiAnswer { status: 200, content_type: word, headers: Vec::new(), body: Vec::new(), stream: None }
    }

    /// Answers `there` if there is a reader, else the reason.
    fn question() -> Question {
        Box::new(|reader| {
            word(match reader {
                Ok(_) => "there",
                Err(NoReader::Off) => "off",
                Err(NoReader::Busy) => "busy",
                Err(NoReader::Store(_)) => "broken",
            })
        })
    }

    #[test]
    fn give_way_affects_the_calling_thread_only() {
        let nice = || rustix::process::getpriority_process(None).unwrap();
        let before = nice();
        let within = thread::spawn(move || {
            give_way();
            nice()
        });
        assert_eq!(within.join().unwrap(), NICE);
        assert_eq!(nice(), before);
    }

    fn ask(read_thread: &mut ReadThread) -> flume::Receiver<ApiAnswer> {
        let (reply, answer) = flume::bounded(1);
        read_thread.ask(question(), reply);
        answer
    }

    fn answer(read_thread: &mut ReadThread) -> &'static str {
        ask(read_thread).recv().unwrap().content_type
    }

    #[test]
    fn question_without_a_store_is_answered_with_off() {
        assert_eq!(answer(&mut ReadThread::new(None, Clock::start())), "off");
    }

    #[test]
    fn file_that_is_moved_and_comes_back_is_read_again() {
        let folder = tempfile::tempdir().unwrap();
        let [path, aside] = ["luner.db", "aside.db"].map(|name| folder.path().join(name));
        drop(Store::open(&path, 0).unwrap());
        let mut read_thread = ReadThread::new(Some(&path), Clock::start());
        assert_eq!(answer(&mut read_thread), "there");
        std::fs::rename(&path, &aside).unwrap();
        assert_eq!(answer(&mut read_thread), "broken");
        std::fs::rename(&aside, &path).unwrap();
        assert_eq!(answer(&mut read_thread), "there");
    }

    #[test]
    fn full_queue_refuses_at_once_and_gone_callers_are_skipped() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("luner.db");
        drop(Store::open(&path, 0).unwrap());
        let mut read_thread = ReadThread::new(Some(&path), Clock::start());
        let (begun, has_begun) = flume::bounded(1);
        let (go_on, waits) = flume::bounded::<()>(0);
        let (reply, slow) = flume::bounded(1);
        read_thread.ask(
            Box::new(move |_| {
                begun.send(()).unwrap();
                let _ = waits.recv();
                word("slow")
            }),
            reply,
        );
        has_begun.recv().unwrap();
        let (reply, _) = flume::bounded(1);
        read_thread.ask(Box::new(|_| panic!("the caller has left")), reply);
        let queued: Vec<_> = (1..QUESTIONS_MAX).map(|_| ask(&mut read_thread)).collect();
        assert_eq!(answer(&mut read_thread), "busy");
        drop(go_on);
        assert_eq!(slow.recv().unwrap().content_type, "slow");
        assert!(queued.into_iter().all(|answer| answer.recv().unwrap().content_type == "there"));
    }
}
