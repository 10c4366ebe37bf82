// The dashboard: traffic, cost, latency, errors and cache over the period in the URL.
import { useQuery } from "@tanstack/react-query";
import { Link, useSearch } from "@tanstack/react-router";
import { basePath } from "@/api/client";
import { summary } from "@/api/queries";
import { buttonClass } from "@/components/button";
import { CopyButton } from "@/components/copy-button";
import { Empty, Failure } from "@/components/states";
import { PageHeader } from "@/features/shell/page-header";
import { TimeRangePicker } from "@/features/shell/time-range-picker";
import { CachePanel } from "./cache-panel";
import { CostPanel } from "./cost-panel";
import { Figures } from "./figures";
import { CostOverTime, LatencyPanel, StatusPanel, TokensPanel } from "./over-time";

export function DashboardPage() {
  const search = useSearch({ from: "/app/" });
  const { by = "agent", ...range } = search;
  const { data, error, refetch } = useQuery(summary(range));
  const hasNoTraffic = data && data.total_requests === 0 && !data.previous?.total_requests;
  return (
    <>
      <PageHeader title="Dashboard">
        <TimeRangePicker search={range} />
      </PageHeader>
      {error && !data ? (
        <Failure error={error} retry={() => refetch()} />
      ) : hasNoTraffic ? (
        <NoTraffic />
      ) : (
        <div className="px-4 py-5 sm:px-6">
          <Figures range={range} data={data} />
          <div className="mt-5 grid grid-cols-1 gap-px overflow-hidden rounded-lg border border-line bg-line lg:grid-cols-6">
            <StatusPanel range={range} className="lg:col-span-4" />
            <CachePanel className="lg:col-span-2" />
            <LatencyPanel range={range} className="lg:col-span-3" />
            <TokensPanel range={range} className="lg:col-span-3" />
            <CostOverTime range={range} className="lg:col-span-3" />
            <CostPanel range={range} by={by} className="lg:col-span-3" />
          </div>
        </div>
      )}
    </>
  );
}

function NoTraffic() {
  const address = `${location.origin}${basePath()}v1`;
  return (
    <Empty
      icon="bolt"
      title="No requests in this period"
      action={
        <Link to="/" search={{ range: "30d" }} className={buttonClass("line")}>
          Show the last 30 days
        </Link>
      }
    >
      <p>Point an application's base URL at luner. Its traffic appears here within a second.</p>
      <p className="mt-3 inline-flex items-center gap-1 rounded-md border border-line bg-surface py-1 pr-1 pl-3 font-mono text-xs text-ink">
        OPENAI_BASE_URL={address}
        <CopyButton label="Copy" text={`OPENAI_BASE_URL=${address}`} />
      </p>
    </Empty>
  );
}
