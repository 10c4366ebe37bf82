// Differences between two JSON values: paths with the value before and after.

export type Difference = { path: string; before?: unknown; after?: unknown };

const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === "object" && value !== null && !Array.isArray(value);

export function differences(before: unknown, after: unknown, path = ""): Difference[] {
  if (isObject(before) && isObject(after)) {
    const names = [...new Set([...Object.keys(before), ...Object.keys(after)])];
    return names.flatMap((name) => differences(before[name], after[name], path === "" ? name : `${path}.${name}`));
  }
  if (isObject(before) && after == null) return differences(before, {}, path);
  if (isObject(after) && before == null) return differences({}, after, path);
  return JSON.stringify(before) === JSON.stringify(after) ? [] : [{ path, before, after }];
}

/** Returns the value at a path such as `providers[0].base_url`, or undefined. */
export function valueAt(root: unknown, path: string): unknown {
  let value = root;
  for (const step of path.split(/[.[\]]+/).filter((part) => part !== "")) {
    if (typeof value !== "object" || value === null || !Object.hasOwn(value, step)) return undefined;
    value = (value as Record<string, unknown>)[step];
  }
  return value;
}

/** A JSON value as text. Distinguishes a missing value, null and an empty string. */
export function valueText(value: unknown): string {
  if (value === undefined) return "not set";
  if (value === null) return "none";
  return typeof value === "string" ? value || "empty" : JSON.stringify(value);
}
