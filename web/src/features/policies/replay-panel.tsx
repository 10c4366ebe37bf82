// Replays the draft over the newest stored requests, before it is saved.
import { useQuery } from "@tanstack/react-query";
import { Link } from "@tanstack/react-router";
import { useState } from "react";
import { ApiError, type Schemas } from "@/api/client";
import { replay } from "@/api/queries";
import { Segmented } from "@/components/segmented";
import { Skeleton } from "@/components/states";
import { count, fullTime, percent, time, usd } from "@/lib/format";

const LAST = [
  { value: "100", label: "100" },
  { value: "500", label: "500" },
  { value: "1000", label: "1,000" },
] as const;
type Last = (typeof LAST)[number]["value"];

export function ReplayPanel({
  trial,
  ready,
  mode,
}: {
  trial: Schemas["PolicyTrial"];
  ready: boolean;
  mode: Schemas["Mode"];
}) {
  const [last, setLast] = useState<Last>("1000");
  const { data, error, isFetching } = useQuery({ ...replay({ ...trial, last: Number(last) }), enabled: ready });
  return (
    <section aria-label="Would have matched" className="rounded-lg border border-line bg-surface">
      <div className="flex flex-wrap items-center justify-between gap-2 border-b border-line px-4 py-2">
        <h2 className="font-medium">Would have matched</h2>
        <Segmented label="Requests to replay" value={last} options={LAST} onChange={setLast} />
      </div>
      <div className="px-4 py-3">
        {!ready ? (
          <p className="text-faint">
            Once the expression is valid, it is replayed here over the newest {count(Number(last))} stored requests.
            Nothing is saved.
          </p>
        ) : error ? (
          <p className="text-bad">
            {error instanceof ApiError && error.param === "last"
              ? "This version of luner cannot replay stored requests."
              : error.message}
          </p>
        ) : !data ? (
          <Skeleton className="h-24 w-full" />
        ) : (
          <div className={isFetching ? "opacity-60" : ""}>
            <Result data={data} action={trial.action ?? "alert"} mode={mode} />
          </div>
        )}
      </div>
    </section>
  );
}

const EFFECTS: Record<Schemas["Action"], string> = {
  block: "been blocked",
  downgrade: "been downgraded",
  alert: "raised an alert",
};

function Result({ data, action, mode }: { data: Schemas["Replay"]; action: Schemas["Action"]; mode: Schemas["Mode"] }) {
  const share = data.evaluated > 0 ? data.matched / data.evaluated : 0;
  if (data.evaluated === 0) return <p className="text-faint">No requests are stored yet.</p>;
  return (
    <>
      <p>
        <span className="text-xl font-semibold tracking-tight">{count(data.matched)}</span>
        <span className="ml-2 text-soft">{`of ${count(data.evaluated)} requests would have ${EFFECTS[action]}`}</span>
      </p>
      <div className="mt-2 flex items-center gap-3">
        <span aria-hidden="true" className="h-1.5 flex-1 overflow-hidden rounded-full bg-hover">
          <span className="block h-full rounded-full bg-accent" style={{ width: `${share * 100}%` }} />
        </span>
        <span className="text-xs text-soft">{percent(share)}</span>
      </div>
      <dl className="mt-3 grid grid-cols-2 gap-4">
        <div>
          <dt className="eyebrow">Their cost</dt>
          <dd className="text-md text-cost">{usd(data.cost_usd)}</dd>
        </div>
        <div>
          <dt className="eyebrow">Would have saved</dt>
          <dd className={`text-md ${data.saving_usd > 0 ? "text-good" : ""}`}>{usd(data.saving_usd)}</dd>
        </div>
      </dl>
      {data.not_evaluable > 0 && <NotEvaluated data={data} />}
      {mode === "shadow" && data.matched > 0 && (
        <p className="mt-2 text-xs text-faint">In shadow mode, none of them would have been affected.</p>
      )}
      {data.examples.length > 0 && <Examples examples={data.examples} />}
    </>
  );
}

const REASONS: Record<string, string> = {
  never_judged: "refused before policies were evaluated",
  usage_not_recorded: "the user's usage was not recorded, because no policy read it",
};

function NotEvaluated({ data }: { data: Schemas["Replay"] }) {
  const reasons = Object.keys(data.why ?? {}).map((reason) => REASONS[reason] ?? reason.replaceAll("_", " "));
  return (
    <p className="mt-2 text-xs text-faint">
      {`${count(data.not_evaluable)} more could not be evaluated${reasons.length > 0 ? `: ${reasons.join("; ")}` : ""}.`}
    </p>
  );
}

function Examples({ examples }: { examples: Schemas["Replay"]["examples"] }) {
  return (
    <>
      <h3 className="mt-4 mb-1 eyebrow">Examples</h3>
      <ul>
        {examples.slice(0, 8).map((it) => (
          <li key={it.trace_id}>
            {/* Opens in a new tab, because the draft is not saved yet. */}
            <Link
              to="/traces/$id"
              params={{ id: it.trace_id }}
              target="_blank"
              className="grid h-8 grid-cols-[92px_minmax(0,1fr)_minmax(0,1fr)_72px] items-center gap-2 rounded-sm border-b border-line hover:text-accent"
            >
              <span title={fullTime(it.at)} className="text-xs text-soft">
                {time(it.at)}
              </span>
              <span title={it.user_id} className="untrusted">
                {it.user_id || "–"}
              </span>
              <span title={it.model} className="untrusted text-soft">
                {it.model}
              </span>
              <span className={`text-right ${it.cost_usd > 0 ? "text-cost" : "text-faint"}`}>{usd(it.cost_usd)}</span>
            </Link>
          </li>
        ))}
      </ul>
    </>
  );
}
