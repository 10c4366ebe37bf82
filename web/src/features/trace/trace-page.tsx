// The page of one trace: its main figures, its spans, and each request with its policies and bodies. The URL holds the
// selected span.
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
import { findSpan } from "@/lib/tree";
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
  const open = (next: string | null | undefined) =>
    next && navigate({ to: "/traces/$id", params: { id: next }, search: list });
  const { previous, next } = data?.neighbours ?? {};
  useKeys({ Escape: back, j: () => open(next), k: () => open(previous) });
  return (
    <>
      <PageHeader
        title={
          <span className="flex items-center gap-2">
            <Link
              to="/traces"
              search={list}
              aria-label="Back to traces"
              className={buttonClass("ghost", "-ml-2 !px-1.5")}
            >
              <Icon name="left" />
            </Link>
            Trace
          </span>
        }
        about={
          <span className="flex min-w-0 items-center gap-1">
            <code title={id} className="untrusted font-mono text-xs">
              <span className="sm:hidden">{`${id.slice(0, 12)}…`}</span>
              <span className="hidden sm:inline">{id}</span>
            </code>
            <CopyButton label="Copy the trace ID" text={id} />
          </span>
        }
      >
        <IconButton icon="left" label="Newer trace (k)" disabled={!previous} onClick={() => open(previous)} />
        <IconButton icon="right" label="Older trace (j)" disabled={!next} onClick={() => open(next)} />
      </PageHeader>
      {isPending ? (
        <Loading />
      ) : error && !data ? (
        <Missing error={error} retry={() => refetch()} />
      ) : (
        <TraceBody key={id} data={data} />
      )}
    </>
  );
}

function Missing({ error, retry }: { error: unknown; retry: () => void }) {
  if (!(error instanceof ApiError && error.status === 404)) return <Failure error={error} retry={retry} />;
  return (
    <Empty
      title="Trace not found"
      action={
        <Link to="/traces" className={buttonClass("line")}>
          Back to traces
        </Link>
      }
    >
      It may not be written yet, or retention has deleted it.
    </Empty>
  );
}

function TraceBody({ data }: { data: Schemas["TraceDetail"] }) {
  const { span } = useSearch({ from: "/app/traces/$id" });
  const navigate = useNavigate();
  const select = useCallback(
    (next: string) =>
      navigate({
        to: ".",
        search: (before: Record<string, unknown>) => ({ ...before, span: next }),
        replace: true,
      } as never),
    [navigate],
  );
  const selected = (span && findSpan(data.spans, span)) || data.spans[0];
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
            {summary.refusal.message ?? `Caused by the ${summary.refusal.fault}.`}
          </span>
        </Notice>
      )}
      <div className="grid grid-cols-1 gap-px overflow-hidden rounded-lg border border-line bg-line lg:grid-cols-[minmax(0,1fr)_360px]">
        <div className="min-w-0 bg-surface">
          <Waterfall spans={data.spans} selected={selected?.id ?? null} onSelect={select} />
          <Timeline moments={data.timeline} onSelect={select} />
        </div>
        {selected && <SpanPanel span={selected} />}
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
