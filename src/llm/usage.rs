//! Tokens of an answer, counted the same way for every vendor.
//! A dialect reads what the provider states into [`UsageReport`]s and declares how that vendor counts; everything
//! above works with [`Usage`]. No figure is believed: what is missing, absurd or contradictory is clamped and flagged.

#[cfg(test)]
mod tests;

/// Tokens of one answer, or of several added up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// All input tokens. Those read from or written to the provider's cache are included, as in OpenTelemetry's
    /// `gen_ai.usage.input_tokens`.
    pub input: u64,
    /// The part of `input` that the provider had in its cache.
    pub cache_read: u64,
    /// The part of `input` that the provider stored in its cache.
    pub cache_write: u64,
    /// All generated tokens, those spent on reasoning included.
    pub output: u64,
    /// The part of `output` that was spent on reasoning.
    pub reasoning: u64,
    /// At least `input` + `output`.
    pub total: u64,
    /// The provider's figures were incomplete, contradicted each other, or one of them was not a token count.
    pub flawed: bool,
}

impl Usage {
    /// Estimates the usage of an answer whose provider reported none: four bytes a token, which is OpenAI's rule of
    /// thumb for English text.
    pub fn estimated(input_bytes: usize, output_chars: usize) -> Usage {
        let tokens = |text: usize| (text as u64).div_ceil(4);
        let (input, output) = (tokens(input_bytes), tokens(output_chars));
        Usage { input, output, total: input + output, flawed: true, ..Usage::default() }
    }

    /// Adds another request's tokens. The sum is flawed if either part is.
    pub fn add(&mut self, other: &Usage) {
        self.input = self.input.saturating_add(other.input);
        self.cache_read = self.cache_read.saturating_add(other.cache_read);
        self.cache_write = self.cache_write.saturating_add(other.cache_write);
        self.output = self.output.saturating_add(other.output);
        self.reasoning = self.reasoning.saturating_add(other.reasoning);
        self.total = self.total.saturating_add(other.total);
        self.flawed |= other.flawed;
    }
}

/// The figures of one report, as the provider states them and under its own rules. `None` where it states nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct UsageReport {
    pub input: Option<u64>,
    pub cache_read: Option<u64>,
    pub cache_write: Option<u64>,
    pub output: Option<u64>,
    pub reasoning: Option<u64>,
    pub total: Option<u64>,
    /// A figure was not a token count, or the report could not be read.
    pub flawed: bool,
}

/// How a vendor counts tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counting {
    /// How tokens of cache reads and writes are counted: inside the input figure (OpenAI, Gemini) or beside it
    /// (Anthropic, Bedrock).
    pub cache: PartCounting,
    /// How tokens of reasoning are counted: inside the output figure (OpenAI, Anthropic) or beside it (Gemini).
    pub reasoning: PartCounting,
    pub later_report: LaterReport,
}

/// How the tokens of a part relate to the figure of the whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PartCounting {
    /// The figure includes the part.
    Inside,
    /// The part comes on top of that figure.
    OnTop,
}

/// The meaning of a later report in the same stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LaterReport {
    /// It replaces the earlier one: each report is complete.
    Replaces,
    /// It completes the earlier one, as Anthropic's `message_delta` completes `message_start`. Figures are cumulative,
    /// so the larger one counts: a figure that is left out or sent as 0 does not erase an earlier one.
    Completes,
}

/// The reports of one answer, merged by the vendor's rules.
#[derive(Clone, Copy, Debug)]
pub struct UsageReports {
    counting: Counting,
    merged: Option<UsageReport>,
}

impl UsageReports {
    pub fn new(counting: Counting) -> UsageReports {
        UsageReports { counting, merged: None }
    }

    /// Merges the next report of the answer.
    pub fn add(&mut self, report: UsageReport) {
        self.merged = Some(match (self.merged, self.counting.later_report) {
            (Some(earlier), LaterReport::Completes) => earlier.completed_by(report),
            _ => report,
        });
    }

    /// The usage so far. `None` if the provider has reported nothing.
    pub fn settle(&self) -> Option<Usage> {
        self.merged.map(|report| report.settle(&self.counting))
    }
}

impl UsageReport {
    /// A report that could not be read.
    pub const UNREADABLE: UsageReport = UsageReport {
        input: None,
        cache_read: None,
        cache_write: None,
        output: None,
        reasoning: None,
        total: None,
        flawed: true,
    };

    fn completed_by(self, later: UsageReport) -> UsageReport {
        // `None` is less than any figure.
        UsageReport {
            input: self.input.max(later.input),
            cache_read: self.cache_read.max(later.cache_read),
            cache_write: self.cache_write.max(later.cache_write),
            output: self.output.max(later.output),
            reasoning: self.reasoning.max(later.reasoning),
            total: self.total.max(later.total),
            flawed: self.flawed || later.flawed,
        }
    }

    /// Counts the figures luner's way, fills in what is missing, and makes the parts fit their wholes.
    pub fn settle(self, counting: &Counting) -> Usage {
        let [stated_read, stated_write, stated_reasoning] =
            [self.cache_read, self.cache_write, self.reasoning].map(Option::unwrap_or_default);
        let cached = stated_read.saturating_add(stated_write);
        let whole = |figure: Option<u64>, part: u64, counting: PartCounting| match counting {
            PartCounting::Inside => figure,
            PartCounting::OnTop => figure.map(|figure| figure.saturating_add(part)),
        };
        let stated_input = whole(self.input, cached, counting.cache);
        let stated_output = whole(self.output, stated_reasoning, counting.reasoning);
        let mut flawed = self.flawed;
        let (input, output) = match (stated_input, stated_output, self.total) {
            (Some(input), Some(output), _) => (input, output),
            // Embeddings generate no tokens and do not say so.
            (Some(input), None, Some(total)) if input == total => (input, 0),
            (input, output, total) => {
                flawed = true;
                let rest = |known: u64| total.unwrap_or(0).saturating_sub(known);
                let input_or_rest = input.unwrap_or_else(|| rest(output.unwrap_or(0)));
                (input_or_rest, output.unwrap_or_else(|| rest(input_or_rest)))
            }
        };
        let sum = input.saturating_add(output);
        let total = self.total.unwrap_or(sum).max(sum);
        let cache_read = stated_read.min(input);
        let cache_write = stated_write.min(input - cache_read);
        let reasoning = stated_reasoning.min(output);
        flawed |= self.total.is_some_and(|stated| stated != sum);
        flawed |= (stated_read, stated_write, stated_reasoning) != (cache_read, cache_write, reasoning);
        Usage { input, cache_read, cache_write, output, reasoning, total, flawed }
    }
}
