// Formats every number, price, duration and time that the console shows.

const LOCALE = "en";
/** Stands for a missing value. */
export const NO_VALUE = "–";

const whole = new Intl.NumberFormat(LOCALE, { maximumFractionDigits: 0 });
const short = new Intl.NumberFormat(LOCALE, { notation: "compact", maximumSignificantDigits: 3 });
const cents = new Intl.NumberFormat(LOCALE, { minimumFractionDigits: 2, maximumFractionDigits: 2 });

type Maybe = number | null | undefined;

const missing = (value: Maybe): value is null | undefined =>
  value === null || value === undefined || Number.isNaN(value);

/** 34,186 */
export function count(value: Maybe): string {
  return missing(value) ? NO_VALUE : whole.format(value);
}

/** 342K; whole numbers below a hundred thousand. */
export function compact(value: Maybe): string {
  if (missing(value)) return NO_VALUE;
  return Math.abs(value) < 100_000 ? whole.format(value) : short.format(value);
}

/** Dollars, with more digits for smaller amounts: $1,204.50, $0.0843, $0.000420. */
export function usd(value: Maybe): string {
  if (missing(value)) return NO_VALUE;
  if (value === 0) return "$0";
  const [sign, amount] = value < 0 ? ["−", -value] : ["", value];
  if (amount >= 100_000) return `${sign}$${short.format(amount)}`;
  if (amount >= 1) return `${sign}$${cents.format(amount)}`;
  if (amount < 0.000_001) return `${sign}<$0.000001`;
  // Three significant digits, and at least cents.
  const digits = Math.max(2, 2 - Math.floor(Math.log10(amount)));
  return `${sign}$${amount.toFixed(Math.min(digits, 6))}`;
}

/** 0.42 ms, 4.2 ms, 420 ms, 1.24 s, 2 min 5 s */
export function duration(ms: Maybe): string {
  if (missing(ms)) return NO_VALUE;
  if (ms === 0) return "0 ms";
  if (ms < 0.001) return "<1 µs";
  if (ms < 0.1) return `${whole.format(ms * 1000)} µs`;
  if (ms < 1) return `${ms.toFixed(2)} ms`;
  if (ms < 9.95) return `${ms.toFixed(1)} ms`;
  if (ms < 999.5) return `${Math.round(ms)} ms`;
  if (ms < 9_995) return `${(ms / 1000).toFixed(2)} s`;
  if (ms < 59_950) return `${(ms / 1000).toFixed(1)} s`;
  return longDuration(ms / 1000);
}

/** Seconds in their two largest units: 3 d 4 h, 12 min 5 s */
export function longDuration(seconds: Maybe): string {
  if (missing(seconds)) return NO_VALUE;
  const units: [string, number][] = [
    ["d", 86_400],
    ["h", 3_600],
    ["min", 60],
    ["s", 1],
  ];
  let left = Math.max(0, Math.round(seconds));
  const parts: string[] = [];
  for (const [name, size] of units) {
    const amount = Math.floor(left / size);
    left -= amount * size;
    if (amount > 0) parts.push(`${amount} ${name}`);
    else if (parts.length > 0) break;
    if (parts.length === 2) break;
  }
  return parts.join(" ") || "0 s";
}

/** A share from 0 to 1 as a percentage: 12.3%, 0.04%, 100% */
export function percent(share: Maybe): string {
  if (missing(share)) return NO_VALUE;
  const value = share * 100;
  if (value === 0) return "0%";
  if (value < 0.01) return "<0.01%";
  if (value >= 99.95) return `${whole.format(value)}%`;
  return `${value.toFixed(value < 1 ? 2 : 1)}%`;
}

export type Change = { text: string; direction: "up" | "down" | "same" };

/** A larger growth says only that the previous period was almost empty, so it is not shown. Arbitrary. */
const GROWTH_MAX = 100;

/** The change since the previous period. Null if that period was empty or almost empty. */
export function change(now: Maybe, before: Maybe): Change | null {
  if (missing(now) || missing(before) || before === 0) return null;
  const share = now / before - 1;
  if (share >= GROWTH_MAX) return null;
  if (Math.abs(share) < 0.0005) return { text: "0%", direction: "same" };
  const size = Math.abs(share) * 100;
  const text = size >= 1000 ? `${(share + 1).toFixed(0)}×` : `${size < 10 ? size.toFixed(1) : size.toFixed(0)}%`;
  return { text: `${share > 0 ? "+" : "−"}${text}`, direction: share > 0 ? "up" : "down" };
}

const timeOf = new Intl.DateTimeFormat(LOCALE, {
  hour: "2-digit",
  minute: "2-digit",
  second: "2-digit",
  hourCycle: "h23",
});
const shortTimeOf = new Intl.DateTimeFormat(LOCALE, { hour: "2-digit", minute: "2-digit", hourCycle: "h23" });
const dayOf = new Intl.DateTimeFormat(LOCALE, { day: "numeric", month: "short" });
const fullOf = new Intl.DateTimeFormat(LOCALE, {
  weekday: "short",
  day: "numeric",
  month: "short",
  year: "numeric",
  hour: "2-digit",
  minute: "2-digit",
  second: "2-digit",
  fractionalSecondDigits: 3,
  hourCycle: "h23",
  timeZoneName: "short",
});

type Instant = string | number | Date;

function date(at: Instant): Date | null {
  const parsed = new Date(at);
  return Number.isNaN(parsed.getTime()) ? null : parsed;
}

/** 14:05:33 in the browser's time zone, with the day in front unless it is today. */
export function time(at: Instant, now: Date = new Date()): string {
  const moment = date(at);
  if (!moment) return NO_VALUE;
  return moment.toDateString() === now.toDateString()
    ? timeOf.format(moment)
    : `${dayOf.format(moment)} ${timeOf.format(moment)}`;
}

/** Nov 24 14:05 */
export function minute(at: Instant): string {
  const moment = date(at);
  return moment ? `${dayOf.format(moment)} ${shortTimeOf.format(moment)}` : NO_VALUE;
}

/** A label of a time axis: the time of day, or the day at midnight and when the steps are days. */
export function axisTime(at: Instant, step_s: number): string {
  const moment = date(at);
  if (!moment) return NO_VALUE;
  const midnight = moment.getHours() === 0 && moment.getMinutes() === 0;
  return step_s >= 86_400 || midnight ? dayOf.format(moment) : shortTimeOf.format(moment);
}

/** Removes trailing zeros: 30 s for 30.0 s, $0.8 for $0.800. */
export function trimZeros(label: string): string {
  return label.replace(/(\.\d*?)0+(?=\D|$)/, "$1").replace(/\.(?=\D|$)/, "");
}

/** The complete date and time with the zone, for tooltips. */
export function fullTime(at: Instant): string {
  const moment = date(at);
  return moment ? fullOf.format(moment) : NO_VALUE;
}

/** just now, 12 min ago, 3 d 4 h ago */
export function ago(at: Instant, now: number = Date.now()): string {
  const moment = date(at);
  if (!moment) return NO_VALUE;
  const seconds = (now - moment.getTime()) / 1000;
  return seconds < 10 ? "just now" : `${longDuration(seconds).split(" ").slice(0, 2).join(" ")} ago`;
}

/** 1 trace, 2 traces */
export function plural(number: number, one: string, several = `${one}s`): string {
  return `${count(number)} ${number === 1 ? one : several}`;
}
