// What differs, line by line: the path, the value before and the value after.
import { type Difference, written } from "@/lib/changes";

type Props = { list: Difference[]; nothing?: string; words?: { before: string; after: string } };

export function Differences({
  list,
  nothing = "Nothing that is kept differs.",
  words = { before: "before", after: "after" },
}: Props) {
  return (
    <ul className="overflow-hidden rounded-md border border-line bg-surface font-mono text-xs">
      {list.map((it) => (
        <li
          key={it.path}
          className="grid grid-cols-1 gap-x-4 border-b border-line px-3 py-1.5 last:border-0 sm:grid-cols-[minmax(180px,1fr)_minmax(0,3fr)]"
        >
          <span title={it.path} className="outside text-soft">
            {it.path}
          </span>
          <span className="min-w-0 break-words whitespace-pre-wrap [unicode-bidi:isolate]">
            {it.before !== undefined && (
              <span className="block text-bad">
                <span aria-hidden="true">− </span>
                <span className="sr-only">{`${words.before}: `}</span>
                {written(it.before)}
              </span>
            )}
            {it.after !== undefined && (
              <span className="block text-good">
                <span aria-hidden="true">+ </span>
                <span className="sr-only">{`${words.after}: `}</span>
                {written(it.after)}
              </span>
            )}
          </span>
        </li>
      ))}
      {list.length === 0 && <li className="px-3 py-1.5 text-faint">{nothing}</li>}
    </ul>
  );
}
