// The providers as they are now: whether they answer, how much of their limit is left, how attempts at them ended.
import { useQuery } from "@tanstack/react-query";
import type { ReactNode } from "react";
import type { Schemas } from "@/api/client";
import { providers } from "@/api/queries";
import { Failure, Loading } from "@/components/states";
import { compact, count, NOTHING, percent } from "@/lib/format";

type Provider = Schemas["Provider"];

const STATES: Record<Provider["state"], [string, string, string]> = {
  closed: ["Answers", "bg-good", "Requests go to it."],
  half_open: ["Being tried", "bg-warn", "It failed; single requests find out whether it is back."],
  open: ["Rests", "bg-bad", "It failed too often and gets no requests for a while."],
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
  const failing = provider.attempts > 0 ? provider.failures / provider.attempts : 0;
  return (
    <article
      aria-label={provider.name}
      className="grid grid-cols-2 items-start gap-x-5 gap-y-2 border-b border-line px-4 py-3 last:border-0 md:grid-cols-[minmax(0,2fr)_1fr_1fr_1fr_minmax(0,1fr)]"
    >
      <div className="col-span-2 min-w-0 md:col-span-1">
        <h3 className="flex min-w-0 items-center gap-2 font-medium">
          <span className="outside">{provider.name}</span>
          <span title={meaning} className="inline-flex shrink-0 items-center gap-1.5 text-xs font-normal text-soft">
            <span aria-hidden="true" className={`size-1.5 rounded-full ${dot}`} />
            {state}
          </span>
        </h3>
        <p title={provider.base_url} className="outside font-mono text-xs text-faint">
          {provider.base_url}
        </p>
        <p title={provider.models.join(", ")} className="outside text-xs text-soft">
          {provider.models.join(", ")}
        </p>
      </div>
      <Fact label="Limit" about={limit ? `burst ${count(limit.burst)}` : undefined}>
        {limit ? `${limit.qps} a second` : "none"}
      </Fact>
      <Fact label="Left now">
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
          NOTHING
        )}
      </Fact>
      <Fact label="Attempts" about={`${compact(provider.failures)} failed, ${percent(failing)}`}>
        {compact(provider.attempts)}
      </Fact>
      <Fact label="How they ended">
        <Outcomes provider={provider} />
      </Fact>
    </article>
  );
}

function Outcomes({ provider }: { provider: Provider }) {
  const ended = Object.entries(provider.outcomes ?? {}).sort(([, a], [, b]) => b - a);
  if (ended.length === 0) return <span className="text-faint">{NOTHING}</span>;
  return (
    <ul>
      {ended.map(([outcome, many]) => (
        <li key={outcome} className="flex justify-between gap-3 text-xs">
          <span className="text-soft">{outcome.replaceAll("_", " ")}</span>
          <span>{compact(many)}</span>
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
