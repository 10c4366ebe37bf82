//! Questions to the store that the coordinator must not wait for: a helper thread with a connection of its own answers them,
//! one after the other, straight to whoever asked. The thread starts with the first question and ends with the store. It
//! never holds a shard or the coordinator up: the queue is bounded, and what finds it full is refused at once.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::thread;

use crate::clock::Clock;
use crate::coordinator::store::StoreError;
use crate::coordinator::store::reader::Reader;
use crate::link::ApiAnswer;

/// Questions that may wait. Arbitrary: more than all pages of some consoles ask at once, and at two seconds each at most
/// the last of them has an answer before anyone gave up.
const QUESTIONS_MAX: usize = 64;

/// The niceness of threads that read for someone who waits at a screen. Arbitrary: a tenth of a shard's weight.
const NICE: i32 = 10;

/// What is to be found out; it makes the answer. Of a reader, or of why there is none.
pub(crate) type Question = Box<dyn FnOnce(Result<&Reader, NoReader>) -> ApiAnswer + Send>;

/// Why a question cannot be asked.
#[derive(Debug)]
pub(crate) enum NoReader {
    /// There is no store.
    Off,
    /// Too many others wait, or the machine gives no thread.
    Busy,
    /// The file cannot be opened.
    Store(Box<StoreError>),
}

/// The way to the thread.
pub(crate) struct ReadThread {
    /// `None` without a store.
    path: Option<PathBuf>,
    clock: Clock,
    /// `None` before the first question.
    thread: Option<flume::Sender<(Question, flume::Sender<ApiAnswer>)>>,
}

impl ReadThread {
    /// Of the file at `path`, which a store has brought up to date.
    pub(crate) fn new(path: Option<&Path>, clock: Clock) -> ReadThread {
        ReadThread { path: path.map(Path::to_owned), clock, thread: None }
    }

    /// The file, for those who open it themselves.
    pub(crate) fn path(&self) -> Option<&Path> {
        self.path.as_deref()
    }

    /// Has a question answered to `reply`, at once where that cannot be done.
    pub(crate) fn ask(&mut self, question: Question, reply: flume::Sender<ApiAnswer>) {
        let Err((refused, question)) = self.queue(question, &reply) else { return };
        // The caller may have left.
        let _ = reply.try_send(question(Err(refused)));
    }

    fn queue(&mut self, question: Question, reply: &flume::Sender<ApiAnswer>) -> Result<(), (NoReader, Question)> {
        let Some(path) = &self.path else { return Err((NoReader::Off, question)) };
        if self.thread.is_none() {
            match start(path.clone(), self.clock) {
                Ok(thread) => self.thread = Some(thread),
                Err(error) => {
                    tracing::error!(%error, "no thread for questions to the storage");
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
            // Nobody waits for it any more.
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

/// Makes the scheduler prefer shards to the calling thread, where it may be asked to: a question that counts 200,000 traces
/// took a core for 40 ms, and with it the requests of whoever shares that core.
pub(crate) fn give_way() {
    // On Linux a thread's own affair, whatever POSIX says (setpriority(2)).
    let _ = rustix::process::setpriority_process(None, NICE);
}

/// The reader of the file that stands at the path now: another one may have been put there, as a backup is.
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

    /// Answers `there` where there is a reader, else why not.
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
    fn who_gives_way_does_so_alone() {
        let nice = || rustix::process::getpriority_process(None).unwrap();
        let before = nice();
        let within = thread::spawn(move || {
            give_way();
            nice()
        });
        assert_eq!(within.join().unwrap(), NICE);
        assert_eq!(nice(), before);
    }

    fn ask(reading: &mut ReadThread) -> flume::Receiver<ApiAnswer> {
        let (reply, answer) = flume::bounded(1);
        reading.ask(question(), reply);
        answer
    }

    fn answer(reading: &mut ReadThread) -> &'static str {
        ask(reading).recv().unwrap().content_type
    }

    #[test]
    fn without_a_store_the_answer_is_that_it_is_off() {
        assert_eq!(answer(&mut ReadThread::new(None, Clock::start())), "off");
    }

    #[test]
    fn a_file_that_is_moved_and_comes_back_is_found_again() {
        let folder = tempfile::tempdir().unwrap();
        let [path, aside] = ["luner.db", "aside.db"].map(|name| folder.path().join(name));
        drop(Store::open(&path, 0).unwrap());
        let mut reading = ReadThread::new(Some(&path), Clock::start());
        assert_eq!(answer(&mut reading), "there");
        std::fs::rename(&path, &aside).unwrap();
        assert_eq!(answer(&mut reading), "broken");
        std::fs::rename(&aside, &path).unwrap();
        assert_eq!(answer(&mut reading), "there");
    }

    #[test]
    fn a_full_queue_refuses_at_once_and_who_left_is_passed_over() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("luner.db");
        drop(Store::open(&path, 0).unwrap());
        let mut reading = ReadThread::new(Some(&path), Clock::start());
        let (begun, has_begun) = flume::bounded(1);
        let (go_on, waits) = flume::bounded::<()>(0);
        let (reply, slow) = flume::bounded(1);
        reading.ask(
            Box::new(move |_| {
                begun.send(()).unwrap();
                let _ = waits.recv();
                word("slow")
            }),
            reply,
        );
        has_begun.recv().unwrap();
        let (reply, _) = flume::bounded(1);
        reading.ask(Box::new(|_| panic!("nobody waits for this")), reply);
        let queued: Vec<_> = (1..QUESTIONS_MAX).map(|_| ask(&mut reading)).collect();
        assert_eq!(answer(&mut reading), "busy");
        drop(go_on);
        assert_eq!(slow.recv().unwrap().content_type, "slow");
        assert!(queued.into_iter().all(|answer| answer.recv().unwrap().content_type == "there"));
    }
}
