// The variables of policy expressions, to look up beside the editor.
import { useLanguage } from "./use-language";

export function Variables() {
  const { variables } = useLanguage();
  return (
    <details className="rounded-lg border border-line bg-surface">
      <summary className="cursor-pointer rounded-lg px-4 py-2.5 font-medium">Variables</summary>
      <dl className="px-4 pb-3">
        {variables.map(({ name, type, description }) => (
          <div key={name} className="border-t border-line py-1.5">
            <dt className="flex justify-between font-mono text-xs">
              <span className="text-accent">{name}</span>
              <span className="text-faint">{type}</span>
            </dt>
            <dd className="text-xs text-soft">{description}</dd>
          </div>
        ))}
      </dl>
    </details>
  );
}
