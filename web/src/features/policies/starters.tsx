// Policies to begin with: each fills the form, nothing is saved by it.
import type { Draft } from "@/api/queries";
import { Expression } from "@/components/expression";
import { useLanguage } from "./use-language";

const STARTERS: (Pick<Draft, "name" | "expression" | "action"> & { why: string })[] = [
  {
    name: "budget per minute",
    why: "Stop a runaway loop before it is expensive.",
    expression: "cost_usd > 2.0",
    action: "block",
  },
  {
    name: "small model for short prompts",
    why: "Let the cheaper model take what it can.",
    expression: "model == 'gpt-4o' && est_input_tokens < 500",
    action: "downgrade",
  },
  {
    name: "no answers without an end",
    why: "Find callers who set no max_tokens.",
    expression: "max_tokens == 0 && est_cost_usd > 0.05",
    action: "alert",
  },
  {
    name: "evaluations only at night",
    why: "Keep batch jobs out of office hours.",
    expression: "agent == 'nightly-eval' && now.getHours() >= 7",
    action: "block",
  },
];

export function Starters({ onChoose }: { onChoose: (draft: Partial<Draft>) => void }) {
  const { variables } = useLanguage();
  return (
    <section aria-label="Examples" className="rounded-lg border border-line bg-surface">
      <h2 className="flex h-11 items-center border-b border-line px-4 font-medium">Start from an example</h2>
      <ul className="p-1.5">
        {STARTERS.map(({ why, ...draft }) => (
          <li key={draft.name}>
            <button
              type="button"
              onClick={() => onChoose(draft)}
              className="w-full min-w-0 rounded-md px-2.5 py-2 text-left hover:bg-hover"
            >
              <span className="block">{why}</span>
              <Expression text={draft.expression} variables={variables} />
            </button>
          </li>
        ))}
      </ul>
    </section>
  );
}
