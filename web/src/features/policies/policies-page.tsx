// The list of policies, in the order of their evaluation.
import { useQuery } from "@tanstack/react-query";
import { Link, useNavigate } from "@tanstack/react-router";
import { useMemo } from "react";
import type { Schemas } from "@/api/client";
import { policies } from "@/api/queries";
import { buttonClass, IconButton } from "@/components/button";
import { Expression } from "@/components/expression";
import { Menu, MenuItem } from "@/components/floating";
import { Icon } from "@/components/icon";
import { Sparkline } from "@/components/sparkline";
import { Empty, Failure, Loading } from "@/components/states";
import { Switch } from "@/components/switch";
import { ActionTag } from "@/components/tone";
import { PageHeader } from "@/features/shell/page-header";
import { ago, compact, count, fullTime, plural } from "@/lib/format";
import { sum } from "@/lib/stack";
import { usePolicyChanges } from "./changes";
import { useLanguage } from "./use-language";

type Policy = Schemas["Policy"];

export function PoliciesPage() {
  const { data, error, isPending, refetch } = useQuery(policies());
  const list = useMemo(
    () => [...(data?.items ?? [])].sort((a, b) => a.priority - b.priority || a.id.localeCompare(b.id)),
    [data],
  );
  const create = (
    <Link to="/policies/$id" params={{ id: "new" }} className={buttonClass("solid")}>
      <Icon name="plus" size={14} />
      New policy
    </Link>
  );
  return (
    <>
      <PageHeader
        title="Policies"
        about={
          data && list.length > 0 ? (
            <>
              {`${list.filter((it) => it.enabled).length} of ${count(list.length)} on`}
              <span className="max-sm:hidden">, evaluated from the top</span>
            </>
          ) : undefined
        }
      >
        {create}
      </PageHeader>
      {error && !data ? (
        <Failure error={error} retry={() => refetch()} />
      ) : isPending ? (
        <Loading />
      ) : list.length === 0 ? (
        <Empty icon="policies" title="No policies yet" action={create}>
          A policy is an expression over a request: its cost, its sender, its model. It can block the request, downgrade
          it to a cheaper model, or raise an alert, before anything is spent.
        </Empty>
      ) : (
        <PolicyList list={list} />
      )}
    </>
  );
}

const COLUMNS =
  "grid grid-cols-[32px_minmax(0,1fr)_auto] items-center gap-x-4 md:grid-cols-[32px_minmax(0,1fr)_112px_72px_56px_148px_112px_32px]";

function PolicyList({ list }: { list: Policy[] }) {
  return (
    <div>
      <div
        aria-hidden="true"
        className={`${COLUMNS} hidden h-9 border-b border-line px-4 text-xs text-faint sm:px-6 md:!grid`}
      >
        <span>On</span>
        <span>Policy</span>
        <span>Action</span>
        <span>Mode</span>
        <span className="text-right">Priority</span>
        <span>Matches, last 24 h</span>
        <span>Changed</span>
        <span />
      </div>
      <ul>
        {list.map((policy) => (
          <Row key={policy.id} policy={policy} />
        ))}
      </ul>
    </div>
  );
}

/** Matches in the last 24 hours, or since luner started if storage did not answer. */
function matchesOf(policy: Policy): number {
  return policy.series ? sum(policy.series) : policy.matches;
}

function Row({ policy }: { policy: Policy }) {
  const { toggle, deletion } = usePolicyChanges();
  const { variables } = useLanguage();
  const navigate = useNavigate();
  const open = (id: string, search = {}) => navigate({ to: "/policies/$id", params: { id }, search });
  return (
    <li className={`${COLUMNS} border-b border-line px-4 py-2.5 hover:bg-hover sm:px-6`}>
      <Switch
        checked={policy.enabled}
        disabled={toggle.isPending}
        onChange={() => toggle.mutate(policy)}
        label={`Enable ${policy.name}`}
      />
      <Link to="/policies/$id" params={{ id: policy.id }} className={`group min-w-0 rounded-sm`}>
        <span className="flex min-w-0 items-center gap-2">
          <span
            title={policy.name}
            className={`untrusted font-medium group-hover:text-accent ${policy.enabled ? "" : "text-soft"}`}
          >
            {policy.name}
          </span>
          {policy.warnings.length > 0 && (
            <span title={policy.warnings.join("\n")} className="text-warn">
              <Icon name="alert" size={13} />
              <span className="sr-only">{policy.warnings.join(". ")}</span>
            </span>
          )}
        </span>
        <Expression text={policy.expression} variables={variables} />
        <span className="mt-1 flex gap-4 text-xs text-faint md:hidden">
          <ActionTag action={policy.action} mode={policy.mode} />
          <span>{policy.mode}</span>
          <span>{plural(matchesOf(policy), "match", "matches")}</span>
        </span>
      </Link>
      <span className="hidden md:block">
        <ActionTag action={policy.action} mode={policy.mode} />
      </span>
      <span className={`hidden md:block ${policy.mode === "shadow" ? "text-soft" : "text-ink"}`}>{policy.mode}</span>
      <span className="hidden text-right text-soft md:block">{policy.priority}</span>
      <span className="hidden items-center gap-3 md:flex">
        {policy.series && (
          <Sparkline values={policy.series} tone={policy.enabled ? "text-accent" : "text-faint"} className="h-6 w-20" />
        )}
        {matchesOf(policy) > 0 ? (
          <Link
            to="/traces"
            search={{ policy: policy.id }}
            title={policy.series ? "Show matched traces" : "Since luner started. Show matched traces"}
            className="rounded-sm underline decoration-edge underline-offset-4 hover:text-accent"
          >
            {compact(matchesOf(policy))}
            <span className="sr-only"> matched traces</span>
          </Link>
        ) : (
          <span className="text-faint">0</span>
        )}
        {policy.errors > 0 && (
          <span className="text-bad" title="Evaluations that failed">{`${compact(policy.errors)} failed`}</span>
        )}
      </span>
      <span className="hidden text-faint md:block" title={fullTime(policy.updated_at)}>
        {ago(policy.updated_at)}
      </span>
      <Menu trigger={<IconButton icon="more" label={`Actions for ${policy.name}`} hint="Actions" />}>
        <MenuItem icon="pencil" onSelect={() => open(policy.id)}>
          Edit
        </MenuItem>
        <MenuItem icon="traces" onSelect={() => navigate({ to: "/traces", search: { policy: policy.id } })}>
          Matched traces
        </MenuItem>
        <MenuItem icon="copy" onSelect={() => open("new", { from: policy.id })}>
          Duplicate
        </MenuItem>
        <MenuItem icon="trash" danger onSelect={() => deletion.mutate(policy)}>
          Delete
        </MenuItem>
      </Menu>
    </li>
  );
}
