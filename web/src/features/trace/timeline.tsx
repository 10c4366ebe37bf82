// The events of a trace in the order of time.
import type { Schemas } from "@/api/client";
import { duration } from "@/lib/format";

export function Timeline({ moments, onSelect }: { moments: Schemas["Moment"][]; onSelect: (id: string) => void }) {
  if (moments.length === 0) return null;
  return (
    <section aria-label="Timeline" className="border-t border-line px-4 pt-3 pb-4">
      <h2 className="mb-1.5 eyebrow">Timeline</h2>
      <ol className="flex flex-col">
        {moments.map((moment, index) => {
          const { span_id } = moment;
          return (
            // biome-ignore lint/suspicious/noArrayIndexKey: moments have no identity and never move
            <li key={index} className="grid grid-cols-[72px_minmax(0,1fr)] items-baseline gap-3 py-0.5">
              <span className="text-right text-xs text-faint">{duration(moment.at_ms)}</span>
              {span_id ? (
                <button
                  type="button"
                  onClick={() => onSelect(span_id)}
                  className="untrusted rounded-sm text-left text-soft hover:text-accent"
                >
                  {moment.name}
                </button>
              ) : (
                <span className="untrusted text-soft">{moment.name}</span>
              )}
            </li>
          );
        })}
      </ol>
    </section>
  );
}
