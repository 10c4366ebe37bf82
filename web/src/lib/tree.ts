// Turns a tree of spans into rows of a waterfall: ordered by start, with their depth and their place on the time axis.

export type SpanLike<T> = { id: string; start_ms: number; duration_ms: number; children: T[] };
export type SpanRow<T> = {
  span: T;
  depth: number;
  /** Shares of the whole duration, from 0 to 1. */
  left: number;
  width: number;
  folded: boolean;
};

/** Deepest indentation; deeper spans share it. Arbitrary: more would leave no room for names. */
const DEPTH_MAX = 12;

export function extent<T extends SpanLike<T>>(roots: T[]): number {
  let end = 0;
  const walk = (spans: T[]) => {
    for (const span of spans) {
      end = Math.max(end, span.start_ms + span.duration_ms);
      walk(span.children);
    }
  };
  walk(roots);
  return end;
}

export function rows<T extends SpanLike<T>>(roots: T[], folded: ReadonlySet<string>): SpanRow<T>[] {
  const whole = extent(roots) || 1;
  const list: SpanRow<T>[] = [];
  const walk = (spans: T[], depth: number) => {
    for (const span of [...spans].sort((a, b) => a.start_ms - b.start_ms)) {
      const left = Math.min(1, Math.max(0, span.start_ms / whole));
      const width = Math.min(1 - left, Math.max(0, span.duration_ms / whole));
      const isFolded = span.children.length > 0 && folded.has(span.id);
      list.push({ span, depth: Math.min(depth, DEPTH_MAX), left, width, folded: isFolded });
      if (!isFolded) walk(span.children, depth + 1);
    }
  };
  walk(roots, 0);
  return list;
}

export function findSpan<T extends SpanLike<T>>(roots: T[], id: string): T | null {
  for (const span of roots) {
    const found = span.id === id ? span : findSpan(span.children, id);
    if (found) return found;
  }
  return null;
}

/** At most five round marks of a time axis, starting at 0. */
export function ruler(whole_ms: number): number[] {
  if (!(whole_ms > 0)) return [0];
  const rough = whole_ms / 4;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 2.5, 5, 10].map((it) => it * power).find((it) => it >= rough * 0.999) ?? rough;
  return Array.from({ length: Math.floor(whole_ms / step + 1e-9) + 1 }, (_, index) => index * step);
}
