// Labels whose colour has a meaning: request outcomes, cache results and policy actions.
import type { Schemas } from "@/api/client";
import { Icon, type IconName } from "./icon";

type Outcome = Schemas["TraceItem"]["outcome"];
type Action = Schemas["Action"];

export const OUTCOMES: Record<Outcome, { label: string; text: string; dot: string }> = {
  ok: { label: "OK", text: "text-soft", dot: "bg-good" },
  error: { label: "Error", text: "text-bad", dot: "bg-bad" },
  blocked: { label: "Blocked", text: "text-warn", dot: "bg-warn" },
  alerted: { label: "Alerted", text: "text-soft", dot: "bg-accent" },
  downgraded: { label: "Downgraded", text: "text-soft", dot: "bg-shift" },
};

export const ACTIONS: Record<Action, { label: string; icon: IconName; text: string }> = {
  block: { label: "Block", icon: "ban", text: "text-warn" },
  alert: { label: "Alert", icon: "alert", text: "text-accent" },
  downgrade: { label: "Downgrade", icon: "swap", text: "text-shift" },
};

export function Status({ status, outcome }: { status: number; outcome: Outcome }) {
  const it = OUTCOMES[outcome];
  return (
    <span className={`inline-flex items-center gap-2 ${it.text}`} title={it.label}>
      <span aria-hidden="true" className={`size-1.5 shrink-0 rounded-full ${it.dot}`} />
      {status}
      <span className="sr-only">{it.label}</span>
    </span>
  );
}

export function ActionTag({ action, mode }: { action: Action; mode?: Schemas["Mode"] }) {
  const it = ACTIONS[action];
  return (
    <span className={`inline-flex items-center gap-1.5 ${mode === "shadow" ? "text-faint" : it.text}`}>
      <Icon name={it.icon} size={14} />
      {it.label}
    </span>
  );
}

/** An icon for each policy that matched. A policy in shadow mode had no effect, so it is faint. */
export function PolicyMarks({ policies }: { policies: Schemas["PolicyMark"][] }) {
  return (
    <span className="flex items-center gap-1">
      {policies.slice(0, 3).map((policy) => {
        const it = ACTIONS[policy.action];
        return (
          <span
            key={policy.name}
            title={`${policy.name}: ${it.label.toLowerCase()}${policy.mode === "shadow" ? ", shadow" : ""}`}
            className={`inline-flex ${policy.effective ? it.text : "text-faint"}`}
          >
            <Icon name={policy.mode === "shadow" ? "eye" : it.icon} size={14} />
            <span className="sr-only">{`${it.label} by ${policy.name}`}</span>
          </span>
        );
      })}
      {policies.length > 3 && <span className="text-2xs text-faint">{`+${policies.length - 3}`}</span>}
    </span>
  );
}

export function CacheTag({ cache }: { cache: Schemas["CacheOutcome"] }) {
  if (cache === "BYPASS") return <span className="text-faint">–</span>;
  return <span className={cache === "HIT" ? "text-cache" : "text-faint"}>{cache === "HIT" ? "hit" : "miss"}</span>;
}
