// The main figures of a trace, on one line.
import { Link } from "@tanstack/react-router";
import type { Schemas } from "@/api/client";
import { Fact, State } from "@/components/fact";
import { Icon } from "@/components/icon";
import { OUTCOMES } from "@/components/tone";
import { ago, compact, count, duration, fullTime, NO_VALUE, usd } from "@/lib/format";

type Summary = Schemas["TraceItem"];

export function Facts({ summary, requests }: { summary: Summary; requests: Schemas["TraceRequest"][] }) {
  const outcome = OUTCOMES[summary.outcome];
  const first = requests[0];
  const { tokens } = summary;
  const extra = [
    tokens.cached > 0 ? `${compact(tokens.cached)} cached` : "",
    tokens.cache_write > 0 ? `${compact(tokens.cache_write)} written to cache` : "",
    tokens.reasoning > 0 ? `${compact(tokens.reasoning)} reasoning` : "",
  ]
    .filter(Boolean)
    .join(", ");
  return (
    <dl className="grid grid-cols-2 gap-px overflow-hidden rounded-lg border border-line bg-line md:grid-cols-4 xl:grid-cols-9">
      <Fact label="Outcome" about={`${summary.status}${summary.stream ? ", streamed" : ""}`}>
        <State dot={outcome.dot}>{outcome.label}</State>
      </Fact>
      <Fact
        label="Duration"
        about={
          first?.first_byte_ms != null ? `first byte ${duration(first.first_byte_ms)}` : requestCount(summary.requests)
        }
      >
        {duration(summary.duration_ms)}
      </Fact>
      <Fact label="Tokens" about={extra || `${compact(tokens.prompt)} in, ${compact(tokens.completion)} out`}>
        {count(tokens.total)}
      </Fact>
      <Fact
        label="Cost"
        about={
          summary.saved_usd > 0
            ? `${usd(summary.saved_usd)} saved`
            : first && first.est_cost_usd > 0
              ? `est. ${usd(first.est_cost_usd)}`
              : undefined
        }
      >
        <span className={summary.cost_usd > 0 ? "text-cost" : "text-faint"}>{usd(summary.cost_usd)}</span>
      </Fact>
      <Fact wide label="Model" about={summary.provider || undefined}>
        {summary.model_asked !== summary.model ? (
          <span className="flex min-w-0 items-center gap-1.5" title={`${summary.model_asked} → ${summary.model}`}>
            <span className="untrusted text-faint line-through">{summary.model_asked}</span>
            <Icon name="arrow" size={12} className="text-shift" />
            <span className="untrusted">{summary.model}</span>
          </span>
        ) : (
          <span title={summary.model}>{summary.model || NO_VALUE}</span>
        )}
      </Fact>
      <Fact label="Agent" about={summary.endpoint.replace(/^\/v1\//, "")}>
        <FilterLink value={summary.agent_name} filter="agent_name" />
      </Fact>
      <Fact label="User" about={summary.tenant_id || undefined}>
        <FilterLink value={summary.user_id} filter="user_id" />
      </Fact>
      <Fact label="Started" about={ago(summary.started_at)}>
        <span title={fullTime(summary.started_at)}>
          {fullTime(summary.started_at).replace(/^.*?(\d\d:\d\d:\d\d).*$/, "$1")}
        </span>
      </Fact>
    </dl>
  );
}

const requestCount = (requests: number) => (requests === 1 ? "1 request" : `${count(requests)} requests`);

function FilterLink({ value, filter }: { value: string; filter: "agent_name" | "user_id" }) {
  if (value === "") return <span className="text-faint">{NO_VALUE}</span>;
  return (
    <Link
      to="/traces"
      search={{ [filter]: value }}
      title={`All traces of ${value}`}
      className="rounded-sm hover:text-accent"
    >
      {value}
    </Link>
  );
}
