//! Settings of one request: its fault, delays and length. They come from four sources, listed by precedence: the fault
//! that the control endpoint armed, the request's headers, the suffix of its model name, the mock's options. Pure,
//! except for [`ArmedFault`], which all connection threads share.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crate::fault::{BadFault, Fault};

/// Settings of a request. A `None` leaves the setting to the next source.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    pub fault: Option<Fault>,
    pub latency: Option<Duration>,
    pub chunk_delay: Option<Duration>,
    /// Number of words, and so of deltas.
    pub words: Option<u32>,
    /// Cached prompt tokens that the usage reports.
    pub cached_tokens: Option<u64>,
}

impl Settings {
    /// Parses the suffix of a model name: `gpt-4o+fault=reset-before+words=8`.
    pub fn from_model(model: &str) -> Result<Self, BadFault> {
        let mut settings = Self::default();
        for setting in model.split('+').skip(1) {
            let (name, value) = setting.split_once('=').unwrap_or((setting, ""));
            settings.set(name, value)?;
        }
        Ok(settings)
    }

    /// Sets `fault`, `latency`, `chunk-delay` (both in ms), `words` or `cached`. Headers have the same names after
    /// `x-mock-`.
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

    /// These settings, with those of `next` where they are `None`.
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
    value.parse().map_err(|_| BadFault(format!("{name} needs a number, got {value:?}")))
}

fn millis(name: &str, value: &str) -> Result<Duration, BadFault> {
    number(name, value).map(Duration::from_millis)
}

/// A fault for the next few requests of any client.
#[derive(Debug, Default)]
pub struct ArmedFault {
    /// Number of requests that still get the fault. Every request reads it, so it is outside the lock.
    left: AtomicUsize,
    fault: Mutex<Option<Fault>>,
}

impl ArmedFault {
    /// Gives the next `times` requests this fault.
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

    /// The armed fault, for one request.
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
    fn settings_are_parsed_from_the_model_name() {
        let settings = Settings::from_model("gpt-4o+fault=reset-mid-stream=5+words=9+latency=20").unwrap();
        assert_eq!(settings.fault, Some(Fault::ResetMidStream(5)));
        assert_eq!((settings.words, settings.latency), (Some(9), Some(Duration::from_millis(20))));
        assert!(Settings::from_model("gpt-4o").unwrap().is_empty());
        assert!(Settings::from_model("gpt-4o+fault=nope").is_err());
    }

    #[test]
    fn armed_fault_is_given_to_the_next_requests_only() {
        let armed = ArmedFault::default();
        armed.arm(Fault::Hang, 2);
        assert_eq!([armed.take(), armed.take(), armed.take()], [Some(Fault::Hang), Some(Fault::Hang), None]);
    }
}
