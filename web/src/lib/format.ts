// Every number, price, duration and time that a person reads is written here.

const LOCALE = "en";
/** Where there is nothing to say. */
export const NOTHING = "–";

const whole = new Intl.NumberFormat(LOCALE, { maximumFractionDigits: 0 });
const short = new Intl.NumberFormat(LOCALE, { notation: "compact", maximumSignificantDigits: 3 });
const cents = new Intl.NumberFormat(LOCALE, { minimumFractionDigits: 2, maximumFractionDigits: 2 });

type Maybe = number | null | undefined;

const missing = (value: Maybe): value is null | undefined =>
  value === null || value === undefined || Number.isNaN(value);

/** 34,186 */
export function count(value: Maybe): string {
  return missing(value) ? NOTHING : whole.format(value);
}

/** 342K; whole below a hundred thousand. */
export function compact(value: Maybe): string {
  if (missing(value)) return NOTHING;
  return Math.abs(value) < 100_000 ? whole.format(value) : short.format(value);
}

/** Dollars, as exact as the amount is small: $1,204.50, $0.084, $0.00042. */
export function usd(value: Maybe): string {
  if (missing(value)) return NOTHING;
  if (value === 0) return "$0";
  const [sign, amount] = value < 0 ? ["−", -value] : ["", value];
  if (amount >= 100_000) return `${sign}$${short.format(amount)}`;
  if (amount >= 1) return `${sign}$${cents.format(amount)}`;
  if (amount < 0.000_001) return `${sign}<$0.000001`;
  // Three digits that say something, and at least cents.
  const digits = Math.max(2, 2 - Math.floor(Math.log10(amount)));
  return `${sign}$${amount.toFixed(Math.min(digits, 6))}`;
}

/** 0.42 ms, 4.2 ms, 420 ms, 1.24 s, 2 min 5 s */
export function duration(ms: Maybe): string {
  if (missing(ms)) return NOTHING;
  if (ms === 0) return "0 ms";
  if (ms < 0.001) return "<1 µs";
  if (ms < 0.1) return `${whole.format(ms * 1000)} µs`;
  if (ms < 1) return `${ms.toFixed(2)} ms`;
  if (ms < 9.95) return `${ms.toFixed(1)} ms`;
  if (ms < 999.5) return `${Math.round(ms)} ms`;
  if (ms < 9_995) return `${(ms / 1000).toFixed(2)} s`;
  if (ms < 59_950) return `${(ms / 1000).toFixed(1)} s`;
  return span(ms / 1000);
}

/** The two largest units: 3 d 4 h, 12 min 5 s */
export function span(seconds: Maybe): string {
  if (missing(seconds)) return NOTHING;
  const units: [string, number][] = [
    ["d", 86_400],
    ["h", 3_600],
    ["min", 60],
    ["s", 1],
  ];
  let left = Math.max(0, Math.round(seconds));
  const parts: string[] = [];
  for (const [name, size] of units) {
    const many = Math.floor(left / size);
    left -= many * size;
    if (many > 0) parts.push(`${many} ${name}`);
    else if (parts.length > 0) break;
    if (parts.length === 2) break;
  }
  return parts.join(" ") || "0 s";
}

/** From a share of 1: 12.3%, 0.04%, 100% */
export function percent(share: Maybe): string {
  if (missing(share)) return NOTHING;
  const value = share * 100;
  if (value === 0) return "0%";
  if (value < 0.01) return "<0.01%";
  if (value >= 99.95) return `${whole.format(value)}%`;
  return `${value.toFixed(value < 1 ? 2 : 1)}%`;
}

export type Change = { text: string; direction: "up" | "down" | "same" };

/** More than that is no growth but a beginning: the period before was all but empty. Arbitrary. */
const GROWTH_MAX = 100;

/** Against the period before; nothing where that had nothing, or next to nothing. */
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
  const it = new Date(at);
  return Number.isNaN(it.getTime()) ? null : it;
}

/** 14:05:33, with the day where it is another; in the browser's zone. */
export function time(at: Instant, now: Date = new Date()): string {
  const it = date(at);
  if (!it) return NOTHING;
  return it.toDateString() === now.toDateString() ? timeOf.format(it) : `${dayOf.format(it)} ${timeOf.format(it)}`;
}

/** Nov 24 14:05 */
export function minute(at: Instant): string {
  const it = date(at);
  return it ? `${dayOf.format(it)} ${shortTimeOf.format(it)}` : NOTHING;
}

/** Beside an axis: the hour, or the day where one begins or the steps are days. */
export function tick(at: Instant, step_s: number): string {
  const it = date(at);
  if (!it) return NOTHING;
  const midnight = it.getHours() === 0 && it.getMinutes() === 0;
  return step_s >= 86_400 || midnight ? dayOf.format(it) : shortTimeOf.format(it);
}

/** Without the zeros that say nothing: 30 s for 30.0 s, $0.8 for $0.800. */
export function trimmed(label: string): string {
  return label.replace(/(\.\d*?)0+(?=\D|$)/, "$1").replace(/\.(?=\D|$)/, "");
}

/** All of it, for a tooltip. */
export function instant(at: Instant): string {
  const it = date(at);
  return it ? fullOf.format(it) : NOTHING;
}

/** just now, 12 min ago, 3 d 4 h ago */
export function ago(at: Instant, now: number = Date.now()): string {
  const it = date(at);
  if (!it) return NOTHING;
  const seconds = (now - it.getTime()) / 1000;
  return seconds < 10 ? "just now" : `${span(seconds).split(" ").slice(0, 2).join(" ")} ago`;
}

/** 1 trace, 2 traces */
export function plural(many: number, one: string, several = `${one}s`): string {
  return `${count(many)} ${many === 1 ? one : several}`;
}
