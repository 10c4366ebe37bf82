//! What one request was told to play: fault, delays, length. The same shape comes from four places, and the nearest
//! wins: armed by the control endpoint, the request's headers, a suffix of its model name, the mock's options.
//! Pure but for [`Armed`], which all connection threads share.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crate::fault::{BadFault, Fault};

/// Settings of a request; what is `None` is left to the next source.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Script {
    pub fault: Option<Fault>,
    pub latency: Option<Duration>,
    pub chunk_delay: Option<Duration>,
    /// Exactly so many words, hence deltas.
    pub words: Option<u32>,
    /// What the usage claims came from the provider's prompt cache.
    pub cached_tokens: Option<u64>,
}

impl Script {
    /// `gpt-4o+fault=reset-before+words=8`: settings behind the model's own name, each with a plus sign.
    pub fn from_model(model: &str) -> Result<Self, BadFault> {
        let mut script = Self::default();
        for setting in model.split('+').skip(1) {
            let (name, value) = setting.split_once('=').unwrap_or((setting, ""));
            script.set(name, value)?;
        }
        Ok(script)
    }

    /// Sets what is called `fault`, `latency`, `chunk-delay` (ms), `words` or `cached`: the names behind `x-mock-`.
    pub fn set(&mut self, name: &str, value: &str) -> Result<(), BadFault> {
        match name {
            "fault" => self.fault = Some(value.parse()?),
            "latency" => self.latency = Some(millis(name, value)?),
            "chunk-delay" => self.chunk_delay = Some(millis(name, value)?),
            "words" => self.words = Some(number(name, value)?),
            "cached" => self.cached_tokens = Some(number(name, value)?),
            _ => return Err(BadFault(format!("unknown setting {name:?}"))),
        }
        Ok(())
    }

    /// This, with `next` wherever this says nothing.
    pub fn or(self, next: &Self) -> Self {
        Self {
            fault: self.fault.or_else(|| next.fault.clone()),
            latency: self.latency.or(next.latency),
            chunk_delay: self.chunk_delay.or(next.chunk_delay),
            words: self.words.or(next.words),
            cached_tokens: self.cached_tokens.or(next.cached_tokens),
        }
    }

    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

fn number<T: std::str::FromStr>(name: &str, value: &str) -> Result<T, BadFault> {
    value.parse().map_err(|_| BadFault(format!("{name} wants a number, got {value:?}")))
}

fn millis(name: &str, value: &str) -> Result<Duration, BadFault> {
    number(name, value).map(Duration::from_millis)
}

/// A fault for the next few requests, whoever sends them.
#[derive(Debug, Default)]
pub struct Armed {
    /// Looked at by every request, so it stands outside the lock.
    left: AtomicUsize,
    fault: Mutex<Option<Fault>>,
}

impl Armed {
    /// The next `times` requests get `fault`.
    pub fn arm(&self, fault: Fault, times: usize) {
        let mut slot = crate::lock(&self.fault);
        *slot = Some(fault);
        self.left.store(times, Ordering::Release);
    }

    pub fn clear(&self) {
        self.left.store(0, Ordering::Release);
    }

    pub fn left(&self) -> usize {
        self.left.load(Ordering::Acquire)
    }

    /// Takes one turn of what is armed.
    pub fn take(&self) -> Option<Fault> {
        if self.left() == 0 {
            return None;
        }
        let slot = crate::lock(&self.fault);
        let left = self.left();
        self.left.store(left.saturating_sub(1), Ordering::Release);
        if left > 0 { slot.clone() } else { None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_stand_behind_the_model_name() {
        let script = Script::from_model("gpt-4o+fault=reset-mid-stream=5+words=9+latency=20").unwrap();
        assert_eq!(script.fault, Some(Fault::ResetMidStream(5)));
        assert_eq!((script.words, script.latency), (Some(9), Some(Duration::from_millis(20))));
        assert!(Script::from_model("gpt-4o").unwrap().is_empty());
        assert!(Script::from_model("gpt-4o+fault=nope").is_err());
    }

    #[test]
    fn an_armed_fault_runs_out() {
        let armed = Armed::default();
        armed.arm(Fault::Hang, 2);
        assert_eq!([armed.take(), armed.take(), armed.take()], [Some(Fault::Hang), Some(Fault::Hang), None]);
    }
}
