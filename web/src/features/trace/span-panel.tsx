// The selected span: its figures and all its attributes.
import type { Schemas } from "@/api/client";
import { CopyButton } from "@/components/copy-button";
import { count, duration, usd } from "@/lib/format";

type Span = Schemas["Span"];

function valueText(value: unknown): string {
  return typeof value === "string" ? value : JSON.stringify(value);
}

export function SpanPanel({ span }: { span: Span }) {
  const attributes = Object.entries(span.attributes).filter(([, value]) => value !== null && value !== "");
  const link = () => {
    const url = new URL(location.href);
    url.searchParams.set("span", span.id);
    return url.href;
  };
  const numbers: [string, string, string?][] = [
    ["Start", duration(span.start_ms)],
    ["Duration", duration(span.duration_ms)],
    ...(span.tokens
      ? ([
          ["Tokens", `${count(span.tokens.prompt)} + ${count(span.tokens.completion)} = ${count(span.tokens.total)}`],
        ] as [string, string][])
      : []),
    ...(span.cost_usd === null ? [] : ([["Cost", usd(span.cost_usd), "text-cost"]] as [string, string, string][])),
  ];
  return (
    <aside aria-label="Selected span" className="min-w-0 bg-surface px-4 py-3">
      <div className="flex items-center justify-between gap-2">
        <h2 title={span.name} className="untrusted font-medium">
          {span.name}
        </h2>
        <CopyButton label="Copy a link to this span" text={link} />
      </div>
      <dl className="mt-2 flex flex-col">
        {numbers.map(([name, value, tone]) => (
          <div key={name} className="flex justify-between gap-3 border-b border-line py-1">
            <dt className="text-soft">{name}</dt>
            <dd className={tone}>{value}</dd>
          </div>
        ))}
      </dl>
      <h3 className="mt-4 mb-1 eyebrow">Attributes</h3>
      {attributes.length === 0 && <p className="text-faint">none</p>}
      <dl className="flex flex-col font-mono text-xs">
        {attributes.map(([name, value]) => (
          <div key={name} className="grid grid-cols-[minmax(0,1fr)_minmax(0,1fr)] gap-3 border-b border-line py-1.5">
            <dt title={name} className="untrusted text-faint">
              {name}
            </dt>
            <dd className="max-h-24 overflow-y-auto break-words [unicode-bidi:isolate]">{valueText(value)}</dd>
          </div>
        ))}
      </dl>
    </aside>
  );
}
