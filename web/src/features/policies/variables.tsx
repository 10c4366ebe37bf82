// What an expression may read, to look up beside the editor.
import { VARIABLES } from "@/lib/cel";

export function Variables() {
  return (
    <details className="rounded-lg border border-line bg-surface">
      <summary className="cursor-pointer rounded-lg px-4 py-2.5 font-medium">What an expression may read</summary>
      <dl className="px-4 pb-3">
        {VARIABLES.map(({ name, type, meaning }) => (
          <div key={name} className="border-t border-line py-1.5">
            <dt className="flex justify-between font-mono text-xs">
              <span className="text-accent">{name}</span>
              <span className="text-faint">{type}</span>
            </dt>
            <dd className="text-xs text-soft">{meaning}</dd>
          </div>
        ))}
      </dl>
    </details>
  );
}
