// Cost by agent, user, tenant, model or provider, highest first. Each row links to its traces.
import { useQuery } from "@tanstack/react-query";
import { Link, useNavigate } from "@tanstack/react-router";
import type { Schemas } from "@/api/client";
import { cost } from "@/api/queries";
import { Segmented } from "@/components/segmented";
import { compact, usd } from "@/lib/format";
import type { CostBy, TraceFilter } from "@/lib/search";
import type { RangeSearch } from "@/lib/time-range";
import { Panel } from "./panel";

const OPTIONS = [
  { value: "agent", label: "Agent" },
  { value: "user", label: "User" },
  { value: "tenant", label: "Tenant" },
  { value: "model", label: "Model" },
  { value: "provider", label: "Provider" },
] as const;
const FILTERS = {
  agent: "agent_name",
  user: "user_id",
  tenant: "tenant_id",
  model: "model",
  provider: "provider",
} as const satisfies Record<CostBy, keyof TraceFilter>;
/** Most rows. Arbitrary: as many as fit beside the chart. */
const ROWS_MAX = 7;

export function CostPanel({ range, by, className }: { range: RangeSearch; by: CostBy; className: string }) {
  const query = useQuery(cost(by, range));
  const navigate = useNavigate();
  const items = query.data?.items ?? [];
  const highest = Math.max(...items.map((it) => it.cost_usd), 0);
  const others = items.slice(ROWS_MAX);
  const choose = (next: CostBy) =>
    navigate({ to: "/", search: (before) => ({ ...before, by: next === "agent" ? undefined : next }), replace: true });
  return (
    <Panel
      title="Cost by"
      className={className}
      query={query}
      aside={<Segmented label="Cost by" value={by} options={OPTIONS} onChange={choose} />}
    >
      {items.length === 0 ? (
        <p className="py-8 text-center text-faint">No spend in this period.</p>
      ) : (
        <table className="w-full table-fixed">
          <thead>
            <tr className="text-left text-xs text-faint">
              <th className="pb-1 font-normal capitalize">{by}</th>
              <th className="w-20 pb-1 text-right font-normal">Requests</th>
              <th className="w-16 pb-1 text-right font-normal">Tokens</th>
              <th className="hidden w-20 pb-1 text-right font-normal sm:table-cell">Saved</th>
              <th className="w-20 pb-1 text-right font-normal">Cost</th>
            </tr>
          </thead>
          <tbody>
            {items.slice(0, ROWS_MAX).map((item) => (
              <Row key={item.key} item={item} by={by} highest={highest} />
            ))}
          </tbody>
          {others.length > 0 && (
            <tfoot>
              <tr className="text-xs text-faint">
                <td className="pt-1.5">{`and ${others.length} more`}</td>
                <td className="pt-1.5 text-right">{compact(others.reduce((sum, it) => sum + it.requests, 0))}</td>
                <td className="pt-1.5 text-right">{compact(others.reduce((sum, it) => sum + it.tokens, 0))}</td>
                <td className="hidden pt-1.5 text-right sm:table-cell">
                  {usd(others.reduce((sum, it) => sum + it.saved_usd, 0))}
                </td>
                <td className="pt-1.5 text-right">{usd(others.reduce((sum, it) => sum + it.cost_usd, 0))}</td>
              </tr>
            </tfoot>
          )}
        </table>
      )}
    </Panel>
  );
}

function Row({ item, by, highest }: { item: Schemas["CostItem"]; by: CostBy; highest: number }) {
  const share = highest > 0 ? item.cost_usd / highest : 0;
  return (
    <tr className="group border-t border-line">
      <td className="relative h-8 pr-3">
        <span
          aria-hidden="true"
          className="absolute inset-y-1.5 left-0 rounded-sm bg-cost opacity-15"
          style={{ width: `calc(${(share * 100).toFixed(2)}% - 8px)` }}
        />
        {item.key === "" ? (
          <span className="relative pl-2 text-soft">not set</span>
        ) : (
          <Link
            to="/traces"
            search={(before) => ({ ...before, by: undefined, [FILTERS[by]]: item.key })}
            title={item.key}
            className="relative block untrusted rounded-sm pl-2 hover:text-accent"
          >
            {item.key}
          </Link>
        )}
      </td>
      <td className="text-right text-soft">{compact(item.requests)}</td>
      <td className="text-right text-soft">{compact(item.tokens)}</td>
      <td className="hidden text-right text-faint sm:table-cell">{usd(item.saved_usd)}</td>
      <td className="text-right text-cost">{usd(item.cost_usd)}</td>
    </tr>
  );
}
