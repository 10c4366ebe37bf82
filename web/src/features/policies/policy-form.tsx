// The fields of a policy, in the order in which one thinks of them: when, what then, how seriously.
import { lazy, type ReactNode, Suspense } from "react";
import type { Detail, Schemas } from "@/api/client";
import type { Draft } from "@/api/queries";
import { INPUT, TextField } from "@/components/field";
import { Icon, type IconName } from "@/components/icon";
import { Segmented } from "@/components/segmented";
import { Bone } from "@/components/states";
import { Switch } from "@/components/switch";
import { useLanguage } from "./use-language";

const CelEditor = lazy(() => import("@/components/cel-editor"));

const ACTIONS = [
  { value: "block", label: "Block" },
  { value: "downgrade", label: "Downgrade" },
  { value: "alert", label: "Alert" },
] as const;
const EFFECTS: Record<Draft["action"], string> = {
  block: "The request is refused with 403 before it costs anything.",
  downgrade: "The request goes to a cheaper model instead; the caller reads which in X-Luner-Model.",
  alert: "The request passes; it is marked in the traces and counted.",
};

type Props = {
  draft: Draft;
  onChange: (change: Partial<Draft>) => void;
  onSave: () => void;
  refused: Detail[];
  problems: Detail[];
  judged: Schemas["Verdict"] | null;
  judging: boolean;
};

export function PolicyForm({ draft, onChange, onSave, refused, problems, judged, judging }: Props) {
  const wrong = (param: string) => refused.find((it) => it.param === param)?.message;
  const language = useLanguage();
  const marks = problems.length > 0 ? problems : refused.filter((it) => it.param === "expression");
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
          error={wrong("name")}
          onChange={(event) => onChange({ name: event.target.value })}
        />
        <TextField
          label="Priority"
          name="priority"
          type="number"
          step={1}
          value={draft.priority}
          error={wrong("priority")}
          hint="Lower is first."
          onChange={(event) => onChange({ priority: Math.trunc(Number(event.target.value)) })}
        />
        <div className="flex flex-col gap-1">
          <span className="text-xs font-medium text-soft">On</span>
          <span className="flex h-8 items-center">
            <Switch label="The policy is on" checked={draft.enabled} onChange={(enabled) => onChange({ enabled })} />
          </span>
        </div>
      </div>
      <TextField
        label="Description"
        name="description"
        placeholder="What it is for (optional)"
        value={draft.description}
        error={wrong("description")}
        onChange={(event) => onChange({ description: event.target.value })}
      />

      <Part title="When">
        <div
          className={`overflow-visible rounded-md border bg-ground focus-within:border-accent ${marks.length > 0 ? "border-bad" : "border-edge"}`}
        >
          <Suspense fallback={<Bone className="h-[104px] w-full" />}>
            <CelEditor
              label="Expression"
              language={language}
              value={draft.expression}
              problems={marks}
              onSave={onSave}
              onChange={(expression) => onChange({ expression })}
            />
          </Suspense>
        </div>
        <Judgement empty={draft.expression.trim() === ""} problems={marks} judged={judged} judging={judging} />
      </Part>

      <Part title="Then">
        <Segmented label="Action" value={draft.action} options={ACTIONS} onChange={(action) => onChange({ action })} />
        <p className="mt-1.5 text-xs text-faint">{EFFECTS[draft.action]}</p>
        {draft.action === "downgrade" && (
          <div className="mt-3">
            <TextField
              label="Target model"
              name="target_model"
              placeholder="gpt-4o-mini"
              value={draft.target_model ?? ""}
              error={wrong("target_model")}
              hint="Empty: the provider's downgrade map, else its cheapest priced model."
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
              error={wrong("message")}
              onChange={(event) => onChange({ message: event.target.value || null })}
            />
          </div>
        )}
      </Part>

      <Part title="How">
        <fieldset className="grid min-w-0 grid-cols-1 gap-2 sm:grid-cols-2">
          <legend className="sr-only">Mode</legend>
          <Mode value="shadow" icon="eye" title="Shadow" draft={draft} onChange={onChange}>
            Watches only. Each match is recorded with what would have happened; no request is touched. Start here.
          </Mode>
          <Mode value="enforce" icon="bolt" title="Enforce" draft={draft} onChange={onChange}>
            Acts on every request from the moment it is saved, on every core.
          </Mode>
        </fieldset>
      </Part>
      {/* Enter in a field saves. */}
      <button type="submit" className="sr-only" tabIndex={-1}>
        Save
      </button>
    </form>
  );
}

function Part({ title, children }: { title: string; children: ReactNode }) {
  return (
    <section aria-label={title}>
      <h2 className="mb-1.5 text-xs font-medium text-soft">{title}</h2>
      {children}
    </section>
  );
}

function Judgement({
  empty,
  problems,
  judged,
  judging,
}: {
  empty: boolean;
  problems: Detail[];
  judged: Schemas["Verdict"] | null;
  judging: boolean;
}) {
  const first = problems[0];
  return (
    <p role="status" className={`mt-1.5 min-h-[18px] text-xs break-words ${first ? "text-bad" : "text-faint"}`}>
      {empty ? (
        "An expression that is true or false for each request. Ctrl Space shows what it may read."
      ) : first ? (
        `${first.position ? `Line ${first.position.line}, column ${first.position.column}: ` : ""}${first.message}`
      ) : judged ? (
        <span className="inline-flex items-center gap-1.5">
          <Icon name="check" size={13} className="text-good" />
          {judged.variables.length > 0
            ? `It reads ${judged.variables.join(", ")}.`
            : "It reads nothing of the request."}
        </span>
      ) : judging ? (
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
  const chosen = draft.mode === value;
  return (
    <label
      className={`${INPUT} flex cursor-pointer gap-2.5 py-2.5 has-focus-visible:outline-2 has-focus-visible:outline-accent ${chosen ? "!border-accent !bg-accent-wash" : ""}`}
    >
      <input
        type="radio"
        name="mode"
        value={value}
        checked={chosen}
        onChange={() => onChange({ mode: value })}
        className="sr-only"
      />
      <Icon name={icon} size={15} className={`mt-0.5 ${chosen ? "text-accent" : "text-faint"}`} />
      <span>
        <span className="font-medium">{title}</span>
        <span className="block text-xs text-soft">{children}</span>
      </span>
    </label>
  );
}
