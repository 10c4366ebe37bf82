// The form of a policy: when it matches, what happens then, and in which mode it runs.
import { lazy, type ReactNode, Suspense } from "react";
import type { Detail, Schemas } from "@/api/client";
import type { Draft } from "@/api/queries";
import { INPUT, TextField } from "@/components/field";
import { Icon, type IconName } from "@/components/icon";
import { Segmented } from "@/components/segmented";
import { Skeleton } from "@/components/states";
import { Switch } from "@/components/switch";
import { useLanguage } from "./use-language";

const CelEditor = lazy(() => import("@/components/cel-editor"));

const ACTIONS = [
  { value: "block", label: "Block" },
  { value: "downgrade", label: "Downgrade" },
  { value: "alert", label: "Alert" },
] as const;
const EFFECTS: Record<Draft["action"], string> = {
  block: "Refuses the request with status 403 before it costs anything.",
  downgrade: "Sends the request to a cheaper model. The X-Luner-Model response header names it.",
  alert: "Lets the request through, marks it in the traces and counts it.",
};

type Props = {
  draft: Draft;
  onChange: (change: Partial<Draft>) => void;
  onSave: () => void;
  /** Errors from the last attempt to save. */
  saveErrors: Detail[];
  /** Errors in the expression as it is being typed. */
  expressionErrors: Detail[];
  verdict: Schemas["Verdict"] | null;
  checking: boolean;
};

export function PolicyForm({ draft, onChange, onSave, saveErrors, expressionErrors, verdict, checking }: Props) {
  const errorOf = (param: string) => saveErrors.find((it) => it.param === param)?.message;
  const language = useLanguage();
  const problems =
    expressionErrors.length > 0 ? expressionErrors : saveErrors.filter((it) => it.param === "expression");
  return (
    <form
      className="flex flex-col gap-5"
      onSubmit={(event) => {
        event.preventDefault();
        onSave();
      }}
    >
      <div className="grid grid-cols-1 gap-4 sm:grid-cols-[minmax(0,1fr)_112px_auto]">
        <TextField
          label="Name"
          name="name"
          maxLength={128}
          placeholder="budget per minute"
          value={draft.name}
          error={errorOf("name")}
          onChange={(event) => onChange({ name: event.target.value })}
        />
        <TextField
          label="Priority"
          name="priority"
          type="number"
          step={1}
          value={draft.priority}
          error={errorOf("priority")}
          hint="Lower runs first."
          onChange={(event) => onChange({ priority: Math.trunc(Number(event.target.value)) })}
        />
        <div className="flex flex-col gap-1">
          <span className="text-xs font-medium text-soft">Enabled</span>
          <span className="flex h-8 items-center">
            <Switch label="Enabled" checked={draft.enabled} onChange={(enabled) => onChange({ enabled })} />
          </span>
        </div>
      </div>
      <TextField
        label="Description"
        name="description"
        placeholder="Purpose (optional)"
        value={draft.description}
        error={errorOf("description")}
        onChange={(event) => onChange({ description: event.target.value })}
      />

      <FormSection title="When">
        <div
          className={`overflow-visible rounded-md border bg-ground focus-within:border-accent ${problems.length > 0 ? "border-bad" : "border-edge"}`}
        >
          <Suspense fallback={<Skeleton className="h-[104px] w-full" />}>
            <CelEditor
              label="Expression"
              language={language}
              value={draft.expression}
              problems={problems}
              onSave={onSave}
              onChange={(expression) => onChange({ expression })}
            />
          </Suspense>
        </div>
        <ExpressionStatus
          empty={draft.expression.trim() === ""}
          problems={problems}
          verdict={verdict}
          checking={checking}
        />
      </FormSection>

      <FormSection title="Then">
        <Segmented label="Action" value={draft.action} options={ACTIONS} onChange={(action) => onChange({ action })} />
        <p className="mt-1.5 text-xs text-faint">{EFFECTS[draft.action]}</p>
        {draft.action === "downgrade" && (
          <div className="mt-3">
            <TextField
              label="Target model"
              name="target_model"
              placeholder="gpt-4o-mini"
              value={draft.target_model ?? ""}
              error={errorOf("target_model")}
              hint="If empty: the target in the provider's downgrade map, else its cheapest priced model."
              onChange={(event) => onChange({ target_model: event.target.value || null })}
            />
          </div>
        )}
        {draft.action === "block" && (
          <div className="mt-3">
            <TextField
              label="Message to the caller"
              name="message"
              placeholder="Blocked by policy (optional)"
              value={draft.message ?? ""}
              error={errorOf("message")}
              onChange={(event) => onChange({ message: event.target.value || null })}
            />
          </div>
        )}
      </FormSection>

      <FormSection title="Mode">
        <fieldset className="grid min-w-0 grid-cols-1 gap-2 sm:grid-cols-2">
          <legend className="sr-only">Mode</legend>
          <Mode value="shadow" icon="eye" title="Shadow" draft={draft} onChange={onChange}>
            Records each match and what would have happened. Requests are not affected. Start here.
          </Mode>
          <Mode value="enforce" icon="bolt" title="Enforce" draft={draft} onChange={onChange}>
            Acts on every request as soon as it is saved.
          </Mode>
        </fieldset>
      </FormSection>
      {/* Lets Enter in a field save the form. */}
      <button type="submit" className="sr-only" tabIndex={-1}>
        Save
      </button>
    </form>
  );
}

function FormSection({ title, children }: { title: string; children: ReactNode }) {
  return (
    <section aria-label={title}>
      <h2 className="mb-1.5 text-xs font-medium text-soft">{title}</h2>
      {children}
    </section>
  );
}

function ExpressionStatus({
  empty,
  problems,
  verdict,
  checking,
}: {
  empty: boolean;
  problems: Detail[];
  verdict: Schemas["Verdict"] | null;
  checking: boolean;
}) {
  const first = problems[0];
  return (
    <p role="status" className={`mt-1.5 min-h-[18px] text-xs break-words ${first ? "text-bad" : "text-faint"}`}>
      {empty ? (
        "An expression that is true or false for each request. Press Ctrl Space for completions."
      ) : first ? (
        `${first.position ? `Line ${first.position.line}, column ${first.position.column}: ` : ""}${first.message}`
      ) : verdict ? (
        <span className="inline-flex items-center gap-1.5">
          <Icon name="check" size={13} className="text-good" />
          {verdict.variables.length > 0 ? `Reads ${verdict.variables.join(", ")}.` : "Reads no variables."}
        </span>
      ) : checking ? (
        "Checking…"
      ) : (
        "\u00a0"
      )}
    </p>
  );
}

type ModeProps = {
  value: Draft["mode"];
  icon: IconName;
  title: string;
  children: string;
  draft: Draft;
  onChange: (change: Partial<Draft>) => void;
};

function Mode({ value, icon, title, children, draft, onChange }: ModeProps) {
  const selected = draft.mode === value;
  return (
    <label
      className={`${INPUT} flex cursor-pointer gap-2.5 py-2.5 has-focus-visible:outline-2 has-focus-visible:outline-accent ${selected ? "!border-accent !bg-accent-wash" : ""}`}
    >
      <input
        type="radio"
        name="mode"
        value={value}
        checked={selected}
        onChange={() => onChange({ mode: value })}
        className="sr-only"
      />
      <Icon name={icon} size={15} className={`mt-0.5 ${selected ? "text-accent" : "text-faint"}`} />
      <span>
        <span className="font-medium">{title}</span>
        <span className="block text-xs text-soft">{children}</span>
      </span>
    </label>
  );
}
