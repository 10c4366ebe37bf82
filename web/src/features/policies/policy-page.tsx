// The page of one policy: the form on the left; a replay, a trial and the variables on the right.
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
import { draftOf, NEW_DRAFT, usePolicyChanges } from "./changes";
import { LeaveDialog, useLeaveGuard } from "./leave-guard";
import { PolicyForm } from "./policy-form";
import { ReplayPanel } from "./replay-panel";
import { Starters } from "./starters";
import { TryPanel } from "./try-panel";
import { Variables } from "./variables";

export function PolicyPage() {
  const { id } = useParams({ from: "/app/policies/$id" });
  const copiedId = new URLSearchParams(location.search).get("from");
  const source = id === "new" ? copiedId : id;
  const { data, error, isPending, refetch } = useQuery({
    ...policyQuery(source ?? ""),
    enabled: source !== null,
    refetchOnWindowFocus: false,
  });
  if (source === null) return <Editor key="new" id={null} start={NEW_DRAFT} />;
  if (isPending) return <Loading />;
  if (error && !data) {
    if (error instanceof ApiError && error.status === 404) {
      return (
        <Empty
          icon="policies"
          title="Policy not found"
          action={
            <Link to="/policies" className={buttonClass("line")}>
              Back to policies
            </Link>
          }
        >
          It may have been deleted.
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

/** The draft is checked after a pause in typing of this length. Arbitrary: shorter means more calls to the gateway. */
const DEBOUNCE_MS = 300;

function useDebounced<T>(value: T): T {
  const [debounced, setDebounced] = useState(value);
  useEffect(() => {
    const timer = setTimeout(() => setDebounced(value), DEBOUNCE_MS);
    return () => clearTimeout(timer);
  }, [value]);
  return debounced;
}

function Editor({ id, start, stored }: { id: string | null; start: Draft; stored?: Schemas["Policy"] }) {
  const [draft, setDraft] = useState(start);
  const [saveErrors, setSaveErrors] = useState<Detail[]>([]);
  const navigate = useNavigate();
  const { save } = usePolicyChanges();
  const saved = useRef(false);
  const dirty = JSON.stringify(draft) !== JSON.stringify(start);
  const guard = useLeaveGuard(dirty, saved);

  const typed = useDebounced(draft);
  const trial: Schemas["PolicyTrial"] = {
    expression: typed.expression,
    action: typed.action,
    target_model: typed.action === "downgrade" ? typed.target_model || null : null,
  };
  const check = useQuery({ ...verdict(trial), enabled: typed.expression.trim() !== "" });
  const invalid = check.error instanceof ApiError && check.error.status === 400 ? check.error : null;
  const expressionErrors =
    typed.expression.trim() === "" ? [] : (invalid?.details.filter((it) => it.param === "expression") ?? []);
  const valid = check.data !== undefined && !invalid && typed.expression === draft.expression;

  const change = (next: Partial<Draft>) => {
    setDraft((before) => ({ ...before, ...next }));
    setSaveErrors((before) => before.filter((it) => !(it.param in next)));
  };
  const submit = () => {
    if (save.isPending) return;
    save.mutate(
      { id, draft },
      {
        onSuccess: (policy) => {
          saved.current = true;
          toast(
            `“${policy.name}” is saved${policy.enabled ? ` and ${policy.mode === "shadow" ? "runs in shadow mode" : "enforced"} from the next request` : "; it is off"}.`,
          );
          navigate({ to: "/policies" });
        },
        onError: (error) => {
          const details = error instanceof ApiError ? error.details : [];
          const onlyError =
            error instanceof ApiError && error.param
              ? [{ param: error.param, message: error.message, position: null }]
              : [];
          setSaveErrors(details.length > 0 ? details : onlyError);
          if (details.length === 0 && onlyError.length === 0) toast(error.message, { tone: "bad" });
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
            <Link to="/policies" aria-label="Back to policies" className={buttonClass("ghost", "-ml-2 !px-1.5")}>
              <Icon name="left" />
            </Link>
            <span className="max-w-[46vw] untrusted">{stored?.name ?? "New policy"}</span>
          </span>
        }
        about={dirty ? "Unsaved changes" : undefined}
      >
        {id !== null && (
          <Link to="/traces" search={{ policy: id }} className={buttonClass("line")}>
            <Icon name="traces" size={14} className="text-faint" />
            <span className="hidden sm:inline">Matched traces</span>
            <span className="sr-only sm:hidden">Matched traces</span>
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
            saveErrors={saveErrors}
            expressionErrors={expressionErrors}
            verdict={valid ? check.data : null}
            checking={check.isFetching || typed.expression !== draft.expression}
          />
        </div>
        <div className="flex min-w-0 flex-col gap-6">
          {id === null && draft.expression.trim() === "" && <Starters onChoose={change} />}
          <ReplayPanel trial={trial} ready={valid} mode={draft.mode} />
          <TryPanel trial={trial} variables={valid ? (check.data?.variables ?? []) : []} />
          <Variables />
        </div>
      </div>
      <LeaveDialog guard={guard} />
    </>
  );
}
