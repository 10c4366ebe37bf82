// What differs between two JSON values, as paths with the value before and after.

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

/** The value at a dotted path such as `providers[0].base_url`; undefined where there is none. */
export function at(root: unknown, path: string): unknown {
  let value = root;
  for (const step of path.split(/[.[\]]+/).filter((it) => it !== "")) {
    if (typeof value !== "object" || value === null || !Object.hasOwn(value, step)) return undefined;
    value = (value as Record<string, unknown>)[step];
  }
  return value;
}

export function written(value: unknown): string {
  if (value === undefined) return "not set";
  if (value === null) return "none";
  return typeof value === "string" ? value || "empty" : JSON.stringify(value);
}
