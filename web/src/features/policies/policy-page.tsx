// One policy: its form on the left; on the right what it would have done, and a place to try it.
import { useQuery } from "@tanstack/react-query";
import { Link, useNavigate, useParams } from "@tanstack/react-router";
import { useEffect, useRef, useState } from "react";
import { ApiError, type Detail, type Schemas } from "@/api/client";
import { type Draft, policy as policyQuery, verdict } from "@/api/queries";
import { Button, buttonClass } from "@/components/button";
import { Icon } from "@/components/icon";
import { Empty, Failure, Loading, Notice } from "@/components/states";
import { toast } from "@/components/toast";
import { PageHeader } from "@/features/shell/page-header";
import { MOD, useKeys } from "@/lib/keys";
import { draftOf, NEW, usePolicyChanges } from "./changes";
import { LeaveDialog, useLeaveGuard } from "./leave-guard";
import { PolicyForm } from "./policy-form";
import { ReplayPanel } from "./replay-panel";
import { Starters } from "./starters";
import { TryPanel } from "./try-panel";
import { Variables } from "./variables";

export function PolicyPage() {
  const { id } = useParams({ from: "/app/policies/$id" });
  const copied = new URLSearchParams(location.search).get("from");
  const source = id === "new" ? copied : id;
  const { data, error, isPending, refetch } = useQuery({
    ...policyQuery(source ?? ""),
    enabled: source !== null,
    refetchOnWindowFocus: false,
  });
  if (source === null) return <Editor key="new" id={null} start={NEW} />;
  if (isPending) return <Loading />;
  if (error && !data) {
    if (error instanceof ApiError && error.status === 404) {
      return (
        <Empty
          icon="policies"
          title="This policy is gone"
          action={
            <Link to="/policies" className={buttonClass("line")}>
              To the policies
            </Link>
          }
        >
          It was deleted, or never was.
        </Empty>
      );
    }
    return <Failure error={error} retry={() => refetch()} />;
  }
  return id === "new" ? (
    <Editor key={`copy ${source}`} id={null} start={{ ...draftOf(data), name: `${data.name} copy` }} />
  ) : (
    <Editor key={id} id={id} start={draftOf(data)} stored={data} />
  );
}

/** Typing is judged when it pauses. Arbitrary. */
const PAUSE_MS = 300;

function usePaused<T>(value: T): T {
  const [paused, setPaused] = useState(value);
  useEffect(() => {
    const timer = setTimeout(() => setPaused(value), PAUSE_MS);
    return () => clearTimeout(timer);
  }, [value]);
  return paused;
}

function Editor({ id, start, stored }: { id: string | null; start: Draft; stored?: Schemas["Policy"] }) {
  const [draft, setDraft] = useState(start);
  const [refused, setRefused] = useState<Detail[]>([]);
  const navigate = useNavigate();
  const { save } = usePolicyChanges();
  const saved = useRef(false);
  const dirty = JSON.stringify(draft) !== JSON.stringify(start);
  const guard = useLeaveGuard(dirty, saved);

  const paused = usePaused(draft);
  const trial: Schemas["PolicyTrial"] = {
    expression: paused.expression,
    action: paused.action,
    target_model: paused.action === "downgrade" ? paused.target_model || null : null,
  };
  const judged = useQuery({ ...verdict(trial), enabled: paused.expression.trim() !== "" });
  const wrong = judged.error instanceof ApiError && judged.error.status === 400 ? judged.error : null;
  const problems =
    paused.expression.trim() === "" ? [] : (wrong?.details.filter((it) => it.param === "expression") ?? []);
  const valid = judged.data !== undefined && !wrong && paused.expression === draft.expression;

  const change = (next: Partial<Draft>) => {
    setDraft((before) => ({ ...before, ...next }));
    setRefused((before) => before.filter((it) => !(it.param in next)));
  };
  const submit = () => {
    if (save.isPending) return;
    save.mutate(
      { id, draft },
      {
        onSuccess: (policy) => {
          saved.current = true;
          toast(
            `“${policy.name}” is saved${policy.enabled ? ` and ${policy.mode === "shadow" ? "watches" : "acts"} from the next request on` : "; it is off"}.`,
          );
          navigate({ to: "/policies" });
        },
        onError: (error) => {
          const details = error instanceof ApiError ? error.details : [];
          const one =
            error instanceof ApiError && error.param
              ? [{ param: error.param, message: error.message, position: null }]
              : [];
          setRefused(details.length > 0 ? details : one);
          if (details.length === 0 && one.length === 0) toast(error.message, { tone: "bad" });
        },
      },
    );
  };
  useKeys({ "mod+Enter": submit, Escape: () => navigate({ to: "/policies" }) });
  return (
    <>
      <PageHeader
        title={
          <span className="flex min-w-0 items-center gap-2">
            <Link to="/policies" aria-label="Back to the policies" className={buttonClass("ghost", "-ml-2 !px-1.5")}>
              <Icon name="left" />
            </Link>
            <span className="max-w-[46vw] outside">{stored?.name ?? "New policy"}</span>
          </span>
        }
        about={dirty ? "not saved" : undefined}
      >
        {id !== null && (
          <Link to="/traces" search={{ policy: id }} className={buttonClass("line")}>
            <Icon name="traces" size={14} className="text-faint" />
            <span className="hidden sm:inline">Traces it matched</span>
            <span className="sr-only sm:hidden">Traces it matched</span>
          </Link>
        )}
        <Button
          kind="solid"
          onClick={submit}
          disabled={save.isPending || (stored !== undefined && !dirty)}
          title={`${MOD} Enter`}
        >
          {id === null ? "Create policy" : "Save changes"}
        </Button>
      </PageHeader>
      <div className="grid grid-cols-1 gap-6 px-4 py-5 sm:px-6 lg:grid-cols-[minmax(0,1fr)_minmax(0,420px)]">
        <div className="flex min-w-0 flex-col gap-5">
          {stored?.warnings.map((warning) => (
            <Notice key={warning} title={warning} />
          ))}
          <PolicyForm
            draft={draft}
            onChange={change}
            onSave={submit}
            refused={refused}
            problems={problems}
            judged={valid ? judged.data : null}
            judging={judged.isFetching || paused.expression !== draft.expression}
          />
        </div>
        <div className="flex min-w-0 flex-col gap-6">
          {id === null && draft.expression.trim() === "" && <Starters onChoose={change} />}
          <ReplayPanel trial={trial} ready={valid} mode={draft.mode} />
          <TryPanel trial={trial} variables={valid ? (judged.data?.variables ?? []) : []} />
          <Variables />
        </div>
      </div>
      <LeaveDialog guard={guard} />
    </>
  );
}
