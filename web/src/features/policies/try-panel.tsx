// Tries the expression on one made-up request, with values that the user enters for its variables.
import { useQuery } from "@tanstack/react-query";
import { useState } from "react";
import { ApiError, type Schemas } from "@/api/client";
import { verdict } from "@/api/queries";
import { TextField } from "@/components/field";
import { useLanguage } from "./use-language";

const VERDICTS: Record<Schemas["Verdict"]["verdict"], [string, string]> = {
  allow: ["passes", "text-good"],
  alert: ["passes, with an alert", "text-accent"],
  downgrade: ["is downgraded", "text-shift"],
  block: ["is blocked", "text-warn"],
};
const EXAMPLES: Record<Schemas["CelType"], string> = {
  string: "text",
  int: "0",
  uint: "0",
  double: "0.0",
  bool: "true or false",
  timestamp: "2026-01-31T08:00:00Z",
  duration: "1h30m",
};

/** Typed text as a value of a variable's type. Text that does not fit is sent as it is: the gateway says what is wrong. */
export function typedValue(type: Schemas["CelType"], text: string): unknown {
  if (type === "bool") return text === "true" ? true : text === "false" ? false : text;
  if (type === "int" || type === "uint" || type === "double")
    return text.trim() !== "" && Number.isFinite(Number(text)) ? Number(text) : text;
  return text;
}

export function TryPanel({ trial, variables }: { trial: Schemas["PolicyTrial"]; variables: string[] }) {
  const language = useLanguage();
  const typeOf = (name: string) => language.variables.find((variable) => variable.name === name)?.type ?? "string";
  const [texts, setTexts] = useState<Record<string, string>>({});
  const entered = variables.filter((name) => texts[name]);
  const vars = Object.fromEntries(entered.map((name) => [name, typedValue(typeOf(name), texts[name] ?? "")]));
  const { data, error } = useQuery({ ...verdict({ ...trial, vars }), enabled: entered.length > 0 });
  const errorOf = (name: string) =>
    error instanceof ApiError ? error.details.find((it) => it.param === `vars.${name}`)?.message : undefined;
  if (variables.length === 0) return null;
  const [result, tone] = data ? VERDICTS[data.verdict] : ["", ""];
  return (
    <section aria-label="Try it" className="rounded-lg border border-line bg-surface">
      <div className="flex h-11 items-center justify-between gap-3 border-b border-line px-4">
        <h2 className="font-medium">Try it</h2>
        <p role="status">
          {entered.length === 0 ? (
            <span className="text-faint">Enter values for the variables</span>
          ) : (
            data && (
              <>
                <span className="text-soft">This request </span>
                <span className={tone}>{data.error ? `fails: ${data.error.replaceAll("_", " ")}` : result}</span>
              </>
            )
          )}
        </p>
      </div>
      <div className="grid grid-cols-1 gap-3 px-4 py-3 sm:grid-cols-2">
        {variables.map((name) => (
          <TextField
            key={name}
            label={name}
            className="font-mono text-xs"
            placeholder={EXAMPLES[typeOf(name)]}
            value={texts[name] ?? ""}
            error={errorOf(name)}
            onChange={(event) => setTexts((before) => ({ ...before, [name]: event.target.value }))}
          />
        ))}
      </div>
    </section>
  );
}
