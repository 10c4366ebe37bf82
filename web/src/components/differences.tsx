// A list of differences: on each line the path, the value before and the value after.
import { type Difference, valueText } from "@/lib/changes";

type Props = { list: Difference[]; emptyText?: string; labels?: { before: string; after: string } };

export function Differences({
  list,
  emptyText = "No recorded differences.",
  labels = { before: "before", after: "after" },
}: Props) {
  return (
    <ul className="overflow-hidden rounded-md border border-line bg-surface font-mono text-xs">
      {list.map((it) => (
        <li
          key={it.path}
          className="grid grid-cols-1 gap-x-4 border-b border-line px-3 py-1.5 last:border-0 sm:grid-cols-[minmax(180px,1fr)_minmax(0,3fr)]"
        >
          <span title={it.path} className="untrusted text-soft">
            {it.path}
          </span>
          <span className="min-w-0 break-words whitespace-pre-wrap [unicode-bidi:isolate]">
            {it.before !== undefined && (
              <span className="block text-bad">
                <span aria-hidden="true">− </span>
                <span className="sr-only">{`${labels.before}: `}</span>
                {valueText(it.before)}
              </span>
            )}
            {it.after !== undefined && (
              <span className="block text-good">
                <span aria-hidden="true">+ </span>
                <span className="sr-only">{`${labels.after}: `}</span>
                {valueText(it.after)}
              </span>
            )}
          </span>
        </li>
      ))}
      {list.length === 0 && <li className="px-3 py-1.5 text-faint">{emptyText}</li>}
    </ul>
  );
}
