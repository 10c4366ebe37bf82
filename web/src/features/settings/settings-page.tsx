// The Settings page: the gateway's health, its running configuration, and problems with the config file. Read-only.
import { useQuery } from "@tanstack/react-query";
import { config, health } from "@/api/queries";
import { Fact, State } from "@/components/fact";
import { Failure, Loading } from "@/components/states";
import { PageHeader } from "@/features/shell/page-header";
import { ago, count, fullTime, longDuration, NO_VALUE, plural } from "@/lib/format";
import { ConfigTree } from "./config-tree";
import { Providers } from "./providers";
import { Reload } from "./reload";

export function SettingsPage() {
  const { data, error, isPending, refetch } = useQuery(config());
  return (
    <>
      <PageHeader title="Settings" about={data ? <span className="untrusted">{data.source}</span> : undefined} />
      <div className="flex flex-col gap-5 px-4 py-5 sm:px-6">
        <Gateway revision={data?.revision} loadedAt={data?.loaded_at} prices={data?.prices} />
        {data && <Reload data={data} />}
        <Providers />
        {error && !data ? (
          <Failure error={error} retry={() => refetch()} />
        ) : isPending ? (
          <Loading />
        ) : (
          <ConfigTree config={data.config} pending={data.needs_restart} />
        )}
      </div>
    </>
  );
}

const STATES: Record<string, [string, string]> = {
  ok: ["Healthy", "bg-good"],
  degraded: ["Degraded", "bg-warn"],
  draining: ["Draining", "bg-warn"],
};
const STORAGE: Record<string, [string, string]> = {
  ok: ["Healthy", "bg-good"],
  degraded: ["Degraded", "bg-warn"],
  off: ["Off", "bg-faint"],
};

type GatewayProps = {
  revision?: number;
  loadedAt?: string;
  prices?: { source: string; models: number; unpriced: string[] };
};

function Gateway({ revision, loadedAt, prices }: GatewayProps) {
  const { data } = useQuery(health());
  const [state, stateDot] = STATES[data?.status ?? ""] ?? [NO_VALUE, "bg-faint"];
  const [storage, storageDot] = STORAGE[data?.storage ?? ""] ?? [NO_VALUE, "bg-faint"];
  return (
    <dl className="grid grid-cols-2 gap-px overflow-hidden rounded-lg border border-line bg-line md:grid-cols-3 xl:grid-cols-6">
      <Fact label="Gateway" about={data && `luner ${data.version}`}>
        <State dot={stateDot}>{state}</State>
      </Fact>
      <Fact label="Uptime" about={data && plural(data.workers, "core")}>
        {longDuration(data?.uptime_s)}
      </Fact>
      <Fact label="I/O driver" about={data?.ring_entries ? `${count(data.ring_entries)} ring entries` : undefined}>
        {data?.io ?? NO_VALUE}
      </Fact>
      <Fact label="Storage" about={data?.storage === "off" ? "nothing is stored" : "traces, policies, usage"}>
        <State dot={storageDot}>{storage}</State>
      </Fact>
      <Fact label="Revision" about={loadedAt && `loaded ${ago(loadedAt)}`} title={loadedAt && fullTime(loadedAt)}>
        {revision === undefined ? NO_VALUE : count(revision)}
      </Fact>
      <Fact
        label="Prices"
        about={
          prices &&
          (prices.unpriced.length > 0 ? `${plural(prices.unpriced.length, "model")} without a price` : prices.source)
        }
        title={prices?.unpriced.join(", ")}
      >
        {prices ? plural(prices.models, "model") : NO_VALUE}
      </Fact>
    </dl>
  );
}
