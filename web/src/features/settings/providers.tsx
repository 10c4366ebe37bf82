// The providers now: the state of their circuit breaker, what is left of their limit, and the outcomes of their attempts.
import { useQuery } from "@tanstack/react-query";
import type { ReactNode } from "react";
import type { Schemas } from "@/api/client";
import { providers } from "@/api/queries";
import { Failure, Loading } from "@/components/states";
import { compact, count, NO_VALUE, percent } from "@/lib/format";

type Provider = Schemas["Provider"];

const STATES: Record<Provider["state"], [string, string, string]> = {
  closed: ["Healthy", "bg-good", "Circuit closed: the provider receives requests."],
  half_open: ["Testing", "bg-warn", "Circuit half open: single requests test whether the provider has recovered."],
  open: ["Paused", "bg-bad", "Circuit open: after repeated failures the provider receives no requests for now."],
};

export function Providers() {
  const { data, error, isPending, refetch } = useQuery(providers());
  return (
    <section aria-label="Providers" className="overflow-hidden rounded-lg border border-line bg-surface">
      <h2 className="border-b border-line px-4 py-2.5 font-medium">Providers</h2>
      {error && !data ? (
        <Failure error={error} retry={() => refetch()} />
      ) : isPending ? (
        <Loading rows={3} />
      ) : (
        data.items.map((it) => <Row key={it.name} provider={it} />)
      )}
    </section>
  );
}

function Row({ provider }: { provider: Provider }) {
  const [state, dot, meaning] = STATES[provider.state];
  const { limit } = provider;
  const failureRate = provider.attempts > 0 ? provider.failures / provider.attempts : 0;
  return (
    <article
      aria-label={provider.name}
      className="grid grid-cols-2 items-start gap-x-5 gap-y-2 border-b border-line px-4 py-3 last:border-0 md:grid-cols-[minmax(0,2fr)_1fr_1fr_1fr_minmax(0,1fr)]"
    >
      <div className="col-span-2 min-w-0 md:col-span-1">
        <h3 className="flex min-w-0 items-center gap-2 font-medium">
          <span className="untrusted">{provider.name}</span>
          <span title={meaning} className="inline-flex shrink-0 items-center gap-1.5 text-xs font-normal text-soft">
            <span aria-hidden="true" className={`size-1.5 rounded-full ${dot}`} />
            {state}
          </span>
        </h3>
        <p title={provider.base_url} className="untrusted font-mono text-xs text-faint">
          {provider.base_url}
        </p>
        <p title={provider.models.join(", ")} className="untrusted text-xs text-soft">
          {provider.models.join(", ")}
        </p>
      </div>
      <Fact label="Limit" about={limit ? `burst ${count(limit.burst)}` : undefined}>
        {limit ? `${limit.qps} per second` : "none"}
      </Fact>
      <Fact label="Remaining">
        {limit ? (
          <span className="flex items-center gap-2">
            {count(limit.remaining)}
            <span aria-hidden="true" className="h-1 w-16 overflow-hidden rounded-full bg-hover">
              <span
                className="block h-full rounded-full bg-accent"
                style={{ width: `${Math.min(100, (limit.remaining / Math.max(1, limit.burst)) * 100)}%` }}
              />
            </span>
          </span>
        ) : (
          NO_VALUE
        )}
      </Fact>
      <Fact label="Attempts" about={`${compact(provider.failures)} failed, ${percent(failureRate)}`}>
        {compact(provider.attempts)}
      </Fact>
      <Fact label="Outcomes">
        <Outcomes provider={provider} />
      </Fact>
    </article>
  );
}

function Outcomes({ provider }: { provider: Provider }) {
  const outcomes = Object.entries(provider.outcomes ?? {}).sort(([, a], [, b]) => b - a);
  if (outcomes.length === 0) return <span className="text-faint">{NO_VALUE}</span>;
  return (
    <ul>
      {outcomes.map(([outcome, number]) => (
        <li key={outcome} className="flex justify-between gap-3 text-xs">
          <span className="text-soft">{outcome.replaceAll("_", " ")}</span>
          <span>{compact(number)}</span>
        </li>
      ))}
    </ul>
  );
}

function Fact({ label, about, children }: { label: string; about?: string; children: ReactNode }) {
  return (
    <div className="min-w-0">
      <p className="eyebrow">{label}</p>
      <div>{children}</div>
      {about && <p className="text-xs text-faint">{about}</p>}
    </div>
  );
}
