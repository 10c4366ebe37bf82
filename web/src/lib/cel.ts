// Splits a policy expression (CEL) into words for highlighting, and finds the place of a mistake. The gateway alone decides
// what is valid; it also serves the names of variables and methods.

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

type Named = { name: string };

/** The word of `text` that starts at `from`: its kind and its end. The kind of white space is null. */
export function word(text: string, from: number, variables: readonly Named[] = []): { kind: Word | null; end: number } {
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
    const identifier = rest.slice(0, name);
    if (KEYWORDS.has(identifier)) return { kind: "keyword", end: from + name };
    if (text.slice(0, from).trimEnd().endsWith(".")) return { kind: "method", end: from + name };
    return { kind: variables.some((it) => it.name === identifier) ? "variable" : "name", end: from + name };
  }
  const operator = take(/^(?:&&|\|\||[=!<>]=|[-+*/%<>!?:.,])/);
  if (operator) return { kind: "operator", end: from + operator };
  if (/^[()[\]{}]/.test(rest)) return { kind: "bracket", end: from + 1 };
  return { kind: "wrong", end: from + 1 };
}

/** All words of a text. White space between two words becomes a single space. */
export function words(text: string, variables: readonly Named[] = []): { kind: Word | null; text: string }[] {
  const list: { kind: Word | null; text: string }[] = [];
  const trimmed = text.trim();
  for (let at = 0; at < trimmed.length; ) {
    const { kind, end } = word(trimmed, at, variables);
    list.push({ kind, text: kind ? trimmed.slice(at, end) : " " });
    at = end;
  }
  return list;
}

/**
 * The word at a position that the gateway reports, as a range of the editor's text. The gateway counts columns in
 * characters, the editor in UTF-16 units.
 */
export function rangeAt(text: string, position: { line: number; column: number }): { from: number; to: number } {
  const lines = text.split("\n");
  const line = Math.min(Math.max(position.line, 1), lines.length);
  const start = lines.slice(0, line - 1).reduce((sum, it) => sum + it.length + 1, 0);
  const own = lines[line - 1] ?? "";
  const before = [...own].slice(0, Math.max(0, position.column - 1)).join("").length;
  const from = start + Math.min(before, own.length);
  const { end } = from < text.length ? word(text, from) : { end: from };
  // Nothing follows at the very end, so the character before it is underlined.
  return end > from ? { from, to: Math.min(end, start + own.length) } : { from: Math.max(0, from - 1), to: from };
}
