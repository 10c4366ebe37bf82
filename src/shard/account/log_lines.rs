//! Limits the log lines about failed requests. Owned by one shard.

use crate::clock::Now;

/// Log lines per second and shard about requests that failed; beyond that, only their number is logged. A line costs as much
/// as a refusal, and a caller who is refused over and over must not be able to fill a disk. Arbitrary.
const LINES_MAX: u32 = 100;

/// Decides which failed requests get a log line.
#[derive(Default)]
pub(crate) struct LogLines {
    second: u64,
    lines: u32,
    suppressed: u64,
}

impl LogLines {
    /// Starts a new second if one has begun, and logs how many lines the last one suppressed. The shard's sweep calls it too,
    /// because the last of many refusals may be followed by none.
    pub(crate) fn sweep(&mut self, now: Now) {
        let second = now.mono_ms() / 1_000;
        if second != self.second {
            (self.second, self.lines) = (second, 0);
            let suppressed = std::mem::take(&mut self.suppressed);
            if suppressed > 0 {
                tracing::warn!(requests = suppressed, "request log lines suppressed");
            }
        }
    }

    /// Whether one more line may be logged. Counts it.
    pub(crate) fn admit(&mut self, now: Now) -> bool {
        self.sweep(now);
        let admitted = self.lines < LINES_MAX;
        self.lines += u32::from(admitted);
        self.suppressed += u64::from(!admitted);
        admitted
    }
}
