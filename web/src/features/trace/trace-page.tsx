// One trace: what was asked, how it went through the gateway, what it cost, what the policies said. A span is chosen in the address.
import { useQuery } from "@tanstack/react-query";
import { Link, useNavigate, useParams, useSearch } from "@tanstack/react-router";
import { useCallback } from "react";
import { ApiError, type Schemas } from "@/api/client";
import { trace } from "@/api/queries";
import { buttonClass, IconButton } from "@/components/button";
import { CopyButton } from "@/components/copy-button";
import { Icon } from "@/components/icon";
import { Empty, Failure, Loading, Notice } from "@/components/states";
import { PageHeader } from "@/features/shell/page-header";
import { useKeys } from "@/lib/keys";
import { find } from "@/lib/tree";
import { Facts } from "./facts";
import { RequestPanel } from "./request-panel";
import { SpanPanel } from "./span-panel";
import { Timeline } from "./timeline";
import { Waterfall } from "./waterfall";

export function TracePage() {
  const { id } = useParams({ from: "/app/traces/$id" });
  const { span: _span, ...list } = useSearch({ from: "/app/traces/$id" });
  const { data, error, isPending, refetch } = useQuery(trace(id, list));
  const navigate = useNavigate();
  const back = () => navigate({ to: "/traces", search: list });
  const to = (next: string | null | undefined) =>
    next && navigate({ to: "/traces/$id", params: { id: next }, search: list });
  const { previous, next } = data?.neighbours ?? {};
  useKeys({ Escape: back, j: () => to(next), k: () => to(previous) });
  return (
    <>
      <PageHeader
        title={
          <span className="flex items-center gap-2">
            <Link
              to="/traces"
              search={list}
              aria-label="Back to the traces"
              className={buttonClass("ghost", "-ml-2 !px-1.5")}
            >
              <Icon name="left" />
            </Link>
            Trace
          </span>
        }
        about={
          <span className="flex min-w-0 items-center gap-1">
            <code title={id} className="outside font-mono text-xs">
              <span className="sm:hidden">{`${id.slice(0, 12)}…`}</span>
              <span className="hidden sm:inline">{id}</span>
            </code>
            <CopyButton label="Copy the trace id" text={id} />
          </span>
        }
      >
        <IconButton icon="left" label="Newer trace (k)" disabled={!previous} onClick={() => to(previous)} />
        <IconButton icon="right" label="Older trace (j)" disabled={!next} onClick={() => to(next)} />
      </PageHeader>
      {isPending ? (
        <Loading />
      ) : error && !data ? (
        <Missing error={error} retry={() => refetch()} />
      ) : (
        <Body key={id} data={data} />
      )}
    </>
  );
}

function Missing({ error, retry }: { error: unknown; retry: () => void }) {
  if (!(error instanceof ApiError && error.status === 404)) return <Failure error={error} retry={retry} />;
  return (
    <Empty
      title="This trace is not stored"
      action={
        <Link to="/traces" className={buttonClass("line")}>
          To the traces
        </Link>
      }
    >
      It never was, it is not written yet, or retention has deleted it.
    </Empty>
  );
}

function Body({ data }: { data: Schemas["TraceDetail"] }) {
  const { span } = useSearch({ from: "/app/traces/$id" });
  const navigate = useNavigate();
  const choose = useCallback(
    (next: string) =>
      navigate({
        to: ".",
        search: (before: Record<string, unknown>) => ({ ...before, span: next }),
        replace: true,
      } as never),
    [navigate],
  );
  const chosen = (span && find(data.spans, span)) || data.spans[0];
  const { summary } = data;
  return (
    <div className="flex flex-col gap-5 px-4 py-5 sm:px-6">
      <Facts summary={summary} requests={data.requests} />
      {summary.refusal && (
        <Notice
          tone={summary.outcome === "blocked" ? "warn" : "bad"}
          title={`${summary.status} ${summary.refusal.code}`}
        >
          <span className="break-words [unicode-bidi:isolate]">
            {summary.refusal.message ?? `The fault lies with the ${summary.refusal.fault}.`}
          </span>
        </Notice>
      )}
      <div className="grid grid-cols-1 gap-px overflow-hidden rounded-lg border border-line bg-line lg:grid-cols-[minmax(0,1fr)_360px]">
        <div className="min-w-0 bg-surface">
          <Waterfall spans={data.spans} chosen={chosen?.id ?? null} onChoose={choose} />
          <Timeline moments={data.timeline} onChoose={choose} />
        </div>
        {chosen && <SpanPanel span={chosen} />}
      </div>
      {data.requests.map((request, index) => (
        <RequestPanel
          key={request.span_id}
          request={request}
          summary={summary}
          number={data.requests.length > 1 ? index + 1 : undefined}
        />
      ))}
    </div>
  );
}
