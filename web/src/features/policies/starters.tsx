// Example policies. Choosing one fills the form and saves nothing.
import type { Draft } from "@/api/queries";
import { Expression } from "@/components/expression";
import { useLanguage } from "./use-language";

const STARTERS: (Pick<Draft, "name" | "expression" | "action"> & { purpose: string })[] = [
  {
    name: "budget per minute",
    purpose: "Stop a runaway loop before it gets expensive.",
    expression: "cost_usd > 2.0",
    action: "block",
  },
  {
    name: "small model for short prompts",
    purpose: "Use the cheaper model for short prompts.",
    expression: "model == 'gpt-4o' && est_input_tokens < 500",
    action: "downgrade",
  },
  {
    name: "unbounded answers",
    purpose: "Find callers that set no max_tokens.",
    expression: "max_tokens == 0 && est_cost_usd > 0.05",
    action: "alert",
  },
  {
    name: "evaluations only at night",
    purpose: "Keep batch jobs out of office hours.",
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
        {STARTERS.map(({ purpose, ...draft }) => (
          <li key={draft.name}>
            <button
              type="button"
              onClick={() => onChoose(draft)}
              className="w-full min-w-0 rounded-md px-2.5 py-2 text-left hover:bg-hover"
            >
              <span className="block">{purpose}</span>
              <Expression text={draft.expression} variables={variables} />
            </button>
          </li>
        ))}
      </ul>
    </section>
  );
}
