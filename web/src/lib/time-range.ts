// The period that a page shows: a preset that ends now, or two points in time. It is part of the URL.

export const PRESETS = {
  "15m": { label: "Last 15 minutes", seconds: 900 },
  "1h": { label: "Last hour", seconds: 3_600 },
  "6h": { label: "Last 6 hours", seconds: 21_600 },
  "24h": { label: "Last 24 hours", seconds: 86_400 },
  "7d": { label: "Last 7 days", seconds: 604_800 },
  "30d": { label: "Last 30 days", seconds: 2_592_000 },
} as const;

export type Preset = keyof typeof PRESETS;
export const DEFAULT_PRESET: Preset = "24h";

export type RangeSearch = { range?: Preset; from?: string; to?: string };
export type Period = { from: Date; to: Date };

/** Steps that a chart may use, in seconds. The gateway stores nothing finer than a minute. */
const STEPS = [60, 300, 900, 1_800, 3_600, 10_800, 21_600, 86_400];
/** Most bars in a chart. Arbitrary: more would be too narrow to read. */
const POINTS_MAX = 100;

export function isPreset(value: unknown): value is Preset {
  return typeof value === "string" && Object.hasOwn(PRESETS, value);
}

function isoTime(value: unknown): string | undefined {
  if (typeof value !== "string") return undefined;
  const at = new Date(value);
  return Number.isNaN(at.getTime()) ? undefined : at.toISOString();
}

/** Reads the period from URL parameters. Ignores an invalid one. */
export function readRange(search: Record<string, unknown>): RangeSearch {
  const [from, to] = [isoTime(search.from), isoTime(search.to)];
  if (from && to && from < to) return { from, to };
  return isPreset(search.range) && search.range !== DEFAULT_PRESET ? { range: search.range } : {};
}

export function period(search: RangeSearch, now: Date = new Date()): Period {
  if (search.from && search.to) return { from: new Date(search.from), to: new Date(search.to) };
  const seconds = PRESETS[search.range ?? DEFAULT_PRESET].seconds;
  return { from: new Date(now.getTime() - seconds * 1000), to: now };
}

export function isRelative(search: RangeSearch): boolean {
  return !(search.from && search.to);
}

/** The period as the API takes it. A preset ends at the time of the call. */
export function periodQuery(search: RangeSearch, now?: Date): { from: string; to: string } {
  const { from, to } = period(search, now);
  return { from: from.toISOString(), to: to.toISOString() };
}

export function stepSeconds({ from, to }: Period): number {
  const seconds = (to.getTime() - from.getTime()) / 1000;
  return STEPS.find((step) => seconds / step <= POINTS_MAX) ?? 86_400;
}

/** A value for <input type="datetime-local">, in the browser's time zone. */
export function localInput(at: Date): string {
  const shifted = new Date(at.getTime() - at.getTimezoneOffset() * 60_000);
  return shifted.toISOString().slice(0, 16);
}
