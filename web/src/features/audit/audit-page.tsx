// The Changes page: who changed a policy or the configuration, when, and the values before and after.
import { useQuery } from "@tanstack/react-query";
import { useNavigate, useSearch } from "@tanstack/react-router";
import type { Schemas } from "@/api/client";
import { audit, PAGE_SIZE } from "@/api/queries";
import { Differences } from "@/components/differences";
import { Icon, type IconName } from "@/components/icon";
import { Pager } from "@/components/pager";
import { Empty, Failure, Loading } from "@/components/states";
import { PageHeader } from "@/features/shell/page-header";
import { differences } from "@/lib/changes";
import { ago, fullTime, plural, time } from "@/lib/format";

type Entry = Schemas["AuditEntry"];

const ACTIONS: Record<string, [string, IconName, string]> = {
  "policy.create": ["created", "plus", "text-good"],
  "policy.update": ["changed", "pencil", "text-accent"],
  "policy.delete": ["deleted", "trash", "text-bad"],
  "config.reload": ["reloaded", "changes", "text-accent"],
  "config.rejected": ["rejected", "alert", "text-bad"],
};

export function AuditPage() {
  const { page = 1 } = useSearch({ from: "/app/changes" });
  const { data, error, isPending, refetch } = useQuery(audit(page));
  const navigate = useNavigate();
  const toPage = (next: number) =>
    navigate({ to: "/changes", search: (before) => ({ ...before, page: next === 1 ? undefined : next }) });
  return (
    <>
      <PageHeader title="Changes" about={data && data.total > 0 ? plural(data.total, "change") : undefined} />
      {error && !data ? (
        <Failure error={error} retry={() => refetch()} />
      ) : isPending ? (
        <Loading />
      ) : data.items.length === 0 ? (
        <Empty icon="changes" title="No changes yet">
          Every change to a policy and every configuration reload is listed here.
        </Empty>
      ) : (
        <ul>
          {data.items.map((entry) => (
            <li key={entry.id} className="border-b border-line">
              <Row entry={entry} />
            </li>
          ))}
        </ul>
      )}
      <Pager page={page} pageSize={PAGE_SIZE} total={data?.total ?? 0} onPage={toPage} />
    </>
  );
}

/** The name of what changed, or the entry's subject if it has none. People do not recognise IDs. */
function nameOf(entry: Entry): string {
  const named = (entry.after ?? entry.before) as { name?: unknown } | null | undefined;
  return typeof named?.name === "string" ? named.name : entry.subject;
}

function Row({ entry }: { entry: Entry }) {
  const [verb, icon, tone] = ACTIONS[entry.action] ?? [entry.action, "changes", "text-soft"];
  const list = differences(entry.before, entry.after);
  const about =
    list.length === 0
      ? "no differences"
      : entry.action === "policy.update" || entry.action.startsWith("config.")
        ? list.map((it) => it.path || entry.subject).join(", ")
        : "";
  return (
    <details className="group">
      <summary className="grid cursor-pointer list-none grid-cols-[20px_minmax(0,1fr)_auto] items-center gap-x-3 px-4 py-2.5 hover:bg-hover sm:px-6 md:grid-cols-[20px_minmax(0,2fr)_minmax(0,2fr)_minmax(0,1fr)_210px_16px] [&::-webkit-details-marker]:hidden">
        <Icon name={icon} className={tone} />
        <span className="flex min-w-0 gap-1.5">
          <span title={nameOf(entry)} className="untrusted font-medium">
            {nameOf(entry)}
          </span>
          <span className="text-soft">{verb}</span>
        </span>
        <span title={about} className="hidden font-mono text-xs untrusted text-faint md:block">
          {about}
        </span>
        <span title={entry.actor} className="hidden untrusted text-soft md:block">
          {entry.actor}
        </span>
        <span className="text-right text-xs text-faint" title={fullTime(entry.at)}>
          <span className="hidden md:inline">{`${time(entry.at)} · `}</span>
          {ago(entry.at)}
        </span>
        <Icon name="right" size={13} className="hidden text-faint transition-transform group-open:rotate-90 md:block" />
      </summary>
      <div className="px-4 pt-1 pb-4 sm:pr-6 sm:pl-[56px]">
        <p className="mb-2 text-xs text-faint">{`By ${entry.actor}, ${fullTime(entry.at)}`}</p>
        <Differences list={list.map((it) => ({ ...it, path: it.path || "value" }))} />
      </div>
    </details>
  );
}
