// CEL as the policies speak it: its variables and functions, and the words of a line for colouring. What is right or wrong is the server's to say.

export type CelType = "string" | "int" | "double" | "bool" | "timestamp";
export type Variable = { name: string; type: CelType; meaning: string };

export const VARIABLES: Variable[] = [
  { name: "model", type: "string", meaning: "model as requested; after a downgrade, the new one" },
  { name: "user_id", type: "string", meaning: 'user named by the request\'s headers, "" if absent' },
  { name: "tenant_id", type: "string", meaning: 'tenant named by the request\'s headers, "" if absent' },
  { name: "request_count", type: "int", meaning: "requests of this user in the last minute, this one included" },
  {
    name: "cost_usd",
    type: "double",
    meaning: "dollars of this user in the last minute, with the estimate of those in flight",
  },
  { name: "tokens_used", type: "int", meaning: "tokens of this user in the last minute" },
  { name: "agent", type: "string", meaning: 'agent named by the request\'s header, "" if absent' },
  { name: "provider", type: "string", meaning: "provider that would serve the request" },
  { name: "endpoint", type: "string", meaning: "path of the request, such as /v1/chat/completions" },
  { name: "stream", type: "bool", meaning: "whether the answer is to be streamed" },
  { name: "temperature", type: "double", meaning: "temperature of the request, 1.0 if absent" },
  { name: "max_tokens", type: "int", meaning: "most tokens the answer may have, 0 if absent" },
  { name: "est_input_tokens", type: "int", meaning: "estimated input tokens of this request" },
  { name: "est_cost_usd", type: "double", meaning: "estimated dollars of this request, before it is sent" },
  { name: "now", type: "timestamp", meaning: "when the request came, in UTC" },
];

export type Method = { name: string; on: CelType; insert: string; detail: string };

export const METHODS: Method[] = [
  { name: "startsWith", on: "string", insert: "startsWith('')", detail: "begins with a text" },
  { name: "endsWith", on: "string", insert: "endsWith('')", detail: "ends with a text" },
  { name: "contains", on: "string", insert: "contains('')", detail: "holds a text" },
  { name: "matches", on: "string", insert: "matches('')", detail: "fits a regular expression" },
  { name: "size", on: "string", insert: "size()", detail: "its length" },
  { name: "getHours", on: "timestamp", insert: "getHours()", detail: "hour of the day in UTC, 0 to 23" },
  { name: "getMinutes", on: "timestamp", insert: "getMinutes()", detail: "minute of the hour" },
  { name: "getDayOfWeek", on: "timestamp", insert: "getDayOfWeek()", detail: "0 is Sunday" },
  { name: "getDate", on: "timestamp", insert: "getDate()", detail: "day of the month, from 1" },
];

export const typeOf = new Map(VARIABLES.map((variable) => [variable.name, variable.type]));

export type Word =
  | "variable"
  | "name"
  | "method"
  | "string"
  | "number"
  | "keyword"
  | "operator"
  | "bracket"
  | "comment"
  | "wrong";

const KEYWORDS = new Set(["true", "false", "null", "in"]);

/** The next word of `text` from `from` on: its kind and end, or null for the space between. `after` is the character before it. */
export function word(text: string, from: number): { kind: Word | null; end: number } {
  const rest = text.slice(from);
  const take = (pattern: RegExp) => pattern.exec(rest)?.[0].length ?? 0;
  const space = take(/^\s+/);
  if (space) return { kind: null, end: from + space };
  const comment = take(/^\/\/.*/);
  if (comment) return { kind: "comment", end: from + comment };
  const string = take(/^[rRbB]?(?:"(?:[^"\\]|\\.)*"?|'(?:[^'\\]|\\.)*'?)/);
  if (string) return { kind: "string", end: from + string };
  const number = take(/^(?:0x[0-9a-fA-F]+u?|\d+(?:\.\d+)?(?:[eE][+-]?\d+)?u?)/);
  if (number) return { kind: "number", end: from + number };
  const name = take(/^[A-Za-z_]\w*/);
  if (name) {
    const it = rest.slice(0, name);
    if (KEYWORDS.has(it)) return { kind: "keyword", end: from + name };
    if (text.slice(0, from).trimEnd().endsWith(".")) return { kind: "method", end: from + name };
    return { kind: typeOf.has(it) ? "variable" : "name", end: from + name };
  }
  const operator = take(/^(?:&&|\|\||[=!<>]=|[-+*/%<>!?:.,])/);
  if (operator) return { kind: "operator", end: from + operator };
  if (/^[()[\]{}]/.test(rest)) return { kind: "bracket", end: from + 1 };
  return { kind: "wrong", end: from + 1 };
}

/** The words of a text with the space between them, however much it is, as one. */
export function words(text: string): { kind: Word | null; text: string }[] {
  const list: { kind: Word | null; text: string }[] = [];
  const trimmed = text.trim();
  for (let at = 0; at < trimmed.length; ) {
    const { kind, end } = word(trimmed, at);
    list.push({ kind, text: kind ? trimmed.slice(at, end) : " " });
    at = end;
  }
  return list;
}

/** Where the server's position lies in the editor's text; it counts lines and columns in characters, we count UTF-16 units. */
export function placeOf(text: string, position: { line: number; column: number }): { from: number; to: number } {
  const lines = text.split("\n");
  const line = Math.min(Math.max(position.line, 1), lines.length);
  const start = lines.slice(0, line - 1).reduce((sum, it) => sum + it.length + 1, 0);
  const own = lines[line - 1] ?? "";
  const before = [...own].slice(0, Math.max(0, position.column - 1)).join("").length;
  const from = start + Math.min(before, own.length);
  const { end } = from < text.length ? word(text, from) : { end: from };
  // At the very end there is nothing to underline but what comes before.
  return end > from ? { from, to: Math.min(end, start + own.length) } : { from: Math.max(0, from - 1), to: from };
}

export const EXPRESSION_BYTES_MAX = 4096;
