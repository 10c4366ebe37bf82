// The running configuration with secrets masked, in one box for each top-level key.
import { valueText } from "@/lib/changes";

type Json = Record<string, unknown>;
const isObject = (value: unknown): value is Json =>
  typeof value === "object" && value !== null && !Array.isArray(value);

/** A line of the flattened configuration: the last name of its path, its depth, and a value if it is a leaf. */
export type ConfigLine = { path: string; name: string; depth: number; value?: string };

export function configLines(value: unknown, path: string, depth = 0): ConfigLine[] {
  if (Array.isArray(value) && value.some(isObject)) {
    return value.flatMap((it, index) => {
      const own = `${path}[${index}]`;
      const title = isObject(it) && typeof it.name === "string" ? it.name : `${index + 1}`;
      return [
        { path: own, name: title, depth },
        ...configLines(isObject(it) && typeof it.name === "string" ? { ...it, name: undefined } : it, own, depth + 1),
      ];
    });
  }
  if (!isObject(value)) return [{ path, name: path.split(".").at(-1) ?? path, depth, value: leafText(value) }];
  return Object.entries(value)
    .filter(([, it]) => it !== undefined)
    .flatMap(([name, it]) => {
      const own = `${path}.${name}`;
      const nested = (isObject(it) && Object.keys(it).length > 0) || (Array.isArray(it) && it.some(isObject));
      return nested
        ? [{ path: own, name, depth }, ...configLines(it, own, depth + 1)]
        : [{ path: own, name, depth, value: leafText(it) }];
    });
}

function leafText(value: unknown): string {
  if (Array.isArray(value)) return value.length === 0 ? "none" : value.map((it) => valueText(it)).join(", ");
  if (isObject(value)) return "none";
  return valueText(value);
}

export function ConfigTree({ config, pending }: { config: Json; pending: string[] }) {
  const parts = Object.entries(config);
  const plain = parts.filter(([, value]) => typeof value !== "object" || value === null);
  const nested = parts.filter(([, value]) => typeof value === "object" && value !== null);
  return (
    <section aria-label="Configuration">
      <h2 className="mb-2 flex items-baseline gap-2 font-medium">
        Running configuration
        <span className="text-xs font-normal text-faint">
          {plain.map(([name, value]) => `${name} ${valueText(value)}`).join(", ")}
        </span>
      </h2>
      <div className="columns-1 gap-5 lg:columns-2 xl:columns-3">
        {nested.map(([name, value]) => (
          <section
            key={name}
            aria-label={name}
            className="mb-5 break-inside-avoid overflow-hidden rounded-lg border border-line bg-surface"
          >
            <h3 className="border-b border-line px-4 py-2 font-mono text-xs text-accent">{name}</h3>
            <dl className="px-4 py-1.5 font-mono text-xs">
              {configLines(value, name).map((line) => (
                <div
                  key={line.path}
                  className="flex items-baseline justify-between gap-4 border-b border-line py-1 last:border-0"
                  style={{ paddingLeft: line.depth * 14 }}
                >
                  <dt title={line.path} className={`shrink-0 ${line.value === undefined ? "text-ink" : "text-faint"}`}>
                    {line.name}
                  </dt>
                  {line.value !== undefined && (
                    <dd className="min-w-0 text-right break-words [unicode-bidi:isolate]">
                      {line.value}
                      {pending.includes(line.path) && <span className="ml-2 text-warn">changes after a restart</span>}
                    </dd>
                  )}
                </div>
              ))}
            </dl>
          </section>
        ))}
      </div>
    </section>
  );
}
